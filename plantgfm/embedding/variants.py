"""Variant effects without training: how much less likely an allele is than the reference, and how far it moves vectors.

For a base that is replaced by another, on each strand: a window of the reference around it is cut into tokens, the one
that covers the base is hidden, and ln P(alternative) - ln P(reference) is read off the model, both summed over the
tokens of the hidden one's length (the log-likelihood ratio of masked models, Benegas et al. 2023,
doi:10.1073/pnas.2311219120). The segmentation stays that of the reference: the alternative window differs in that one
token alone; an 8-mer that is no token of the vocabulary becomes a 6-mer and two single bases. The distance is the
Euclidean one between the two windows' mean final states. Both figures are the mean over the two strands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from plantgfm.embedding.cutting import Cutting
from plantgfm.embedding.predict import Predictor, Row, hidden_row
from plantgfm.formats.errors import FormatError
from plantgfm.formats.vcf import Variants
from plantgfm.schema import Record
from plantgfm.sequence import BASES, UNKNOWN, decode, encode, reverse_complement

SCORED = ""
NO_ALTERNATIVE, NO_SUBSTITUTION, AMBIGUOUS = "no_alternative", "no_single_base_substitution", "ambiguous_base"
REF_MISMATCH, UNKNOWN_REFERENCE, RICH_IN_UNKNOWN = "ref_mismatch", "unknown_base_in_reference", "window_rich_in_n"
_SITES = 64  # sites whose rows are computed together


@dataclass(frozen=True)
class VariantScores:
    """One row an alternative allele, in the order of the VCF file; NaN where there is a reason for no score."""

    variants: Variants
    log_ratio: Float32[np.ndarray, "N"]  # nats, ln P(alt) - ln P(ref), mean of the strands; negative: alt less likely
    log_ratio_forward: Float32[np.ndarray, "N"]
    log_ratio_reverse: Float32[np.ndarray, "N"]
    distance: Float32[np.ndarray, "N"]  # between the vectors of the two windows, mean of the strands
    reason: list[str]  # why there is no score; "" where there is one

    @property
    def n_scored(self) -> int:
        """Number of alleles with a score."""
        return sum(reason == SCORED for reason in self.reason)

    def columns(self) -> dict[str, list]:
        """A table, one list a column: sequence, position (1-based, as in the file), id, ref, alt and the figures."""
        found = self.variants
        return {
            "sequence": [found.names[index] for index in found.sequence],
            "position": (found.start + 1).tolist(),
            "id": found.id,
            "ref": found.ref,
            "alt": found.alt,
            **{name: getattr(self, name).tolist() for name in FIGURES},
            "reason": self.reason,
        }


FIGURES = tuple(field.name for field in fields(VariantScores) if field.name not in ("variants", "reason"))


@dataclass(frozen=True)
class _Strand:
    """One strand of a site: the reference's tokens, and where the base lies in them."""

    tokens: Int32[np.ndarray, "L"]
    span: tuple[int, int]  # of the token that covers the base, bp in the window
    index: int  # of that token, [CLS] not counted
    bases: UInt8[np.ndarray, "K"]  # of that token
    offset: int  # of the base in it


@dataclass(frozen=True)
class _Site:
    """A position with the alleles to score there."""

    rows: Int64[np.ndarray, "A"]  # of the table
    alts: UInt8[np.ndarray, "A"]  # base codes
    strands: tuple[_Strand, _Strand]  # forward, reverse
    unknown_fraction: float  # of the window


def check_variants(variants: Variants, records: Iterable[Record], *, skip_mismatches: bool = False) -> list[str]:
    """Why each allele can't be scored, "" where it can; REF is compared with the sequences, one at a time in memory.

    Raises:
        FormatError: with the line, for a sequence that is not there, a REF beyond its end or, without
            `skip_mismatches`, one that differs.
    """
    reasons = [_unsuitable(ref, alt) for ref, alt in zip(variants.ref, variants.alt)]
    waiting, seen = _rows_by_sequence(variants), []
    for record in records:
        seen.append(record.name)
        for row in waiting.pop(record.name, ()):
            reasons[row] = _checked(variants, reasons[row], record, row, skip_mismatches=skip_mismatches)
    if waiting:
        name, rows = next(iter(waiting.items()))
        text = f"is not in the FASTA file, which has {', '.join(seen[:5])}{' and others' if len(seen) > 5 else ''}"
        raise FormatError(variants.path, f"{text}: are they of one assembly?", name, int(variants.line[rows].min()))
    return reasons


def _unsuitable(ref: str, alt: str) -> str:
    """What the VCF file itself tells."""
    if alt in (".", ref):
        return NO_ALTERNATIVE
    at = substituted(ref, alt)
    if at is None:
        return NO_SUBSTITUTION  # insertions, deletions, several bases at once, symbols, "*", break ends
    return SCORED if ref[at] in BASES and alt[at] in BASES else AMBIGUOUS


def substituted(ref: str, alt: str) -> int | None:
    """Where two alleles of one length differ in one base; None where they do not.

    Beside a deletion, VCF writes a substitution with the bases that both keep: REF CA, ALT C,TA.
    """
    differing = [at for at, (one, other) in enumerate(zip(ref, alt)) if one != other]
    return differing[0] if len(ref) == len(alt) and len(differing) == 1 and alt.isalpha() else None


def _rows_by_sequence(variants: Variants) -> dict[str, Int64[np.ndarray, "_"]]:
    """Rows of each sequence by position."""
    order = np.lexsort((variants.start, variants.sequence)).astype(np.int64)
    edges = np.searchsorted(variants.sequence[order], np.arange(len(variants.names) + 1))
    return {name: order[first:end] for name, first, end in zip(variants.names, edges, edges[1:])}


def _checked(variants: Variants, reason: str, record: Record, row: int | np.integer, *, skip_mismatches: bool) -> str:
    start, ref = int(variants.start[row]), variants.ref[row]
    if start < 0 or (start == record.length_bp and reason != SCORED):  # POS 0 and length + 1 mean telomeres
        return reason or NO_SUBSTITUTION
    where, line = f"REF {ref[:20]!r} at {start + 1:,}", int(variants.line[row])
    if start + len(ref) > record.length_bp:
        text = f"{where} lies beyond the sequence's {record.length_bp:,} bp: is it another assembly?"
        raise FormatError(variants.path, text, record.name, line)
    said, there = encode(ref), record.codes[start : start + len(ref)]
    if np.any((said != there) & (said != UNKNOWN) & (there != UNKNOWN)):
        if skip_mismatches:
            return REF_MISMATCH
        text = f"{where} is {decode(there[:20])!r} in the FASTA file: the variants are of another assembly or strand "
        text += "(--ref-mismatch skip leaves such lines without a score)"
        raise FormatError(variants.path, text, record.name, line)
    at = substituted(ref, variants.alt[row]) or 0
    return UNKNOWN_REFERENCE if reason == SCORED and there[at] == UNKNOWN else reason


def score_variants(
    predictor: Predictor,
    variants: Variants,
    reasons: list[str],
    records: Iterable[Record],
    *,
    window_bp: int,
    max_unknown_fraction: float = 0.1,
    progress: Callable[[int, int], None] | None = None,
) -> VariantScores:
    """Score the alleles of a VCF file.

    Args:
        predictor: the model.
        variants: in any order.
        reasons: as `check_variants` gives them.
        records: the sequences that they lie on; one at a time is in memory.
        window_bp: bases of the reference that are seen, the variant in their middle; near an end of the sequence the
            window keeps its width and the variant moves out of the middle, a shorter sequence is seen whole.
        max_unknown_fraction: windows with more N than that give no score.
        progress: called with the number of alleles done and in all.
    """
    figures = {name: np.full(len(variants), np.nan, np.float32) for name in FIGURES}
    reasons, waiting, done = list(reasons), _rows_by_sequence(variants), 0
    for record in records:
        rows = waiting.pop(record.name, np.zeros(0, np.int64))
        wanted = np.array([row for row in rows if reasons[row] == SCORED], np.int64)
        before, done = done, done + rows.size
        sites = _sites(predictor, variants, record, wanted, window_bp)
        for block in _blocks(_not_rich(sites, reasons, max_unknown_fraction), _SITES):
            _score(predictor, block, figures)
            before += sum(site.rows.size for site in block)
            if progress is not None:
                progress(before, len(variants))
        if progress is not None and rows.size:
            progress(done, len(variants))
    return VariantScores(variants, reason=reasons, **figures)


def _not_rich(sites: Iterator[_Site], reasons: list[str], max_unknown_fraction: float) -> Iterator[_Site]:
    """The sites whose window may be read; the alleles of the others get their reason."""
    for site in sites:
        if site.unknown_fraction <= max_unknown_fraction:
            yield site
            continue
        for row in site.rows:
            reasons[row] = RICH_IN_UNKNOWN


def _sites(
    predictor: Predictor, variants: Variants, record: Record, rows: Int64[np.ndarray, "_"], window_bp: int
) -> Iterator[_Site]:
    """The sites of one sequence by position."""
    offsets = {row: substituted(variants.ref[row], variants.alt[row]) for row in rows.tolist()}
    places = np.array([variants.start[row] + at for row, at in offsets.items()], np.int64)
    order = np.argsort(places, kind="stable")
    rows, places = rows[order], places[order]
    for at in np.split(np.arange(rows.size), np.flatnonzero(np.diff(places)) + 1) if rows.size else ():
        group, start = rows[at], int(places[at[0]])
        first = min(max(start - window_bp // 2, 0), max(record.length_bp - window_bp, 0))
        piece, at = record.codes[first : first + window_bp], start - first
        alts = np.array([BASES.index(variants.alt[row][offsets[row]]) for row in group.tolist()], np.uint8)
        strands = (
            _strand(predictor, piece, at),
            _strand(predictor, reverse_complement(piece), piece.size - 1 - at),
        )
        yield _Site(group, alts, strands, float(np.mean(piece == UNKNOWN)))


def _strand(predictor: Predictor, piece: UInt8[np.ndarray, "P"], at: int) -> _Strand:
    tokens, places = predictor.cutting.tokens_of(piece)
    index = int(np.searchsorted(places[:, 0], at, side="right")) - 1
    start, end = (int(edge) for edge in places[index])
    kept = (predictor.model.max_tokens or tokens.size) - 1
    if kept < len(places):  # N make more tokens than the model reads: it sees those around the variant
        first = min(max(index - kept // 2, 0), len(places) - kept)
        tokens, index = np.concatenate([tokens[:1], tokens[1 + first : 1 + first + kept]]), index - first
    return _Strand(tokens, (start, end), index, piece[start:end], at - start)


def _blocks(sites: Iterator[_Site], size: int) -> Iterator[list[_Site]]:
    block: list[_Site] = []
    for site in sites:
        block.append(site)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


def _score(predictor: Predictor, sites: list[_Site], figures: dict[str, np.ndarray]) -> None:
    """Both figures of all alleles of some sites, on both strands, in one go."""
    rows: list[Row] = []
    for site in sites:
        for strand, reverse in zip(site.strands, (False, True)):
            rows.append(hidden_row(strand.tokens, strand.index, strand.bases.size))
            rows.append(Row(strand.tokens, 0, 1))
            rows += [Row(replaced(predictor.cutting, strand, _read(alt, reverse)), 0, 1) for alt in site.alts]
    said, at = predictor.ask(rows), 0
    for site in sites:
        ratios, distances = np.empty((2, site.rows.size), np.float32), np.empty((2, site.rows.size), np.float32)
        for number, strand in enumerate(site.strands):
            log, ref = said.log_bases[at, strand.offset], int(strand.bases[strand.offset])
            ratios[number] = [log[_read(alt, bool(number))] - log[ref] for alt in site.alts]
            moved = said.vectors[at + 2 : at + 2 + site.alts.size] - said.vectors[at + 1][None, :]
            distances[number] = np.linalg.norm(moved, axis=1)
            at += 2 + site.alts.size
        figures["log_ratio_forward"][site.rows], figures["log_ratio_reverse"][site.rows] = ratios
        figures["log_ratio"][site.rows] = ratios.mean(axis=0)
        figures["distance"][site.rows] = distances.mean(axis=0)


def _read(alt: int | np.integer, reverse: bool) -> int:
    """A base as its strand reads it."""
    return 3 - int(alt) if reverse else int(alt)


def replaced(cutting: Cutting, strand: _Strand, alt: int) -> Int32[np.ndarray, "L"]:
    """The reference's tokens with the one that covers the base rewritten for another base there."""
    bases = strand.bases.copy()
    bases[strand.offset] = alt
    ids = cutting.encode(bases)
    place = strand.index + 1
    return np.concatenate([strand.tokens[:place], ids, strand.tokens[place + 1 :]])
