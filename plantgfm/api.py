"""The Python face: open a bundle, run the main job, embed, retrieve. Handed on by the package, lazily.

from plantgfm import load_bundle, Embedder, EmbeddingConfig, encode
vectors = Embedder(load_bundle(Path("runs/demo/bundle")), EmbeddingConfig()).embed([encode("ACGT" * 200)])
"""

from __future__ import annotations

from plantgfm.embedding.config import EmbeddingConfig, Pooling, StrandUse
from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.encoders import open_encoder
from plantgfm.embedding.store import read_vectors, write_vectors
from plantgfm.export.bundle import Bundle, load_bundle
from plantgfm.formats.fasta import read_fasta, write_fasta
from plantgfm.formats.manifest import read_manifest
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.retrieve import retrieve
from plantgfm.sequence import decode, encode, reverse_complement
from plantgfm.tokenization.vocabulary import Vocabulary
from plantgfm.wiring.runs import export_run, open_run_folder
from plantgfm.wiring.scores import evaluate_run
from plantgfm.wiring.training import run_training

__all__ = [
    "Bundle",
    "Embedder",
    "EmbeddingConfig",
    "Pooling",
    "RetrievalConfig",
    "StrandUse",
    "Vocabulary",
    "decode",
    "encode",
    "evaluate_run",
    "export_run",
    "load_bundle",
    "open_encoder",
    "open_run_folder",
    "read_fasta",
    "read_manifest",
    "read_vectors",
    "retrieve",
    "reverse_complement",
    "run_training",
    "write_fasta",
    "write_vectors",
]
