"""What a project keeps of a finished run, without the run: settings, identity, curves, figures beside the baselines.

FOLDER/run.json           settings, identity, corpus, vocabulary, how it ended, throughput of every call
FOLDER/measured.json.gz   every logged line of metrics, and the evaluation; six digits
FOLDER/report.md          tables, with report_figures/*.png: drawn from the two above alone, and so again at any time
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from plantgfm.config import Config
from plantgfm.curation.ledger import read_ledger
from plantgfm.evaluation.result import FILE_NAME, EvaluationResult
from plantgfm.identity import plain, read_json
from plantgfm.report import figures
from plantgfm.report.page import Page, Section
from plantgfm.report.table import Table, table_of
from plantgfm.training.metrics import METRICS_FILE, read_metrics
from plantgfm.training.run_folder import RESULT_FILE, RUN_FILE, differences, is_held, known_identities, write_json
from plantgfm.training.throughput import THROUGHPUT_FILE
from plantgfm.wiring.report import evaluation_lines, held_out_section, training_section
from plantgfm.wiring.runs import open_run_folder
from plantgfm.wiring.scores import EVALUATION_FOLDER
from plantgfm.wiring.tables import CORPUS_FORMATS
from plantgfm.wiring.training import LEDGER_FOLDER

MEASURED_FILE = "measured.json.gz"
REPORT_FILE = "report.md"
KEPT_FORMAT = "plantgfm kept run"
_REMEDY = "keep the run again: `plantgfm report RUN --keep FOLDER`"


def holds_kept_run(folder: Path) -> bool:
    """Whether a folder is what `keep_run` wrote."""
    return (folder / RUN_FILE).is_file() and (folder / MEASURED_FILE).is_file()


def keep_run(run_dir: Path, out: Path) -> Path:
    """Write what is kept of a finished and evaluated run, and draw its report; the same run gives the same bytes.

    Absolute paths of the settings are cut to their names: what is kept says nothing of the machine.

    Args:
        run_dir: the run.
        out: folder to keep it in: a new or empty one, or one that the same run was kept in before.

    Returns:
        The report.

    Raises:
        ValueError: for a run that is not finished or not evaluated, and for a folder that holds something else.
    """
    run = open_run_folder(run_dir)
    result_path = run_dir / RESULT_FILE
    if is_held(run_dir) or not result_path.is_file():
        raise ValueError(f"{run_dir} is not finished: the same command of train.py goes on, then it can be kept")
    if not (run_dir / EVALUATION_FOLDER / FILE_NAME).is_file():
        raise ValueError(f"{run_dir} is not evaluated: `plantgfm evaluate {run_dir}` first")
    identity, *earlier = known_identities(run_dir)
    _require_room(out, identity)
    corpus, ledger = run.corpus(), read_ledger(run_dir / LEDGER_FOLDER)
    totals = ledger.totals()
    throughput = run_dir / THROUGHPUT_FILE
    kept = {
        "format": KEPT_FORMAT,
        "name": run_dir.resolve().name,
        "settings": _portable(plain(run.config)),
        "identity": identity,
        "earlier_identities": earlier,
        "corpus": {"fingerprint": corpus.fingerprint, "bp": int(corpus.bases.size), "species": corpus.summary()},
        "records": {name: totals[name][0] for name in ("kept", "rejected")},
        "vocabulary": {"fingerprint": run.vocabulary.fingerprint, "tokens": run.vocabulary.size},
        "result": read_json(result_path, remedy="train again"),
        "calls": read_json(throughput, remedy="delete it")["calls"] if throughput.is_file() else [],
    }
    evaluation = EvaluationResult.read(run_dir / EVALUATION_FOLDER)
    measured = {"metrics": read_metrics(run_dir / METRICS_FILE), "evaluation": asdict(evaluation)}
    text = json.dumps(_rounded(measured), allow_nan=False)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / RUN_FILE, kept)
    part = out / f"{MEASURED_FILE}.part"
    part.write_bytes(gzip.compress(text.encode(), mtime=0))
    part.replace(out / MEASURED_FILE)
    return write_kept_report(out)


def _require_room(out: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a folder that holds another run, or other things."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"--keep {out} is a file: name a folder")
    if (out / RUN_FILE).is_file():
        there = read_json(out / RUN_FILE, remedy="choose another folder")
        if there.get("format") == KEPT_FORMAT and there.get("identity") == identity:
            return
        raise ValueError(f"{out} holds the run {there.get('name', '?')!r} of other settings: choose another folder")
    if any(out.iterdir()):
        raise ValueError(f"{out} holds files that are no kept run: choose another folder")


def _portable(value: Any) -> Any:
    """Settings without the folders of this machine."""
    if isinstance(value, dict):
        return {name: _portable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_portable(item) for item in value]
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~")) else value


def _rounded(value: Any) -> Any:
    """Floats to six digits: what lies behind them is noise, and does not compress."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _light(section: Section) -> Section:
    return replace(section, figures=[replace(one, png=figures.lighter(one.png)) for one in section.figures])


def write_kept_report(folder: Path, out: Path | None = None) -> Path:
    """Draw the report of a kept run from what was kept.

    Args:
        folder: that `keep_run` wrote.
        out: an HTML file; without it Markdown and its figures in the folder.

    Returns:
        The report.

    Raises:
        ValueError: when a file is damaged.
    """
    kept = read_json(folder / RUN_FILE, remedy=_REMEDY)
    if kept.get("format") != KEPT_FORMAT:
        raise ValueError(f"{folder / RUN_FILE} is no {KEPT_FORMAT}: {_REMEDY}")
    measured = read_json(folder / MEASURED_FILE, remedy=_REMEDY)
    try:
        evaluation = EvaluationResult(**measured["evaluation"])
        sections = [
            Section("Summary", tables=[_summary_table(kept, evaluation), _settings_table(kept["settings"])]),
            Section("Corpus", tables=[table_of("Corpus", kept["corpus"]["species"], formats=CORPUS_FORMATS)]),
            training_section(measured["metrics"], kept["calls"]),
            held_out_section(evaluation),
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder} is damaged ({type(error).__name__}: {error}): {_REMEDY}") from None
    page = Page(f"plantgfm run {kept['name']}", "", [_light(section) for section in sections])
    if out is None:
        page.write_markdown(folder / REPORT_FILE)
        return folder / REPORT_FILE
    out.parent.mkdir(parents=True, exist_ok=True)
    page.write_html(out)
    return out


def _summary_table(kept: Mapping[str, Any], evaluation: EvaluationResult) -> Table:
    corpus, vocabulary, result = kept["corpus"], kept["vocabulary"], kept["result"]
    rows = [
        ("records kept / rejected", f"{kept['records']['kept']:,} / {kept['records']['rejected']:,}"),
        ("corpus", f"{corpus['bp'] / 1e6:.1f} Mb, {len(corpus['species'])} species, {corpus['fingerprint']}"),
        ("vocabulary", f"{vocabulary['tokens']:,} tokens, {vocabulary['fingerprint']}"),
        ("steps", f"{result['step']:,}"),
        *evaluation_lines(evaluation.summary),
    ]
    return Table("Summary", ("what", "figure"), rows)


def _settings_table(settings: Mapping[str, Any]) -> Table:
    """The settings that are not those of the dataclasses."""
    changed = differences(plain(Config()), settings)
    rows = [(name, now, default) for name, (default, now) in changed.items()]
    return Table("Settings other than the defaults", ("setting", "here", "default"), rows, note="all are in run.json")
