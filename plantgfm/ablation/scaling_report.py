"""The report of a grid: laws, their check, predictions, figures; drawn from stored metrics, nothing is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plantgfm.ablation import scaling
from plantgfm.ablation.config import Grid
from plantgfm.ablation.definition import read_readme
from plantgfm.ablation.grid import OpenGrid, target_of
from plantgfm.ablation.report import (
    REPORT_STEM,
    RESULT_FILE,
    RESULT_FORMAT,
    load_runs,
    origin_table,
    runs_table,
    write_index,
)
from plantgfm.ablation.scaling import Checked, Fit, Points, Predicted, both
from plantgfm.identity import plain
from plantgfm.report import figures
from plantgfm.report.page import Page, Picture, Section
from plantgfm.report.table import Table
from plantgfm.training.run_folder import write_json

_CURVE_POINTS = 40


@dataclass(frozen=True)
class Stated:
    """What a person may state of targets; None: as the grid has it, or as measured."""

    corpus_bp: float | None = None
    epochs: float | None = None
    flops_per_second: float | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """All that a grid says."""

    points: Points
    lost: list[str]
    checked: Fit  # without the sizes held out
    checks: list[Checked]
    law: Fit  # of all runs
    compute: Fit | None
    predictions: list[Predicted]
    notes: list[str]

    @property
    def passed(self) -> bool:
        """Whether every held-out size was predicted."""
        return all(one.passed for one in self.checks)


def find(opened: OpenGrid, runs: Sequence[dict[str, Any]], stated: Stated) -> Found:
    """Fit, check and predict.

    Raises:
        ValueError: when runs are missing, or too few for the laws.
    """
    grid = opened.grid
    points, lost = scaling.points_of(grid, runs)
    chance = scaling.chance_of(points, resamples=grid.resamples)
    out = np.isin(points.size, grid.held_out)
    if out.all() or not out.any():
        raise ValueError(f"the sizes {'to fit' if out.all() else 'held out'} diverged: {'; '.join(lost)}")
    seen, held = points.of(~out), points.of(out)
    checked = scaling.fit(seen, both(seen), chance)
    checks = scaling.check(checked, seen, held, chance, alpha=grid.alpha)
    law = scaling.fit(points, both(points), chance)
    reach = scaling.checked_reach(checks, seen, held)
    sound = next(run for run in runs if "windows" in run)
    bp_per_token = sound["seen_bp"] / 2 / sound["slots"]
    corpus_bp = stated.corpus_bp or grid.corpus_bp or float(sum(sound["train_bp"]))
    tokens = corpus_bp / bp_per_token * (stated.epochs or grid.epochs)
    sizes = {"vocabulary_size": sound["vocabulary_size"], "n_species": len(sound["species"])}
    shared = {"tokens": tokens, "reach": reach, "alpha": grid.alpha}
    shared["flops_per_second"] = stated.flops_per_second or points.flops_per_second
    targets = [target_of(opened, name, **sizes) for name in grid.targets]
    predictions = [scaling.predict(target, law, points, **shared) for target in targets]
    grid_tokens = sum(sound["train_bp"]) / bp_per_token
    said = {
        "the grid": scaling.repeats(float(points.tokens.max()), corpus_tokens=grid_tokens),
        "the targets": scaling.repeats(tokens, corpus_tokens=corpus_bp / bp_per_token),
    }
    given = "given" if stated.flops_per_second else f"measured on {sound['hardware']}, the largest size of the grid"
    collapsed = [f"{run['arm']}, {run['steps']} steps, seed {run['seed']}" for run in runs if run.get("collapsed")]
    notes = [
        f"Targets: {corpus_bp:,.0f} bp of training sequence, passes {stated.epochs or grid.epochs:g}, {tokens:,.0f} "
        f"input tokens; {shared['flops_per_second'] / 1e9:,.1f} GFLOP/s, {given}.",
        *(f"{who}: {what}." for who, what in said.items() if what),
    ]
    if collapsed:
        notes.append(f"No better than the pooled unigram, and in the laws as measured: {'; '.join(collapsed)}.")
    return Found(points, lost, checked, checks, law, scaling.fit_compute(points, chance), predictions, notes)


def check_line(found: Found) -> str:
    """The check in a line."""
    said = [
        f"{one.size} at {one.tokens:,.0f} tokens: predicted {one.predicted:.4f} [{one.low:.4f}, {one.high:.4f}], "
        f"measured {one.measured:.4f}: {'pass' if one.passed else 'FAIL'}"
        for one in found.checks
    ]
    return "; ".join(said)


def support_line(one: Predicted) -> str:
    """How far a prediction lies beyond the grid, and whether the check carries so far."""
    if not any(one.beyond.values()):
        return "within the grid"
    far = ", ".join(f"{orders:.1f} in {name}" for name, orders in one.beyond.items() if orders)
    if not one.unsupported:
        return f"orders of magnitude beyond the grid: {far}; the check went as far"
    least = ", ".join(f"{orders:.1f} in {name}" for name, orders in one.unsupported.items())
    return f"NOT supported: orders of magnitude beyond the grid: {far}; beyond what the check covers: {least}"


def answer_line(found: Found) -> str:
    """The answer in a line."""
    law, verdict = found.law.law, "passed" if found.passed else "FAILED"
    start = (
        f"L = {law.floor:.3f} + {law.scale[0]:.3g} / N^{law.exponents[0]:.2f} + {law.scale[1]:.3g} / "
        f"D^{law.exponents[1]:.2f}; the check on held-out sizes {verdict}"
    )
    if law.unbounded:
        start += f"; {', '.join(law.unbounded)} not told by these runs"
    ends = [
        f"{one.target.name}: {one.loss:.3f} [{one.low:.3f}, {one.high:.3f}] for {one.flops:.2g} FLOP, "
        f"{one.hours:,.3g} h" + (" (extrapolated beyond what the grid supports)" if one.unsupported else "")
        for one in found.predictions
    ]
    return "; ".join([start, *ends])


def write_scaling_report(opened: OpenGrid, folder: Path, stated: Stated) -> tuple[Found, list[Path]]:
    """Write report (HTML, Markdown), result and index.

    Returns:
        What was found, and the files.

    Raises:
        ValueError: when runs are missing.
    """
    name = opened.experiment.name
    runs = load_runs(folder, name)
    wanted = [run for run in runs if run["arm"] in opened.grid.sizes and run["steps"] in opened.grid.steps]
    found = find(opened, wanted, stated)
    out = folder / name
    page = Page(f"Scaling: {name}", _summary(opened.grid, found), _sections(opened, wanted, found))
    paths = [out / f"{REPORT_STEM}.html", out / f"{REPORT_STEM}.md"]
    page.write_html(paths[0])
    page.write_markdown(paths[1])
    result = {
        "format": RESULT_FORMAT,
        "question": opened.grid.question,
        "answer": answer_line(found),
        "confidence": 1 - opened.grid.alpha,
        "hours": sum(run["seconds"] for run in wanted) / 3600,
        "corpus": next(run["corpus"] for run in wanted if "corpus" in run),
        "law": plain(found.law.law),
        "checks": [{**plain(one), "passed": one.passed} for one in found.checks],
        "predictions": plain(found.predictions),
    }
    write_json(out / RESULT_FILE, result)
    return found, [*paths, write_index(folder)]


def _summary(grid: Grid, found: Found) -> str:
    lines = [grid.question, f"Answer: {answer_line(found)}.", f"Check: {check_line(found)}."]
    lines += [f"{one.target.name}: {support_line(one)}." for one in found.predictions]
    lines += [f"Left out: {one}." for one in found.lost]
    return "\n\n".join([*lines, *found.notes])


def _sections(opened: OpenGrid, runs: list[dict[str, Any]], found: Found) -> list[Section]:
    grid = opened.grid
    readme = read_readme(opened.experiment.folder)
    unit = grid.metric.value.replace("_", " ")
    captions = (
        f"{unit} against training compute; points measured, lines the law of parameters and tokens fitted without the "
        "open points, shaded its interval, which counts other held-out regions, too",
        f"{unit} of all runs, measured minus fitted by the law of all runs",
    )
    drawn = (compute_figure(grid, found, unit), residual_figure(found, unit))
    pictures = [Picture(caption, png) for caption, png in zip(captions, drawn)]
    changes = [
        (size, name, was, now) for size, each in opened.experiment.changes.items() for name, (was, now) in each.items()
    ]
    sizes = Table(f"What each size changes of {grid.sizes[0]}", ("size", "setting", grid.sizes[0], "value"), changes)
    return [
        Section("Check", check_line(found), tables=[check_table(found)]),
        Section("Laws", tables=[law_table(grid, found)], figures=pictures),
        Section("Predictions", "\n\n".join(found.notes), tables=[prediction_table(grid, found)]),
        Section("Runs", tables=[points_table(found.points), runs_table(runs), sizes]),
        Section("As stated before running", readme.replace("**", "").replace("`", "")),
        Section("Where it comes from", tables=[origin_table(runs)]),
    ]


def check_table(found: Found) -> Table:
    """Predicted against measured, and beside it what the nearest size of the fit had."""
    rows = [
        (
            one.size, one.parameters, one.tokens, one.predicted, one.low, one.high, one.measured,
            one.measured - one.predicted, one.measured - one.nearest, "pass" if one.passed else "FAIL",
        )
        for one in found.checks
    ]  # fmt: skip
    columns = (
        "size",
        "parameters",
        "tokens",
        "predicted",
        "low",
        "high",
        "measured",
        "error",
        "error of the nearest size",
    )
    formats = dict.fromkeys(("predicted", "low", "high", "measured"), ".4f") | dict.fromkeys(columns[7:], "+.4f")
    formats |= dict.fromkeys(("parameters", "tokens"), ",.0f")
    note = (
        "intervals hold for all rows together; other seeds, the misfit of the law and draws of regions that it shares "
        "with the fit are counted; the nearest size is the largest that the fit saw, at the same tokens"
    )
    return Table("Held-out sizes", (*columns, "check"), rows, note=note, formats=formats)


def law_table(grid: Grid, found: Found) -> Table:
    """Values of the laws with intervals."""
    rows = []
    laws = {"parameters and tokens": found.law, "the same without the held-out sizes": found.checked}
    if found.compute:
        laws["compute, on the frontier"] = found.compute
    for name, fitted in laws.items():
        values = [_values(law) for law in (fitted.law, *fitted.resampled)]
        for key in values[0]:
            low, high = np.quantile([each[key] for each in values[1:]], [grid.alpha / 2, 1 - grid.alpha / 2])
            rows.append((name, key, values[0][key], float(low), float(high)))
        rows += [(name, f"not told by these runs: {what}", None, None, None) for what in fitted.law.unbounded]
    note = "L = E + A / N^a + B / D^b, or E + K / C^c; " + (
        "the frontier is made of the cells that no other beats with as much compute"
        if found.compute
        else "the frontier has too few cells for a law of compute alone"
    )
    formats = dict.fromkeys(("value", "low", "high"), ".4g")
    return Table("Fitted values", ("law of", "what", "value", "low", "high"), rows, note=note, formats=formats)


def _values(law: scaling.PowerLaw) -> dict[str, float]:
    if len(law.exponents) == 1:
        return {"E": law.floor, "c": law.exponents[0], "K / C^c in the middle of the grid": law.factors[0]}
    a, b = law.exponents
    return {
        "E": law.floor,
        "a": a,
        "b": b,
        "A / N^a in the middle of the grid": law.factors[0],
        "B / D^b in the middle of the grid": law.factors[1],
        "best N grows as C^x where C is proportional to N D, x": b / (a + b),
        "L - E then falls as C^-y, y": a * b / (a + b),
    }


def prediction_table(grid: Grid, found: Found) -> Table:
    """Cost and loss of the targets."""
    rows = [
        (
            one.target.name,
            one.target.parameters,
            one.tokens,
            one.flops,
            one.hours,
            one.loss,
            one.low,
            one.high,
            support_line(one),
        )
        for one in found.predictions
    ]
    columns = ("model", "parameters", "tokens", "FLOP", "hours", "loss", "low", "high", "support")
    formats = dict.fromkeys(("loss", "low", "high"), ".3f") | {"tokens": ",.0f", "FLOP": ".3g", "hours": ",.3g"}
    note = f"intervals of {1 - grid.alpha:.0%}, of regions, seeds and misfit; they do not know whether the law goes on"
    return Table("Predicted from the law of all runs", columns, rows, note=note, formats=formats)


def points_table(points: Points) -> Table:
    """A row a size and number of steps: mean over seeds."""
    cells = points.means()
    rows = [
        (cells.size[row], cells.parameters[row], cells.tokens[row], cells.flops[row], cells.loss[row])
        for row in range(cells.loss.size)
    ]
    formats = {"parameters": ",.0f", "tokens": ",.0f", "FLOP": ".3g", "loss": ".4f"}
    columns = ("size", "parameters", "tokens", "FLOP", "loss")
    note = "parameters: all, of the token table and both heads too; FLOP: as plantgfm.model.flops counts, all steps"
    return Table("Cells of the grid, means over seeds", columns, rows, note=note, formats=formats)


def compute_figure(grid: Grid, found: Found, unit: str) -> bytes:
    """Loss against compute: measured points, the checked law of each size with its interval, the law of compute."""
    cells = found.points.means()
    measured, curves = {}, {}
    for size in grid.sizes:
        mine = np.array([name == size for name in cells.size])
        if not mine.any():
            continue
        name = f"{size}, held out" if size in grid.held_out else size
        measured[name] = (cells.flops[mine], cells.loss[mine])
        tokens = np.geomspace(cells.tokens[mine].min(), cells.tokens[mine].max(), _CURVE_POINTS)
        at = np.column_stack([np.full(_CURVE_POINTS, cells.parameters[mine][0]), tokens])
        per_token = cells.flops[mine][0] / cells.tokens[mine][0]
        curves[name] = (tokens * per_token, found.checked.law(at), *found.checked.interval(at, alpha=grid.alpha))
    if found.compute:
        flops = np.geomspace(cells.flops.min(), cells.flops.max(), _CURVE_POINTS)
        line = flops[:, None]
        curves["frontier"] = (flops, found.compute.law(line), *found.compute.interval(line, alpha=grid.alpha))
    open_points = [name for name in measured if name.endswith(", held out")]
    return figures.fits(measured, curves, xlabel="training FLOP", ylabel=unit, open_points=open_points)


def residual_figure(found: Found, unit: str) -> bytes:
    """Error of the law of all runs, by tokens."""
    points = found.points
    error = points.loss - found.law.law(both(points))
    sizes = dict.fromkeys(points.size)
    rows = {size: np.array([name == size for name in points.size]) for size in sizes}
    measured = {size: (points.tokens[mine], error[mine]) for size, mine in rows.items()}
    span = np.array([points.tokens.min(), points.tokens.max()])
    zero = {"fitted": (span, np.zeros(2), np.zeros(2), np.zeros(2))}
    return figures.fits(measured, zero, xlabel="tokens", ylabel=f"{unit}, measured minus fitted")
