"""The evaluation stream by divergence: what each method finds of queries at like identity. Labels enter here.

Identity is that of the table of orthologs, per cent or a share. Queries are put into groups of equal size by it, so
that each group has an interval worth printing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from plantgfm.formats.orthologs import Ortholog
from plantgfm.formats.tables import write_tsv
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.evaluate import LEAST_QUERIES, RetrievalEvaluation, interval, reciprocal

GROUPS = 5
DIVERGENCE_COLUMNS = (
    "method",
    "identity_from",
    "identity_to",
    "identity_median",
    "queries",
    "recall_at_1",
    "recall_low",
    "recall_high",
    "mrr",
    "mrr_low",
    "mrr_high",
)


def identities_of(labels: list[list[Ortholog]]) -> Float64[np.ndarray, "Q"]:
    """The greatest identity of each query's labels, as a share; NaN where the table tells none."""
    known = [[one.perc_id for one in own if one.perc_id is not None] for own in labels]
    values = np.array([max(own) if own else np.nan for own in known], np.float64)
    in_percent = bool(np.nanmax(values, initial=0.0) > 1.0)
    return values / 100 if in_percent else values


def divergence_rows(
    evaluation: RetrievalEvaluation, identities: Float64[np.ndarray, "Q"], *, config: RetrievalConfig
) -> list[dict[str, object]]:
    """A line for each method and group of queries, the closest group first; none where identities are not told.

    Args:
        evaluation: of these queries, in the same order.
        identities: from `identities_of`.
        config: resamples and seed.
    """
    known = np.flatnonzero(np.isfinite(identities))
    groups = min(GROUPS, known.size // LEAST_QUERIES)
    if not groups:
        return []
    order = known[np.lexsort((known, -identities[known]))]
    rows: list[dict[str, object]] = []
    for number, own in enumerate(np.array_split(order, groups)):
        here = identities[own]
        resample = np.random.default_rng((config.seed, number)).integers(0, own.size, (config.resamples, own.size))
        for method, ranks in evaluation.ranks.items():
            first = interval((ranks[:, own] == 1).mean(axis=0), resample)
            mrr = interval(reciprocal(ranks[:, own]), resample)
            figures = *(round(float(value), 4) for value in (here.min(), here.max(), np.median(here))), own.size
            shares = (round(value, 4) for value in (*first, *mrr))
            rows.append(dict(zip(DIVERGENCE_COLUMNS, (method, *figures, *shares))))
    return rows


def overtaking(rows: list[dict[str, object]], one: str, other: str) -> str:
    """From which identity down the first method finds more than the other, by MRR; or that it never does."""
    mrr = {(row["method"], float(row["identity_median"])): float(row["mrr"]) for row in rows}
    places = [identity for method, identity in mrr if method == one and (other, identity) in mrr]
    ahead = [identity for identity in places if mrr[one, identity] > mrr[other, identity]]
    if not places:
        return f"{one} and {other} were not both asked"
    if not ahead:
        return f"{one} never finds more than {other}, down to an identity of {min(places):.2f}"
    return f"{one} finds more than {other} at identities of {', '.join(f'{identity:.2f}' for identity in ahead)}"


def write_divergence(path: Path, rows: list[dict[str, object]]) -> None:
    """Write the table; whole or not at all."""
    write_tsv(path, rows, columns=DIVERGENCE_COLUMNS)
