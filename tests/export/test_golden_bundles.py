"""Bundles of every format open for ever, and compute what they did.

`golden/format_N.tar.gz` was written by the code of its day with random parameters: a bundle, and in `expected.npz` what
that code computed with it. A change of the format adds a step to `export.older` and a file here; none is ever changed.
"""

import json
import tarfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.embedding.opened import load
from plantgfm.export import older
from plantgfm.export.bundle import FORMAT_VERSION, BundleError, load_bundle
from plantgfm.export.exchange import read_exchange, write_exchange
from plantgfm.identity import fingerprint

GOLDEN = Path(__file__).parent / "golden"
FORMATS = range(1, FORMAT_VERSION + 1)


@pytest.fixture(params=FORMATS)
def golden(request, tmp_path):
    """The folder of one format: a bundle, and what it has to give."""
    with tarfile.open(GOLDEN / f"format_{request.param}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    assert json.loads((tmp_path / "bundle" / "bundle.json").read_text())["format_version"] == request.param
    with np.load(tmp_path / "expected.npz") as stored:
        return tmp_path / "bundle", dict(stored)


def test_a_bundle_of_every_format_computes_what_it_did(golden):
    path, expected = golden
    bundle = load_bundle(path)
    network, tokens = bundle.network, jnp.asarray(expected["tokens"])
    states = network.states(bundle.params, tokens)
    np.testing.assert_allclose(states[-1], expected["hidden"], atol=1e-4)
    masked = network.masked_logits(bundle.params, states[-1][:, 3:4])
    np.testing.assert_allclose(masked[..., ::16], expected["masked"], atol=1e-4)
    following = network.next_region_logits(bundle.params, states, tokens, jnp.asarray(expected["distance_bp"]))
    known = expected["next_region"] > -1e8  # rows that pad the vocabulary
    np.testing.assert_allclose(
        np.where(known, following[:, ::16], 0), np.where(known, expected["next_region"], 0), atol=1e-4
    )
    assert bundle.lineage["species"] == ["Fictus primus"]
    assert load(path).embed(["ACGTACGT"]).shape == (1, 4)


def test_a_bundle_of_every_format_goes_to_hugging_face_and_is_sealed_anew(golden, tmp_path):
    before = load_bundle(golden[0])
    after = load_bundle(read_exchange(write_exchange(tmp_path / "there", before)).write(tmp_path / "again"))
    tokens = jnp.asarray(golden[1]["tokens"])
    np.testing.assert_array_equal(
        after.network.hidden(after.params, tokens), before.network.hidden(before.params, tokens)
    )
    seal = json.loads((tmp_path / "again" / "bundle.json").read_text())
    assert seal["format_version"] == FORMAT_VERSION


def test_a_newer_format_or_parameters_of_another_are_refused(golden, tmp_path):
    path, _ = golden
    seal = json.loads((path / "bundle.json").read_text())
    for version in (0, FORMAT_VERSION + 1, None, "3"):
        (path / "bundle.json").write_text(json.dumps({**seal, "format_version": version}))
        with pytest.raises(BundleError, match=f"bundle format {version}, this version reads 1 to {FORMAT_VERSION}"):
            load_bundle(path)
    assert fingerprint(seal["sha256"]) == seal["fingerprint"]


def test_parameters_that_a_format_lacks_are_named():
    assert older.oldest(FORMAT_VERSION) == 1
    with pytest.raises(ValueError, match=r"not those of bundle format 1: 'next_region.dense.kernel' is missing"):
        older.upgraded({}, version=1, to=FORMAT_VERSION)
    assert older.upgraded({"a": np.zeros(1)}, version=FORMAT_VERSION, to=FORMAT_VERSION).keys() == {"a"}
