"""A run folder to one self-contained HTML page, drawn from the files that the stages left."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plantgfm.corpus.read import Corpus
from plantgfm.curation.ledger import Ledger, read_ledger
from plantgfm.evaluation.result import FILE_NAME, EvaluationResult
from plantgfm.objectives.losses import REPEAT_CLASSES
from plantgfm.report import figures
from plantgfm.report.page import Page, Picture, Section
from plantgfm.report.table import Table
from plantgfm.retrieval.evaluate import RetrievalEvaluation
from plantgfm.training.metrics import METRICS_FILE, read_metrics
from plantgfm.training.run_folder import RESULT_FILE, read_json
from plantgfm.training.throughput import THROUGHPUT_FILE
from plantgfm.wiring.curation_report import curation_sections
from plantgfm.wiring.retrieval_evaluation import EVALUATION_FILE
from plantgfm.wiring.retrieval_report import holds_retrieval, retrieval_sections
from plantgfm.wiring.runs import Run, open_run_folder
from plantgfm.wiring.scores import EVALUATION_FOLDER
from plantgfm.wiring.tables import (
    corpus_table,
    evaluation_tables,
    near_duplicates_table,
)
from plantgfm.wiring.training import LEDGER_FOLDER
from plantgfm.wiring.vocabulary import report_tables, stored_report

RETRIEVAL_FOLDER = "retrieval"
REPORT_FILE = "report.html"
_TOLD = 300  # characters of an error
_MOST_CURVES = 14


def write_report(run_dir: Path, out: Path | None = None) -> tuple[Path, Table]:
    """Draw the report of a run; what has not been run yet is left out and said to be.

    Returns:
        The HTML file and the summary table.

    Raises:
        ValueError: when the folder is no run.
    """
    path = out or run_dir / REPORT_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    return path, _write(_ground_of(run_dir, measure=True), path)


class LiveReport:
    """The report of a run that is training: `update` draws it again, and never ends the training.

    What the run stands on (corpus, curation, vocabulary) is drawn once. Use of the vocabulary is shown where it was
    measured before; measuring it would keep the devices waiting.
    """

    def __init__(self, run_dir: Path, *, write: Callable[[str], None]):
        self._run_dir, self._write = run_dir, write
        self._ground: _Ground | None = None

    def update(self) -> None:
        """Draw the report; where that fails, say so in a line."""
        try:
            self._ground = self._ground or _ground_of(self._run_dir, measure=False)
            _write(self._ground, self._run_dir / REPORT_FILE)
        except (OSError, ValueError) as error:
            told = " ".join(str(error).split())[:_TOLD]
            self._write(f"the report could not be drawn ({type(error).__name__}: {told}); training goes on")


@dataclass(frozen=True)
class _Ground:
    """What a run stands on, and the sections that it fills."""

    run: Run
    corpus: Corpus
    ledger: Ledger
    sections: list[Section]


def _ground_of(run_dir: Path, *, measure: bool) -> _Ground:
    run = open_run_folder(run_dir)
    alpha = run.config.sampler.cluster_alpha
    corpus, ledger = run.corpus(), read_ledger(run_dir / LEDGER_FOLDER)
    sections = [
        Section("Corpus", tables=[corpus_table(corpus), near_duplicates_table(corpus, alpha=alpha)]),
        *curation_sections(ledger, run_dir / LEDGER_FOLDER),
        _vocabulary_section(run, corpus, measure=measure),
    ]
    return _Ground(run, corpus, ledger, sections)


def _write(ground: _Ground, path: Path) -> Table:
    """Write the page, with what the run has come to by now; its summary."""
    run_dir = ground.run.path
    evaluation, retrieval = _evaluation_of(run_dir), _retrieval_of(run_dir)
    summary = summary_table(ground.run, ground.corpus, ground.ledger, evaluation=evaluation, retrieval=retrieval)
    sections = [
        Section("Summary", tables=[summary]),
        *ground.sections,
        _training_section(run_dir),
        held_out_section(evaluation),
        *_retrieval_section_of(run_dir),
    ]
    Page(f"plantgfm run {run_dir.resolve().name}", "", sections).write_html(path)
    return summary


def _evaluation_of(run_dir: Path) -> EvaluationResult | None:
    folder = run_dir / EVALUATION_FOLDER
    return EvaluationResult.read(folder) if (folder / FILE_NAME).is_file() else None


def _retrieval_of(run_dir: Path) -> RetrievalEvaluation | None:
    path = run_dir / RETRIEVAL_FOLDER / EVALUATION_FILE
    return RetrievalEvaluation.read(path) if path.is_file() else None


def summary_table(
    run: Run,
    corpus: Corpus,
    ledger: Ledger,
    *,
    evaluation: EvaluationResult | None,
    retrieval: RetrievalEvaluation | None,
) -> Table:
    """The run on a dozen lines."""
    totals = ledger.totals()
    result_path = run.path / RESULT_FILE
    result = read_json(result_path) if result_path.is_file() else {}
    rows: list[tuple[str, str]] = [
        ("records kept / rejected", f"{totals['kept'][0]:,} / {totals['rejected'][0]:,}"),
        ("corpus", f"{corpus.bases.size / 1e6:.1f} Mb, {len(corpus.species)} species, {corpus.fingerprint}"),
        ("vocabulary", f"{run.vocabulary.size:,} tokens, {run.vocabulary.fingerprint}"),
        ("steps", f"{result['step'] if result else _logged_step(run.path):,} of {run.config.run.steps:,}"),
    ]
    if result:
        memory = result["peak_memory_bytes"] / 2**30
        rows.append(("training", f"{result['tokens_per_second']:,.0f} tokens/s, peak memory {memory:.2f} GiB"))
        if "cut_bp" in result:
            rows.append(("cut from windows of too many tokens", f"{result['cut_bp']:,} bp in the last call"))
    if evaluation is not None:
        rows += evaluation_lines(evaluation.summary)
    if retrieval is not None:
        rows += [
            (f"retrieval MRR, {method.method}", f"{method.mean_reciprocal_rank:.3f}") for method in retrieval.methods
        ]
    return Table("Summary", ("what", "figure"), rows)


def _logged_step(run_dir: Path) -> int:
    """The last step that a run without a result has logged."""
    path = run_dir / METRICS_FILE
    return max((row["step"] for row in read_metrics(path)), default=0) if path.is_file() else 0


def evaluation_lines(summary: dict[str, float]) -> list[tuple[str, str]]:
    """Headline figures of an evaluation for a summary, each with its interval."""

    def interval(name: str, sign: str = "") -> str:
        return f"{summary[name]:{sign}.4f} [{summary[name + '_low']:{sign}.4f}, {summary[name + '_high']:{sign}.4f}]"

    order, per_species = summary["markov_pooled_order"], summary["markov_species_order"]
    return [
        ("masked bits per base", interval("masked_bits_per_base")),
        ("  unigram (per species)", interval("unigram_species_bits_per_base")),
        (f"  best Markov, pooled (order {order:.0f})", interval("markov_pooled_bits_per_base")),
        (f"  best Markov, per species (order {per_species:.0f})", interval("markov_species_bits_per_base")),
        ("  model - best pooled Markov", interval("model_minus_markov_pooled", "+")),
        ("next-region gain over unigram, nats/token", interval("next_region_gain_over_unigram", "+")),
        ("next-region gain over histogram, nats/token", interval("next_region_gain_over_histogram", "+")),
    ]


def _vocabulary_section(run: Run, corpus: Corpus, *, measure: bool) -> Section:
    if not run.vocabulary.is_hybrid:
        kind = run.config.tokenizer.kind.name
        return Section("Vocabulary", f"{run.vocabulary.size:,} tokens of tokenizer.kind={kind}.")
    rows = stored_report(corpus, run.vocabulary, run.config.tokenizer, store=run.store, measure=measure)
    if not rows:
        return Section("Vocabulary", "Its use has not been measured yet: `plantgfm report RUN`.")
    strata = rows["strata"]
    picture = figures.bars(
        [row["stratum"] for row in strata],
        [row["tokens_per_base"] for row in strata],
        xlabel="tokens per base",
        reference={"plain 6-mers": 1 / 6},
    )
    caption = "Vocabulary use: tokens per base of the hybrid vocabulary, by species and repeat density"
    return Section("Vocabulary", tables=report_tables(rows), figures=[Picture(caption, picture)])


def _training_section(run_dir: Path) -> Section:
    metrics, throughput = run_dir / METRICS_FILE, run_dir / THROUGHPUT_FILE
    rows = read_metrics(metrics) if metrics.is_file() else []
    return training_section(rows, read_json(throughput)["calls"] if throughput.is_file() else [])


def training_section(rows: list[dict[str, Any]], calls: list[dict[str, Any]]) -> Section:
    """Curves of the logged steps, and the throughput of the calls.

    Args:
        rows: as `read_metrics` gives them.
        calls: of `throughput.json`.
    """
    if not rows:
        return Section("Training", "No step has been logged yet.")
    objectives = {"masked": "masked_nats_per_token", "next region": "next_nats_per_token"}
    curves = {label: _curve(rows, key) for label, key in objectives.items()}
    species = sorted({key for row in rows for key in row if key.startswith("species/")})
    by_species = _species_curves(rows, species)
    by_repeats = {f"{name} repeats": _curve(rows, f"repeats/{name}") for name in REPEAT_CLASSES}
    norms = list(dict.fromkeys(key for row in rows for key in row if key.startswith("gradient_norm/")))
    by_block = {key.removeprefix("gradient_norm/"): _curve(rows, key) for key in norms}
    watched = {"masked bits per base": _curve(rows, "validation/masked_bits_per_base")}
    pictures = [
        _loss_picture("Loss per objective, training windows", curves, "nats per token"),
        _loss_picture("Masked loss per species, training windows", by_species, "nats per token"),
        _loss_picture("Masked loss outside and inside repeats, training windows", by_repeats, "nats per token"),
        _loss_picture("Validation windows, every chosen token hidden", watched, "bits per base"),
        _loss_picture("Gradient norm by block, before clipping", by_block, "norm", log_y=True),
    ]
    tables = [_throughput_table(calls)] if calls else []
    return Section("Training", tables=tables, figures=[picture for picture in pictures if picture is not None])


def _throughput_table(calls: list[dict[str, Any]]) -> Table:
    """Speed and shares of the time of every call, a line each."""
    uses = list(dict.fromkeys(use for call in calls for use in call["seconds"]))
    names = ("from_step", "to_step", "device", "devices", "tokens_per_second", "model_flop_utilisation")
    rows = []
    for call in calls:
        total = sum(call["seconds"].values())
        rows.append((*(call[name] for name in names), *(call["seconds"].get(use, 0.0) / total for use in uses)))
    columns = ("from step", "to step", "device", "devices", "tokens/s", "MFU", *uses)
    formats = {"tokens/s": ",.0f", "MFU": ".1%", **dict.fromkeys(uses, ".1%")}
    return Table("Throughput of each call, and what its time went to", columns, rows, formats=formats)


def _species_curves(rows: list[dict[str, Any]], keys: list[str]) -> dict[str, tuple[list[float], list[float]]]:
    """A curve a species; of more than a figure can tell apart, the least, the median and the largest of each step."""
    if len(keys) <= _MOST_CURVES:
        return {key.removeprefix("species/"): _curve(rows, key) for key in keys}
    seen = [(row["step"], [row[key] for key in keys if row.get(key) is not None]) for row in rows]
    seen = [(step, values) for step, values in seen if values]
    named = {"largest": max, "median": statistics.median, "least": min}
    steps = [step for step, _ in seen]
    return {f"{name} of {len(keys)} species": (steps, [of(each) for _, each in seen]) for name, of in named.items()}


def _curve(rows: list[dict], key: str) -> tuple[list[float], list[float]]:
    found = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    return [step for step, _ in found], [value for _, value in found]


def _loss_picture(
    caption: str, curves: dict[str, tuple[list[float], list[float]]], ylabel: str, *, log_y: bool = False
) -> Picture | None:
    drawn = {name: curve for name, curve in curves.items() if curve[0]}
    return Picture(caption, figures.lines(drawn, xlabel="step", ylabel=ylabel, log_y=log_y)) if drawn else None


def held_out_section(evaluation: EvaluationResult | None) -> Section:
    """Tables of an evaluation, and the model beside the best baselines; None: it is said that there is none yet."""
    if evaluation is None:
        return Section("Held-out regions", "Not evaluated yet: `plantgfm evaluate RUN`.")
    best = set(evaluation.best.values())
    found = evaluation.select(kind="all", metric="masked_bits_per_base")
    rows = [row for row in found if not row["predictor"].startswith("markov") or row["predictor"] in best]
    picture = figures.bars(
        [row["predictor"] for row in rows],
        [row["value"] for row in rows],
        xlabel="masked bits per base (less is better)",
        intervals=[(row["low"], row["high"]) for row in rows],
        points=True,
    )
    caption = "Masked bits per base of the model and of the best baselines on the same positions, 95 % intervals"
    return Section("Held-out regions", tables=evaluation_tables(evaluation), figures=[Picture(caption, picture)])


def _retrieval_section_of(run_dir: Path) -> list[Section]:
    folder = run_dir / RETRIEVAL_FOLDER
    if not holds_retrieval(folder):
        return [Section("Retrieval", "Not run yet: `plantgfm retrieve` with --truth and --out RUN/retrieval.")]
    return retrieval_sections(folder)
