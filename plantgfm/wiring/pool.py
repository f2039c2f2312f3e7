"""A pool of processes in which the death of a worker costs the task that it was on, and nothing else.

`ProcessPoolExecutor` gives up for good when one of its workers dies. Here a new pool takes over: what was under way is
tried again one task at a time (so that the next death names its task, and each has all the memory), then the rest goes
on as before. A task at whose side a worker dies `TRIES` times ends with `BrokenExecutor`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any

TRIES = 3
_STOP_SECONDS = 10.0
_TIDY_SECONDS = 1.0


@dataclass
class _Task:
    call: Callable[[], Any]
    arguments: tuple
    named: dict[str, Any]
    outcome: Future = field(default_factory=Future)
    deaths: int = 0  # of workers, while it was under way


class _Spawn(SpawnContext):
    """Spawned processes, so that no thread of this one is copied, that are remembered so that they can be stopped."""

    def __init__(self):
        super().__init__()
        self.started: list[BaseProcess] = []

    def Process(self, *arguments, **named) -> BaseProcess:
        process = super().Process(*arguments, **named)
        self.started.append(process)
        return process


class WorkerPool(Executor):
    """Up to `workers` spawned processes; see the head of this file for what a worker's death does.

    Leaving its block by an error, or by Ctrl-C, ends what is under way at once; nothing half-written stays.

    Args:
        workers: processes at most; each is started when there is work for it.

    Raises:
        ValueError: for no worker.
    """

    def __init__(self, workers: int):
        if workers < 1:
            raise ValueError(f"{workers} workers can do no work: give at least 1")
        self._workers = workers
        self._lock = threading.RLock()
        self._waiting: deque[_Task] = deque()
        self._suspects: deque[_Task] = deque()  # under way when a worker died: each is tried again alone
        self._under_way: dict[Future, tuple[_Task, ProcessPoolExecutor]] = {}
        self._closed = False
        self._context = _Spawn()
        self._renew()

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        """Run `fn(*args, **kwargs)` in a worker."""
        with self._lock:
            if self._closed:
                raise RuntimeError("this pool is shut down: open another one")
            task = _Task(fn, args, kwargs)
            self._waiting.append(task)
            self._dispatch()
        return task.outcome

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As `Executor.shutdown`; what waits is run first unless it is to be cancelled."""
        with self._lock:
            running = [task for task, _ in self._under_way.values()]
            left = [task.outcome for task in (*self._waiting, *self._suspects, *running)]
            if cancel_futures:
                self._cancel_waiting()
        if wait:
            for outcome in left:
                with contextlib.suppress(CancelledError):
                    outcome.exception()
        with self._lock:
            self._closed = True
            pool = self._pool
        pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def stop(self) -> None:
        """End what is under way now: SIGTERM first, by which a task removes its unfinished files, SIGKILL later."""
        with self._lock:
            self._closed = True
            self._cancel_waiting()
            alive = [process for process in self._context.started if process.is_alive()]
            pool = self._pool
        for process in alive:
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        for process in alive:
            process.join(_STOP_SECONDS)
            if process.is_alive():
                process.kill()

    def __exit__(self, kind, value, traceback) -> bool:
        if kind is None:
            self.shutdown(wait=True)
        else:
            self.stop()
        return False

    def _renew(self) -> None:
        # A broken pool ends by itself; to shut it down from one of its callbacks would wait for its own lock.
        self._pool = ProcessPoolExecutor(self._workers, mp_context=self._context, initializer=_begin_worker)

    def _cancel_waiting(self) -> None:
        for task in (*self._waiting, *self._suspects):
            task.outcome.cancel()
            task.outcome.set_running_or_notify_cancel()  # wakes who waits for it
        self._waiting.clear()
        self._suspects.clear()

    def _dispatch(self) -> None:
        """Hand out work, never more than there are workers, so that a death is known to concern these tasks only."""
        while not self._closed and (self._waiting or self._suspects):
            alone = bool(self._suspects)
            if len(self._under_way) >= (1 if alone else self._workers):
                return
            task = (self._suspects if alone else self._waiting).popleft()
            if task.outcome.cancelled() or not (task.deaths or task.outcome.set_running_or_notify_cancel()):
                continue
            try:
                future = self._pool.submit(task.call, *task.arguments, **task.named)
            except BrokenExecutor:  # a worker died between two tasks: none is to blame
                self._renew()
                future = self._pool.submit(task.call, *task.arguments, **task.named)
            self._under_way[future] = task, self._pool
            future.add_done_callback(self._done)

    def _done(self, future: Future) -> None:
        with self._lock:
            task, pool = self._under_way.pop(future)
            error = CancelledError() if future.cancelled() else future.exception()
            died = isinstance(error, BrokenExecutor)
            task.deaths += died
            again = died and task.deaths < TRIES and not self._closed
            if again:
                self._suspects.append(task)
            last = not any(other is pool for _, other in self._under_way.values())
            if died and last and pool is self._pool and not self._closed:
                self._renew()
            if last or not died:
                self._dispatch()
        if again:
            return
        if died:
            task.outcome.set_exception(BrokenExecutor(f"a worker process died on it, {task.deaths} times of {TRIES}"))
        elif error is not None:
            task.outcome.set_exception(error)
        else:
            task.outcome.set_result(future.result())


def _begin_worker() -> None:
    """In a worker: Ctrl-C is the driver's business, SIGTERM ends a task by its `finally`, a dead driver ends all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_follow_driver, daemon=True).start()


def _leave(number: int, frame: object) -> None:
    """End the task by an error, so that it tidies up, and then the process, which would wait for another task."""
    threading.Timer(_TIDY_SECONDS, os._exit, [128 + number]).start()
    raise SystemExit(128 + number)


def _follow_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)
