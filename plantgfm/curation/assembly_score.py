"""Stage 3, assembly score: contiguity, certainty and size in one declared figure; asked of whole genomes only.

Score, version 1: contiguity x certainty x size, where contiguity = log(NG50 / low) / log(high / low) cut to [0, 1] with
low and high of the settings (1 kb and 1 Mb), certainty = 1 - unknown share, size = known bp / expected bp cut to
[0, 1]. What else is measured (contigs, gaps, masks, k-mer multiplicity) is recorded beside it, and no verdict hangs on
it: a repeat-rich genome is no worse an assembly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt64

from plantgfm.curation.config import AssemblyScoreConfig
from plantgfm.curation.facts import RecordFacts, Verdict
from plantgfm.schema import Outcome

STAGE = "assembly_score"
SCORE_VERSION = 1


@dataclass(frozen=True)
class AssemblyMetrics:
    """Contiguity and content of an assembly, over the records that earlier stages left."""

    records: int
    contigs: int  # what gaps leave of the records
    length_bp: int
    unknown_bp: int
    unknown_fraction: float  # N share
    gaps: int  # runs of at least 10 unknown bases
    gap_fraction: float  # of the length, in those runs
    gc_fraction: float  # of known bases
    soft_mask_fraction: float  # of the length
    low_complexity_fraction: float
    contig_n50_bp: int
    n50_bp: int  # of the records
    l50: int
    aun_bp: float  # expected length of the record that a random base lies in
    ng50_bp: int | None  # N50 against the expected genome size, None where it has none
    score: float | None
    kmer_multiplicity: float | None = None  # occurrences of a distinct k-mer, on either strand, on average
    repeated_kmer_fraction: float | None = None  # of all occurrences, of k-mers seen as often as the repeat mask asks


class KmerMultiplicity:
    """How often an assembly repeats its k-mers, estimated from FracMinHash hashes, one an occurrence.

    A hash is kept by its value alone, so that all occurrences of a k-mer are kept or none is: the estimates are
    unbiased. Where there are more than `limit`, the upper half of the values goes, again and again.
    """

    def __init__(self, limit: int = 4_000_000):
        self._limit, self._bound, self._parts, self._total = limit, np.uint64(0xFFFFFFFFFFFFFFFF), [], 0

    def add(self, hashes: UInt64[np.ndarray, "hashes"]) -> None:
        """Count the hashes of one record."""
        self._parts.append(hashes[hashes <= self._bound].copy())
        self._total += self._parts[-1].size
        while self._total > self._limit:
            everything = np.concatenate(self._parts)
            self._bound = np.uint64(everything.max() // 2)
            self._parts = [everything[everything <= self._bound]]
            self._total = self._parts[0].size

    def figures(self, min_count: int) -> dict[str, float]:
        """Mean occurrences of a distinct k-mer; the share of occurrences of k-mers seen at least `min_count` times."""
        _, counts = np.unique(np.concatenate([np.empty(0, dtype=np.uint64), *self._parts]), return_counts=True)
        total, repeated = int(counts.sum()), int(counts[counts >= min_count].sum())
        return {
            "kmer_multiplicity": total / max(1, counts.size),
            "repeated_kmer_fraction": repeated / max(1, total),
        }


def assembly_metrics(
    facts: list[RecordFacts], expected_size_bp: int | None, config: AssemblyScoreConfig
) -> AssemblyMetrics:
    """Metrics of an assembly; `ng50_bp` and `score` only where a genome size is expected."""
    lengths = _descending([fact.length_bp for fact in facts])
    contigs = _descending([bp for fact in facts for bp in fact.contigs_bp])
    total, unknown = int(lengths.sum()), sum(fact.unknown_bp for fact in facts)
    n50, l50 = _nx(lengths, total / 2)
    ng50 = _nx(lengths, expected_size_bp / 2)[0] if expected_size_bp else None
    score = None
    if expected_size_bp and total:
        low, high = config.no_contiguity_ng50_bp, config.full_contiguity_ng50_bp
        contiguity = min(1.0, max(0.0, math.log10(max(1, ng50) / low) / math.log10(high / low)))
        score = contiguity * (1 - unknown / total) * min(1.0, (total - unknown) / expected_size_bp)
    return AssemblyMetrics(
        records=len(facts),
        contigs=int(contigs.size),
        length_bp=total,
        unknown_bp=unknown,
        unknown_fraction=unknown / max(1, total),
        gaps=sum(fact.gaps for fact in facts),
        gap_fraction=sum(fact.gap_bp for fact in facts) / max(1, total),
        gc_fraction=sum(fact.gc_bp for fact in facts) / max(1, total - unknown),
        soft_mask_fraction=sum(fact.soft_mask_bp for fact in facts) / max(1, total),
        low_complexity_fraction=sum(fact.low_complexity_bp for fact in facts) / max(1, total),
        contig_n50_bp=_nx(contigs, contigs.sum() / 2)[0],
        n50_bp=n50,
        l50=l50,
        aun_bp=float((lengths.astype(float) ** 2).sum() / max(1, total)),
        ng50_bp=ng50,
        score=score,
    )


def judge_assembly(
    facts: list[RecordFacts], expected_size_bp: int | None, config: AssemblyScoreConfig
) -> list[Verdict]:
    """Verdicts on all records of a fragmented, empty or badly scored assembly; none for a piece of a genome."""
    if not expected_size_bp or not facts:
        return []
    metrics = assembly_metrics(facts, expected_size_bp, config)
    reason, text = _failure(metrics, config)
    return [Verdict(fact.name, Outcome.REJECTED, STAGE, reason, text) for fact in facts] if reason else []


def _failure(metrics: AssemblyMetrics, config: AssemblyScoreConfig) -> tuple[str, str]:
    if metrics.ng50_bp < config.min_ng50_bp:
        text = f"NG50 is {metrics.ng50_bp:,} bp over {metrics.records:,} records; {config.min_ng50_bp:,} are asked"
        return "fragmented_assembly", text
    if metrics.unknown_bp > config.max_unknown_fraction * metrics.length_bp:
        text = f"{metrics.unknown_bp:,} of {metrics.length_bp:,} bp are unknown; at most "
        return "unknown_assembly", f"{text}{config.max_unknown_fraction:.0%} may be"
    if metrics.score < config.min_score:
        return "low_score", f"score {metrics.score:.3f} (version {SCORE_VERSION}); {config.min_score:g} is asked"
    return "", ""


def _descending(lengths: list[int]) -> np.ndarray:
    return np.sort(np.array(lengths, dtype=np.int64))[::-1]


def _nx(lengths: np.ndarray, goal_bp: float) -> tuple[int, int]:
    reached = np.searchsorted(np.cumsum(lengths), goal_bp)
    return (int(lengths[reached]), int(reached) + 1) if reached < lengths.size else (0, int(lengths.size))
