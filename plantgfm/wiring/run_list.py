"""The runs of a folder at a glance: state, step, best metric, corpus, lineage."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from plantgfm.identity import read_json
from plantgfm.report.table import Table
from plantgfm.training.checkpoint import best_metric_of, steps_of
from plantgfm.training.metrics import METRICS_FILE, read_metrics
from plantgfm.training.run_folder import ENDED_FILE, RESULT_FILE, RUN_FILE, is_held, known_identities

_SHOWN = 60


class RunState(Enum):
    """How a run stands."""

    RUNNING = "running"  # a process holds it
    FINISHED = "finished"
    STOPPED = "stopped"  # by a signal or a kill; the same command goes on
    FAILED = "failed"  # by an error, or its files are damaged


@dataclass(frozen=True)
class ListedRun:
    """One run of a folder."""

    name: str
    state: RunState
    step: int  # the last that was logged or saved
    steps: int | None  # that it is configured for
    best: tuple[str, float, int] | None  # metric, value, step of the checkpoint that is kept for it
    corpus: str  # fingerprint
    earlier_corpora: tuple[str, ...]  # fingerprints, from the oldest
    why: str  # it stopped or failed


def list_runs(folder: Path) -> list[ListedRun]:
    """The runs right below a folder, or the folder itself where it is a run, in order of their names.

    Raises:
        ValueError: when there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: name the one that holds the runs")
    if (folder / RUN_FILE).is_file():
        return [_listed(folder)]
    return [_listed(path.parent) for path in sorted(folder.glob(f"[!.]*/{RUN_FILE}"))]


def runs_table(runs: list[ListedRun]) -> Table:
    """The runs, a line each."""
    rows = [
        (
            run.name,
            run.state.value,
            f"{run.step:,} of {'?' if run.steps is None else format(run.steps, ',')}",
            f"{run.best[0]} {run.best[1]:.4f} at {run.best[2]:,}" if run.best else None,
            " > ".join([*run.earlier_corpora, run.corpus]),
            run.why if len(run.why) <= _SHOWN else run.why[:_SHOWN] + " ...",
        )
        for run in runs
    ]
    return Table("Runs", ("run", "state", "step", "best", "corpora, oldest first", "why"), rows)


def _listed(path: Path) -> ListedRun:
    try:
        return _read(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # one folder must not hide the others
        why = f"{type(error).__name__}: {error}"
        return ListedRun(path.resolve().name, RunState.FAILED, 0, None, None, "", (), why)


def _read(path: Path) -> ListedRun:
    identity, *earlier = known_identities(path)
    note = _note(path)
    rows = read_metrics(path / METRICS_FILE) if (path / METRICS_FILE).is_file() else []
    corpora = tuple(dict.fromkeys(_corpus(each) for each in reversed(earlier)))
    return ListedRun(
        name=path.resolve().name,
        state=_state(path, note),
        step=max([*steps_of(path), *(row["step"] for row in rows[-1:])], default=0),
        steps=identity.get("run", {}).get("steps"),
        best=best_metric_of(path),
        corpus=_corpus(identity),
        earlier_corpora=tuple(each for each in corpora if each != _corpus(identity)),
        why=str(note["why"]) if "why" in note else "",
    )


def _state(path: Path, note: dict[str, Any]) -> RunState:
    if is_held(path):
        return RunState.RUNNING
    if (path / RESULT_FILE).is_file():
        return RunState.FINISHED
    return RunState.FAILED if note and note["failed"] else RunState.STOPPED


def _note(path: Path) -> dict[str, Any]:
    """Why the last call ended, {} where it did not, or where another one goes on and deletes the note just now."""
    try:
        return read_json(path / ENDED_FILE, remedy="delete it: it only tells how a call ended")
    except FileNotFoundError:
        return {}


def _corpus(identity: dict[str, Any]) -> str:
    return str(identity["corpus"]) if "corpus" in identity else "?"
