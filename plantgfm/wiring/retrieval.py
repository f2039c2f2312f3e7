"""Files to hits and figures: what the command `retrieve` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from plantgfm.embedding.config import EmbeddingConfig, Pooling, Storage
from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.encoders import Encoder, open_encoder
from plantgfm.formats.bigwig import need_bigwig
from plantgfm.formats.staging import check_folder, staging
from plantgfm.identity import fingerprint
from plantgfm.retrieval.approximate import asks_for_index
from plantgfm.retrieval.checks import check_origin, check_search
from plantgfm.retrieval.config import QueryPart, RankBy, RetrievalConfig
from plantgfm.retrieval.evaluate import RetrievalEvaluation
from plantgfm.retrieval.genes import cut_genes, read_gene_ids
from plantgfm.retrieval.levels import joined, joined_spans
from plantgfm.retrieval.localize import SPAN_FILES, Span, localize, scan_widths, write_spans
from plantgfm.retrieval.places import PlaceEvaluation
from plantgfm.retrieval.projection import Projection
from plantgfm.retrieval.queries import Query, fasta_queries, query_of, within_budget
from plantgfm.retrieval.reranker import Reranker
from plantgfm.retrieval.retrieve import TRACK_FILES, Retrieval, retrieve, weights_of
from plantgfm.retrieval.targets import Targets
from plantgfm.wiring.downstream import embed_files
from plantgfm.wiring.levels import Level, ShortQueries, levels_of, short_queries
from plantgfm.wiring.retrieval_checks import (
    RetrievalInputs,
    check_model,
    check_names,
    check_tiles,
    inputs_of,
    kind_of,
    lengths_of,
    open_projection,
    records_of,
)
from plantgfm.wiring.retrieval_evaluation import (
    DIVERGENCE_FILE,
    EVALUATION_FILE,
    PLACES_FILE,
    ROWS_FILE,
    check_evaluation,
    evaluated,
)
from plantgfm.wiring.retrieval_tools import confirmed, proteins_of, tools_of

Progress = Callable[[str, int, int], None]

PARTS = EmbeddingConfig(part_bp=96, layer=0, storage=Storage.INT8)
"""How a target without vectors is embedded: as experiments/retrieval checked it. Parts of 64 bp find a little more."""
TARGET_VECTORS = "target.parquet"
MADE = "{} holds vectors of the target, of parts of its windows: --vectors reads them again for other queries"
LEFT_OUT = "{:,} of {:,} bp of the target were not searched: windows with more than a tenth of N are left out"


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

    Files take their places in `out` together, and one run's at a time. An error leaves nothing there but the vectors of
    the target, where they were made and are whole.

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
    else:
        check_model(opened)
    embedder = Embedder(opened, settings)
    window_bp = embedder.config.window_bp
    queries, without = queries_of(inputs, config, encoder=opened, window_bp=window_bp)
    if given is None:
        inputs = _with_vectors(bundle, out, inputs, queries, config, embedder=embedder, progress=progress)
    targets = Targets.open(inputs.vectors, fasta=inputs.target) if given is None else given
    short = short_queries(queries, targets, config, window_bp=window_bp)
    if given is not None:
        _check_bases(inputs, config, short)
    _check_all(inputs, queries, targets.lengths_bp(), config, embedder=embedder)
    lengths_bp = check_tiles(records_of(inputs.target), targets) if inputs.target else {}
    levels = levels_of(embedder, queries, targets, short, vectors=inputs.vectors, progress=progress)
    searched = [_searched(level, inputs, config, projection, reranker, progress=progress) for level in levels]
    found = joined([one for one, _ in searched], queries)
    said = _remarks_on(targets, lengths_bp) if given is None else (short.remark,) if short.remark else ()
    found = replace(found, without=without, remarks=said)
    spans = joined_spans([own for _, own in searched], queries)
    earlier = (EVALUATION_FILE, PLACES_FILE, ROWS_FILE, DIVERGENCE_FILE, *SPAN_FILES, *TRACK_FILES)  # of another search
    with staging(out) as stage:
        found.write(stage.work, bigwig=_lengths_bp(inputs, targets) if inputs.bigwig else None)
        if config.localize_hits:
            write_spans(stage.work, spans)
        stage.publish(stale=earlier)
        if inputs.truth is None:
            return Outcome(found, spans)
        evaluation, places = evaluated(stage.work, inputs, found, spans, levels=levels, progress=progress)
        stage.publish()
    return Outcome(found, spans, evaluation, places)


def _with_vectors(
    bundle: Path,
    out: Path,
    inputs: RetrievalInputs,
    queries: list[Query],
    config: RetrievalConfig,
    *,
    embedder: Embedder,
    progress: Progress | None,
) -> RetrievalInputs:
    """Vectors of the target where none were given; a file of an earlier search is read again, a stopped one goes on.

    What can be told of wrong input is told before that, which may take long.
    """
    _check_all(inputs, queries, lengths_of(records_of(inputs.target)), config, embedder=embedder)
    path = out / TARGET_VECTORS
    embed_files(bundle, path, fasta=inputs.target, manifest=None, config=PARTS, progress=progress)
    return replace(inputs, vectors=path)


def _remarks_on(targets: Targets, lengths_bp: Mapping[str, int]) -> tuple[str, ...]:
    """What is to be said of vectors that were made here."""
    made = MADE.format(targets.source)
    total_bp = sum(lengths_bp.values())
    left_bp = total_bp - sum(one.length_bp for one in targets.covered())
    return (made, LEFT_OUT.format(left_bp, total_bp)) if left_bp else (made,)


def _check_all(
    inputs: RetrievalInputs,
    queries: list[Query],
    lengths_bp: Mapping[str, int],
    config: RetrievalConfig,
    *,
    embedder: Embedder,
) -> None:
    """Refuse what can be told to fail once queries and the lengths of the target's sequences are known."""
    check_names([query.name for query in queries], lengths_bp)
    check_search(queries, config, lengths_bp=lengths_bp, parts=embedder.parts)
    check_evaluation(inputs, queries, lengths_bp, config, settings=embedder.config)
    if config.localize_hits:
        scan_widths(config, target_window_bp=embedder.config.window_bp)


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
    of_records = {record.name: record.length_bp for record in records_of(inputs.target)}
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
    spans = localize(found, level.embedder, records_of(inputs.target)) if config.localize_hits else []
    if config.confirm_hits:
        files = {"genome": inputs.genome, "annotation": inputs.annotation}
        coding = proteins_of(found.queries, **files, part=found.config.query_part)
        found, spans = confirmed(found, spans, coding, records_of(inputs.target), window_bp=window_bp)
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
        vectors=kind_of(targets.origin),
    )
    return model


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
