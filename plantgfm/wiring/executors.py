"""Who does the work of curation: this process, a pool of processes, or Dask, here or on a cluster.

All are a `concurrent.futures.Executor`, and the results are the same whichever it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from typing import Any

from plantgfm.config import SLURM, ExecutorKind, check_executor
from plantgfm.wiring.pool import TRIES, WorkerPool

_CONNECT_SECONDS = 20


@contextmanager
def open_executor(
    kind: ExecutorKind = ExecutorKind.AUTO, *, workers: int = 1, cluster: str = ""
) -> Iterator[Executor | None]:
    """An executor for one task an assembly file; None where the work is done here, one file after another.

    Args:
        kind: serial, processes, dask; auto is serial with one worker and processes with more.
        workers: processes, Dask workers, or SLURM jobs.
        cluster: for Dask: "" starts workers on this machine, "slurm" submits jobs as Dask's own configuration
            (`jobqueue.slurm`) describes them, else the address of a scheduler ("tcp://host:8786").

    Raises:
        ValueError: for a choice that contradicts itself, a cluster that does not answer, or Dask where it is missing.
    """
    check_executor(kind, workers=workers, cluster=cluster)
    if kind is ExecutorKind.AUTO:
        kind = ExecutorKind.PROCESSES if workers > 1 else ExecutorKind.SERIAL
    if kind is ExecutorKind.SERIAL:
        yield None
    elif kind is ExecutorKind.PROCESSES:
        with WorkerPool(workers) as pool:
            yield pool
    else:
        with _dask(workers, cluster) as executor:
            yield executor


class _DaskExecutor(Executor):
    """Dask's executor, whose lost workers are told as those of a process pool are."""

    def __init__(self, inner: Executor, killed: type[Exception]):
        self._inner, self._killed = inner, killed

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        outcome: Future = Future()
        future = self._inner.submit(fn, *args, **kwargs)

        def hand_on(done: Future) -> None:
            if done.cancelled():
                outcome.cancel()
                outcome.set_running_or_notify_cancel()
            elif isinstance(error := done.exception(), self._killed):
                outcome.set_exception(BrokenExecutor(f"a Dask worker died on it, {TRIES} times of {TRIES}"))
            elif error is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(done.result())

        future.add_done_callback(hand_on)
        return outcome


@contextmanager
def _dask(workers: int, cluster: str) -> Iterator[Executor]:
    try:
        import dask
        from distributed import Client, LocalCluster
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise ValueError("the executor dask needs Dask: pip install 'plantgfm[cluster]'") from None
    local = {"n_workers": workers, "threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
    with dask.config.set({"distributed.scheduler.allowed-failures": TRIES - 1}):
        if cluster == SLURM:
            owned = _slurm(workers)
        else:
            owned = None if cluster else LocalCluster(**local)
        try:
            client = Client(owned or cluster, timeout=_CONNECT_SECONDS, set_as_default=False)
        except OSError as error:
            raise ValueError(f"no Dask scheduler answers at {cluster}: {error}") from None
        executor = client.get_executor(pure=False, retries=0)
        try:
            yield _DaskExecutor(executor, KilledWorker)
        except BaseException:
            executor.shutdown(wait=False)
            raise
        finally:
            client.close()
            if owned is not None:
                owned.close()


def _slurm(jobs: int):
    """A cluster of SLURM jobs as `jobqueue.slurm` of Dask's configuration describes one (configs/run/jobqueue.yaml)."""
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise ValueError("the cluster slurm needs dask-jobqueue: pip install 'plantgfm[cluster]'") from None
    try:
        found = SLURMCluster()
    except (ValueError, TypeError) as error:
        raise ValueError(f"Dask's configuration describes no SLURM job (jobqueue.slurm): {error}") from None
    found.scale(jobs=jobs)
    return found
