"""The Python face."""

import subprocess
import sys

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


def test_a_bundle_embeds_in_three_lines(tmp_path):
    bundle = plantgfm.load_bundle(write_small_bundle(tmp_path / "b"))
    vectors = plantgfm.Embedder(bundle, plantgfm.EmbeddingConfig()).embed([plantgfm.encode("ACGT" * 40)])
    assert vectors.shape == (1, 32) and np.isfinite(vectors).all()
