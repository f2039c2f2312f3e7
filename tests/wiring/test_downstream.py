"""Files in, vectors and hits out: what is refused, what is left alone."""

from pathlib import Path

import pytest

from plantgfm.embedding.config import EmbeddingConfig
from plantgfm.formats.fasta import write_fasta
from plantgfm.wiring.downstream import RetrievalInputs, embed_files
from tests.fixtures import random_codes, record, write_small_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_small_bundle(tmp_path_factory.mktemp("downstream") / "bundle")


def manifest_of(folder: Path, *files: str) -> Path:
    rows = [f"Fictus primus,,{name},nuclear,{name}" for name in files]
    path = folder / "manifest.csv"
    path.write_text("\n".join(["species,cultivar,assembly,compartment,fasta", *rows]) + "\n")
    return path


def embed(bundle, out, **inputs):
    config = EmbeddingConfig(window_bp=120, batch_windows=4)
    return embed_files(bundle, out, config=config, **{"fasta": None, "manifest": None, **inputs})


def test_the_same_input_is_not_embedded_twice_and_other_input_is(bundle, tmp_path):
    write_fasta(tmp_path / "a.fa", [record("chr1", random_codes(600))])
    assert embed(bundle, tmp_path / "v.parquet", fasta=tmp_path / "a.fa") == {"windows": 9, "skipped": 0}
    assert embed(bundle, tmp_path / "v.parquet", fasta=tmp_path / "a.fa") == {"reused": 1}
    write_fasta(tmp_path / "a.fa", [record("chr1", random_codes(600, seed=1))])
    assert embed(bundle, tmp_path / "v.parquet", fasta=tmp_path / "a.fa")["windows"] == 9


def test_one_name_in_two_files_is_refused_before_the_first_vector(bundle, tmp_path):
    for name in ("a.fa", "b.fa"):
        write_fasta(tmp_path / name, [record("chr1", random_codes(200))])
    with pytest.raises(ValueError, match=r"'chr1' is in .*a\.fa and in .*b\.fa"):
        embed(bundle, tmp_path / "v.parquet", manifest=manifest_of(tmp_path, "a.fa", "b.fa"))
    assert not (tmp_path / "v.parquet").exists()


def test_another_file_is_never_overwritten(bundle, tmp_path):
    write_fasta(tmp_path / "a.fa", [record("chr1", random_codes(200))])
    before = (tmp_path / "a.fa").read_bytes()
    with pytest.raises(ValueError, match="exists and is no file of vectors"):
        embed(bundle, tmp_path / "a.fa", fasta=tmp_path / "a.fa")
    assert (tmp_path / "a.fa").read_bytes() == before


def test_inputs_that_would_do_nothing_are_refused():
    here = Path("x")
    for wrong, said in (
        ({}, "give either --queries"),
        ({"queries": here, "genome": here}, "give either --queries"),
        ({"genome": here}, "go together"),
        ({"queries": here, "target": (here,)}, "give --truth too"),
        ({"queries": here, "truth": here, "untrained": here}, "--untrained needs --target"),
        ({"queries": here, "genes": here}, "does not go with --queries"),
    ):
        with pytest.raises(ValueError, match=said):
            RetrievalInputs(vectors=here, **wrong)
