"""Aligners beside a retrieval: as methods to compare with, and as a second look at hits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from plantgfm.retrieval.aligned import confirm, ranking_of
from plantgfm.retrieval.config import QueryPart, RetrievalConfig
from plantgfm.retrieval.genes import cut_genes
from plantgfm.retrieval.localize import Span
from plantgfm.retrieval.queries import Query
from plantgfm.retrieval.retrieve import Retrieval
from plantgfm.retrieval.search import Ranking
from plantgfm.retrieval.tools import OF_PROTEINS, align, chosen_tools, plain_target, protein_of
from plantgfm.schema import Record
from plantgfm.sequence import Interval

Progress = Callable[[str, int, int], None]
_PREFIX = "gene:"


def tools_of(config: RetrievalConfig) -> list[str]:
    """The aligners that will be asked; checked before anything else is done.

    Raises:
        ValueError: for wrong names, one that is asked for and is not installed, or none where hits are to be confirmed.
    """
    tools, absent = chosen_tools(config.tools)
    if config.confirm_hits and not tools:
        why = "retrieval.tools=none" if not absent else "no aligner is installed (pip install mappy)"
        raise ValueError(f"--confirm asks an aligner, but {why}")
    return tools


def proteins_of(
    queries: Sequence[Query], *, genome: Path | None, annotation: Path | None, part: QueryPart
) -> dict[int, str]:
    """What the queries code for, by number: by the CDS of their genes, or read from their first base on.

    Promoters have none, nor have queries that a stop interrupts.
    """
    if part is QueryPart.PROMOTER:
        return {}
    if annotation is None:
        coding = {query.name: query.bases() for query in queries if not query.trimmed_bp}
    else:
        records = cut_genes(genome, annotation, part=QueryPart.CDS).records
        coding = {record.name.removeprefix(_PREFIX): record.codes for record in records}
    names = [query.name if annotation is None else query.name.removeprefix(_PREFIX) for query in queries]
    said = {number: protein_of(coding[name]) for number, name in enumerate(names) if name in coding}
    return {number: residues for number, residues in said.items() if residues}


def tool_rankings(
    found: Retrieval, proteins: dict[int, str], records: Iterable[Record], *, progress: Progress | None
) -> tuple[dict[str, Ranking], dict[str, str], list[str]]:
    """The ranking of every aligner that is installed, why there is none of the others, and what is to be said."""
    tools, absent = chosen_tools(found.config.tools)
    if tools and not proteins:
        absent |= {tool: "no query codes" for tool in tools if tool in OF_PROTEINS}
        tools = [tool for tool in tools if tool not in OF_PROTEINS]
    rankings: dict[str, Ranking] = {}
    if not tools:
        return rankings, absent, []
    queries = [query.bases() for query in found.queries]
    whole = ((Interval(record.name, 0, record.length_bp), record.codes) for record in records)
    with plain_target(whole) as target:
        for number, tool in enumerate(tools):
            hits = align(tool, queries, proteins, target)
            top_k = found.config.deepest_rank
            rankings[tool] = ranking_of(hits, found.targets, pools=found.pools(), top_k=top_k)
            if progress is not None:
                progress("align", number + 1, len(tools))
    asked = [tool for tool in tools if tool in OF_PROTEINS]
    said = f"{' and '.join(asked)} asked about the {len(proteins)} of {len(queries)} queries that code for a protein"
    return rankings, absent, [said] if asked and len(proteins) < len(queries) else []


def confirmed(
    found: Retrieval, spans: list[Span], proteins: dict[int, str], records: Iterable[Record], *, window_bp: int
) -> tuple[Retrieval, list[Span]]:
    """The same hits and spans, the first of each query with what aligners see around them."""
    config, number_of = found.config, {query.name: number for number, query in enumerate(found.queries)}
    places: list[tuple[int, Interval]] = [(number_of[hit.query], hit.target) for hit in _first(found.hits, config)]
    places += [(number_of[span.query], span.where) for span in _first(spans, config)]
    said = iter(
        confirm(
            tools_of(config),
            [query.bases() for query in found.queries],
            proteins,
            places,
            records,
            margin_bp=config.confirm_margin_bp or window_bp,
        )
    )
    hits, looked_at = (
        [replace(one, confirmed=next(said)) if one.rank <= config.confirm_hits else one for one in ones]
        for ones in (found.hits, spans)
    )
    return replace(found, hits=hits), looked_at


def _first(ones: list, config: RetrievalConfig) -> list:
    return [one for one in ones if one.rank <= config.confirm_hits]
