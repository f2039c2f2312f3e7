"""Bundles of every format open for ever, and compute what they did.

`golden/format_N.tar.gz` was written by the code of its day with random parameters: a bundle, and in `expected.npz` what
that code computed with it. A change of the format adds a step to `export.older` and a file here; none is ever changed.
"""

import json
import tarfile
from pathlib import Path

import jax
import numpy as np
import pytest

from plantgfm.export import older
from plantgfm.export.bundle import FORMAT_VERSION, BundleError, flatten, load_bundle
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

    @jax.jit
    def compute(params, tokens, distance_bp):
        states = bundle.network.states(params, tokens)
        masked = bundle.network.masked_logits(params, states[-1][:, 3:4])
        return states[-1], masked, bundle.network.next_region_logits(params, states, tokens, distance_bp)

    hidden, masked, following = compute(bundle.params, expected["tokens"], expected["distance_bp"])
    np.testing.assert_allclose(hidden, expected["hidden"], atol=1e-4)
    np.testing.assert_allclose(masked[..., ::16], expected["masked"], atol=1e-4)
    known = expected["next_region"] > -1e8  # not of the rows that pad the vocabulary
    np.testing.assert_allclose(following[:, ::16][known], expected["next_region"][known], atol=1e-4)
    assert known.sum() > 500 and bundle.lineage["species"] == ["Fictus primus"]


def test_a_bundle_of_every_format_goes_to_hugging_face_and_is_sealed_anew(golden, tmp_path):
    before = load_bundle(golden[0])
    after = load_bundle(read_exchange(write_exchange(tmp_path / "there", before)).write(tmp_path / "again"))
    ours, theirs = flatten(before.params), flatten(after.params)
    assert all(np.array_equal(theirs[name], ours[name]) for name in ours | theirs)
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
