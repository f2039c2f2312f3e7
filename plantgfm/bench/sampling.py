"""Speed of plan and batches on one core, at 512 tokens a window.

The corpus is random sequence with gaps, written to a temporary folder; steps are made one after the other on the
calling thread, so the figure holds the plan, the reading and the tokens of both windows. Only upstream tokens count.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from plantgfm.bench.timing import row
from plantgfm.corpus.config import CorpusConfig
from plantgfm.corpus.read import Corpus
from plantgfm.corpus.write import write_corpus
from plantgfm.sampling.batches import Batches
from plantgfm.sampling.config import SamplerConfig
from plantgfm.sampling.plan import build_plan
from plantgfm.schema import AcceptedRecord, Assembly, Compartment
from plantgfm.sequence import REPEAT_BIT, UNKNOWN
from plantgfm.tokenization.choose import choose_eight_mers
from plantgfm.tokenization.config import VocabularyConfig

BAR_TOKENS_PER_SECOND = 1e6
BAR_LATE_STEP_SECONDS = 1.0
_SPECIES = 12
_SPECIES_BP = 1_000_000
_STEPS = 200
_ROUNDS = 7
_LATE_STEP = 1_000_000


def run() -> list[dict[str, object]]:
    """Rows (name, value, unit, bar): input tokens a second of plan and batches, of the plan alone, and a late step.

    The bar of the seconds is an upper bound, that of the tokens a lower one.
    """
    with tempfile.TemporaryDirectory() as folder:
        corpus = _corpus(Path(folder))
        config = SamplerConfig(window_tokens=512)
        vocabulary = choose_eight_mers([("random", corpus.bases[:_SPECIES_BP])], VocabularyConfig())
        batches = Batches(build_plan(corpus, config), corpus, vocabulary, config)
        batches.batch(0)  # compiles
        tokens = _STEPS * config.batch_windows * config.window_tokens
        together, plan_alone = (tokens / _quickest(make) for make in (batches.batch, batches.plan.step))
        fresh = Batches(build_plan(corpus, config), corpus, vocabulary, config)
        began = time.perf_counter()
        fresh.batch(_LATE_STEP)
        late = time.perf_counter() - began
    return [
        row("sampling: plan and batches", together, "input tokens/s", BAR_TOKENS_PER_SECOND),
        row("sampling: plan alone", plan_alone, "input tokens/s", None),
        row(f"sampling: first batch at step {_LATE_STEP:,}", late, "s", BAR_LATE_STEP_SECONDS),
    ]


def _quickest(make: Callable[[int], object]) -> float:
    """Seconds of the quickest of several rounds over the same steps."""
    seconds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for step in range(_STEPS):
            make(step)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _corpus(folder: Path) -> Corpus:
    rng = np.random.default_rng(0)
    records = [_record(folder, index, rng) for index in range(_SPECIES)]
    return write_corpus(records, CorpusConfig(), out=folder / "corpus", lineage={"simulated": "bench"})


def _record(folder: Path, index: int, rng: np.random.Generator) -> AcceptedRecord:
    bases = rng.choice(4, size=_SPECIES_BP, p=(0.32, 0.18, 0.18, 0.32)).astype(np.uint8)
    for start in rng.integers(0, _SPECIES_BP - 1_000, 20):
        bases[start : start + 1_000] = UNKNOWN
    bases[: _SPECIES_BP // 3] |= REPEAT_BIT
    path = folder / f"{index}.u8"
    bases.tofile(path)
    windows = -(-_SPECIES_BP // 6_144)
    return AcceptedRecord(
        assembly=Assembly(f"Planta species{index:02d}", "", "bench", Compartment.NUCLEAR, path),
        name="chr1",
        bases=path,
        offset=0,
        length_bp=_SPECIES_BP,
        repeat_source="soft-mask",
        cluster_window_bp=6_144,
        cluster_id=np.full(windows, -1, dtype=np.int64),
        cluster_size=np.ones(windows, dtype=np.int32),
    )
