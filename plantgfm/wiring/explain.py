"""One record's story as lines of text: from the ledger, and from the corpus where it is at hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from plantgfm.corpus.read import Corpus, open_corpus, read_identity
from plantgfm.curation.story import Chapter, Kin, Story, find_records, tell
from plantgfm.schema import Outcome, Split
from plantgfm.wiring.ledgers import open_source, thresholds_of
from plantgfm.wiring.runs import corpus_path

_SHOWN = 12


def explain(path: Path, record: str, *, assembly: str = "", corpus: Path | None = None) -> list[str]:
    """The stories of the records of a name, one text each, in order of assembly.

    Args:
        path: a run, or the folder of a curation.
        record: name of the record.
        assembly: a part of the assembly's key, to choose among several.
        corpus: where the corpus lies, if not where the run says.

    Raises:
        ValueError: when there is no ledger, no such record, or no corpus where one was named.
    """
    source = open_source(path)
    if source.ledger is None:
        raise ValueError(f"{path} is a corpus: its ledger lies with the run or the curation; name one of these")
    place = corpus_path(corpus) if corpus else source.corpus_path
    if place:
        read_identity(place)
    found = find_records(source.ledger, record, assembly=assembly)
    config = thresholds_of(source)
    stories = [tell(source.ledger, final, config) for final in found]
    wanted = place is not None and any(story.out_bp for story in stories)
    opened = open_corpus(place) if wanted else None
    return ["\n".join(_lines(story, opened, at_hand=place is not None)) for story in stories]


def _lines(story: Story, corpus: Corpus | None, *, at_hand: bool) -> Iterator[str]:
    final = story.final
    yield f"{final.record} of {' | '.join(part or '–' for part in final.assembly.split('|'))}"
    yield f"{_verdict(story)}: {_balance(story)}"
    if story.measures is None:
        yield "(this ledger was written before figures were kept: curate again to have them beside the decisions)"
    for number, chapter in enumerate(story.chapters, start=1):
        yield ""
        yield f"{number}. {chapter.stage}: {chapter.outcome}"
        yield from _chapter_lines(chapter)
        if chapter.stage == "duplicates":
            yield from (f"   kept in its place: {_kin(kin)}" for kin in story.representatives)
            yield from (f"   kept in the place of {_kin(kin)}" for kin in story.stands_for)
    yield ""
    yield from _corpus_lines(story, corpus, at_hand=at_hand)


def _verdict(story: Story) -> str:
    if story.final.outcome in (Outcome.KEPT, Outcome.CUT):
        flags = sum(len(chapter.decisions) for chapter in story.chapters)
        kept = "kept" if story.final.outcome is Outcome.KEPT else "kept in pieces"
        return f"{kept} with {flags} flag{'s' * (flags != 1)}" if flags else kept
    return f"rejected by {story.final.stage} ({story.final.reason})"


def _balance(story: Story) -> str:
    text = f"{story.final.length_bp:,} bp in, {story.out_bp:,} bp out"
    if story.measures is None or not story.out_bp:
        return text
    known = story.measures.known_bp
    if known is None:  # in a ledger from before records were cut
        known = story.out_bp - story.measures.unknown_bp - story.measures.masked_bp
    if story.final.cut_bp:
        text += f", {story.final.cut_bp:,} bp cut out"
    text += f", {known:,} of them known, {story.measures.masked_bp:,} set to unknown by curation"
    return f"{text}, {story.measures.repeat_bp:,} in repeats ({story.measures.repeat_source})"


def _chapter_lines(chapter: Chapter) -> Iterator[str]:
    for check in chapter.checks:
        asked = f"   [{check.asked}: {'met' if check.met else 'NOT MET'}]" if check.asked else ""
        yield f"   {check.what}: {check.found}{asked}"
    for decision in chapter.decisions:
        yield f"   {decision.outcome.value} {decision.reason}: {decision.evidence}"


def _kin(kin: Kin) -> str:
    name = f"{kin.record} of {kin.assembly}" if kin.record else f"{kin.assembly} as a whole ({kin.records:,} records)"
    rest = f", rejected: {', '.join(kin.reasons)}" if kin.reasons else ""
    return f"{name}, {kin.kept_bp:,} of its {kin.length_bp:,} bp kept{rest}"


def _corpus_lines(story: Story, corpus: Corpus | None, *, at_hand: bool) -> Iterator[str]:
    if not story.out_bp:
        yield "corpus: nothing of it"
        return
    if corpus is None:
        yield "corpus: not at hand; name it with --corpus to see its split regions"
        return
    indices = _places(story, corpus)
    if not indices:
        yield f"corpus {corpus.fingerprint}: this record is not in it; it was made from another curation"
    for index in indices:
        piece = corpus.records[index]
        where = f" from {piece.start:,}-{piece.start + piece.length_bp:,}" if story.final.cut_bp else ""
        yield f"corpus {corpus.fingerprint}: {piece.length_bp:,} bp{where}"
        yield from _region_lines(corpus, index)


def _places(story: Story, corpus: Corpus) -> list[int]:
    """Indices of the corpus records that a kept record became."""
    compartment = story.assembly.compartment if story.assembly else ""
    return [
        index
        for index, record in enumerate(corpus.records)
        if record.name == story.final.record
        and (record.length_bp == story.final.length_bp or story.final.cut_bp)
        and story.final.assembly.startswith("|".join((record.species, record.cultivar, record.assembly, "")))
        and compartment in ("", record.compartment)
    ]


def _region_lines(corpus: Corpus, index: int) -> Iterator[str]:
    regions, mine = corpus.regions, corpus.regions.record == index
    for split in Split:
        rows = np.flatnonzero(mine & (regions.split == int(split)))
        total = int(regions.length_bp[rows].sum())
        text = f"   {split.name.lower()}: {rows.size:,} region{'s' * (rows.size != 1)}, {total:,} bp"
        if split is not Split.TRAIN and rows.size:
            spans = [(int(regions.start[row]), int(regions.start[row] + regions.length_bp[row])) for row in rows]
            more = f" and {len(spans) - _SHOWN} more" if len(spans) > _SHOWN else ""
            text += f": {', '.join(f'{start:,}-{end:,}' for start, end in spans[:_SHOWN])}{more}"
        short = int(regions.length_bp[rows][regions.length_bp[rows] < corpus.config.min_region_bp].sum())
        yield text + (f" ({short:,} bp in regions too short for a window)" if short else "")
