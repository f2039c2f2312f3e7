"""The light evaluator that training calls: a few validation windows, for curves and for keep-best."""

from __future__ import annotations

from typing import Any

from plantgfm.evaluation.config import EvaluationConfig
from plantgfm.evaluation.held_out import Scorer, prepare
from plantgfm.evaluation.masked import LN2
from plantgfm.evaluation.next_region import unigram_nats
from plantgfm.evaluation.unigram import fit_unigram
from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.sampling.config import SamplerConfig
from plantgfm.sampling.evaluation_windows import EvaluationPairs
from plantgfm.schema import Split
from plantgfm.tokenization.vocabulary import FIRST_BASE, Vocabulary

VALIDATION = "validation"
VALUES = ("masked_bits_per_base", "masked_accuracy", "next_region_nats", "next_region_gain")
"""What a `ValidationEvaluator` gives: nats are a token, the gain is over the species unigram of the training split."""


class ValidationEvaluator:
    """Scores parameters on fixed validation windows: `name`, `every_steps`, `run(params)` to the `VALUES` by name."""

    def __init__(
        self,
        network: Any,
        *,
        corpus,
        vocabulary: Vocabulary,
        config: EvaluationConfig,
        sampler: SamplerConfig,
        objective: ObjectiveConfig,
        every_steps: int,
        name: str = VALIDATION,
    ):
        self.name = name
        self.every_steps = every_steps
        self._held_out = prepare(
            corpus,
            vocabulary,
            Split.VALIDATION,
            sampler=sampler,
            objective=objective,
            config=config,
            max_windows=config.watch_windows,
        )
        self._scorer = Scorer(network, batch_windows=config.batch_windows)
        unigram = fit_unigram(corpus, vocabulary, shrinkages=config.shrinkages, window_bp=sampler.window_bp)
        self._unigram_nats = unigram_nats(self._held_out, unigram.species)
        self._counts = (self._held_out.batch.next_tokens >= FIRST_BASE).any(axis=1)

    @property
    def pairs(self) -> EvaluationPairs:
        """The windows that are scored, with what was dropped in choosing them."""
        return self._held_out.pairs

    def run(self, params: Any) -> dict[str, float]:
        """Scores of these parameters; the same parameters give the same values."""
        scores, bases = self._scorer(params, self._held_out), self._held_out.positions.bp
        return {
            "masked_bits_per_base": float(scores.nats.sum() / bases.sum() / LN2),
            "masked_accuracy": float(scores.correct.mean()),
            "next_region_nats": float(scores.next_nats[self._counts].mean()),
            "next_region_gain": float((self._unigram_nats - scores.next_nats)[self._counts].mean()),
        }
