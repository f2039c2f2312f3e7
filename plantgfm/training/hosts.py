"""Several processes as one run: how they find one another, and how they agree.

`find_hosts` reads where a process stands from one setting and the environment of a launcher; `join_hosts` connects it
to the others. Afterwards JAX sees the devices of all of them, and `Hosts` passes small messages between them, through
the coordination service of JAX's distributed runtime: unlike a collective on devices, waiting there costs nothing,
has a time limit, and an error of one process reaches the others as a message.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, NoReturn

import jax
from jax.experimental import multihost_utils

NONE, AUTO = "none", "auto"
_SLURM = ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NODELIST")
_EXPLICIT = re.compile(r"(?P<coordinator>.+:\d+)/(?P<index>\d+)/(?P<count>\d+)")
_STATUS = re.compile(r"(ABORTED|CANCELLED|DEADLINE_EXCEEDED|FAILED_PRECONDITION|INTERNAL|UNAVAILABLE|UNKNOWN): ")
_LEAVE_S = 60  # that a process which is done waits for the others to leave, too
_PORTS = 2**12  # the last ones below 65,536, as JAX does it: jobs on one node get different ports


class HostError(ValueError):
    """The processes of a run can't find one another, or one of them failed."""


class LostHost(HostError):
    """Another process of a run is gone, so that nothing that is done together can be done any more."""


@dataclass(frozen=True)
class Standing:
    """Where a process stands among those of its run."""

    coordinator: str  # host:port of process 0; "": JAX finds all of this itself
    index: int = 0
    count: int = 0
    local_devices: tuple[int, ...] | None = None  # None: all of its node


def find_hosts(setting: str, environ: Mapping[str, str]) -> Standing | None:
    """Where this process stands, None where it is alone.

    Args:
        setting: "none"; "auto"; or HOST:PORT/INDEX/COUNT, address of process 0, own number and number of processes.
        environ: read by "auto", the first of: JAX_COORDINATOR_ADDRESS and JAX_NUM_PROCESSES with JAX_PROCESS_ID or
            JOB_COMPLETION_INDEX (Kubernetes numbers the pods of an indexed Job with it); the variables of a SLURM step;
            what else JAX knows (TPU pods, Open MPI).

    Raises:
        HostError: for a setting that is none of these, and for variables that contradict themselves.
    """
    if setting == NONE:
        return None
    if setting != AUTO:
        found = _EXPLICIT.fullmatch(setting)
        if not found:
            raise HostError(f"run.hosts={setting!r} is neither none, auto, nor HOST:PORT/INDEX/COUNT as node1:8476/0/2")
        stated = Standing(found["coordinator"], int(found["index"]), int(found["count"]))
        return _checked(stated, f"run.hosts={setting}")
    if "JAX_COORDINATOR_ADDRESS" in environ:
        index = environ.get("JAX_PROCESS_ID", environ.get("JOB_COMPLETION_INDEX", ""))
        number = environ.get("JAX_NUM_PROCESSES", "")
        if not (index.isdigit() and number.isdigit() and re.search(r":\d+$", environ["JAX_COORDINATOR_ADDRESS"])):
            raise HostError(
                f"JAX_COORDINATOR_ADDRESS={environ['JAX_COORDINATOR_ADDRESS']} has to be HOST:PORT, and needs "
                f"JAX_NUM_PROCESSES (is {number!r}) and JAX_PROCESS_ID or JOB_COMPLETION_INDEX (is {index!r}) beside it"
            )
        return _checked(Standing(environ["JAX_COORDINATOR_ADDRESS"], int(index), int(number)), "the environment")
    if all(name in environ for name in _SLURM):
        return _of_slurm(environ)
    return Standing("")


def _checked(standing: Standing, where: str) -> Standing:
    if not 0 <= standing.index < standing.count:
        raise HostError(f"{where}: process {standing.index} of {standing.count} does not exist, they count from 0")
    port = standing.coordinator.rsplit(":", 1)[1]
    if not (port.isdigit() and 0 < int(port) < 2**16):  # nobody would ever answer there
        raise HostError(f"{where}: {port} of {standing.coordinator} is no port, which are 1 to 65535")
    return standing


def _of_slurm(environ: Mapping[str, str]) -> Standing:
    """A task of a SLURM step; with one task a node it takes all devices there, with several each takes its own."""
    nodes, job = environ["SLURM_STEP_NODELIST"], environ["SLURM_JOB_ID"]
    first = re.match(r"([^,\[]+)(?:\[(\d+))?", nodes)
    if not first:
        raise HostError(f"SLURM_STEP_NODELIST={nodes!r} names no node: give run.hosts=HOST:PORT/INDEX/COUNT")
    host = first[1] + (first[2] or "")
    port = environ.get("JAX_COORDINATOR_PORT", str(2**16 - _PORTS + int(job) % _PORTS))
    alone = environ.get("SLURM_STEP_TASKS_PER_NODE", "1").split("(")[0].split(",")[0] == "1"
    devices = None if alone else (int(environ.get("SLURM_LOCALID", "0")),)
    number = int(environ["SLURM_NTASKS"])
    return _checked(Standing(f"{host}:{port}", int(environ["SLURM_PROCID"]), number, devices), "SLURM")


@dataclass(frozen=True)
class Hosts:
    """The processes of a run, and this one among them."""

    index: int = 0
    count: int = 1
    wait_s: float = 0.0  # for what another process does

    def lead(self, name: str, make: Callable[[], Any]) -> Any:
        """What process 0 makes, a JSON value, on every process; the others wait for it.

        Raises:
            HostError: on the others, when it failed, or was not ready in time. On process 0, its own error.
        """
        if self.count == 1:
            return make()
        key = _key(name)
        if self.index == 0:
            return self._tell(key, make)
        return self._hear(key, 0, name)

    def agree(self, name: str, check: Callable[[], Any]) -> list[Any]:
        """What each process finds, JSON values in their order, on every process: all go on, or none.

        Raises:
            HostError: when another process failed, or was not there in time. Where the own check failed, its error.
        """
        if self.count == 1:
            return [check()]
        key = _key(name)
        mine = self._tell(f"{key}/{self.index}", check)
        return [
            mine if other == self.index else self._hear(f"{key}/{other}", other, name) for other in range(self.count)
        ]

    @contextlib.contextmanager
    def together(self, where: Callable[[], str]) -> Iterator[None]:
        """Let an error of the runtime that ends the block say what it mostly is among several: one of them is gone.

        Args:
            where: says how far the work came.

        Raises:
            LostHost: in the place of such an error, where there are several processes.
        """
        try:
            yield
        except (jax.errors.JaxRuntimeError, ValueError) as error:
            # Gloo's errors come as ValueError where an array is read, and begin with a status of the runtime.
            if self.count == 1 or not (isinstance(error, jax.errors.JaxRuntimeError) or _STATUS.match(str(error))):
                raise
            raise LostHost(
                f"process {self.index} of {self.count} could not go on with the others, behind {where()}: one of them "
                f"is gone, or a device failed ({str(error).splitlines()[0][:200]}). Start all processes again with the "
                "same command; they go on from the newest checkpoint"
            ) from error

    def _tell(self, key: str, make: Callable[[], Any]) -> Any:
        try:
            value = make()
        except BaseException as error:
            _client().key_value_set(key, json.dumps({"error": str(error) or type(error).__name__}))
            raise
        _client().key_value_set(key, json.dumps({"value": value}))
        return value

    def _hear(self, key: str, other: int, name: str) -> Any:
        try:
            told = json.loads(_client().blocking_key_value_get(key, int(self.wait_s * 1000)))
        except jax.errors.JaxRuntimeError as error:
            raise HostError(
                f"process {self.index} waited {self.wait_s:.0f} s for {name} of process {other}, in vain: see what "
                f"that process says, or raise run.hosts_wait_s ({str(error).splitlines()[0][:120]})"
            ) from error
        if "error" in told:
            raise HostError(f"process {other} failed at {name}: {told['error']}")
        return told["value"]


ALONE = Hosts()
"""A run of one process."""

_calls = count()


def _key(name: str) -> str:
    """A name that is used once: every process comes through here in the same order."""
    return f"plantgfm/{next(_calls)}/{name}"


def _client() -> Any:
    # There is no public way to the key-value store of the runtime yet; Orbax takes this one, too.
    from jax._src.distributed import global_state

    return global_state.client


def end_without_the_others(error: LostHost) -> NoReturn:
    """Say what was lost and end this process with status 2, at once.

    The usual way out waits for the others: JAX for a minute, a checkpoint that they were writing for a hundred seconds,
    and both end in an abort.
    """
    print(f"error: {error}", file=sys.stderr, flush=True)
    os._exit(2)


def _reach(standing: Standing, wait_s: float) -> None:
    """Wait until process 0 answers; JAX would end this process without a word that helps.

    Raises:
        HostError: when it does not in time.
    """
    host, port = standing.coordinator.rsplit(":", 1)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise HostError(
                    f"process {standing.index} of {standing.count} found no process 0 at {standing.coordinator} in "
                    f"{wait_s:.0f} s ({error}): start it, mend the address, or raise run.hosts_wait_s"
                ) from error
            time.sleep(0.2)


def join_hosts(setting: str, environ: Mapping[str, str], *, wait_s: float) -> Hosts:
    """Connect this process to the others of its run; call it before anything of JAX is computed.

    Args:
        setting: as for `find_hosts`.
        environ: of the process.
        wait_s: seconds to wait for the others, now and later.

    Raises:
        HostError: when the others can't be found or do not come.
    """
    standing = find_hosts(setting, environ)
    if standing is None:
        return ALONE
    if standing.index:
        _reach(standing, wait_s)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    stated = {}
    if standing.coordinator:
        stated = {
            "coordinator_address": standing.coordinator,
            "num_processes": standing.count,
            "process_id": standing.index,
            "local_device_ids": standing.local_devices,
            "cluster_detection_method": "deactivate",
        }
    try:
        jax.distributed.initialize(
            initialization_timeout=max(1, int(wait_s)), shutdown_timeout_seconds=_LEAVE_S, **stated
        )
    except (ValueError, RuntimeError) as error:
        if standing.coordinator:
            raise HostError(
                f"process {standing.index} of {standing.count} did not meet the others at {standing.coordinator} in "
                f"{wait_s:.0f} s: {str(error).splitlines()[0][:200]}"
            ) from error
        raise HostError(
            "run.hosts=auto found neither JAX_COORDINATOR_ADDRESS, a SLURM step, nor a cluster that JAX knows "
            f"({str(error).splitlines()[0][:120]}): start it with srun or give run.hosts=HOST:PORT/INDEX/COUNT"
        ) from error
    # Gloo gives up on a process that comes 30 s after the others to their first exchange: have it now, as all are here.
    multihost_utils.sync_global_devices("plantgfm hosts")
    return Hosts(jax.process_index(), jax.process_count(), wait_s)
