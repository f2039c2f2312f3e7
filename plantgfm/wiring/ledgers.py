"""The ledger that a path means, and what belongs to it: settings of curation and the corpus that came of it."""

from __future__ import annotations

from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

from plantgfm.corpus.read import IDENTITY_FILE
from plantgfm.curation.config import STAGES, CurationConfig
from plantgfm.curation.ledger import LEDGER_FILE, Ledger, read_ledger
from plantgfm.identity import restore
from plantgfm.wiring.runs import settings_of
from plantgfm.wiring.training import LEDGER_FOLDER, SETTINGS_FILE


@dataclass(frozen=True)
class Source:
    """What lies at a path: a run (ledger, settings and corpus), a folder of a curation, or a corpus alone."""

    path: Path
    ledger: Ledger | None
    corpus_path: Path | None  # None where no corpus is at hand
    settings: dict[str, Any]  # of the data: those of `Config` that shape a corpus, as far as they are known


def open_source(path: Path) -> Source:
    """Read what a path holds of curation.

    Raises:
        ValueError: when it is no run, no folder of a curation and no corpus, or its ledger is damaged.
    """
    if (path / SETTINGS_FILE).is_file():
        return _open_run(path)
    if (path / LEDGER_FILE).is_file():
        ledger = read_ledger(path)
        return Source(path, ledger, None, {"curation": ledger.settings} if ledger.settings else {})
    if (path / IDENTITY_FILE).is_file():
        return Source(path, None, path, {})
    if not path.is_dir():
        raise ValueError(f"{path} is no folder: name a run, the folder of a curation, or a corpus")
    raise ValueError(
        f"{path} is no run ({SETTINGS_FILE}), no folder of a curation ({LEDGER_FILE}) and no corpus "
        f"({IDENTITY_FILE}): it holds none of these files"
    )


def _open_run(path: Path) -> Source:
    stored = settings_of(path)
    try:
        config, corpus = stored["config"], Path(stored["corpus"])
        settings = {name: config[name] for name in ("corpus", "curation")}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path / SETTINGS_FILE} lacks {error}: it is not what a run leaves, train again") from None
    ledger = read_ledger(path / LEDGER_FOLDER)
    return Source(path, ledger, corpus if (corpus / IDENTITY_FILE).is_file() else None, settings)


def thresholds_of(source: Source) -> CurationConfig:
    """The settings that a ledger was made with; the defaults where it does not say, for it then has no measures.

    Raises:
        ValueError: when they are of another version, or damaged.
    """
    known = source.ledger.settings if source.ledger and source.ledger.settings else source.settings.get("curation")
    config = restore(CurationConfig, known) if known else CurationConfig()
    wrong = [stage for stage in STAGES if not is_dataclass(getattr(config, stage))]
    if wrong:
        raise ValueError(f"{source.path}: its settings of {wrong[0]!r} are damaged, curate again to renew them")
    return config
