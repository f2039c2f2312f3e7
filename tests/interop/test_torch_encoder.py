"""Models of transformers behind the interface of our own encoder."""

import json

import numpy as np
import pytest

from plantgfm.embedding.config import EmbeddingConfig, Pooling, StrandUse
from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.encoders import BundleEncoder, TorchEncoder, open_encoder
from plantgfm.export.bundle import BundleError
from plantgfm.export.exchange import write_exchange
from plantgfm.sequence import encode
from tests.fixtures import lively_bundle, random_codes

pytestmark = pytest.mark.interop
pytest.importorskip("torch")
pytest.importorskip("transformers")


def test_our_own_model_gives_the_same_vectors_through_transformers(tmp_path):
    bundle = lively_bundle(tmp_path / "bundle")
    there = write_exchange(tmp_path / "there", bundle)
    assert isinstance(open_encoder(there), BundleEncoder)  # ours needs no PyTorch
    (there / "plantgfm.json").unlink()
    theirs = open_encoder(there)
    assert isinstance(theirs, TorchEncoder) and theirs.max_tokens == 64
    sequences = [random_codes(n, seed=n) for n in (30, 300, 61)] + [encode("ACGTNNNNNACGATTACA")]
    for settings in ({}, {"layer": 1}, {"strand": StrandUse.BOTH}):
        config = EmbeddingConfig(window_bp=378, batch_windows=4, **settings)
        ours = Embedder(bundle, config).embed(sequences)
        np.testing.assert_allclose(Embedder(theirs, config).embed(sequences), ours, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="give embedding.window_bp"):
        Embedder(theirs, EmbeddingConfig())
    with pytest.raises(BundleError, match="does not tell which bases"):
        Embedder(theirs, EmbeddingConfig(window_bp=60, pooling=Pooling.TOKEN)).embed_places(sequences)


def test_code_of_the_folder_does_not_run_unless_asked(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "strange", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}})
    )
    (tmp_path / "code.py").write_text("raise SystemExit('ran')\n")
    with pytest.raises(BundleError, match="does not open in transformers"):
        open_encoder(tmp_path)
