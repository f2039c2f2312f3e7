"""One process of `plantgfm bench hosts`: hosts_process.py JSON, from `hosts.launch`."""

from __future__ import annotations

import json
import os
import sys
from functools import partial

_WAIT_SECONDS = 300


def main(order: str) -> None:
    """Take a core, meet the others, time steps, and print the seconds of the quickest."""
    asked = json.loads(order)
    os.sched_setaffinity(0, {asked["core"]})  # before JAX counts cores
    from plantgfm.training.allocator import keep_freed_memory

    keep_freed_memory()
    from plantgfm.bench import contenders
    from plantgfm.bench.timing import quickest
    from plantgfm.bench.train import MARK
    from plantgfm.training.hosts import join_hosts

    join_hosts(asked["hosts"], os.environ, wait_s=_WAIT_SECONDS)
    case = contenders.Case(**{**asked["case"], "mesh": tuple(asked["case"]["mesh"])})
    ours = contenders.ours(case)
    seconds = quickest({contenders.OURS: partial(ours.run, 1)}, rounds=asked["rounds"])
    print(f"{MARK}{seconds[contenders.OURS]}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
