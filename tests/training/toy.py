"""A small real training: the real network and objectives, batches that are a pure function of the step.

Run as a program, it trains in a folder until it is done or killed: python toy.py RUN_DIR STEPS PAUSE_SECONDS KIND
"""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path

import jax
import numpy as np

from plantgfm.model.build import build
from plantgfm.model.config import ModelConfig
from plantgfm.objectives import joint
from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.schema import Batch
from plantgfm.training.config import OptimizerConfig, OptimizerKind, TrainingConfig
from plantgfm.training.loop import train
from plantgfm.training.optimizer import build_optimizer
from plantgfm.training.state import state_init
from plantgfm.training.step import make_step

VOCABULARY_SIZE = 40
SPECIES = tuple(f"Planta species{number}" for number in range(8))
IDENTITY = {"training": {"seed": 3}, "corpus": {"fingerprint": "c0"}, "vocabulary": {"fingerprint": "v0"}}


def batch_of(step: int, *, windows: int = 8, length: int = 16) -> Batch:
    """The batch of a step: repeats of a short pattern, so that there is something to learn."""
    rng = np.random.default_rng((17, step))
    phase = rng.integers(0, 5, size=(windows, 1))
    tokens = (5 + (np.arange(length) + phase) % 5 + 6 * (np.arange(windows)[:, None] % 4)).astype(np.int32)
    tokens[:, 0] = 1
    following = np.roll(tokens, 3, axis=1)
    return Batch(
        tokens=tokens,
        repeat_fraction=rng.random(tokens.shape, dtype=np.float32),
        next_tokens=following,
        distance_bp=rng.integers(10, 1000, windows).astype(np.int32),
        species=(np.arange(windows) % len(SPECIES)).astype(np.int32),
    )


def batches(start: int, *, pause: float = 0.0):
    """Batches from a step on; a pause makes room for a kill."""
    step = start
    while True:
        time.sleep(pause)
        yield batch_of(step)
        step += 1


def parts(*, steps: int, kind: OptimizerKind = OptimizerKind.MUON):
    """Initialiser and jitted step, built once for each setting."""
    return _parts(steps, kind)


@functools.cache
def _parts(steps: int, kind: OptimizerKind):
    network = build(ModelConfig(d_model=16, n_layers=1, n_heads=2, d_ff=24, max_tokens=16), VOCABULARY_SIZE)
    optimizer = build_optimizer(OptimizerConfig(kind, peak_learning_rate=1e-2, warmup_steps=3), steps)

    def loss_fn(params, batch, key):
        return joint.loss(network, params, batch, key, ObjectiveConfig(), n_species=len(SPECIES))

    step = make_step(loss_fn, optimizer, seed=3)
    return state_init(network.init, optimizer, seed=3), step


class Norm:
    """An evaluator that needs no data: the norm of the output bias, which moves in every step."""

    def __init__(self, every_steps: int = 4):
        self.name, self.every_steps = "norm", every_steps

    def run(self, params):
        return {"bias": float(np.linalg.norm(np.asarray(params["masked_head"]["bias"])))}


def train_toy(
    run_dir: Path,
    *,
    steps: int = 10,
    source=batches,
    init=None,
    step=None,
    kind: OptimizerKind = OptimizerKind.MUON,
    **overrides,
):
    """Train the toy; settings of the loop by name, the rest as `train` takes it."""
    own = {"evaluators", "identity", "accept", "clock", "write", "cut_bp", "work", "watch"}
    arguments = {name: overrides.pop(name) for name in own & overrides.keys()}
    settings = {"log_every_steps": 1, "checkpoint_every_steps": 3, "tensorboard": False, **overrides}
    default_init, default_step = parts(steps=steps, kind=kind)
    return train(
        init=init or default_init,
        step=step or default_step,
        batches=source,
        config=TrainingConfig(steps=steps, seed=3, **settings),
        run_dir=run_dir,
        species=SPECIES,
        **{"identity": IDENTITY, "evaluators": [Norm()], "write": lambda text: None, **arguments},
    )


def leaves(tree) -> dict[str, np.ndarray]:
    """Arrays of a tree by path, on the host."""
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def assert_same_bits(one, other):
    """Two trees hold the same bits in the same places."""
    one, other = leaves(one), leaves(other)
    assert one.keys() == other.keys()
    different = [path for path in one if one[path].tobytes() != other[path].tobytes()]
    assert not different, different


if __name__ == "__main__":
    folder, number, seconds, rule = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), OptimizerKind(sys.argv[4])
    paused = functools.partial(batches, pause=seconds)
    outcome = train_toy(folder, steps=number, source=paused, write=print, kind=rule)
    print(f"ended at {outcome.step} {outcome.interrupted}".strip(), flush=True)
    sys.exit(143 if outcome.interrupted else 0)
