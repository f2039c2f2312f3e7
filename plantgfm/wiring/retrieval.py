"""Files to hits and figures: what the command `retrieve` does."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from plantgfm.embedding.config import EmbeddingConfig, Pooling, Storage
from plantgfm.embedding.embed import Embedder, resolve
from plantgfm.embedding.encoders import Encoder, open_encoder
from plantgfm.embedding.store import write_vectors
from plantgfm.embedding.tiles import Tile
from plantgfm.formats.bigwig import need_bigwig
from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.staging import check_folder, staging
from plantgfm.identity import fingerprint
from plantgfm.retrieval.approximate import asks_for_index
from plantgfm.retrieval.chance import closed_row, null_gaps, null_rows, strata_of
from plantgfm.retrieval.config import QueryPart, RankBy, RetrievalConfig
from plantgfm.retrieval.divergence import divergence_rows, identities_of, write_divergence
from plantgfm.retrieval.evaluate import (
    RetrievalEvaluation,
    Truth,
    evaluate_retrieval,
    promoter_truth,
    read_truth,
    rows_with_truth,
)
from plantgfm.retrieval.genes import cut_genes, read_gene_ids
from plantgfm.retrieval.late import embedding_source
from plantgfm.retrieval.levels import joined, joined_rankings, joined_spans
from plantgfm.retrieval.localize import SPAN_FILES, Span, localize, scan_widths, write_spans
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
from plantgfm.retrieval.projection import Projection
from plantgfm.retrieval.queries import Query, fasta_queries, query_of, within_budget
from plantgfm.retrieval.reranker import Reranker
from plantgfm.retrieval.retrieve import TRACK_FILES, Retrieval, check_origin, retrieve, weights_of
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
from plantgfm.schema import Record
from plantgfm.wiring.downstream import embed_files
from plantgfm.wiring.levels import Level, ShortQueries, levels_of, short_queries
from plantgfm.wiring.retrieval_checks import RetrievalInputs, check_names, check_tiles, inputs_of, open_projection
from plantgfm.wiring.retrieval_tools import confirmed, proteins_of, tool_rankings, tools_of

Progress = Callable[[str, int, int], None]

NOT_WHITENED, NOT_PROJECTED = ", not whitened", ", not projected"
"""Behind the name of a method: the same vectors with all-but-the-top alone, and without the projection."""
UNTRAINED, RERANKED = "untrained model", "reranked"
PARTS = EmbeddingConfig(part_bp=96, layer=0, storage=Storage.INT8)
"""How a target without vectors is embedded: what experiments/retrieval found best for the embedding alone."""
TARGET_VECTORS = "target.parquet"
MADE = "{} holds vectors of the target, of parts of its windows: --vectors reads them again for other queries"
EVALUATION_FILE, PLACES_FILE, ROWS_FILE = "evaluation.json", "places.json", "distances.tsv"
DIVERGENCE_FILE = "divergence.tsv"


@dataclass(frozen=True)
class Outcome:
    """What one command found, and what the evaluation says of it, where a truth was given."""

    found: Retrieval
    spans: list[Span]
    evaluation: RetrievalEvaluation | None = None
    places: PlaceEvaluation | None = None


def retrieve_files(
    bundle: Path, out: Path, inputs: RetrievalInputs, config: RetrievalConfig, *, progress: Progress | None = None
) -> Outcome:
    """Search, write the hits, and evaluate where a truth is given.

    What serves the evaluation is checked first, so that nothing is written beside a wrong file, and then let go: the
    search has no truth at hand, which is read again after the hits are written.

    Files take their places in `out` together, and one run's at a time. Nothing is left there by an error.

    Raises:
        ValueError: for wrong or malformed input.
    """
    check_folder(out)
    _check_asked(inputs, config)
    weights = weights_of(config, bases=bool(inputs.target))
    given = None if inputs.vectors is None else Targets.open(inputs.vectors, fasta=inputs.target)
    settings = PARTS if given is None else settings_of(given)
    windows, by_head = 0 if given is None else len(given), inputs.projection is not None
    asks_for_index(config, weights, windows, projected=by_head, part_bp=settings.part_bp)
    projection = _projection(inputs, given, config)
    reranker = _reranker(inputs, given, weights, config, projection)
    opened = open_encoder(bundle)
    if given is not None:
        check_origin(given, opened)
    embedder = Embedder(opened, settings)
    window_bp = embedder.config.window_bp
    queries, without = queries_of(inputs, config, encoder=opened, window_bp=window_bp)
    if given is None:
        inputs = _with_vectors(bundle, out, inputs, queries, config, progress=progress)
    targets = Targets.open(inputs.vectors, fasta=inputs.target) if given is None else given
    short = short_queries(queries, targets, config, window_bp=window_bp)
    if given is not None:
        _check_bases(inputs, config, short)
    check_names([query.name for query in queries], targets.names)
    _check_evaluation(inputs, queries, targets, config, settings=embedder.config)
    if config.localize_hits:
        scan_widths(config, target_window_bp=window_bp)
    levels = levels_of(embedder, queries, targets, short, vectors=inputs.vectors, progress=progress)
    searched = [_searched(level, inputs, config, projection, reranker, progress=progress) for level in levels]
    found = joined([one for one, _ in searched], queries)
    said = MADE.format(inputs.vectors) if given is None else short.remark
    found = replace(found, without=without, remarks=(said,) if said else ())
    spans = joined_spans([own for _, own in searched], queries)
    earlier = (EVALUATION_FILE, PLACES_FILE, ROWS_FILE, DIVERGENCE_FILE, *SPAN_FILES, *TRACK_FILES)  # of another search
    with staging(out) as stage:
        found.write(stage.work, bigwig=_lengths_bp(inputs, targets) if inputs.bigwig else None)
        if config.localize_hits:
            write_spans(stage.work, spans)
        stage.publish(stale=earlier)
        if inputs.truth is None:
            return Outcome(found, spans)
        outcome = _evaluated(stage.work, inputs, found, spans, levels=levels, progress=progress)
        stage.publish()
    return outcome


def _with_vectors(
    bundle: Path,
    out: Path,
    inputs: RetrievalInputs,
    queries: list[Query],
    config: RetrievalConfig,
    *,
    progress: Progress | None,
) -> RetrievalInputs:
    """Vectors of the target where none were given; a file of an earlier search is read again, a stopped one goes on.

    What is wrong with names or truth is told before that, which may take long.
    """
    lengths_bp = {record.name: record.length_bp for record in _records(inputs.target)}
    names = [query.name for query in queries]
    check_names(names, lengths_bp)
    if inputs.truth is not None:
        rows_with_truth(names, truth_of(inputs, lengths_bp, config))
    path = out / TARGET_VECTORS
    embed_files(bundle, path, fasta=inputs.target, manifest=None, config=PARTS, progress=progress)
    return replace(inputs, vectors=path)


def _projection(inputs: RetrievalInputs, targets: Targets | None, config: RetrievalConfig) -> Projection | None:
    """The head, where one is asked for that has seen neither side."""
    if inputs.projection is None:
        return None
    return open_projection(
        inputs.projection,
        targets,
        config,
        species=inputs.target_species,
        query_species=inputs.query_species,
        query_files=[path for path in (inputs.genome, inputs.queries) if path is not None],
    )


def _lengths_bp(inputs: RetrievalInputs, targets: Targets) -> dict[str, int]:
    """Of the target's sequences; where no bases are at hand they end with their last window."""
    of_records = {record.name: record.length_bp for record in _records(inputs.target)}
    return {name: of_records.get(name, end) for name, end in targets.lengths_bp().items()}


def _searched(
    level: Level,
    inputs: RetrievalInputs,
    config: RetrievalConfig,
    projection: Projection | None,
    reranker: Reranker | None,
    *,
    progress: Progress | None,
) -> tuple[Retrieval, list[Span]]:
    """Hits and spans of one level: searched, then reranked, scanned finely and confirmed where that is asked for."""
    window_bp = level.embedder.config.window_bp
    if config.localize_hits:  # windows for short queries may be narrower than what was asked for
        scan_bp = min(config.scan_window_bp, window_bp)
        stride_bp = min(config.scan_stride_bp, scan_bp or window_bp // 3)
        config = replace(config, scan_window_bp=scan_bp, scan_stride_bp=stride_bp)
    asked = {"config": config, "projection": projection, "progress": progress}
    found = retrieve(level.embedder, level.queries, level.targets, **asked)
    found = found if reranker is None else found.reranked(reranker)
    spans = localize(found, level.embedder, _records(inputs.target)) if config.localize_hits else []
    if config.confirm_hits:
        coding = _proteins(inputs, found)
        found, spans = confirmed(found, spans, coding, _records(inputs.target), window_bp=window_bp)
    return found, spans


def _check_asked(inputs: RetrievalInputs, config: RetrievalConfig) -> None:
    """Refuse options that lack what they need."""
    if config.localize_hits and not inputs.target:
        raise ValueError("--localize needs --target: the fine scan reads its bases")
    if config.confirm_hits and not inputs.target:
        raise ValueError("--confirm needs --target: aligners read its bases")
    if config.shortlist_recall and inputs.reranker is None:
        raise ValueError(f"retrieval.shortlist_recall={config.shortlist_recall} needs --reranker: it rates the hits")
    tools_of(config)
    if inputs.bigwig:
        need_bigwig()


def _check_bases(inputs: RetrievalInputs, config: RetrievalConfig, short: ShortQueries) -> None:
    """Refuse bases of the target that nothing reads."""
    read = config.localize_hits or config.confirm_hits or inputs.truth is not None or short.own
    if inputs.target and config.rank_by is RankBy.EMBEDDING and not read:
        raise ValueError(
            "--target serves sequence evidence, --truth, --localize and --confirm: rank_by=embedding asks for none"
        )


def _reranker(
    inputs: RetrievalInputs,
    targets: Targets,
    weights: dict[str, float],
    config: RetrievalConfig,
    projection: Projection | None,
) -> Reranker | None:
    """The reranker, where one is asked for that has not seen the target."""
    if inputs.reranker is None:
        return None
    model = Reranker.read(inputs.reranker)
    model.check(
        species=inputs.target_species,
        sequences=targets.names,
        inputs=inputs_of(targets.origin),
        ranked_by=weights,
        share_votes=config.share_votes,
        projected_by=None if projection is None else fingerprint(projection),
    )
    return model


def _evaluated(
    out: Path,
    inputs: RetrievalInputs,
    found: Retrieval,
    spans: list[Span],
    *,
    levels: list[Level],
    progress: Progress | None,
) -> Outcome:
    truth = truth_of(inputs, found.targets.lengths_bp(), found.config)
    names = [query.name for query in found.queries]
    rankings, absent, said = _rankings(inputs, found, levels=levels, progress=progress), {}, []
    if inputs.target:
        coding, records = _proteins(inputs, found), _records(inputs.target)
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
    return Outcome(found, spans, evaluation, places)


def _proteins(inputs: RetrievalInputs, found: Retrieval) -> dict[int, str]:
    files = {"genome": inputs.genome, "annotation": inputs.annotation}
    return proteins_of(found.queries, **files, part=found.config.query_part)


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


def _check_evaluation(
    inputs: RetrievalInputs,
    queries: list[Query],
    targets: Targets,
    config: RetrievalConfig,
    *,
    settings: EmbeddingConfig,
) -> None:
    """Refuse a truth that can't be read or is of other sequences, targets without the tiles, a wrong bundle."""
    if inputs.truth is not None:
        rows_with_truth([query.name for query in queries], truth_of(inputs, targets.lengths_bp(), config))
    if inputs.target:
        check_tiles(_records(inputs.target), targets)
    if inputs.untrained is not None:
        resolve(settings, open_encoder(inputs.untrained))


def settings_of(targets: Targets) -> EmbeddingConfig:
    """How windows like those of a target are embedded."""
    stored = targets.origin["settings"]
    return EmbeddingConfig(
        window_bp=stored["window_bp"],
        stride_bp=stored["stride_bp"],
        pooling=Pooling(stored["pooling"]),
        layer=stored["layer"],
        storage=Storage(stored["storage"]) if "storage" in stored else Storage.FLOAT32,  # older files do not tell
        max_unknown_fraction=stored["max_unknown_fraction"],
        part_bp=stored.get("part_bp", 0),  # files from before it do not tell
    )


def _records(files: tuple[Path, ...]) -> Iterator[Record]:
    for path in files:
        yield from read_fasta(path)


def queries_of(
    inputs: RetrievalInputs, config: RetrievalConfig, *, encoder: Encoder, window_bp: int
) -> tuple[list[Query], list[str]]:
    """Queries within their budget of tokens, and the genes that have no such part."""
    if inputs.queries is not None:
        if config.query_part is not QueryPart.GENE or config.flank_bp:
            raise ValueError("--part and retrieval.flank_bp cut genes out of --genome: they do not go with --queries")
        queries, without = fasta_queries(inputs.queries, window_bp=window_bp), []
    else:
        cut = cut_genes(
            inputs.genome,
            inputs.annotation,
            gene_ids=None if inputs.genes is None else read_gene_ids(inputs.genes),
            part=config.query_part,
            flank_bp=config.flank_bp,
            upstream_bp=config.upstream_bp,
            downstream_bp=config.downstream_bp,
        )
        queries, without = [query_of(record, window_bp=window_bp) for record in cut.records], cut.without

    def tokens_of(codes: np.ndarray) -> int:
        return encoder.encode(codes, reverse=False).size

    return [within_budget(query, tokens_of, max_tokens=config.max_query_tokens) for query in queries], without


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
        write_vectors(path, embedder.embed_tiles(tiles()), width=embedder.width, origin={})
        asked = embed_queries(embedder, found.queries, config)
        trained = embedding_source(asked, config)
        sources: dict[str, Source] = {UNTRAINED: trained}
        if config.whiten and not embedder.config.part_bp:
            raw = embedding_source(asked, replace(config, whiten=False), moments=trained.moments)
            sources[f"{UNTRAINED}{NOT_WHITENED}"] = raw
        return _alone(Targets.open(path), sources, found.queries, config, progress)
