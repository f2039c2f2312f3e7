"""Checkpoints: state, position and identity in one folder a step, written by Orbax beside the running loop.

A step's folder appears by a rename when everything in it is on disk, so a checkpoint is whole or absent:

    checkpoints/<step>/params      parameters; readable with nothing known about the optimizer
    checkpoints/<step>/opt_state   optimizer state
    checkpoints/<step>/average     exponential average of the parameters, where the run keeps one
    checkpoints/<step>/position    JSON: step, identity, checksums, metrics, and what the loop wants to find again
"""

from __future__ import annotations

import contextlib
import math
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from plantgfm.identity import plain, read_json
from plantgfm.training.checksum import checksums
from plantgfm.training.run_folder import RunMismatch, known_identities, require_same
from plantgfm.training.state import TrainState

CHECKPOINTS = "checkpoints"
DAMAGED = "damaged_checkpoints"
BEST = "best"
_ITEMS = ("params", "opt_state", "average", "position")


class DamagedCheckpoint(ValueError):
    """A checkpoint that can't be read back as it was written."""


class CheckpointFailed(OSError):
    """A checkpoint that could not be written: a full disk, a folder that went away."""


@dataclass(frozen=True)
class Restored:
    """What a checkpoint held."""

    step: int  # optimizer steps done
    state: TrainState  # its optimizer state and step are None where only parameters were asked for
    position: dict[str, Any]

    @property
    def params(self) -> Any:
        """Parameters, as a nested dict of arrays."""
        return self.state.params

    @property
    def identity(self) -> dict[str, Any]:
        """Settings and fingerprints of the run that wrote it."""
        return self.position["identity"]

    @property
    def metrics(self) -> dict[str, float]:
        """What the evaluators measured on these parameters, {} where they did not run at this step."""
        return self.position["metrics"]


class Checkpoints:
    """The checkpoints of one run: saved asynchronously, the last few and the best one kept.

    With `regular_steps`, the last one whose step is a multiple of it is kept, too, for `roll_back`.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        keep_last: int,
        best_metric: str = "",
        best_is_lowest: bool = True,
        regular_steps: int = 0,
    ):
        self._run_dir, self._regular_steps = run_dir, regular_steps
        self._failed = False
        self._best_metric, self._best_is_lowest = best_metric, best_is_lowest
        self._scores = _scores(run_dir)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_LastAndBest(keep_last, self._scores, regular_steps),
            cleanup_tmp_directories=True,  # what a kill left half-written
        )
        self._manager = ocp.CheckpointManager(folder_of(run_dir).absolute(), options=options, item_names=_ITEMS)

    def save(self, state: TrainState, *, identity: dict, metrics: dict[str, float], extra: dict | None = None) -> None:
        """Start to write a state; returns once its arrays are copied, and a step that is on disk is left alone.

        Args:
            state: at the end of a step.
            identity: of the run.
            metrics: what the evaluators measured on this state, {} where they did not run; what is not finite can't
                be the best of anything and is left out.
            extra: JSON values that `restore` hands back under `position["extra"]`.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        trees = {"params": state.params, "opt_state": state.opt_state}
        if state.average is not None:
            trees["average"] = state.average
        metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
        position = {
            "step": step,
            "identity": plain(identity),
            "metrics": metrics,
            "extra": extra or {},
            "best_metric": self._best_metric,
            "best_is_lowest": self._best_is_lowest,
            "checksums": {name: checksums(tree) for name, tree in trees.items()},
        }
        items = ocp.args.Composite(
            **{name: ocp.args.StandardSave(tree) for name, tree in trees.items()},
            position=ocp.args.JsonSave(position),
        )
        if (score := _score(position)) is not None:
            self._scores[step] = score
        with self._telling():
            self._manager.save(step, args=items)

    # Where a run goes on from, the first that there is:
    #   1. the newest checkpoint of this run's own folder that reads back as it was written;
    #   2. the one before it, and so on, each damaged one set aside with a warning;
    #   3. a fresh state (None), only where no checkpoint was ever finished: were all of them damaged, starting anew
    #      would throw a run away unasked, so that is an error.
    def restore(self, abstract: TrainState, *, identity: dict) -> Restored | None:
        """The newest checkpoint that is whole, placed as `abstract` says, or None where there is none.

        Raises:
            RunMismatch: when it was written by a run with other settings than `identity`, unless the run folder
                records that it once had those.
            DamagedCheckpoint: when checkpoints are there and none can be read.
        """
        restored = self._newest(steps_of(self._run_dir), abstract)
        if restored is not None:
            if restored.identity not in known_identities(self._run_dir):
                where = folder_of(self._run_dir) / str(restored.step)
                require_same(restored.identity, identity, where=where)
            damaged = [step for step in steps_of(self._run_dir) if step > restored.step]
            for step in damaged if jax.process_index() == 0 else ():
                _set_aside(self._run_dir, step)
            if damaged and jax.process_count() > 1:
                multihost_utils.sync_global_devices("damaged checkpoints are set aside")
            if damaged:
                self._manager.reload()
        return restored

    def roll_back(self, abstract: TrainState) -> Restored | None:
        """The newest regular checkpoint that is whole, or None for a fresh state; what was saved after it is deleted.

        Only regular ones count: those that a signal or a good score left depend on more than the steps before.
        """
        self.wait()
        restored = self._newest([s for s in steps_of(self._run_dir) if s % self._regular_steps == 0], abstract)
        kept = -1 if restored is None else restored.step
        _delete_behind(self._run_dir, kept)
        for step in [step for step in self._scores if step > kept]:
            self._scores.pop(step)
        self._manager.reload()
        return restored

    def _newest(self, steps: Sequence[int], abstract: TrainState) -> Restored | None:
        return _newest_whole(self._run_dir, lambda step: _read(self._run_dir, step, abstract=abstract), steps=steps)

    def wait(self) -> None:
        """Return when all that was saved is on disk.

        Raises:
            CheckpointFailed: when it could not be written.
        """
        with self._telling():
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def check(self) -> None:
        """Without waiting: whether what is being written has failed by now.

        Raises:
            CheckpointFailed: when it has.
        """
        with self._telling():
            self._manager.check_for_errors()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Orbax and tensorstore raise what they like for a disk that is full
            self._failed = True
            reason = " ".join(str(error).split())
            reason = f"{reason[:100]} ... {reason[-200:]}" if len(reason) > 320 else reason
            raise CheckpointFailed(
                f"a checkpoint could not be written to {folder_of(self._run_dir)} ({type(error).__name__}: {reason}); "
                f"those of steps {steps_of(self._run_dir)} are whole: make room, then the same command goes on"
            ) from error

    def close(self) -> None:
        """Wait, and let go of the threads; a failure that was told is not told again."""
        with contextlib.suppress(Exception) if self._failed else contextlib.nullcontext():
            self._manager.close()


def folder_of(run_dir: Path) -> Path:
    """Where a run keeps its checkpoints."""
    return run_dir / CHECKPOINTS


def steps_of(run_dir: Path) -> list[int]:
    """Steps that have a finished checkpoint, in order; finished folders are named by their bare number."""
    folder = folder_of(run_dir)
    return sorted(int(item.name) for item in folder.iterdir() if item.name.isdigit()) if folder.is_dir() else []


def restore_params(run_dir: Path, *, step: int | str | None = None) -> Restored:
    """Parameters of a checkpoint on the default device, read with nothing known about model or optimizer.

    Where the run keeps an average of its parameters, these are the average.

    Args:
        run_dir: the folder of a run.
        step: a step that has a checkpoint, "best" by the run's metric, or None for the newest one that is whole.

    Raises:
        ValueError: when there is no such checkpoint, naming the ones there are.
        DamagedCheckpoint: when it can't be read.
    """
    steps = steps_of(run_dir)
    if not steps:
        raise ValueError(f"{folder_of(run_dir)} holds no checkpoint: train first, or name the folder of a run")
    if step is None:
        restored = _newest_whole(run_dir, lambda number: _read(run_dir, number), steps=steps)
        assert restored is not None  # there are steps, and damage raises
        return restored
    number = best_step(run_dir) if step == BEST else step
    if number not in steps:
        raise ValueError(f"{run_dir} has no checkpoint of step {step}; there are {steps}, and {BEST!r}")
    return _read(run_dir, int(number))


def best_step(run_dir: Path) -> int:
    """The step whose checkpoint is best by the metric that the run was told to keep.

    Raises:
        ValueError: when no checkpoint carries that metric.
    """
    scores = _scores(run_dir)
    if not scores:
        raise ValueError(f"no checkpoint of {run_dir} carries a best metric: set run.best_metric, or name a step")
    return _best(scores)


def best_metric_of(run_dir: Path) -> tuple[str, float, int] | None:
    """The best metric of a run, its value and the step that it was measured at; None where none was measured yet."""
    positions = _positions(run_dir)  # read once: what trains may replace the best one meanwhile
    scores = _scored(positions)
    if not scores:
        return None
    step = _best(scores)
    position = positions[step]
    return position["best_metric"], position["metrics"][position["best_metric"]], step


def _best(scores: dict[int, float]) -> int:
    return min(scores, key=lambda step: (scores[step], step))


def _scores(run_dir: Path) -> dict[int, float]:
    """Steps with a best metric and its value, turned so that the lowest is the best."""
    return _scored(_positions(run_dir))


def _positions(run_dir: Path) -> dict[int, dict[str, Any]]:
    """Positions of the checkpoints that can be read: what is damaged is told by whoever reads it, or is gone by now."""
    positions = {}
    for step in steps_of(run_dir):
        with contextlib.suppress(DamagedCheckpoint):
            positions[step] = _read_position(run_dir, step)
    return positions


def _scored(positions: dict[int, dict[str, Any]]) -> dict[int, float]:
    scores = {step: _score(position) for step, position in positions.items()}
    return {step: score for step, score in scores.items() if score is not None}


def _score(position: dict[str, Any]) -> float | None:
    value = position["metrics"].get(position["best_metric"])
    return value if value is None or position["best_is_lowest"] else -value


@dataclass(frozen=True)
class _LastAndBest:
    """Which checkpoints Orbax keeps: the last few, the best one, and the last regular one where there are such."""

    keep_last: int
    scores: dict[int, float]  # grows with every checkpoint that is saved
    regular_steps: int

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        scored = {step: self.scores[step] for step in steps if step in self.scores}
        regular = [step for step in steps if self.regular_steps and step % self.regular_steps == 0]
        kept = {*steps[-self.keep_last :], *regular[-1:], *([_best(scored)] if scored else [])}
        return [step in kept for step in steps]


def _newest_whole(run_dir: Path, read: Callable[[int], Restored], *, steps: Sequence[int]) -> Restored | None:
    for step in reversed(steps):
        try:
            return read(step)
        except DamagedCheckpoint as error:
            warnings.warn(f"{error}; falling back to the checkpoint before it", RuntimeWarning, stacklevel=3)
    if steps:
        raise DamagedCheckpoint(
            f"none of the checkpoints {list(steps)} of {run_dir} can be read: restore one from a backup, "
            "or start anew under another run name"
        )
    return None


def _set_aside(run_dir: Path, step: int) -> None:
    """Move a damaged checkpoint away, so that its step can be saved again."""
    target = run_dir / DAMAGED / str(step)
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(exist_ok=True)
    (folder_of(run_dir) / str(step)).rename(target)


def _delete_behind(run_dir: Path, kept: int) -> None:
    """Delete the checkpoints of later steps: process 0 does, the others wait until they are gone."""
    if jax.process_index() == 0:
        for step in steps_of(run_dir):
            if step > kept:
                shutil.rmtree(folder_of(run_dir) / str(step))
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("later checkpoints are deleted")


def _read(run_dir: Path, step: int, *, abstract: TrainState | None = None) -> Restored:
    position = _read_position(run_dir, step)
    folder = folder_of(run_dir) / str(step)
    sums = position["checksums"]
    if abstract is not None and _names(abstract.params) != sums["params"].keys():
        raise RunMismatch(
            f"checkpoint {folder} holds the parameters of another model, or of another version of the code: go on with "
            "the one that trained it, or start anew under another run name"
        )
    if abstract is None:
        served = "average" if "average" in sums else "params"
        return Restored(step, TrainState(_read_tree(folder / served, None, sums[served]), None, None), position)
    if (abstract.average is not None) != ("average" in sums):
        raise RunMismatch(
            f"checkpoint {folder} was written with another optimizer.average_decay: set it back, or start anew under "
            "another run name"
        )
    params = _read_tree(folder / "params", abstract.params, sums["params"])
    if _names(abstract.opt_state) != sums["opt_state"].keys():
        raise RunMismatch(
            f"checkpoint {folder} holds the state of another optimizer: go on with the one that it was trained with, "
            "or start anew under another run name"
        )
    opt_state = _read_tree(folder / "opt_state", abstract.opt_state, sums["opt_state"])
    counter = jax.device_put(np.int32(step), abstract.step.sharding)
    average = None
    if abstract.average is not None:
        average = _read_tree(folder / "average", abstract.average, sums["average"])
    return Restored(step, TrainState(params, opt_state, counter, average), position)


def _names(tree: Any) -> set[str]:
    return {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)}


def _read_position(run_dir: Path, step: int) -> dict[str, Any]:
    path = folder_of(run_dir) / str(step) / "position" / "metadata"
    try:
        position = read_json(path, remedy="go on from another step")
    except (OSError, ValueError) as error:
        raise DamagedCheckpoint(f"checkpoint {path.parent.parent} is damaged: {error}") from error
    if position.get("step") != step:
        raise DamagedCheckpoint(f"checkpoint {path.parent.parent} says that it is step {position.get('step')}")
    sums = position.get("checksums")
    if not (isinstance(sums, dict) and all(isinstance(sums.get(part), dict) for part in ("params", "opt_state"))):
        raise DamagedCheckpoint(f"checkpoint {path.parent.parent} is damaged: it lacks checksums")
    return position


def _read_tree(folder: Path, abstract: Any, sums: dict[str, int]) -> Any:
    alone = abstract is None  # a reader of parameters only, which other processes of a run know nothing of
    me = jax.process_index()
    options = ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me})
    handler = ocp.StandardCheckpointHandler(**({"multiprocessing_options": options} if alone else {}))
    try:
        if alone:
            abstract = _abstract_of(handler.metadata(folder.absolute()))
        tree = handler.restore(folder.absolute(), args=ocp.args.StandardRestore(abstract))
    except Exception as error:  # Orbax raises bare `Exception` for an array that is cut short
        if not alone:
            _on_all_processes(False)
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise DamagedCheckpoint(f"checkpoint {folder} is damaged ({reason})") from error
    finally:
        handler.close()
    if not (alone or _on_all_processes(True)):
        raise DamagedCheckpoint(f"checkpoint {folder} is damaged: another process can't read it")
    wrong = [path for path, value in checksums(tree).items() if sums.get(path) != value]
    if wrong:
        raise DamagedCheckpoint(f"checkpoint {folder} is damaged: checksums differ at {', '.join(wrong[:5])}")
    return tree


def _on_all_processes(here: bool) -> bool:
    """Whether something holds on every process of a run; all of them ask."""
    return here if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.array(here)).all())


def _abstract_of(metadata: Any) -> Any:
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), metadata.tree)
