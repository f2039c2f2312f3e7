"""Stored metrics to the answer of a question, its report and the index; nothing is run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from plantgfm.ablation.config import Definition, Metric, View
from plantgfm.ablation.definition import Experiment, read_readme
from plantgfm.ablation.measure import metrics_in, scores_of, value_of
from plantgfm.ablation.probe_report import probe_sections
from plantgfm.ablation.statistics import Comparison, Rule, Scores, Verdict, compare_arms, winner
from plantgfm.ablation.sweep import METRICS_FOLDER, job_files, read_metrics
from plantgfm.identity import plain, read_json
from plantgfm.report import figures
from plantgfm.report.page import Page, Picture, Section
from plantgfm.report.table import Table
from plantgfm.training.run_folder import write_json

RESULT_FILE = "result.json"
REPORT_STEM = "report"
INDEX_STEM = "index"
RESULT_FORMAT = "plantgfm ablation result"
_DISTANCE_BINS = 4


@dataclass(frozen=True)
class Answer:
    """One view of a question: arms beside the base, and what the decision rule makes of it."""

    view: View
    base: str
    scores: dict[str, Scores]  # all arms, the base first
    comparisons: dict[str, Comparison]  # all but the base
    lost: list[str]  # arms of which a run diverged
    winner: str
    line: str


def load_runs(folder: Path, question: str) -> list[dict[str, Any]]:
    """All metrics of a question, by arm, steps, seed.

    Raises:
        ValueError: when there are none, or they are of several corpora.
    """
    paths = list(job_files(folder / question / METRICS_FOLDER).values())
    if not paths:
        raise ValueError(f"{folder / question} holds no metrics: run `plantgfm ablate {question}` first")
    runs = [read_metrics(path) for path in paths]
    corpora = sorted({run["corpus"] for run in runs if "corpus" in run})
    if len(corpora) > 1:
        raise ValueError(f"{folder / question} holds metrics of {len(corpora)} corpora, {corpora}: compare within one")
    others = {tuple(run.get("held_out_in", ())) for run in runs if "corpus" in run}
    if len(others) > 1:
        raise ValueError(
            f"{folder / question} holds metrics of windows that different corpora hold out, {sorted(others)}: the "
            "input has changed; measure all runs again in another --folder"
        )
    return sorted(runs, key=lambda run: (run["arm"], run["steps"], run["seed"]))


def answer_view(definition: Definition, runs: list[dict[str, Any]], view: View) -> Answer:
    """Compare the arms of a view and apply the decision rule.

    Raises:
        ValueError: naming the runs that are missing, or of other steps than their like.
    """
    mine = _runs_of(definition, runs, view)
    wanted = [(arm, seed) for arm in definition.arms for seed in definition.seeds]
    if missing := [f"{arm} seed {seed}" for arm, seed in wanted if (arm, seed) not in mine]:
        raise ValueError(
            f"{len(missing)} of {len(wanted)} runs are missing, {', '.join(missing[:4])}: run the sweep on, or leave "
            "arms out with --without"
        )
    lost = [arm for arm in definition.arms if any("diverged" in mine[arm, seed] for seed in definition.seeds)]
    if definition.base in lost:
        raise ValueError(f"the base {definition.base} diverged: there is nothing to compare with")
    sound = [definition.base, *(arm for arm in definition.arms if arm not in (definition.base, *lost))]
    windows = {arm: [mine[arm, seed]["windows"] for seed in definition.seeds] for arm in sound}
    scores = {arm: scores_of(each, definition.metric) for arm, each in windows.items()}
    rule = Rule(
        alpha=definition.alpha,
        power=definition.power,
        margin=definition.margin,
        lower_is_better=definition.metric.lower_is_better,
        resamples=definition.resamples,
        stated=definition.n_comparisons,
    )
    first = windows[definition.base][0]
    names, at = np.unique(first["region"], return_index=True)
    others = {arm: scores[arm] for arm in sound[1:]}
    comparisons = compare_arms(scores[definition.base], others, stratum=np.asarray(first["species"])[at], rule=rule)
    chosen = winner(comparisons, base=definition.base, margin=definition.margin)
    line = answer_line(comparisons, base=definition.base, chosen=chosen, lost=lost)
    if definition.left_out:
        line += f"; {', '.join(definition.left_out)}: left out"
    return Answer(view, definition.base, scores, comparisons, lost, chosen, line)


def _runs_of(definition: Definition, runs: list[dict[str, Any]], view: View) -> dict[tuple[str, int], dict[str, Any]]:
    """The runs of a view by arm and seed: as many steps in those of an arm, and of equal bases as many bases in all."""
    mine = [run for run in runs if view.value in run["views"] and run["arm"] in definition.arms]
    steps: dict[str, set[int]] = {}
    for run in mine:
        steps.setdefault(run["arm"], set()).add(run["steps"])
    mixed = {arm: found for arm, found in steps.items() if len(found) > 1}
    if view is View.BASES and mine and not mixed:
        seen, of_a_step = [run["seen_bp"] for run in mine], max(run["seen_bp"] / run["steps"] for run in mine)
        if max(seen) - min(seen) > of_a_step:  # steps are whole
            mixed = {f"runs of {min(seen):,} to {max(seen):,} bp": {run["steps"] for run in mine}}
    for whose, found in mixed.items():
        told = " and ".join(f"{number:,}" for number in sorted(found))
        raise ValueError(
            f"{whose} for equal {view.value} have {told} steps: compare within one, each in a folder of its own"
        )
    return {(run["arm"], run["seed"]): run for run in mine}


def answer_line(comparisons: dict[str, Comparison], *, base: str, chosen: str, lost: list[str]) -> str:
    """The answer in a line."""
    said = {
        verdict: [arm for arm, one in comparisons.items() if one.verdict is verdict and arm != chosen]
        for verdict in Verdict
    }
    parts = [f"{chosen} is better than {base} and wins" if chosen != base else f"{base} stays"]
    words = {
        Verdict.BETTER: "better, but not chosen" if chosen != base else "better, but by less than the margin",
        Verdict.WORSE: f"worse than {base}",
        Verdict.EQUAL: f"equal to {base} within the margin",
    }
    parts += [f"{', '.join(said[verdict])}: {text}" for verdict, text in words.items() if said[verdict]]
    if open_ := said[Verdict.UNDECIDED]:
        least = ", ".join(f"{comparisons[arm].smallest_shown:.4f}" for arm in open_)
        parts.append(f"{', '.join(open_)}: undecided, the smallest difference that could have been shown is {least}")
    if lost:
        parts.append(f"{', '.join(lost)}: diverged")
    return "; ".join(parts)


def standing(winner: str, base: str, longer: str, folder: Path) -> str:
    """What a longer run makes of a winner, in a line; empty where the base stays, or where no question asks again.

    Args:
        winner: of the question.
        base: of the question.
        longer: the question that asks again, or "".
        folder: of all questions; the result of the longer one is looked for there.
    """
    if winner == base or not longer:
        return ""
    path = folder / longer / RESULT_FILE
    if not path.is_file():
        return f"{winner} is a candidate, {base} the default, until {longer} has been run"
    again = read_json(path, remedy=f"`plantgfm ablate {longer} --report` writes it again")
    if again["winner"] == winner:
        return f"{longer} says so too: {winner} is to be the default"
    if winner in again.get("lost", ()):
        return f"{winner} diverged in {longer}: {base} stays the default"
    if winner not in again.get("arms", (winner,)):
        return f"{longer} does not ask {winner} again: {base} stays the default"
    return f"{longer} does not find it ahead: {base} stays the default"


def write_reports(experiment: Experiment, folder: Path) -> tuple[Answer, list[Path]]:
    """Write a question's report (HTML, Markdown), its result, and the index of all questions in the folder.

    Returns:
        The answer of the view that decides, and the files.

    Raises:
        ValueError: when runs are missing.
    """
    definition = experiment.definition
    runs = load_runs(folder, experiment.name)
    answers = [answer_view(definition, runs, view) for view in definition.views]
    said = {"winner": answers[0].winner, "base": definition.base, "longer": definition.longer}
    short = answers[0].line
    if later := standing(*said.values(), folder):
        answers[0] = replace(answers[0], line=f"{short}; {later}")
    page = Page(
        f"Ablation: {experiment.name}", _summary(definition, answers), _sections(experiment, runs, answers, folder)
    )
    out = folder / experiment.name
    paths = [out / f"{REPORT_STEM}.html", out / f"{REPORT_STEM}.md"]
    page.write_html(paths[0])
    page.write_markdown(paths[1])
    result = {
        "format": RESULT_FORMAT,
        "question": definition.question,
        "answer": short,
        **said,
        "arms": definition.arms,
        "left_out": definition.left_out,
        "lost": answers[0].lost,
        "confidence": 1 - definition.alpha,
        "hours": sum(run["seconds"] for run in runs) / 3600,
        "corpus": next((run["corpus"] for run in runs if "corpus" in run), ""),
        "views": {answer.view.value: plain(answer.comparisons) for answer in answers},
    }
    write_json(out / RESULT_FILE, result)
    return answers[0], [*paths, write_index(folder)]


def write_index(folder: Path) -> Path:
    """A page of all questions answered in a folder, a line each; HTML and Markdown."""
    rows = []
    for path in sorted(folder.glob(f"*/{RESULT_FILE}")):
        result = read_json(path, remedy="`plantgfm ablate QUESTION --report` writes it again")
        if result.get("format") == RESULT_FORMAT:
            later = standing(*(result.get(name, "") for name in ("winner", "base", "longer")), folder)
            answer = "; ".join(filter(None, (result["answer"], later)))
            sure = f"{result['confidence']:.0%} over all arms"
            rows.append((path.parent.name, result["question"], answer, sure, result["hours"]))
    _index_page(rows, "md").write_markdown(folder / f"{INDEX_STEM}.md")
    _index_page(rows, "html").write_html(folder / f"{INDEX_STEM}.html")
    return folder / f"{INDEX_STEM}.html"


def _index_page(rows: list[tuple], kind: str) -> Page:
    """The index whose reports are of the same kind as itself."""
    columns = ("name", "question", "answer", "confidence", "hours", "report")
    named = [(*row, f"{row[0]}/{REPORT_STEM}.{kind}") for row in rows]
    return Page(
        "Ablations", "", [Section("Answers", tables=[Table("Questions", columns, named, formats={"hours": ".2f"})])]
    )


def _summary(definition: Definition, answers: list[Answer]) -> str:
    lines = [definition.question, f"Answer ({1 - definition.alpha:.0%} over all arms): {answers[0].line}."]
    lines += [f"With equal {answer.view.value} seen: {answer.line}." for answer in answers[1:]]
    return "\n\n".join(lines)


def _sections(experiment: Experiment, runs: list[dict[str, Any]], answers: list[Answer], folder: Path) -> list[Section]:
    definition = experiment.definition
    readme = read_readme(experiment.folder)
    return [
        *(_view_section(definition, answer) for answer in answers),
        Section("Other measures", tables=[measures_table(runs), species_table(runs), distance_table(runs)]),
        *probe_sections(definition, folder, experiment.name),
        Section("Runs", tables=[runs_table(runs)]),
        Section("Arms", tables=_arms_tables(experiment)),
        Section("As stated before running", readme.replace("**", "").replace("`", "")),
        Section("Where it comes from", tables=[origin_table(runs)]),
    ]


def _view_section(definition: Definition, answer: Answer) -> Section:
    unit = definition.metric.value.replace("_", " ")
    names = list(answer.comparisons)
    section = f"Equal {answer.view.value} seen"
    table = answer_table(definition, answer)
    if not names:
        return Section(section, "No arm but the base came to an end.", tables=[table])
    found = [answer.comparisons[name] for name in names]
    picture = figures.bars(
        names,
        [one.difference for one in found],
        xlabel=f"{unit}, arm minus {answer.base}",
        intervals=[(one.low, one.high) for one in found],
        reference={"no difference": 0.0, "margin": definition.margin, "margin below": -definition.margin},
        points=True,
    )
    direction = "less" if definition.metric.lower_is_better else "more"
    caption = f"{unit} of each arm minus that of {answer.base}; {direction} is better; intervals for all arms together"
    return Section(section, f"Decision: {answer.line}.", tables=[table], figures=[Picture(caption, picture)])


def answer_table(definition: Definition, answer: Answer) -> Table:
    """Arms, their values, differences, intervals and verdicts."""
    rows: list[tuple] = []
    for arm, scores in answer.scores.items():
        seeds = " ".join(f"{value:.4f}" for value in scores.by_seed)
        one = answer.comparisons.get(arm)
        if one is None:
            rows.append((arm, scores.value, seeds, *[None] * 6, "base"))
            continue
        found = (one.difference, one.low, one.high, one.p, one.p_adjusted, one.smallest_shown)
        rows.append((arm, scores.value, seeds, *found, one.verdict.value))
    rows += [(arm, None, "", *[None] * 6, "diverged") for arm in answer.lost]
    columns = ("arm", "value", "by seed", "difference", "low", "high", "p", "p (Holm)", "could be shown", "verdict")
    signed = dict.fromkeys(("difference", "low", "high"), "+.4f")
    formats = {**signed, "value": ".4f", "p": ".3g", "p (Holm)": ".3g", "could be shown": ".4f"}
    note = (
        f"could be shown: the smallest difference found with a power of {definition.power:.0%}; margin "
        f"{definition.margin:g}; seeds {definition.seeds}"
    )
    return Table(definition.metric.value.replace("_", " "), columns, rows, note=note, formats=formats)


def _groups(runs: list[dict[str, Any]]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Runs that came to an end, by arm and steps."""
    sound = [run for run in runs if "windows" in run]
    return {
        key: [run for run in sound if (run["arm"], run["steps"]) == key]
        for key in sorted({(run["arm"], run["steps"]) for run in sound})
    }


def _unigram(run: dict[str, Any], kind: str) -> float:
    return sum(run["windows"][f"unigram_{kind}_bits"]) / sum(run["windows"]["bases"])


def measures_table(runs: list[dict[str, Any]]) -> Table:
    """Every metric and the unigram baselines, means over seeds; arms that do not beat the pooled unigram are named."""
    rows = []
    found = [metrics_in(run["windows"]) for run in runs if "windows" in run]
    scored = [metric for metric in Metric if all(metric in each for each in found)]
    for (arm, steps), group in _groups(runs).items():
        values = [np.mean([value_of(run["windows"], metric) for run in group]) for metric in scored]
        baselines = [np.mean([_unigram(run, kind) for run in group]) for kind in ("pooled", "species")]
        flag = "no better than the pooled unigram" if any(run["collapsed"] for run in group) else ""
        rows.append((arm, steps, *map(float, (*values, *baselines)), sum(group[0]["windows"]["bases"]), flag))
    names = [metric.value.replace("masked_bits_per_base", "masked").replace("_", " ") for metric in scored]
    columns = ("arm", "steps", *names, "unigram pooled", "unigram species", "scored bases", "flag")
    formats = dict.fromkeys((*names, "unigram pooled", "unigram species"), ".4f") | {"scored bases": ",.0f"}
    return Table("Bits per base on the same hidden bases, means over seeds", columns, rows, formats=formats)


def species_table(runs: list[dict[str, Any]]) -> Table:
    """Masked bits per base by species, from rich in training data to poor, and the gap between the halves."""
    groups = _groups(runs)
    if not groups:
        return Table("By species", ("species",), [])
    first = next(iter(groups.values()))[0]
    order = np.argsort(-np.asarray(first["train_bp"]), kind="stable")

    def value(group: list[dict[str, Any]], members: np.ndarray) -> float:
        kept = [np.isin(run["windows"]["species"], members) for run in group]
        return float(np.mean([value_of(run["windows"], Metric.MASKED, rows) for run, rows in zip(group, kept)]))

    rows = [
        (first["species"][index], first["train_bp"][index], *(value(group, index) for group in groups.values()))
        for index in order.tolist()
    ]
    half = order.size // 2
    rich, poor = order[: order.size - half], order[order.size - half :]
    gaps = [value(group, poor) - value(group, rich) for group in groups.values()]
    rows.append(("gap: poorer half minus richer half", None, *gaps))
    names = [f"{arm}, {steps} steps" for arm, steps in groups]
    columns = ("species", "training bp", *names)
    note = "training bp: of the base's corpus" if "trained_on" in first else ""
    return Table("Masked bits per base by species", columns, rows, note=note, formats=dict.fromkeys(names, ".4f"))


def distance_table(runs: list[dict[str, Any]]) -> Table:
    """Gain of the next region over the species' token frequencies, by the gap to it."""
    groups = _groups(runs)
    if not groups:
        return Table("By distance", ("gap",), [])
    distance = np.asarray(next(iter(groups.values()))[0]["windows"]["distance_bp"])
    edges = np.unique(np.quantile(distance, np.linspace(0, 1, _DISTANCE_BINS + 1)).astype(int))
    rows = []
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist()):
        member = (distance >= low) & ((distance < high) | (high == edges[-1]))
        cells = [
            float(np.mean([value_of(run["windows"], Metric.NEXT_GAIN, member) for run in group]))
            for group in groups.values()
        ]
        rows.append((f"{low:,} to {high:,} bp", *cells))
    names = [f"{arm}, {steps} steps" for arm, steps in groups]
    title = "Next region: gain over the species' token frequencies, bits per base, by the gap between windows"
    return Table(title, ("gap", *names), rows, formats=dict.fromkeys(names, "+.4f"))


def runs_table(runs: list[dict[str, Any]]) -> Table:
    """What each run saw and cost."""
    rows = [
        (
            run["arm"],
            run["seed"],
            run["steps"],
            ", ".join(run["views"]),
            run["seen_bp"],
            run["seen_tokens"],
            run["slots"],
            run["seconds"],
            run.get("tokens_per_second"),
            run["peak_memory_bytes"] / 2**30 if "peak_memory_bytes" in run else None,
            run.get("diverged") or ("collapsed" if run["collapsed"] else "done"),
        )
        for run in runs
    ]
    columns = ("arm", "seed", "steps", "views", "bp seen", "tokens seen", "input slots", "seconds", "slots/s", "GiB")
    formats = {"seconds": ",.0f", "slots/s": ",.0f", "GiB": ".2f"}
    hours = sum(run["seconds"] for run in runs) / 3600
    note = f"{hours:.2f} hours in all; a run that another question had trained is only measured here"
    return Table("Runs", (*columns, "end"), rows, note=note, formats=formats)


def _arms_tables(experiment: Experiment) -> list[Table]:
    base = experiment.definition.base
    rows = [
        (arm, name, was, now) for arm, changes in experiment.changes.items() for name, (was, now) in changes.items()
    ]
    tables = [Table(f"What each arm changes of {base}", ("arm", "setting", base, "arm's value"), rows)]
    if left_out := experiment.definition.left_out:
        note = "Whatever was run of them stands among the other measures; error rates are those of all stated arms."
        tables.append(Table("Arms left out of the comparison", ("arm",), [(arm,) for arm in left_out], note=note))
    if experiment.definition.not_yet:
        missing = list(experiment.definition.not_yet.items())
        tables.append(Table("Arms that can't be expressed yet", ("arm", "why"), missing))
    return tables


def origin_table(runs: list[dict[str, Any]]) -> Table:
    """Commands, commits, corpus, hardware: every value that the runs have, and how many have it."""
    rows = []
    for name in ("command", "commit", "corpus", "trained_on", "dropped", "vocabulary", "hardware", "versions"):
        values = [run[name] for run in runs if name in run]
        rows += [(name, value, values.count(value)) for value in dict.fromkeys(values)]
    rows += [(f"run {run['arm']}, seed {run['seed']}, {run['steps']} steps", run["train_command"], 1) for run in runs]
    return Table("", ("what", "value", "runs"), rows)
