"""The Python face: open a model, run the main job, embed, retrieve. Handed on by the package, lazily.

from plantgfm import load
vectors = load("runs/demo/bundle").embed(["ACGT" * 200])
"""

from __future__ import annotations

from plantgfm.embedding.config import EmbeddingConfig, Pooling, Storage, StrandUse
from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.encoders import open_encoder
from plantgfm.embedding.opened import Model, load
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
    "Model",
    "Pooling",
    "RetrievalConfig",
    "Storage",
    "StrandUse",
    "Vocabulary",
    "decode",
    "encode",
    "evaluate_run",
    "export_run",
    "load",
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
