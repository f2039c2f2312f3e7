"""One process of `plantgfm bench hosts`: hosts_process.py JSON, from `hosts.launch`."""

from __future__ import annotations

import json
import os
import sys
import time

_WAIT_SECONDS = 300


def main(order: str) -> None:
    """Take a core, meet the others, time steps, and print the seconds of the quickest, by the clock and of the core."""
    asked = json.loads(order)
    os.sched_setaffinity(0, {asked["core"]})  # before JAX counts cores
    from plantgfm.training.allocator import keep_freed_memory

    keep_freed_memory()
    from plantgfm.bench import contenders
    from plantgfm.bench.train import MARK
    from plantgfm.training.hosts import join_hosts

    join_hosts(asked["hosts"], os.environ, wait_s=_WAIT_SECONDS)
    case = contenders.Case(**{**asked["case"], "mesh": tuple(asked["case"]["mesh"])})
    ours = contenders.ours(case)
    ours.run(1)
    taken = []
    for _ in range(asked["rounds"]):
        began = time.perf_counter(), time.process_time()
        ours.run(1)
        taken.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    print(f"{MARK}{json.dumps([min(each) for each in zip(*taken)])}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
