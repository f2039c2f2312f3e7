"""A corpus to a vocabulary and its report."""

from __future__ import annotations

import json
from pathlib import Path

from plantgfm.corpus.read import Corpus
from plantgfm.formats.streams import atomic_text
from plantgfm.identity import fingerprint, plain
from plantgfm.report.table import Table, table_of
from plantgfm.tokenization.choose import CHOICE_VERSION
from plantgfm.tokenization.config import VocabularyConfig
from plantgfm.tokenization.report import REPORT_VERSION, tokenizer_report
from plantgfm.tokenization.vocabulary import Vocabulary
from plantgfm.wiring.data import build_on
from plantgfm.wiring.stored import without_added

_TITLES = {
    "strata": "Token use by species and repeat density, on windows held back from the choice",
    "repeats": "Tandem repeats, dispersed repeats and unique sequence",
    "claims": "The claim: BPE over-merges repeats, the hybrid keeps them distinct",
}


def build_and_report(
    corpus: Corpus, config: VocabularyConfig, *, report: bool = True
) -> tuple[Vocabulary, list[Table]]:
    """A vocabulary chosen on a corpus, and tables of what it does beside plain 6-mers and BPE where it is a hybrid."""
    vocabulary, strata = build_on(corpus, config)
    rows = tokenizer_report(vocabulary, strata).tables() if report and vocabulary.is_hybrid else {}
    return vocabulary, report_tables(rows)


def report_tables(rows: dict[str, list[dict]]) -> list[Table]:
    """Rows of the tokenizer report as tables."""
    return [table_of(_TITLES[name], part) for name, part in rows.items() if part]


def stored_report(
    corpus: Corpus, vocabulary: Vocabulary, config: VocabularyConfig, *, store: Path, measure: bool = True
) -> dict:
    """Rows of the tokenizer report, measured once per corpus, vocabulary, settings and version.

    Without `measure`, {} where they have not been measured yet; {} for a vocabulary that is no hybrid.
    """
    if not vocabulary.is_hybrid:
        return {}
    versions = [CHOICE_VERSION, REPORT_VERSION]  # the windows it is measured on come with the choice
    known = without_added({"tokenizer": plain(config)})["tokenizer"]
    content = {"corpus": corpus.fingerprint, "vocabulary": vocabulary.fingerprint, "config": known}
    key = fingerprint({"version": versions, **content})
    path = store / "vocabularies" / f"{key}.report.json"
    if not path.is_file():
        if not measure:
            return {}
        _, strata = build_on(corpus, config)
        rows = tokenizer_report(vocabulary, strata).tables()
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_text(path) as stream:
            stream.write(json.dumps(rows) + "\n")
    return json.loads(path.read_text())
