"""The evaluation stream: hits against the truth, beside each source alone, baselines, aligners and chance."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from plantgfm.embedding.config import EmbeddingConfig
from plantgfm.embedding.embed import Embedder, resolve
from plantgfm.embedding.encoders import open_encoder
from plantgfm.embedding.store import write_vectors
from plantgfm.embedding.tiles import Tile
from plantgfm.retrieval.chance import closed_row, null_gaps, null_rows, strata_of
from plantgfm.retrieval.config import QueryPart, RetrievalConfig
from plantgfm.retrieval.divergence import divergence_rows, identities_of, write_divergence
from plantgfm.retrieval.evaluate import (
    RetrievalEvaluation,
    Truth,
    evaluate_retrieval,
    promoter_truth,
    read_truth,
    rows_with_truth,
)
from plantgfm.retrieval.late import embedding_source
from plantgfm.retrieval.levels import joined_rankings
from plantgfm.retrieval.localize import Span
from plantgfm.retrieval.places import (
    SPANS,
    WINDOWS,
    Placed,
    PlaceEvaluation,
    Prediction,
    evaluate_places,
    nearest_of,
    place,
    write_rows,
)
from plantgfm.retrieval.queries import Query
from plantgfm.retrieval.retrieve import Retrieval
from plantgfm.retrieval.search import FUSED, Ranking, search
from plantgfm.retrieval.sources import (
    EMBEDDING,
    AlignmentSource,
    CompositionSource,
    ContainmentSource,
    GcSource,
    Source,
    Weighing,
    embed_queries,
    gc_contents,
)
from plantgfm.retrieval.targets import Targets
from plantgfm.wiring.levels import Level
from plantgfm.wiring.retrieval_checks import RetrievalInputs, records_of
from plantgfm.wiring.retrieval_tools import proteins_of, tool_rankings

Progress = Callable[[str, int, int], None]

NOT_WHITENED, NOT_PROJECTED = ", not whitened", ", not projected"
"""Behind the name of a method: the same vectors with all-but-the-top alone, and without the projection."""
UNTRAINED, RERANKED = "untrained model", "reranked"
EVALUATION_FILE, PLACES_FILE, ROWS_FILE = "evaluation.json", "places.json", "distances.tsv"
DIVERGENCE_FILE = "divergence.tsv"


def evaluated(
    out: Path,
    inputs: RetrievalInputs,
    found: Retrieval,
    spans: list[Span],
    *,
    levels: list[Level],
    progress: Progress | None,
) -> tuple[RetrievalEvaluation, PlaceEvaluation]:
    """Compare what was found with the truth, beside everything that it is to be judged by, and write the figures.

    Args:
        out: folder.
        inputs: with `truth`.
        found: the hits.
        spans: of the fine scan; none: nothing was scanned.
        levels: that were searched, in the order of `found`.
        progress: called with (label, done, total).
    """
    truth = truth_of(inputs, found.targets.lengths_bp(), found.config)
    names = [query.name for query in found.queries]
    rankings, absent, said = _rankings(inputs, found, levels=levels, progress=progress), {}, []
    if inputs.target:
        files = {"genome": inputs.genome, "annotation": inputs.annotation}
        coding, records = proteins_of(found.queries, **files, part=found.config.query_part), records_of(inputs.target)
        beside, absent, said = tool_rankings(found, coding, records, progress=progress)
        rankings |= beside
    first = next(iter(rankings))
    evaluation = evaluate_retrieval(
        rankings,
        names,
        targets=found.targets,
        truth=truth,
        config=found.config,
        model=EMBEDDING,
        pools=found.pools(),
    )
    evaluation = replace(evaluation, absent=absent, warnings=[*evaluation.warnings, *said])
    rows = {WINDOWS: _placed_hits(found, truth), SPANS: _placed_spans(spans, truth)}
    rows = {level: placed for level, placed in rows.items() if placed}
    asked = rows_with_truth(names, truth)
    labels = [truth.by_query[names[row]] for row in asked]
    pools = [found.pools()[row] for row in asked]
    given = {"strata": _strata(found.targets), "config": found.config, "pools": pools}
    drawn = null_gaps(found.targets, rankings[first], asked, labels, **given)
    observed = nearest_of(rows[WINDOWS], [names[row] for row in asked])
    counts = [min(rankings[first].rows[row].size, found.config.top_k) for row in asked]
    nulls = [closed_row(observed, counts, labels, found.targets, pools), *null_rows(observed, dict(drawn))]
    places = evaluate_places(rows, config=found.config, nulls=nulls)
    by_identity = divergence_rows(evaluation, identities_of(labels), config=found.config)
    if by_identity:
        write_divergence(out / DIVERGENCE_FILE, by_identity)
    evaluation.write(out / EVALUATION_FILE)
    places.write(out / PLACES_FILE)
    write_rows(out / ROWS_FILE, rows)
    return evaluation, places


def _placed_hits(found: Retrieval, truth: Truth) -> list[Placed]:
    return [
        place(Prediction(hit.query, hit.rank, replace(hit.target, strand=hit.strand), hit.cosine, hit.score), labels)
        for hit in found.hits
        if (labels := truth.by_query.get(hit.query))
    ]


def _placed_spans(spans: list[Span], truth: Truth) -> list[Placed]:
    return [
        place(Prediction(span.query, span.rank, span.where, span.cosine, span.score), labels)
        for span in spans
        if (labels := truth.by_query.get(span.query))
    ]


def _strata(targets: Targets) -> np.ndarray:
    """Windows that are alike in width, GC and repeats; without GC where no bases are at hand."""
    gc, strata, groups = np.zeros(len(targets)), np.zeros(len(targets), np.int64), 0
    if targets.fasta:
        for block in targets.blocks(bases=True):
            gc[block.rows] = gc_contents(block.bases, block.offsets)
    for part in range(max(len(targets.parts), 1)):
        own = slice(targets.rows_of(part).start, targets.rows_of(part).stop)
        strata[own] = groups + strata_of(gc[own], targets.repeat_fraction[own].astype(np.float64))
        groups = int(strata[own].max()) + 1
    return strata


def truth_of(inputs: RetrievalInputs, lengths_bp: Mapping[str, int], config: RetrievalConfig) -> Truth:
    """The labels on sequences of such lengths: where promoters are looked for, those of the orthologs' promoters."""
    truth = read_truth(inputs.truth, target_sequences=set(lengths_bp), annotation=inputs.truth_annotation)
    if config.query_part is not QueryPart.PROMOTER:
        return truth
    sizes = {"upstream_bp": config.upstream_bp, "downstream_bp": config.downstream_bp}
    return promoter_truth(truth, **sizes, lengths_bp=dict(lengths_bp))


def check_evaluation(
    inputs: RetrievalInputs,
    queries: list[Query],
    lengths_bp: Mapping[str, int],
    config: RetrievalConfig,
    *,
    settings: EmbeddingConfig,
) -> None:
    """Refuse a truth that can't be read or is of other sequences, and an untrained bundle without such vectors."""
    if inputs.truth is not None:
        rows_with_truth([query.name for query in queries], truth_of(inputs, lengths_bp, config))
    if inputs.untrained is not None:
        resolve(settings, open_encoder(inputs.untrained))


def _rankings(
    inputs: RetrievalInputs, found: Retrieval, *, levels: list[Level], progress: Progress | None
) -> dict[str, Ranking]:
    """What the windows were ranked by, then each source of it alone, then what a user could do without any of them."""
    parts = found.by_level
    ranked = [_level_rankings(inputs, one, level.embedder, progress=progress) for one, level in zip(parts, levels)]
    rankings = joined_rankings(ranked, parts, found.queries, found.targets) if len(parts) > 1 else ranked[0]
    return rankings if found.reranker is None else {RERANKED: _reranked(found), **rankings}


def _level_rankings(
    inputs: RetrievalInputs, found: Retrieval, embedder: Embedder, *, progress: Progress | None
) -> dict[str, Ranking]:
    """Those of one level."""
    queries, config = found.queries, found.config
    rankings = dict(found.search.rankings)
    if list(found.search.weights) == [EMBEDDING]:
        rankings.pop(FUSED)  # is the embedding itself
    else:
        rankings = {FUSED: rankings.pop(FUSED), **rankings}
    sources: dict[str, Source] = {}
    if inputs.target:
        sources["GC content"] = GcSource(queries)
        sources["4-mer cosine"] = CompositionSource(queries, k=4)
        if "6-mer cosine" not in rankings:
            sources["6-mer cosine"] = CompositionSource(queries, k=6)
        sources["11-mer containment"] = ContainmentSource(queries, weighing=Weighing.EQUAL)
        if config.share_votes:
            sources["11-mers by rarity"] = ContainmentSource(queries, weighing=Weighing.RARITY)
            sources["alignments in full"] = AlignmentSource(queries, weighed=False)
    if config.whiten and not embedder.config.part_bp:  # of parts that would take as long as the search
        own = found.embedding.queries.first(len(queries))
        sources[f"{EMBEDDING}{NOT_WHITENED}"] = embedding_source(
            own, replace(config, whiten=False), moments=found.embedding.moments
        )
    if found.embedding.projection is not None:
        own = found.embedding.queries.first(len(queries))
        sources[f"{EMBEDDING}{NOT_PROJECTED}"] = embedding_source(own, config, moments=found.embedding.moments)
    rankings |= _alone(found.targets, sources, queries, config, progress)
    if inputs.untrained is not None:
        untrained = Embedder(open_encoder(inputs.untrained), replace(embedder.config, max_unknown_fraction=1.0))
        rankings |= _untrained(untrained, found, progress)
    return rankings


def _reranked(found: Retrieval) -> Ranking:
    """The hits as the reranker put them in order; it reads no further down than they go."""
    own = {query.name: [hit for hit in found.hits if hit.query == query.name] for query in found.queries}
    rows = [np.array([hit.row for hit in own[query.name]], np.int64) for query in found.queries]
    return Ranking(rows, [np.array([hit.probability for hit in own[query.name]]) for query in found.queries])


def _alone(
    targets: Targets,
    sources: dict[str, Source],
    queries: list[Query],
    config: RetrievalConfig,
    progress: Progress | None,
) -> dict[str, Ranking]:
    if not sources:
        return {}
    sizes = {"n_queries": len(queries), "n_counted": len(queries), "top_k": config.deepest_rank}
    return search(targets, sources, weights={}, progress=progress, **sizes).rankings


def _untrained(embedder: Embedder, found: Retrieval, progress: Progress | None) -> dict[str, Ranking]:
    """The untrained model over the same windows; its vectors lie in a temporary folder while it is asked."""
    targets, config = found.targets, found.config

    def tiles() -> Iterator[Tile]:
        for block in targets.blocks(bases=True):
            for number, row in enumerate(block.rows):
                bases = block.bases[block.offsets[number] : block.offsets[number + 1]]
                yield Tile(targets.interval(row), bases, partial=False)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "untrained.parquet"
        stored = {"storage": embedder.config.storage}  # as the trained ones are: rounding is no difference of models
        write_vectors(path, embedder.embed_tiles(tiles()), width=embedder.width, origin={}, **stored)
        asked = embed_queries(embedder, found.queries, config)
        trained = embedding_source(asked, config)
        sources: dict[str, Source] = {UNTRAINED: trained}
        if config.whiten and not embedder.config.part_bp:
            raw = embedding_source(asked, replace(config, whiten=False), moments=trained.moments)
            sources[f"{UNTRAINED}{NOT_WHITENED}"] = raw
        return _alone(Targets.open(path), sources, found.queries, config, progress)
