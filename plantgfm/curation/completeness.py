"""Stage 1, completeness: is a record whole enough, and an assembly big enough?

A record is rejected when it is short, mostly unknown, or cut off. That it is cut off takes two independent signs, for
headers are often wrong: the header states more than there is; an index (`.fai`) beside the file does; annotation
reaches past the end; the header says "partial"; the sequence breaks off inside unknown bases. One sign is a flag.
Records that the index names and the file lacks are a flag of those that are there.

Of an assembly two things are asked, its size and its marker genes, where BUSCO or compleasm has counted them or a file
of genes is given. Only a whole genome (one of which a size is expected) is rejected for lacking either; a piece lacks
genes by its nature, and is flagged.
"""

from __future__ import annotations

import re

from plantgfm.curation.config import CompletenessConfig
from plantgfm.curation.facts import RecordFacts, Verdict
from plantgfm.formats.busco import GeneCompleteness
from plantgfm.schema import Outcome

STAGE = "completeness"

_PARTIAL = re.compile(r"\b(?:partial|truncated|incomplete|fragment)\b", re.IGNORECASE)
_TERMINAL_UNKNOWN_BP = 10
_SHOWN = 3


def judge_records(facts: list[RecordFacts], config: CompletenessConfig) -> list[Verdict]:
    """Verdicts on records, each for itself."""
    return [verdict for fact in facts for verdict in _judge(fact, config)]


def judge_assembly(facts: list[RecordFacts], expected_size_bp: int | None, config: CompletenessConfig) -> list[Verdict]:
    """Verdicts on all records of an assembly from its size against the expected one; none where it has none."""
    if not expected_size_bp or not facts:
        return []
    known = sum(fact.length_bp - fact.unknown_bp for fact in facts)
    ratio = known / expected_size_bp
    evidence = f"{known:,} known bp are {ratio:.2f} of the {expected_size_bp:,} bp expected of the genome"
    if ratio < config.min_size_fraction:
        text = f"{evidence}; at least {config.min_size_fraction:g} is asked"
        return [Verdict(fact.name, Outcome.REJECTED, STAGE, "incomplete_assembly", text) for fact in facts]
    if ratio > config.max_size_ratio:
        text = f"{evidence}; above {config.max_size_ratio:g} haplotypes may be uncollapsed"
        return [Verdict(fact.name, Outcome.FLAGGED, STAGE, "oversized_assembly", text) for fact in facts]
    return []


def judge_genes(
    facts: list[RecordFacts], genes: GeneCompleteness | None, expected_size_bp: int | None, config: CompletenessConfig
) -> list[Verdict]:
    """Verdicts on all records of an assembly from its marker genes: a whole genome is rejected, a piece flagged."""
    if genes is None or genes.complete >= config.min_gene_fraction:
        return []
    text = f"{genes.describe()}; at least {config.min_gene_fraction:.0%} complete are asked"
    outcome = Outcome.REJECTED if expected_size_bp else Outcome.FLAGGED
    text = text if expected_size_bp else f"{text} of a whole genome, and no size is expected of this one"
    return [Verdict(fact.name, outcome, STAGE, "genes_missing", text) for fact in facts]


def judge_index(facts: list[RecordFacts], missing: dict[str, int]) -> list[Verdict]:
    """A flag on all records of a file that lacks what the index beside it names: cut off between records, or renewed.

    Args:
        facts: the records.
        missing: length in bp, as the index states it, of each record that it names and the file lacks.
    """
    if not missing:
        return []
    shown = ", ".join(list(missing)[:_SHOWN]) + (" …" if len(missing) > _SHOWN else "")
    what = f"{len(missing):,} record{'s' * (len(missing) > 1)} of {sum(missing.values()):,} bp"
    text = f".fai names {what} that the file lacks ({shown}): it is cut off, or the index is another file's"
    return [Verdict(fact.name, Outcome.FLAGGED, STAGE, "records_missing", text) for fact in facts]


def truncation_signs(fact: RecordFacts, truncation_fraction: float) -> list[str]:
    """Independent signs that a record is cut off, each a clause with its numbers."""
    bar = fact.length_bp * (1 + truncation_fraction)
    signs = [f"{source} states {bp:,} bp" for source, bp in fact.stated_lengths.items() if bp > bar]
    if found := _PARTIAL.search(fact.description):
        signs.append(f'the header says "{found.group(0)}"')
    if fact.terminal_unknown_bp >= _TERMINAL_UNKNOWN_BP:
        signs.append(f"it ends inside {fact.terminal_unknown_bp:,} unknown bp")
    return signs


def _judge(fact: RecordFacts, config: CompletenessConfig) -> list[Verdict]:
    def verdict(outcome: Outcome, reason: str, evidence: str) -> Verdict:
        return Verdict(fact.name, outcome, STAGE, reason, evidence)

    if fact.length_bp < config.min_record_bp:
        text = f"{fact.length_bp:,} bp; at least {config.min_record_bp:,} are asked"
        return [verdict(Outcome.REJECTED, "too_short", text)]
    if fact.unknown_fraction > config.max_unknown_fraction:
        text = f"{fact.unknown_fraction:.1%} of {fact.length_bp:,} bp are unknown; at most "
        return [verdict(Outcome.REJECTED, "n_rich", f"{text}{config.max_unknown_fraction:.0%} may be")]
    signs = truncation_signs(fact, config.truncation_fraction)
    if len(signs) >= 2:
        text = f"{fact.length_bp:,} bp, but {'; '.join(signs)}: {len(signs)} independent signs"
        return [verdict(Outcome.REJECTED, "truncated", text)]
    flags = [
        verdict(Outcome.FLAGGED, "length_disagrees", f"{source} states {bp:,} bp, the record has {fact.length_bp:,}")
        for source, bp in fact.stated_lengths.items()
        if bp != fact.length_bp and not (source == "annotation" and bp < fact.length_bp)
    ]
    if fact.terminal_unknown_bp >= _TERMINAL_UNKNOWN_BP:
        flags.append(verdict(Outcome.FLAGGED, "ends_unknown", signs[-1]))
    return flags
