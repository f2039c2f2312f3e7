"""Labelled sequence sets that a user has on disk, read as probes: promoter strength, 6mA sites.

Known are the layouts of the Plant Genomic Benchmark (JSON lines `sequence`, `name`, `label`), of the promoter strength
set in tobacco leaf (`set sp gene sequence enrichment`) and of 6mA tables (`index label text`). The files' own split is
kept; of the scored rows those are dropped whose sequence, on either strand, or gene is among the fitted ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plantgfm.ablation.config import ProbeConfig
from plantgfm.ablation.probe_data import TEST_SHARE, Labelled, Part, Pool, split_groups
from plantgfm.evaluation.probe_scores import Score
from plantgfm.formats.errors import FormatError
from plantgfm.formats.numbers import decimal
from plantgfm.formats.streams import text_lines
from plantgfm.formats.tables import read_rows
from plantgfm.identity import parse_json
from plantgfm.sequence import encode

STRENGTH, STRENGTH_LEAF, METHYLATION = "promoter strength", "promoter strength, leaf", "6mA"
_COMPLEMENT = str.maketrans("ACGTRYKMBVDH", "TGCAYRMKVBHD")
_PGB, _LEAF, _METHYLATION = "pgb/promoter_strength/leaf", "promoter_strength_leaf", "6mA_"


@dataclass(frozen=True)
class Row:
    """One labelled sequence."""

    text: str
    label: float
    group: str  # gene, or the sequence itself
    held_out: bool  # as the files split


def task_probes(folder: Path | None, config: ProbeConfig) -> tuple[list[Labelled], dict[str, str]]:
    """The probes of a folder of tasks, and why others are left out.

    Raises:
        FormatError: for a file that is not what its place says.
    """
    if folder is None:
        return [], dict.fromkeys((STRENGTH, STRENGTH_LEAF, METHYLATION), "no folder of tasks was given")
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder of tasks")
    found, skipped = [], {}
    regression = {"classes": (), "scores": (Score.SPEARMAN,)}
    pairs = {split: folder / _PGB / f"{split}.json.gz" for split in ("train", "test")}
    if all(path.is_file() for path in pairs.values()):
        rows = [row for split, path in pairs.items() for row in _json_rows(path, held_out=split == "test")]
        found.append(_labelled(STRENGTH, rows, config, **regression))
    else:
        skipped[STRENGTH] = f"{folder / _PGB} lacks train.json.gz or test.json.gz"
    if tables := sorted((folder / _LEAF).glob("*.tsv*")):
        found.append(
            _labelled(STRENGTH_LEAF, [row for path in tables for row in _leaf_rows(path)], config, **regression)
        )
    else:
        skipped[STRENGTH_LEAF] = f"{folder / _LEAF} holds no table"
    folders = sorted(path for path in folder.glob(f"{_METHYLATION}*") if path.is_dir())
    for one in folders:
        name = f"{METHYLATION}, {one.name.removeprefix(_METHYLATION).replace('_', ' ')}"
        pairs = {split: one / f"{split}.tsv.gz" for split in ("train", "test")}
        if missing := [str(path) for path in pairs.values() if not path.is_file()]:
            skipped[name] = f"{missing[0]} is not there"
            continue
        rows = [row for split, path in pairs.items() for row in _site_rows(path, held_out=split == "test")]
        kinds = {"classes": ("none", METHYLATION), "scores": (Score.AUROC, Score.BALANCED_ACCURACY)}
        found.append(_labelled(name, rows, config, **kinds))
    if not folders:
        skipped[METHYLATION] = f"{folder} holds no folder {_METHYLATION}*"
    return found, skipped


def _json_rows(path: Path, *, held_out: bool) -> Iterator[Row]:
    """Rows of a benchmark file. Its `name` ends in the species and gives the gene; it is never read by a probe."""
    for line, text in text_lines(path):
        try:
            row = parse_json(text)
            yield Row(str(row["sequence"]), float(row["label"]), _gene(str(row["name"])), held_out)
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(path, f"is no line with sequence, name and label ({error})", line=line) from None


def _gene(name: str) -> str:
    return name.rpartition("_")[0] or name


def _leaf_rows(path: Path) -> Iterator[Row]:
    for line, row in _table(path, ("gene", "sequence", "enrichment")):
        yield Row(row["sequence"], _value(path, line, row["enrichment"]), row["gene"], False)


def _site_rows(path: Path, *, held_out: bool) -> Iterator[Row]:
    for line, row in _table(path, ("label", "text")):
        label = _value(path, line, row["label"])
        if label not in (0.0, 1.0):
            raise FormatError(path, f"label {row['label']!r} is neither 0 nor 1", line=line)
        yield Row(row["text"], label, _canonical(row["text"]), held_out)


def _table(path: Path, wanted: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    columns, rows = read_rows(path)
    if missing := [name for name in wanted if name not in columns]:
        raise FormatError(path, f"lacks column {missing[0]!r}", line=1)
    return rows


def _value(path: Path, line: int, text: str) -> float:
    try:
        return decimal(text, "label")
    except ValueError as error:
        raise FormatError(path, str(error), line=line) from None


def _canonical(text: str) -> str:
    """The strand of a sequence that comes first in the alphabet."""
    upper = text.upper().replace("U", "T")
    return min(upper, upper[::-1].translate(_COMPLEMENT))


def _labelled(
    name: str, rows: list[Row], config: ProbeConfig, *, classes: tuple[str, ...], scores: tuple[Score, ...]
) -> Labelled:
    """A draw of the rows, parted by group, or as the files are, without what lies in both parts."""
    generator = np.random.default_rng(config.seed)
    rows = [rows[index] for index in generator.permutation(len(rows))]
    n_test = round(TEST_SHARE * config.task_rows)
    given = any(row.held_out for row in rows)
    note, dropped = "parted by gene", 0
    if given:
        fitted = [row for row in rows if not row.held_out][: config.task_rows - n_test]
        every = [row for row in rows if not row.held_out]
        seen = {row.group for row in every} | {_canonical(row.text) for row in every}
        scored = [row for row in rows if row.held_out]
        sound = [row for row in scored if row.group not in seen and _canonical(row.text) not in seen]
        dropped, rows = len(scored) - len(sound), [*fitted, *sound[:n_test]]
        note = f"split of the files, {dropped} of {len(scored):,} scored rows dropped as they are among the fitted ones"
    else:
        rows = rows[: config.task_rows]
    names, group = np.unique([row.group for row in rows], return_inverse=True)
    together = np.zeros(len(rows), np.int64)
    fixed = np.array([row.held_out for row in rows]) if given else None
    part = split_groups(group, together, seed=config.seed, fixed=fixed)
    labels = np.array([row.label for row in rows])
    if any(not np.any(part == one) for one in (Part.FIT, Part.TUNE, Part.TEST)) or np.unique(labels).size < 2:
        raise ValueError(f"task {name!r} has too few rows ({len(rows)}), groups ({names.size}) or labels to be probed")
    try:
        pool = Pool(name, [encode(row.text) for row in rows])
    except ValueError as error:
        raise ValueError(f"task {name!r} holds a sequence that is none: {error}") from None
    note += "; homology between parts is not checked"
    kind = labels.astype(np.int64) if classes else labels
    return Labelled(name, pool, np.arange(len(rows)), kind, classes, part, group, together, scores, note)
