"""Stored probes as tables and figures: of one model, or of the arms of a question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from plantgfm.ablation.config import Definition
from plantgfm.ablation.probe_run import PROBES_FILE, read_probes
from plantgfm.ablation.probes import MODEL
from plantgfm.ablation.statistics import Comparison, Measured, Rule, compare_measured
from plantgfm.ablation.sweep import PROBES_FOLDER, job_files
from plantgfm.evaluation.probe_scores import Score, resampled_rows
from plantgfm.report import figures
from plantgfm.report.page import Page, Picture, Section
from plantgfm.report.table import Table
from plantgfm.training.run_folder import write_json

REPORT_STEM = "report"
_ABOUT_ARMS = (
    "Linear probes of frozen vectors, retrieval by vectors alone, and bits per base by distance to genes, where "
    "annotation tells. They decide nothing. Differences are paired by seed and by held-out group; p is corrected over "
    "the arms of each probe (Holm), not over the probes."
)


def write_probes(stored: dict[str, Any], out: Path) -> list[Path]:
    """Write probes of one model: JSON, HTML, Markdown.

    Returns:
        The files.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / PROBES_FILE, out / f"{REPORT_STEM}.html", out / f"{REPORT_STEM}.md"]
    write_json(paths[0], stored)
    sections = [_probe_section(one) for one in stored["probes"]]
    sections.append(Section("Left out", tables=[left_out_table(stored["left_out"])]))
    summary = f"{stored['model']}, {stored['seconds']:.0f} s, {stored['hardware']}, commit {stored['commit']}"
    page = Page("Probes of a frozen model", summary, sections)
    page.write_html(paths[1])
    page.write_markdown(paths[2])
    return paths


def _probe_section(one: dict[str, Any]) -> Section:
    rows = [row for row in one["rows"] if row["score"] == one["score"]]
    picture = figures.bars(
        [row["predictor"] for row in rows],
        [row["value"] for row in rows],
        xlabel=one["score"],
        intervals=[(row["low"], row["high"]) for row in rows],
        points=True,
    )
    caption = f"{one['score']} of {one['name']}, with 95 % intervals over {one['groups']} groups"
    classes = f" Classes: {', '.join(one['classes'])}." if one["classes"] else ""
    text = f"{one['note'][:1].upper()}{one['note'][1:]}.{classes}"
    return Section(one["name"].capitalize(), text, tables=[predictor_table(one)], figures=[Picture(caption, picture)])


def predictor_table(one: dict[str, Any]) -> Table:
    """Scores of every predictor of a probe, and how much the model's is more."""
    names = ("value", "low", "high", "model_minus", "minus_low", "minus_high")
    rows = [(row["score"], row["predictor"], *(row.get(name) for name in names)) for row in one["rows"]]
    columns = ("score", "predictor", "value", "low", "high", "model minus it", "from", "to")
    formats = dict.fromkeys(columns[2:5], ".3f") | dict.fromkeys(columns[5:], "+.3f")
    note = f"95 % intervals over {one['groups']} groups; differences on the same resamples"
    return Table(one["name"], columns, rows, note=note, formats=formats)


def left_out_table(skipped: dict[str, str]) -> Table:
    """What was not probed, and why."""
    return Table("", ("probe", "why"), sorted(skipped.items()))


def summary_table(stored: dict[str, Any]) -> Table:
    """The leading score of every probe: the model, before training, and the best of the simple predictors."""
    rows = []
    for one in stored["probes"]:
        found = {row["predictor"]: row for row in one["rows"] if row["score"] == one["score"]}
        pick = min if one["less_is_better"] else max
        simple = [row for name, row in found.items() if name not in (MODEL, "untrained model")]
        best = pick(simple, key=lambda row: row["value"])
        before = found.get("untrained model", {}).get("value")
        model = found[MODEL]
        rows.append(
            (
                one["name"],
                one["score"],
                model["value"],
                model["low"],
                model["high"],
                before,
                best["value"],
                best["predictor"],
            )
        )
    columns = ("probe", "score", "model", "low", "high", "untrained", "best simple", "which")
    return Table("", columns, rows, formats=dict.fromkeys(("model", "low", "high", "untrained", "best simple"), ".3f"))


def probe_sections(definition: Definition, folder: Path, question: str) -> list[Section]:
    """What the probes of a sweep say of each arm; nothing where there are none."""
    paths = [path for _, path in sorted(job_files(folder / question / PROBES_FOLDER).items())]
    every, view = [read_probes(path) for path in paths], definition.views[0].value
    runs = [run for run in every if view in run["views"] and run["arm"] in definition.arms]
    if not runs:
        return []
    by_arm = {arm: {run["seed"]: run for run in runs if run["arm"] == arm} for arm in definition.arms}
    names = list(dict.fromkeys(one["name"] for run in runs for one in run["probes"]))
    tables = [arms_table(definition, name, by_arm) for name in names]
    left = {name: why for run in runs for name, why in run["left_out"].items()}
    wanted = len(definition.arms) * len(definition.seeds)
    text = _ABOUT_ARMS + (f" {len(runs)} of {wanted} runs are probed." if len(runs) != wanted else "")
    return [Section("Probes", text, tables=[*tables, Table("Left out", ("probe", "why"), sorted(left.items()))])]


def _of(run: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((one for one in run["probes"] if one["name"] == name), None)


def arms_table(definition: Definition, name: str, by_arm: dict[str, dict[int, dict[str, Any]]]) -> Table:
    """One probe: every arm's score, its difference to the base, and the predictors of the base's runs beside."""
    order = [definition.base, *(arm for arm in definition.arms if arm != definition.base)]
    found = {
        arm: [one for seed in definition.seeds if seed in by_arm[arm] and (one := _of(by_arm[arm][seed], name))]
        for arm in order
    }
    first = next(ones[0] for ones in found.values() if ones)
    compared, why = compare_probes(definition, found)
    rows: list[tuple] = []
    for arm, ones in found.items():
        values = [_value(one, MODEL) for one in ones]
        mean, seeds = (float(np.mean(values)) if values else None), " ".join(f"{value:.3f}" for value in values)
        one = compared.get(arm)
        if one is None:
            rows.append((arm, mean, seeds, *[None] * 5, "base" if arm == definition.base else "not compared"))
            continue
        rows.append((arm, mean, seeds, one.difference, one.low, one.high, one.p, one.p_adjusted, one.verdict.value))
    for predictor in [row["predictor"] for row in first["rows"] if row["score"] == first["score"]]:
        values = [_value(one, predictor) for ones in found.values() for one in ones]
        if predictor != MODEL and (known := [value for value in values if value is not None]):
            rows.append((f"({predictor})", float(np.mean(known)), "", *[None] * 5, "beside"))
    columns = ("arm", "value", "by seed", "difference", "low", "high", "p", "p (Holm)", "verdict")
    formats = dict.fromkeys(("difference", "low", "high"), "+.3f") | {"value": ".3f", "p": ".3g", "p (Holm)": ".3g"}
    direction = "less is better" if first["less_is_better"] else "more is better"
    note = f"{first['note']}; {direction}; predictors in brackets: means over all runs" + (f"; {why}" if why else "")
    return Table(f"{name}: {first['score']}", columns, rows, note=note, formats=formats)


def _value(one: dict[str, Any], predictor: str) -> float | None:
    rows = [row for row in one["rows"] if (row["score"], row["predictor"]) == (one["score"], predictor)]
    return rows[0]["value"] if rows else None


def compare_probes(definition: Definition, found: dict[str, list[dict[str, Any]]]) -> tuple[dict[str, Comparison], str]:
    """Arms minus the base in one probe, by arm, and why there is none, if so.

    Args:
        definition: base, seeds, error rate, power, resamples.
        found: the probe's results by arm, one a seed.
    """
    base = found[definition.base]
    if len(base) < len(definition.seeds):
        return {}, f"the base has {len(base)} of {len(definition.seeds)} seeds: nothing is compared"
    items = {key: np.asarray(values) for key, values in base[0]["items"].items()}
    weights, groups, free = resampled_rows(items["group"], items["stratum"], resamples=definition.resamples)
    if free < 1:
        return {}, "too few groups to compare"

    def same_rows(ones: list[dict[str, Any]]) -> bool:
        return len(ones) == len(base) and all(one["items"]["group"] == base[0]["items"]["group"] for one in ones)

    measured = {arm: _measured(ones, weights) for arm, ones in found.items() if same_rows(ones)}
    sound = np.all([np.isfinite(one.resampled).all(axis=0) for one in measured.values()], axis=0)
    measured = {arm: Measured(one.by_seed, one.resampled[:, sound]) for arm, one in measured.items()}
    rule = Rule(
        alpha=definition.alpha,
        power=definition.power,
        margin=0.0,
        lower_is_better=base[0]["less_is_better"],
        resamples=definition.resamples,
        stated=definition.n_comparisons,
    )
    first = measured.pop(definition.base)
    return compare_measured(first, measured, groups=groups, free=free, rule=rule), ""


def _measured(ones: list[dict[str, Any]], weights: np.ndarray) -> Measured:
    every, by_seed, resampled = np.ones((1, weights.shape[1])), [], []
    for one in ones:
        score, items = Score[one["kind"]], one["items"]
        truth, said = np.asarray(items["truth"]), np.asarray(items["said"])
        by_seed.append(float(score(truth, said, every)[0]))
        resampled.append(score(truth, said, weights))
    return Measured(np.array(by_seed), np.stack(resampled))
