"""SIGTERM and SIGINT as a wish that the loop grants at the end of its step."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


@dataclass
class StopRequest:
    """Whether somebody asked to stop, and by which signal."""

    signal: str = ""

    def __bool__(self) -> bool:
        return bool(self.signal)

    def look(self) -> bool:
        """Whether to stop behind this step; once a step."""
        return bool(self)


class SharedStop(StopRequest):
    """A request that reaches all processes of a run at the same step, whichever of them got the signal.

    A launcher's signal comes to some earlier than to others; a process that left alone would leave the others waiting
    in the next step. So every step adds up how many were asked, and the sum of the step before decides: it has long
    been computed when it is read.
    """

    def __init__(self, own: StopRequest):
        super().__init__()
        self._own = own
        self._mesh = Mesh(np.asarray(jax.devices()), ("all",))
        self._total = jax.jit(jnp.sum, out_shardings=NamedSharding(self._mesh, PartitionSpec()))
        self._asked: jax.Array | None = None

    def look(self) -> bool:
        """Tell the others, and hear what all told at the step before."""
        before, own = self._asked, np.full(jax.local_device_count(), bool(self._own), np.int32)
        flags = jax.make_array_from_process_local_data(NamedSharding(self._mesh, PartitionSpec("all")), own)
        self._asked = self._total(flags)
        if before is not None and int(before):
            self.signal = self._own.signal or "SIGTERM"
        return bool(self)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Catch the first SIGTERM or SIGINT; a second one acts as usual, for whoever can't wait.

    Outside the main thread, where Python allows no handlers, signals keep their usual effect.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    usual = {number: signal.getsignal(number) or signal.SIG_DFL for number in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, frame: object) -> None:
        request.signal = signal.Signals(number).name
        for each, handler in usual.items():
            signal.signal(each, handler)

    for number in usual:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
