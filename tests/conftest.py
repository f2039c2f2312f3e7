"""What every test shares: eight virtual devices, strict promotion, checked shapes, where real data lies."""

import gc
import os
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Types that cross a stage are unflattened by JAX with placeholders in their fields, so `schema` stays unchecked.
CHECKED = (
    "export",
    "embedding",
    "evaluation",
    "identity",
    "model",
    "objectives",
    "retrieval",
    "sequence",
    "tokenization",
)
install_import_hook([f"plantgfm.{room}" for room in CHECKED], "beartype.beartype")

# Tracing makes many objects and few cycles: at Python's own threshold looking for them is 6 % of the suite's time.
gc.set_threshold(20_000, 20, 20)

ROOT = Path(__file__).resolve().parent.parent
LONG = ("ablation", "docs", "end_to_end", "training")

SMALL = (
    "corpus.world.genome_size_bp=100000",
    "corpus.world.species=10",
    "tokenizer.eight_mers=256",
    "tokenizer.sample_bp=1000000",
    "sampler.window_tokens=64",
    "sampler.batch_windows=16",
    "sampler.distance_max_bp=2048",
    "model.d_model=64",
    "model.n_layers=2",
    "model.n_heads=1",
    "model.d_ff=96",
    "model.max_tokens=64",
    "optimizer.warmup_steps=5",
    "optimizer.peak_learning_rate=0.003",
    "run.steps=240",
    "run.evaluate_every_steps=120",
    "run.checkpoint_every_steps=80",
    "run.live_report=false",
    "evaluation.max_windows=128",
    "evaluation.tune_windows=64",
    "evaluation.watch_windows=16",
    "evaluation.markov_order=6",
    "evaluation.tune_bp=50000",
    "evaluation.resamples=200",
)
"""Overrides that make the main job small: a 100-kb world, a 2-layer model, seconds of training."""


def composed(*overrides: str):
    """Typed settings of the main job, as Hydra composes them."""
    from hydra import compose, initialize_config_dir

    from plantgfm.config import register, to_config

    register()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return to_config(compose("config", overrides=list(overrides)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Rooms whose files take long come first, so that no worker is left with one of them when the others are done."""
    items.sort(key=lambda item: item.path.relative_to(ROOT / "tests").parts[0] not in LONG)


def pytest_collection_finish() -> None:
    """Modules stay to the end: no collection of garbage looks through them again."""
    gc.collect()
    gc.freeze()


@contextmanager
def quickly_compiled():
    """Programs that take half as long to compile and longer to run; only where no last bit is compared."""
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def quick_compilation():
    """A test of `quickly_compiled` programs."""
    with quickly_compiled():
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The one run that end-to-end tests share: (folder above it, outcome of the job)."""
    from plantgfm.wiring.training import run_training

    folder = tmp_path_factory.mktemp("job")
    where = (f"run.folder={folder}", f"corpus.path={folder / 'world'}", "run.name=small")
    lines: list[str] = []
    outcome = run_training(composed(*SMALL, *where, "run.live_report=true"), write=lines.append)
    return folder, outcome, lines


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real plant data beside the repository; skips where it is absent."""
    folder = ROOT.parent / "shared"
    if not (folder / "genomes" / "manifest.csv").is_file():
        pytest.skip(f"real genomes are not at {folder}")
    return folder
