"""One case of `plantgfm bench train`, in this process: train_case.py JSON, from `train.measure_apart`."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import jax

from plantgfm.bench import contenders
from plantgfm.bench.contenders import OURS, Case, Contender
from plantgfm.bench.timing import quickest
from plantgfm.bench.train import MARK, Measured, failed, measured
from plantgfm.training.throughput import peak_of

_TOLD = 300  # characters of an error


def measure(case: Case, *, peers: Sequence[str], rounds: int, steps: int) -> list[Measured]:
    """Rows of a case: ours, each peer, and those that could not run with the reason.

    Args:
        case: what to time.
        peers: of `contenders.PEERS`.
        rounds: timed, of each in turn, behind one that compiles.
        steps: in a row in a round.
    """
    device = jax.devices()[0].device_kind
    standing, first, rows = [], {}, []
    for name, make in _makers(case, peers):
        began = time.perf_counter()
        try:
            contender = make()
            contender.run(1)
        except (RuntimeError, ValueError) as error:  # RuntimeError: what devices and compilers raise
            told = " ".join(str(error).split())[:_TOLD]
            rows.append(failed(case, name, f"{type(error).__name__}: {told}", device=device))
            continue
        first[contender.name] = time.perf_counter() - began
        standing.append(contender)
    seconds = quickest({each.name: partial(each.run, steps) for each in standing}, rounds=rounds)
    return [*_rows(case, standing, device=device, seconds=seconds, first=first, steps=steps), *rows]


def _makers(case: Case, peers: Sequence[str]) -> list[tuple[str, Callable[[], Contender]]]:
    found = [(OURS, partial(contenders.ours, case))]
    if peers and not contenders.have_peers():
        return [*found, ("PyTorch", _refuse("torch or transformers is not installed here (extra interop)"))]
    if peers and case.devices > 1:
        return [*found, ("PyTorch", _refuse("the peers run on one device, this mesh has more"))]
    attentions = contenders.fastest_attentions() if peers else []
    pairs = [(kind, attention) for kind in peers for attention in attentions]
    return found + [(f"PyTorch, {k}, {a}", partial(contenders.peer, case, k, attention=a)) for k, a in pairs]


def _refuse(why: str) -> Callable[[], Contender]:
    def make() -> Contender:
        raise ValueError(why)

    return make


def _rows(
    case: Case,
    standing: Sequence[Contender],
    *,
    device: str,
    seconds: dict[str, float],
    first: dict[str, float],
    steps: int,
) -> list[Measured]:
    known = {"device": device, "flops": contenders.case_flops(case), "peak": peak_of(device)}
    our_seconds = seconds[OURS] / steps if OURS in seconds else None
    return [
        measured(
            case,
            each.name,
            seconds=seconds[each.name] / steps,
            ours=our_seconds,
            first_seconds=first[each.name],
            memory_bytes=each.memory_bytes(),
            how=each.how,
            **known,
        )
        for each in standing
    ]


def main(order: str) -> None:
    """Measure the case of an order and print its rows."""
    asked = json.loads(order)
    case = Case(**{**asked["case"], "mesh": tuple(asked["case"]["mesh"])})
    rows = measure(case, peers=asked["peers"], rounds=asked["rounds"], steps=asked["steps"])
    print(MARK + json.dumps([dataclasses.asdict(row) for row in rows]), flush=True)


if __name__ == "__main__":
    from plantgfm.training.allocator import keep_freed_memory

    keep_freed_memory()  # as training does; no device has been asked for yet
    main(sys.argv[1])
