"""One of several processes that train together, as a program: together.py RUN_DIR HOSTS [STOP_AT_STEP].

It meets the others, lets one of them fail, trains a linear model whose parameters are split over all processes, and
prints what it saw as JSON. With STOP_AT_STEP the last process alone gets a signal behind that step: the one that the
environment names as STOP_SIGNAL, else SIGTERM.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from plantgfm.partition import batch_sharding, make_mesh, rows_of_process
from plantgfm.schema import Batch
from plantgfm.training.config import OptimizerConfig, Schedule, TrainingConfig
from plantgfm.training.hosts import ALONE, HostError, Hosts, LostHost, end_without_the_others, join_hosts
from plantgfm.training.loop import train
from plantgfm.training.optimizer import build_optimizer
from plantgfm.training.state import state_init
from plantgfm.training.step import make_step, place_batches
from tests.training.toy import IDENTITY, batch_of

STEPS = 8
LINE = build_optimizer(
    OptimizerConfig(peak_learning_rate=0.01, warmup_steps=2, schedule=Schedule.CONSTANT, clip_norm=0.0), STEPS
)


def line_loss(params, batch, key):
    """A linear model of the tokens; counts windows and species of the whole step."""
    error = batch.tokens.astype(jnp.float32) / 40 @ params["w"] - batch.distance_bp.astype(jnp.float32) / 1000
    seen = jnp.zeros(8).at[batch.species].max(1.0)
    return jnp.mean(error**2), {"windows": jnp.float32(batch.tokens.shape[0]), "species_seen": jnp.sum(seen)}


def share_of(step: int, share: int, shares: int) -> Batch:
    """This process's rows of a step."""
    whole = batch_of(step)
    rows = slice(share * 8 // shares, (share + 1) * 8 // shares)
    columns = {item.name: getattr(whole, item.name)[rows] for item in dataclasses.fields(Batch)}
    return Batch(**columns)


def train_line(run_dir: Path, hosts: Hosts = ALONE, *, stop_at: int = 0):
    """Train, on all devices of all processes, each parameter and moment split over them."""
    mesh = make_mesh(fsdp=jax.device_count()) if hosts.count > 1 else make_mesh()
    share, shares = rows_of_process(mesh, jax.process_index())
    make = lambda **on: state_init(lambda key: {"w": jax.random.normal(key, (16,))}, LINE, seed=1, **on)  # noqa: E731
    placed = jax.tree.map(
        lambda leaf: NamedSharding(mesh, PartitionSpec(*("fsdp",) * (leaf.ndim > 0))), jax.eval_shape(make())
    )

    def batches(start: int):
        step = start
        while True:
            if step == stop_at > 0 and hosts.index == hosts.count - 1:
                os.kill(os.getpid(), getattr(signal, os.environ.get("STOP_SIGNAL", "SIGTERM")))
            yield share_of(step, share, shares)
            step += 1

    return train(
        init=make(sharding=placed),
        step=make_step(line_loss, LINE, seed=1, state_sharding=placed, batch_sharding=batch_sharding(mesh)),
        batches=lambda start: place_batches(batches(start), batch_sharding(mesh), shares=shares),
        config=TrainingConfig(steps=STEPS, seed=1, log_every_steps=1, checkpoint_every_steps=3, tensorboard=False),
        run_dir=run_dir,
        identity=IDENTITY,
        sharding=placed,
        cut_bp=lambda: 10 + hosts.index,
        hosts=hosts,
        write=lambda line: None,
    )


def failing(index: int):
    """A check that fails on one process."""

    def check() -> int:
        if jax.process_index() == index:
            raise ValueError("no genomes here")
        return jax.process_index()

    return check


def main() -> None:
    """Meet, fail together, train together."""
    run_dir, setting, stop_at = Path(sys.argv[1]), sys.argv[2], int((*sys.argv, "0")[3])
    hosts = join_hosts(setting, os.environ, wait_s=float(os.environ.get("WAIT_S", "300")))
    seen = {"index": hosts.index, "count": hosts.count, "devices": jax.device_count()}
    seen["led"] = hosts.lead("a greeting", lambda: {"from": hosts.index})
    seen["agreed"] = hosts.agree("numbers", lambda: 10 * hosts.index)
    for name, ask, index in (("leader", hosts.lead, 0), ("other", hosts.agree, hosts.count - 1)):
        try:
            ask(name, failing(index))
        except (HostError, ValueError) as error:
            seen[name] = f"{type(error).__name__}: {error}"
    try:
        seen["result"] = dataclasses.asdict(train_line(run_dir, hosts, stop_at=stop_at))
    except LostHost as error:
        end_without_the_others(error)
    print("SEEN " + json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
