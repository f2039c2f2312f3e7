"""Configuration to data: inputs, curated corpus, vocabulary. Each part is made once and found again by its content."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from plantgfm.config import Config, CorpusKind, InputConfig
from plantgfm.corpus.read import Corpus, open_corpus
from plantgfm.corpus.write import write_corpus
from plantgfm.formats.paths import user_path
from plantgfm.identity import fingerprint, plain
from plantgfm.schema import Split
from plantgfm.simulate.null import simulate_null
from plantgfm.simulate.world import simulate_world
from plantgfm.tokenization.choose import CHOICE_VERSION, build_vocabulary
from plantgfm.tokenization.config import VocabularyConfig
from plantgfm.tokenization.sample import Stratum
from plantgfm.tokenization.vocabulary import Vocabulary
from plantgfm.training.hosts import Hosts
from plantgfm.wiring.executors import open_executor
from plantgfm.wiring.lineage import last_corpus, write_changes
from plantgfm.wiring.stored import without_added

if TYPE_CHECKING:
    from plantgfm.curation.curate import Curation

Progress = Callable[[str, int, int], None]

STORE = ".store"
_SIGN = ".hosts-"
_SEEN_S = 60.0  # until a file that one host made is seen by the others: network file systems keep old listings


@dataclass(frozen=True)
class Inputs:
    """Files that a run starts from."""

    manifests: tuple[Path, ...]
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
        return Inputs((path, *map(user_path, config.more)), *given)
    if config.kind is CorpusKind.EMBEDDED:
        simulate_world(config.world, path, progress=progress)
    else:
        simulate_null(config.null, path, progress=progress)
    passport, references = path / "passport.tsv", path / "references" / "references.tsv"
    found = (each if each.is_file() else None for each in (passport, references))
    return Inputs((path / "manifest.csv",), *found)


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
    from plantgfm.curation.curate import curate  # its libraries are not needed where a corpus is carried to
    from plantgfm.formats.manifest import read_manifests

    inputs = find_inputs(config.corpus, progress=progress)
    store = store_of(config)
    choice = config.run
    with open_executor(choice.executor, workers=choice.workers, cluster=choice.cluster) as executor:
        curation = curate(
            read_manifests(inputs.manifests),
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
    manifest, *more = map(str, inputs.manifests)
    lineage = {"curation": curation.fingerprint, "manifest": manifest, **({"more": more} if more else {})}
    previous = last_corpus(out.parent, manifest)
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


def vocabulary_path(config: Config, corpus: Corpus) -> Path:
    """Where the store has, or would have, the vocabulary of a corpus, by settings and version of the choice."""
    content = {
        "version": CHOICE_VERSION,
        "corpus": corpus.fingerprint,
        **without_added({"tokenizer": plain(config.tokenizer)}),
    }
    return store_of(config) / "vocabularies" / f"{fingerprint(content)}.json"


def prepare_vocabulary(config: Config, corpus: Corpus) -> Vocabulary:
    """The vocabulary of a corpus, built once per corpus, settings and version of the choice."""
    path = vocabulary_path(config, corpus)
    if path.is_file():
        return Vocabulary.load(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    vocabulary, _ = build_on(corpus, config.tokenizer)
    vocabulary.save(path)
    return vocabulary


@dataclass(frozen=True)
class Prepared:
    """What a run trains on."""

    corpus: Corpus
    vocabulary: Vocabulary
    curation: Curation | None  # None on every process but the first, which curates, and where a corpus is carried to


def prepare_together(
    config: Config,
    hosts: Hosts,
    *,
    progress: Progress | None = None,
    write: Callable[[str], None],
) -> Prepared:
    """Curate and build the vocabulary on process 0, while the others wait; then all open what it left in the store.

    Raises:
        ValueError: when a process has other settings, or sees another folder than the first.
    """
    _check_settings(config, hosts)
    made: list[Prepared] = []
    sign = store_of(config) / f"{_SIGN}{uuid.uuid4().hex}"

    def curate_here() -> dict[str, str]:
        corpus, curation = prepare_corpus(config, progress=progress, write=write)
        for key in curation.repaired:
            write(f"what the store held of {key} was damaged, and was made again")
        write(f"corpus {corpus.fingerprint}: {len(corpus.species)} species, {corpus.bases.size:,} bp")
        vocabulary = prepare_vocabulary(config, corpus)
        write(f"vocabulary {vocabulary.fingerprint}: {vocabulary.size:,} tokens")
        made.append(Prepared(corpus, vocabulary, curation))
        if hosts.count > 1:
            sign.touch()
        told = {"corpus": corpus.fingerprint, "vocabulary": vocabulary.fingerprint}
        return {**told, "folder": corpus.path.name, "sign": sign.name, "store": str(sign.parent.absolute())}

    told = hosts.lead("the corpus", curate_here)

    def see() -> None:
        if not made:
            made.append(_open_theirs(config, told))

    try:
        hosts.agree("the shared folder", see)
    finally:
        if hosts.index == 0:
            sign.unlink(missing_ok=True)
    return made[0]


def _check_settings(config: Config, hosts: Hosts) -> None:
    settings = plain(config)
    settings["run"].pop("hosts")  # names the process
    found = hosts.agree("its settings", lambda: fingerprint(settings))
    if odd := [index for index, each in enumerate(found) if each != found[0]]:
        raise ValueError(f"processes {odd} have other settings than process 0: start all with the same arguments")


def _open_theirs(config: Config, told: dict[str, str]) -> Prepared:
    """What process 0 prepared, read where this process sees it."""
    store = store_of(config)
    deadline = time.monotonic() + _SEEN_S
    while not (store / told["sign"]).is_file():
        if time.monotonic() > deadline:
            raise ValueError(
                f"{store.absolute()} is not the folder that process 0 writes to as {told['store']}: let run.folder="
                f"{config.run.folder} lie on a file system that all hosts share"
            )
        time.sleep(0.1)
    corpus = open_corpus(store / "corpora" / told["folder"])
    vocabulary = prepare_vocabulary(config, corpus)
    for name, mine in (("corpus", corpus.fingerprint), ("vocabulary", vocabulary.fingerprint)):
        if mine != told[name]:
            raise ValueError(
                f"the {name} in {store.absolute()} has fingerprint {mine} here and {told[name]} on process 0: let "
                "run.folder lie on a file system that all hosts share"
            )
    return Prepared(corpus, vocabulary, None)
