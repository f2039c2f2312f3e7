"""What vectors cost: memory of `plantgfm embed` as the genome grows, and the error of a cosine of what is stored.

`python -m plantgfm.bench memory` embeds 1, 10 and 60 Mb of random sequence, one record each, every one in a process of
its own that has not written it; the model is the smallest that streams as a large one does, as memory is asked for and
not speed. `python -m plantgfm.bench storage` compares the cosines of vectors as computed with those of vectors as
stored: of windows of random sequence through an untrained model of size `tiny`, or of the file that the variable
PLANTGFM_BENCH_VECTORS names, which `plantgfm embed` wrote as float32.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float32, Float64

from plantgfm.bench.alone import alone
from plantgfm.bench.contenders import eight_mers
from plantgfm.bench.timing import row
from plantgfm.embedding.config import EmbeddingConfig, Storage
from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.rows import as_float32, as_stored
from plantgfm.embedding.store import read_vectors
from plantgfm.export.bundle import Bundle, load_bundle, write_bundle
from plantgfm.formats.fasta import write_fasta
from plantgfm.model.build import build
from plantgfm.model.config import ModelConfig, Size, model_size
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.debias import fit_debias
from plantgfm.schema import Record
from plantgfm.wiring.downstream import embed_files

MEGABASES = (1, 10, 60)
VECTORS_VARIABLE = "PLANTGFM_BENCH_VECTORS"
_SMALL = {"d_model": 16, "n_layers": 1, "n_heads": 1, "d_ff": 16, "max_tokens": 128}
_WINDOW_BP = 6 * (_SMALL["max_tokens"] - 1)
_MOST_VECTORS = 4_096  # of a file: their cosines are a square of numbers
_WINDOWS = 512
_LEAST_BP = 20_000


def run_memory() -> list[dict[str, object]]:
    """Rows (name, value, unit, bar): peak resident memory by size of the genome and kind of file, and its growth."""
    kinds = ("parquet", "zarr") if importlib.util.find_spec("zarr") else ("parquet",)
    rows, peaks = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle_of(ModelConfig(**_SMALL), folder / "bundle")
        sizes = {"code alone": _LEAST_BP} | {f"{size} Mb": int(size * 1e6) for size in MEGABASES}
        for label, length_bp in sizes.items():
            alone(partial(_written, length_bp=length_bp), folder)
            for kind in kinds:
                peaks[label, kind], _ = alone(partial(_embedded, kind=kind), folder)
                rows.append(row(f"embed to {kind}, {label}: peak memory", peaks[label, kind], "MiB"))
    first, last = (f"{size} Mb" for size in (MEGABASES[0], MEGABASES[-1]))
    growth = {kind: peaks[last, kind] / peaks[first, kind] for kind in kinds}
    return [*rows, *(row(f"embed to {kind}: memory, {last} against {first}", x, "x") for kind, x in growth.items())]


def bundle_of(config: ModelConfig, path: Path) -> Bundle:
    """An untrained bundle of this shape."""
    vocabulary = eight_mers()
    network = build(config, vocabulary.size)
    params = jax.jit(network.init)(jax.random.key(0))
    parts = {"network": network, "params": params, "model_config": config, "vocabulary": vocabulary}
    return load_bundle(write_bundle(path, lineage={}, **parts))


def _written(folder: Path, *, length_bp: int) -> None:
    bases = np.random.default_rng(0).integers(0, 4, length_bp, np.uint8)
    write_fasta(folder / "genome.fa", [Record("c", "", bases, np.zeros((0, 2), np.int64))])


def _embedded(folder: Path, *, kind: str) -> None:
    config = EmbeddingConfig(window_bp=_WINDOW_BP, stride_bp=_WINDOW_BP, batch_windows=64)
    embed_files(folder / "bundle", folder / f"v.{kind}", fasta=folder / "genome.fa", manifest=None, config=config)


def run_storage() -> list[dict[str, object]]:
    """Rows (name, value, unit, bar): bytes of a vector, and errors of the cosines of all pairs, by storage."""
    vectors, rows = _vectors(), []
    ways = {"as embedded": _unit, "as searched": _searched}
    expected = {way: _cosines(made(vectors)) for way, made in ways.items()}
    for way, cosines in expected.items():
        rows.append(row(f"vectors {way}: mean cosine of two of {len(vectors):,}", cosines.mean(), "-"))
    for storage in Storage:
        stored, scale = as_stored(vectors, storage)
        size = stored[0].nbytes + (scale[0].nbytes if scale is not None else 0)
        rows.append(row(f"{storage.value}: bytes of a vector of {vectors.shape[1]} dimensions", size, "B"))
        for way, made in ways.items():
            error = 1e6 * np.abs(_cosines(made(as_float32(stored, scale))) - expected[way])
            rows.append(row(f"{storage.value}: greatest error of a cosine {way}", error.max(), "1e-6"))
            rows.append(row(f"{storage.value}: mean error of a cosine {way}", error.mean(), "1e-6"))
    return rows


def _vectors() -> Float32[np.ndarray, "N D"]:
    if path := os.environ.get(VECTORS_VARIABLE):
        table = read_vectors(Path(path))
        if (stored := table.origin.get("settings", {}).get("storage", "float32")) != "float32":
            raise ValueError(f"{path} holds {stored}: rounding is measured against float32")
        if len(table.vectors) < 2:
            raise ValueError(f"{path} holds one vector: a cosine needs two")
        return table.vectors[np.linspace(0, len(table.vectors) - 1, min(_MOST_VECTORS, len(table.vectors))).astype(int)]
    rng = np.random.default_rng(0)
    config = model_size(Size.TINY, max_tokens=128)
    codes = [rng.integers(0, 4, 6 * 127).astype(np.uint8) for _ in range(_WINDOWS)]
    with tempfile.TemporaryDirectory() as folder:
        return Embedder(bundle_of(config, Path(folder) / "bundle"), EmbeddingConfig()).embed(codes)


def _unit(vectors: Float32[np.ndarray, "N D"]) -> Float64[np.ndarray, "N D"]:
    wide = vectors.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-300)


def _searched(vectors: Float32[np.ndarray, "N D"]) -> Float64[np.ndarray, "N D"]:
    """As `plantgfm retrieve` corrects them by default: without their mean and leading component, whitened."""
    config = RetrievalConfig()
    fitted = fit_debias(vectors, components=config.components, whiten=config.whiten, ridge=config.ridge)
    return _unit(fitted.apply(vectors))


def _cosines(unit: Float64[np.ndarray, "N D"]) -> Float64[np.ndarray, "pairs"]:
    return (unit @ unit.T)[np.triu_indices(len(unit), k=1)]
