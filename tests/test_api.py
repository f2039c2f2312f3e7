"""The Python face."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import plantgfm
from plantgfm import api
from tests.fixtures import write_small_bundle


def test_every_name_of_the_face_exists_and_is_handed_on():
    assert dir(plantgfm) == sorted(api.__all__)
    for name in api.__all__:
        assert getattr(plantgfm, name) is getattr(api, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'embde'"):
        _ = plantgfm.embde
    assert not hasattr(plantgfm, "_private")


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, plantgfm; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_lines_of_the_readme_run(tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parent.parent / "README.md").read_text()
    (snippet,) = (part.split("```")[0] for part in text.split("```python")[1:])
    write_small_bundle(tmp_path / "runs" / "mine" / "bundle")
    (tmp_path / "genome.fa.gz").write_bytes(gzip.compress(b">chr1\n" + b"ACGTTGCAAC" * 20))
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (tmp_path / "calls.vcf.gz").write_bytes(gzip.compress(f"{header}chr1\t101\t.\tA\tG\t.\t.\t.\n".encode()))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(snippet, "README.md", "exec"), names)
    assert names["vectors"].shape == (2, 32) and names["probabilities"].shape == (18, 4)
    assert np.isfinite(names["scores"].log_ratio).all() and "'position': [101]" in capsys.readouterr().out


def test_a_bundle_embeds_in_three_lines(tmp_path):
    bundle = plantgfm.load_bundle(write_small_bundle(tmp_path / "b"))
    vectors = plantgfm.Embedder(bundle, plantgfm.EmbeddingConfig()).embed([plantgfm.encode("ACGT" * 40)])
    assert vectors.shape == (1, 32) and np.isfinite(vectors).all()
