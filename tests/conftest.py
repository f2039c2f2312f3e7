"""What every test shares: eight virtual devices, strict promotion, checked shapes, where real data lies."""

import os
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

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real plant data beside the repository; skips where it is absent."""
    folder = ROOT.parent / "shared"
    if not (folder / "genomes" / "manifest.csv").is_file():
        pytest.skip(f"real genomes are not at {folder}")
    return folder
