"""Training of a projection: a symmetric contrastive loss over ortholog pairs, stopped by queries that were held out.

InfoNCE (van den Oord et al. 2018, arXiv:1807.03748) in both directions (Radford et al. 2021, arXiv:2103.00020): each
window of a query is to be nearer to its counterpart than to those of the other queries, and than windows of its own
that fit a wrong place are to that place; each counterpart is to be nearer to its query than to the others. The head
starts as the identity and is held to it by the mean squared length of what it adds. The temperature is that which fits
best without a head, and is learned along: at one that is too high the loss falls where cosines merely spread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from plantgfm.identity import plain
from plantgfm.retrieval.config import HeadKind, ProjectionConfig
from plantgfm.retrieval.evaluate import LEAST_QUERIES, first_true_rank, interval, reciprocal
from plantgfm.retrieval.projection import Look, Projection, Validation, correction_of, gelu, kept_settings
from plantgfm.retrieval.projection_pairs import DEEPEST, OrthologSet, Pairs, Prepared, split_sets

LEAST_TRAINED = 20
Weights = dict[str, Float[Array, "..."]]
_ADAM = optax.scale_by_adam()
_TEMPERATURES = np.geomspace(0.005, 1.0, 60)
_COLDNESS = 0.0, float(-np.log(_TEMPERATURES[0]))


def train_projection(
    sets: Sequence[OrthologSet],
    *,
    bundle: str,
    settings: Mapping[str, Any],
    hold_out: Sequence[str] = (),
    config: ProjectionConfig | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Projection:
    """Train a head on ortholog pairs, and keep it as it was when the queries that were held out were ranked best.

    Args:
        sets: of one model and one way of embedding.
        bundle: fingerprint of the model.
        settings: of the embedding.
        hold_out: species or sequences that are not trained on; none: sequences by lot.
        config: of head and training.
        progress: called with (label, done, total).

    Returns:
        The head, its curve and what it is worth on what was held out; the identity where no step was better.

    Raises:
        ValueError: with fewer than 20 queries to train on or 5 to hold out, or a name to hold out that is in no set.
    """
    config = config or ProjectionConfig()
    splits = split_sets(sets, hold_out=hold_out, config=config)
    prepared = [Prepared(*both, config) for both in zip(sets, splits)]
    found = [one.pairs(hard_negatives=config.hard_negatives) for one in prepared]
    pairs = [one for one in found if one is not None]
    queries, held_out = sum(np.unique(one.query).size for one in pairs), sum(len(one.held_out) for one in splits)
    for count, least, use in ((queries, LEAST_TRAINED, "train on"), (held_out, LEAST_QUERIES, "hold out")):
        if count < least:
            raise ValueError(f"{count} queries with labels to {use}: a projection needs at least {least}")
    width = pairs[0].left.shape[1]
    if config.rank > width:
        raise ValueError(f"projection.rank={config.rank} is more than the {width} dimensions of the vectors: lower it")
    blank = Projection(
        head=config.head.value,
        down=[],
        up=[],
        bundle=bundle,
        embedding=kept_settings(settings),
        correction=correction_of(config.search()),
        seen=list({repr(one): one for each in sets for one in (each.target, each.query)}.values()),
        queries=int(queries),
        pairs=sum(one.query.size for one in pairs),
        training=plain(config),
    )
    names = sorted(hold_out) or sorted(
        {f"{one.set.target.species}, {name}" for one in prepared for name in one.split.closed}
    )
    return _Training(config, pairs, [one for one in prepared if one.split.held_out], blank).run(names, progress)


def initial(pairs: Sequence[Pairs], rank: int) -> Weights:
    """The identity: what goes in are the directions that orthologs share most, what comes out is 0.

    These are the leading eigenvectors of the symmetric part of the mean of left times right over all pairs. In
    directions drawn at random most of what a head learns from few pairs is noise.
    """
    shared = sum(one.left.astype(np.float64).T @ one.right.astype(np.float64) for one in pairs)
    values, vectors = np.linalg.eigh(shared + shared.T)
    down = vectors[:, np.argsort(-values, kind="stable")[:rank]]
    return {"down": jnp.asarray(down, jnp.float32), "up": jnp.zeros(down.shape[::-1], jnp.float32)}


def fitted_temperature(batches: Sequence[Mapping[str, np.ndarray]], *, width: int) -> float:
    """The temperature at which the contrastive loss over some batches is least without a head."""
    identity = {"down": jnp.zeros((width, 1)), "up": jnp.zeros((1, width))}
    temperatures = jnp.asarray(_TEMPERATURES, jnp.float32)
    total = sum(np.asarray(_losses(identity, batch, temperatures)) for batch in batches)
    return float(_TEMPERATURES[np.argmin(total)])


@jax.jit
def _losses(weights: Weights, batch: Mapping[str, Array], temperatures: Float[Array, "T"]) -> Float[Array, "T"]:
    def at(temperature):
        cold = weights | {"coldness": -jnp.log(temperature)}
        return contrastive_loss(cold, batch, keep_identity=0.0, hidden=False)

    return jax.vmap(at)(temperatures)


@partial(jax.jit, static_argnames="hidden")
def _step(weights, state, batch, rates, *, hidden):
    """One step of Adam; `rates` are the weight of the identity and the rate of learning."""
    loss, slope = jax.value_and_grad(contrastive_loss)(weights, batch, keep_identity=rates[0], hidden=hidden)
    change, state = _ADAM.update(slope, state)
    return jax.tree.map(lambda value, by: value - rates[1] * by, weights, change), state, loss


def added(weights: Weights, x: Float[Array, "... D"], *, hidden: bool) -> Float[Array, "... D"]:
    """What the head adds to vectors."""
    with jax.default_matmul_precision("highest"):
        inner = x @ weights["down"]
        return (gelu(inner, jnp.tanh) if hidden else inner) @ weights["up"]


def contrastive_loss(
    weights: Weights, batch: Mapping[str, Array | np.ndarray], *, keep_identity: float | Float[Array, ""], hidden: bool
) -> Float[Array, ""]:
    """Symmetric InfoNCE and what holds the head to the identity.

    Args:
        weights: of the head, and `coldness`, minus the logarithm of the temperature.
        batch: `left` and `right` [B, D], the pairs; `same` [B, B], whether right j is a true place of left i's query;
            `wrong_left` and `wrong_right` [B, H, D], pairs that are none, null vectors where there are fewer.
        keep_identity: weight of the mean squared length of what is added.
        hidden: whether a GELU stands in the head.
    """

    def projected(x):
        x = jnp.asarray(x)
        more = added(weights, x, hidden=hidden)
        return _unit(x + more), jnp.square(more).sum(-1).mean()

    (left, far_left), (right, far_right) = projected(batch["left"]), projected(batch["right"])
    wrong = (projected(batch["wrong_left"])[0] * projected(batch["wrong_right"])[0]).sum(-1)
    absent = ~jnp.asarray(batch["wrong_right"]).any(-1)
    with jax.default_matmul_precision("highest"):
        cosines = left @ right.T
    scale = jnp.exp(jnp.clip(weights["coldness"], *_COLDNESS))
    others = jnp.where(_others(jnp.asarray(batch["same"])), -jnp.inf, cosines * scale)
    forward = jnp.concatenate([others, jnp.where(absent, -jnp.inf, wrong * scale)], axis=1)
    own = jnp.diagonal(cosines) * scale
    ahead = jax.nn.logsumexp(forward, axis=1) - own
    back = jax.nn.logsumexp(others, axis=0) - own
    return 0.5 * (ahead.mean() + back.mean()) + keep_identity * 0.5 * (far_left + far_right)


def _others(same: Bool[Array, "B B"]) -> Bool[Array, "B B"]:
    """True places off the diagonal, which are no negatives."""
    return same & ~jnp.eye(same.shape[0], dtype=bool)


def _unit(x: Float[Array, "... D"]) -> Float[Array, "... D"]:
    return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), 1e-12))


def drawn_batch(pairs: Pairs, size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One pair each of some queries, in random order."""
    order = rng.permutation(pairs.query.size)
    _, first = np.unique(pairs.query[order], return_index=True)  # a random pair of every query
    chosen = rng.permutation(order[first])[:size]
    query, row = pairs.query[chosen], pairs.row[chosen]
    same = np.stack([np.isin(row, pairs.true[number]) for number in query])
    own = {"left": pairs.left[chosen], "right": pairs.right[chosen], "same": same}
    return own | {"wrong_left": pairs.wrong_left[query], "wrong_right": pairs.wrong_right[query]}


class _Training:
    """The loop: steps, looks, and the best head so far."""

    def __init__(self, config: ProjectionConfig, pairs: list[Pairs], held_out: list[Prepared], blank: Projection):
        self._config, self._pairs, self._held_out, self._blank = config, pairs, held_out, blank

    def head(self, weights: Weights) -> Projection:
        """Weights as what is written."""
        return replace(self._blank, **{name: np.asarray(weights[name]).tolist() for name in ("down", "up")})

    def reciprocal_ranks(self, head: Projection) -> np.ndarray:
        """Of the first true window of each query that was held out."""
        found = []
        for one in self._held_out:
            numbers = one.split.held_out
            ranking = one.ranking(numbers, head=head, top_k=DEEPEST)
            found += [
                first_true_rank(rows, one.held_out_true[number], top_k=DEEPEST)
                for number, rows in zip(numbers, ranking.rows)
            ]
        return reciprocal(np.array([found]))

    def _coldness(self) -> Float[Array, ""]:
        """What is learned of the temperature, where it starts."""
        config, rng = self._config, np.random.default_rng([self._config.seed, 4])
        batches = [drawn_batch(one, config.batch_pairs, rng) for one in self._pairs]
        width = self._pairs[0].left.shape[1]
        return jnp.asarray(-np.log(config.temperature or fitted_temperature(batches, width=width)), jnp.float32)

    def _moved(self, head: Projection) -> float:
        """The mean length of what is added to the windows of the pairs."""
        more = np.concatenate([head.added(one.right) for one in self._pairs])
        return float(np.mean(np.linalg.norm(more, axis=1), dtype=np.float64))

    def run(self, names: list[str], progress: Callable[[str, int, int], None] | None) -> Projection:
        """Train until it gets no better; see `train_projection`."""
        config, rng = self._config, np.random.default_rng([self._config.seed, 2])
        shares = np.array([np.unique(one.query).size for one in self._pairs], np.float64)
        weights = initial(self._pairs, config.rank) | {"coldness": self._coldness()}
        state, losses = _ADAM.init(weights), []
        rates = jnp.asarray([config.keep_identity, config.learning_rate], jnp.float32)
        best = first = self.head(weights)
        kept = without = self.reciprocal_ranks(first)
        curve, at = [Look(0, None, float(without.mean()), 0.0)], 0
        for step in range(1, config.max_steps + 1):
            pairs = self._pairs[rng.choice(len(self._pairs), p=shares / shares.sum())]
            batch = drawn_batch(pairs, config.batch_pairs, rng)
            weights, state, loss = _step(weights, state, batch, rates, hidden=config.head is HeadKind.HIDDEN)
            losses.append(float(loss))
            if not np.isfinite(losses[-1]):
                raise ValueError(
                    f"the loss is {losses[-1]} at step {step}: lower projection.learning_rate={config.learning_rate}"
                )
            if progress is not None:
                progress("train", step, config.max_steps)
            if step % config.check_steps and step < config.max_steps:
                continue
            head = self.head(weights)
            ranks = self.reciprocal_ranks(head)
            curve.append(Look(step, float(np.mean(losses)), float(ranks.mean()), self._moved(head)))
            losses = []
            if ranks.mean() > kept.mean() + 1e-9:
                best, kept, at = head, ranks, step
            if step - at >= config.patience * config.check_steps:
                break
        if progress is not None:
            progress("train", config.max_steps, config.max_steps)
        return replace(best, curve=curve, validation=self._validation(names, at, kept, without))

    def _validation(self, names: list[str], at: int, kept: np.ndarray, without: np.ndarray) -> Validation:
        rng = np.random.default_rng([self._config.seed, 3])
        resample = rng.integers(0, kept.size, (self._config.resamples, kept.size))
        difference = interval(kept - without, resample)
        return Validation(kept.size, names, at, float(kept.mean()), float(without.mean()), difference)
