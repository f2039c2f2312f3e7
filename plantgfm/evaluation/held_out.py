"""The fixed windows and positions of an evaluation, and what a model says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float64, Int32

from plantgfm.evaluation.config import EvaluationConfig
from plantgfm.evaluation.positions import Positions, find_positions
from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.objectives.losses import hits, next_region_nats, slot_nats
from plantgfm.objectives.masking import draw_masks, stream_key
from plantgfm.partition import mesh_of, replicated, traced_on
from plantgfm.sampling.batches import make_batch
from plantgfm.sampling.config import SamplerConfig
from plantgfm.sampling.evaluation_windows import EvaluationPairs, evaluation_pairs
from plantgfm.schema import Batch, Split
from plantgfm.tokenization.vocabulary import Vocabulary

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out windows with their masks, drawn once from a fixed key: the same for every model."""

    pairs: EvaluationPairs
    batch: Batch  # of all windows
    inputs: Int32[np.ndarray, "B L"]  # tokens with [MASK] at every chosen position
    slots: Int32[np.ndarray, "B M"]
    slot_valid: Bool[np.ndarray, "B M"]
    targets: Int32[np.ndarray, "B M"]
    positions: Positions  # those that are scored

    @property
    def region(self) -> Int32[np.ndarray, "N"]:
        """Region of each scored position."""
        return self.pairs.region[self.positions.window]

    @property
    def species(self) -> Int32[np.ndarray, "N"]:
        """Species of each scored position."""
        return self.pairs.species[self.positions.window]


@dataclass(frozen=True, eq=False)
class ModelScores:
    """What a model says of held-out windows."""

    nats: Float64[np.ndarray, "N"]  # -ln of the probability of each scored token
    correct: Float64[np.ndarray, "N"]  # 1 where the likeliest token is the true one
    next_nats: Float64[np.ndarray, "B"]  # of the downstream window, a token


def prepare(
    corpus,
    vocabulary: Vocabulary,
    split: Split,
    *,
    sampler: SamplerConfig,
    objective: ObjectiveConfig,
    config: EvaluationConfig,
    max_windows: int,
) -> HeldOut:
    """Read the evaluation windows of a split and mask them: as training does, but for the share, which is `config`'s.

    Raises:
        ValueError: when the split has no window.
    """
    pairs = evaluation_pairs(corpus, split, sampler, max_windows=max_windows)
    batch = make_batch(corpus, vocabulary, pairs, sampler.window_tokens, window_bp=sampler.window_bp)
    objective = replace(objective, masked_fraction=config.masked_fraction)
    key = stream_key(config.seed, int(split), "evaluation masks")
    masks = draw_masks(key, jnp.asarray(batch.tokens), objective, vocabulary_size=vocabulary.size, evaluate=True)
    inputs, slots, valid, targets = (np.asarray(array) for array in masks)
    positions = find_positions(batch.tokens, batch.repeat_fraction, slots=slots, valid=valid, vocabulary=vocabulary)
    return HeldOut(pairs, batch, inputs, slots, valid, targets, positions)


def compartments_of(corpus, region: Int32[np.ndarray, "N"]) -> Iterator[tuple[str, str, Bool[np.ndarray, "N"]]]:
    """The members of each compartment, by the regions that they lie in; none where the corpus has only one."""
    of_record = np.array([record.compartment for record in corpus.records])
    names = np.unique(of_record)
    mine = of_record[corpus.regions.record[region]]
    for name in names.tolist() if names.size > 1 else ():
        yield "compartment", name, mine == name


class Scorer:
    """Scores held-out windows under any parameters of one network; compiled once, for batches of one shape."""

    def __init__(self, network: Any, *, batch_windows: int):
        self._batch_windows = batch_windows
        self._network = network
        self._fold, self._step = network.fold, jax.jit(_score_step, static_argnums=0)
        self._mesh: Mesh | None = None

    def __call__(self, params: Any, held_out: HeldOut, *, progress: Progress | None = None) -> ModelScores:
        """Score every window; the last batch is filled up with its last window, which is not counted twice."""
        n, size = len(held_out.pairs), self._batch_windows
        self._compile_for(mesh_of(params))
        params = self._fold(params)
        batch, found = held_out.batch, []
        for start in range(0, n, size):
            rows = np.minimum(np.arange(start, start + size), n - 1)
            arrays = (held_out.inputs, held_out.slots, held_out.targets, batch.next_tokens, batch.distance_bp)
            found.append(self._step(self._network, params, *(array[rows] for array in arrays)))
            if progress is not None:
                progress("score held-out windows", min(start + size, n), n)
        nats, correct, following = (np.concatenate([np.asarray(each) for each in part])[:n] for part in zip(*found))
        at = (held_out.positions.window, held_out.positions.slot)
        return ModelScores(nats[at].astype(np.float64), correct[at].astype(np.float64), following.astype(np.float64))

    def _compile_for(self, mesh: Mesh | None) -> None:
        """On a mesh, what is found has to be whole on every device, as no process reads those of another."""
        if mesh is not None and mesh != self._mesh:
            self._mesh = mesh
            self._fold = jax.jit(self._network.fold)
            self._step = jax.jit(traced_on(mesh, _score_step), static_argnums=0, out_shardings=replicated(mesh))


def _score_step(
    network: Any, params: Any, inputs: Array, slots: Array, targets: Array, next_tokens: Array, distance_bp: Array
) -> tuple[Array, Array, Array]:
    """Nats and hits at each slot, and nats a token of the next region; logits at the slots only."""
    states = network.states(params, inputs)
    logits = network.masked_logits(params, jnp.take_along_axis(states[-1], slots[..., None], axis=1))
    following = network.next_region_logits(params, states, inputs, distance_bp)
    return slot_nats(logits, targets), hits(logits, targets), next_region_nats(following, next_tokens)
