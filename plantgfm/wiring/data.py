"""Configuration to data: inputs, curated corpus, vocabulary. Each part is made once and found again by its content."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plantgfm.config import Config, CorpusKind, InputConfig
from plantgfm.corpus.read import Corpus, open_corpus
from plantgfm.corpus.write import write_corpus
from plantgfm.curation.curate import Curation, curate
from plantgfm.formats.manifest import read_manifest
from plantgfm.formats.paths import user_path
from plantgfm.identity import fingerprint, plain
from plantgfm.schema import Split
from plantgfm.simulate.null import simulate_null
from plantgfm.simulate.world import simulate_world
from plantgfm.tokenization.choose import CHOICE_VERSION, build_vocabulary
from plantgfm.tokenization.config import VocabularyConfig
from plantgfm.tokenization.sample import Stratum
from plantgfm.tokenization.vocabulary import Vocabulary
from plantgfm.wiring.executors import open_executor
from plantgfm.wiring.lineage import last_corpus, write_changes

Progress = Callable[[str, int, int], None]

STORE = ".store"


@dataclass(frozen=True)
class Inputs:
    """Files that a run starts from."""

    manifest: Path
    passport: Path | None
    references: Path | None


def store_of(config: Config) -> Path:
    """The folder of what runs share: curation artefacts, corpora, vocabularies, baselines."""
    return user_path(config.run.folder) / STORE


def find_inputs(config: InputConfig, *, progress: Progress | None = None) -> Inputs:
    """The files of a run; a simulated world is made where it is absent, reused where it is there.

    Raises:
        ValueError: when the path holds another world than the settings describe.
    """
    path = user_path(config.path)
    if config.kind is CorpusKind.MANIFEST:
        given = (user_path(text) if text else None for text in (config.passport, config.references))
        return Inputs(path, *given)
    if config.kind is CorpusKind.EMBEDDED:
        simulate_world(config.world, path, progress=progress)
    else:
        simulate_null(config.null, path, progress=progress)
    passport, references = path / "passport.tsv", path / "references" / "references.tsv"
    return Inputs(
        path / "manifest.csv", passport if passport.is_file() else None, references if references.is_file() else None
    )


def prepare_corpus(
    config: Config, *, progress: Progress | None = None, write: Callable[[str], None] | None = None
) -> tuple[Corpus, Curation]:
    """Curate the input and write the corpus, both only where something changed.

    A new corpus names the last one of the same input in its lineage, and holds beside it what changed per species. A
    stored one that is damaged beyond its cache is written again from what curation kept.

    Args:
        config: all settings.
        progress: of curation.
        write: told, in a line, of a stored corpus that had to be replaced.
    """
    inputs = find_inputs(config.corpus, progress=progress)
    store = store_of(config)
    choice = config.run
    with open_executor(choice.executor, workers=choice.workers, cluster=choice.cluster) as executor:
        curation = curate(
            read_manifest(inputs.manifest),
            config.curation,
            store=store / "curation",
            passport=inputs.passport,
            references=inputs.references,
            executor=executor,
            progress=progress,
            what_if=True,
        )
    key = fingerprint({"curation": curation.fingerprint, "layout": plain(config.corpus.layout)})
    out = store / "corpora" / key
    if out.is_dir():
        try:
            return open_corpus(out), curation
        except ValueError as error:
            shutil.rmtree(out)
            if write:
                write(f"a stored corpus could not be used and is written again: {error}")
    lineage = {"curation": curation.fingerprint, "manifest": str(inputs.manifest)}
    previous = last_corpus(out.parent, lineage["manifest"])
    if previous:
        lineage["previous"] = previous.fingerprint
    corpus = write_corpus(curation.accepted, config.corpus.layout, out=out, lineage=lineage)
    if previous:
        write_changes(previous, corpus)
    return corpus, curation


def build_on(corpus: Corpus, config: VocabularyConfig) -> tuple[Vocabulary, list[Stratum]]:
    """A vocabulary chosen on the training regions of a corpus, and the strata that it was chosen on."""
    rows = np.flatnonzero(corpus.regions.split == Split.TRAIN)
    return build_vocabulary(
        corpus.bases,
        offsets=corpus.regions.offset[rows],
        lengths=corpus.regions.length_bp[rows],
        species=corpus.regions.species[rows],
        species_names=corpus.species,
        config=config,
    )


def prepare_vocabulary(config: Config, corpus: Corpus) -> Vocabulary:
    """The vocabulary of a corpus, built once per corpus, settings and version of the choice."""
    content = {"version": CHOICE_VERSION, "corpus": corpus.fingerprint, "tokenizer": plain(config.tokenizer)}
    key = fingerprint(content)
    path = store_of(config) / "vocabularies" / f"{key}.json"
    if path.is_file():
        return Vocabulary.load(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    vocabulary, _ = build_on(corpus, config.tokenizer)
    vocabulary.save(path)
    return vocabulary
