"""Mixed window lengths: a run that begins with shorter windows, and the settings of each of its stages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate

from plantgfm.config import Config

_NONE = {"short_tokens": [], "short_steps": [], "short_rope_thetas": []}


@dataclass(frozen=True)
class Stage:
    """Steps whose windows have one length."""

    first_step: int
    config: Config  # the run's, with windows and rotary base of this stage

    @property
    def tokens(self) -> int:
        """Of a window."""
        return self.config.sampler.window_tokens

    @property
    def windows(self) -> int:
        """Of a step."""
        return self.config.sampler.batch_windows


def stages_of(config: Config) -> list[Stage]:
    """The stages of a run, the last one as its settings say; a step of each has the same tokens."""
    run, sampler, model = config.run, config.sampler, config.model
    bases = run.short_rope_thetas or [model.rope_theta_full] * len(run.short_tokens)
    firsts = list(accumulate(run.short_steps, initial=0))
    stages = []
    for first, tokens, base in zip(firsts, run.short_tokens, bases):
        windows = sampler.batch_windows * sampler.window_tokens // tokens
        # As many base pairs a slot as the long windows have.
        width_bp = sampler.width_bp and max(1, sampler.width_bp * (tokens - 1) // (sampler.window_tokens - 1))
        short = replace(sampler, window_tokens=tokens, batch_windows=windows, width_bp=width_bp)
        own = {"sampler": short, "model": replace(model, rope_theta_full=base), "run": replace(run, **_NONE)}
        stages.append(Stage(first, replace(config, **own)))
    return [*stages, Stage(firsts[-1], config)]


def stages_line(stages: list[Stage]) -> str:
    """What a run says of its stages, counted from step 1."""
    ends = [f"to {stage.first_step}" for stage in stages[1:]] + ["on"]
    told = [
        f"{stage.windows} windows of {stage.tokens} tokens from step {stage.first_step + 1} {end}"
        f" (rotary base {stage.config.model.rope_theta_full:,.0f})"
        for stage, end in zip(stages, ends)
    ]
    return f"stages: {'; '.join(told)}"
