"""Variants of a VCF file to scores in a VCF or TSV file: what the command `score-variants` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from plantgfm.embedding.opened import load
from plantgfm.embedding.variants import FIGURES, VariantScores
from plantgfm.formats.errors import FormatError
from plantgfm.formats.tables import write_tsv
from plantgfm.formats.vcf import MISSING, InfoField, write_with_info

Progress = Callable[[str, int, int], None]

INFO = {
    "log_ratio": "Natural logarithm of P(alternative) / P(reference) by plantgfm, mean of both strands",
    "log_ratio_forward": "The same, forward strand",
    "log_ratio_reverse": "The same, reverse strand",
    "distance": "Euclidean distance between the mean states of the windows with either allele, mean of both strands",
}
_NAMES = {"log_ratio": "PGFM_LLR", "log_ratio_forward": "PGFM_LLR_F", "log_ratio_reverse": "PGFM_LLR_R"}
_NAMES |= {"distance": "PGFM_DIST", "reason": "PGFM_WHY"}
_WHY = "Why plantgfm gives this allele no score"
_SUFFIXES = (".vcf", ".vcf.gz", ".tsv", ".tsv.gz")


def score_variants_file(
    bundle: Path,
    vcf: Path,
    fasta: Path,
    out: Path,
    *,
    window_bp: int = 0,
    skip_mismatches: bool = False,
    remote_code: bool = False,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Score the single-base substitutions of a VCF file; counts of alleles, by "scored" or the reason for no score.

    Args:
        bundle: or a folder that `plantgfm export --format huggingface` wrote, or of another masked model.
        vcf: plain, gzip or bgzip.
        fasta: the reference that it was called on.
        out: `.vcf` (the lines of the input with more INFO fields), `.tsv` (a row an alternative allele), or either with
            `.gz`; it appears whole or not at all.
        window_bp: bases that are seen around a variant; 0: as long as the model was trained on.
        skip_mismatches: go on where REF is not what the FASTA has.
        remote_code: run the Python code that another model's folder holds.
        progress: called with (label, done, total).

    Raises:
        ValueError: for another ending of `out`, files that do not belong together, or a model that can't score.
    """
    if not out.name.endswith(_SUFFIXES):
        raise ValueError(f"{out} ends in none of {', '.join(_SUFFIXES)}: the ending says what to write")
    if out.exists() and any(out.samefile(path) for path in (vcf, fasta) if path.exists()):
        raise ValueError(f"{out} is an input: name another file")
    model, label = load(bundle, remote_code=remote_code), "score (alleles)"

    def tick(done: int, total: int) -> None:
        if progress is not None:
            progress(label, done, total)

    scores = model.score_variants(vcf, fasta, window_bp=window_bp, skip_mismatches=skip_mismatches, progress=tick)
    if not len(scores.variants):
        raise FormatError(vcf, "has no variants: there is nothing to score")
    out.parent.mkdir(parents=True, exist_ok=True)
    if ".vcf" in out.suffixes:
        source = (
            f"##plantgfm_score_variants=<Model={model.fingerprint},WindowBp={window_bp or model.encoder.window_bp}>"
        )
        write_with_info(out, vcf, _info(scores), header=[source])
    else:
        columns = {name: _cells(name, values, "") for name, values in scores.columns().items()}
        write_tsv(out, (dict(zip(columns, row)) for row in zip(*columns.values())), columns=list(columns))
    counts = Counter(reason or "scored" for reason in scores.reason)
    return {"scored": counts.pop("scored", 0), **dict(sorted(counts.items()))}


def _info(scores: VariantScores) -> dict[InfoField, list[str]]:
    fields = {InfoField(_NAMES[name], "Float", INFO[name]): name for name in FIGURES}
    found = {field: _cells(name, getattr(scores, name).tolist(), MISSING) for field, name in fields.items()}
    return found | {InfoField(_NAMES["reason"], "String", _WHY): [reason or MISSING for reason in scores.reason]}


def _cells(name: str, values: list, absent: str) -> list:
    """Figures as text of five digits, `absent` where there is none; other columns as they are."""
    return [absent if np.isnan(value) else f"{value:.5g}" for value in values] if name in FIGURES else values
