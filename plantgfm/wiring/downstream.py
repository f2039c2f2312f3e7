"""Bundles to vectors and hits: what the commands `embed` and `retrieve` do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from plantgfm.embedding.config import EmbeddingConfig, Pooling
from plantgfm.embedding.embed import Embedder, resolve
from plantgfm.embedding.encoders import Encoder, open_encoder
from plantgfm.embedding.panel import check_sequences, open_panel, tile_panel
from plantgfm.embedding.regions import Region, bed_regions, gff3_regions, tile_regions
from plantgfm.embedding.store import Parts, VectorTable, read_origin, read_vectors
from plantgfm.embedding.tiles import tile_pieces
from plantgfm.formats.fasta import read_fasta, read_fasta_pieces
from plantgfm.formats.manifest import read_manifest
from plantgfm.identity import file_sha256, plain
from plantgfm.retrieval.baselines import composition_scores, containment_scores, gc_scores
from plantgfm.retrieval.config import QueryPart, RetrievalConfig
from plantgfm.retrieval.evaluate import RetrievalEvaluation, evaluate_retrieval, read_truth, rows_with_truth
from plantgfm.retrieval.genes import cut_genes, read_gene_ids
from plantgfm.retrieval.localize import SPAN_FILES, localize, scan_widths, write_spans
from plantgfm.retrieval.queries import Query, fasta_queries, query_of, within_budget
from plantgfm.retrieval.retrieve import Retrieval, check_origin, retrieve
from plantgfm.retrieval.search import embed_queries, score_queries
from plantgfm.schema import Record
from plantgfm.sequence import Interval

Progress = Callable[[str, int, int], None]

NOT_WHITENED = ", not whitened"
"""Behind the name of a method: the same vectors with all-but-the-top alone."""


@dataclass(frozen=True)
class Places:
    """Which places of the sequences to embed: all, the rows of a BED file, or one type of features of a GFF3 file.

    With a panel of accessions, each of them once an accession.
    """

    bed: Path | None = None
    gff3: Path | None = None
    feature: str | None = None
    panel: Path | None = None  # VCF
    accessions: tuple[str, ...] = ()  # of the panel; none: all of them

    def __post_init__(self):
        if self.bed is not None and self.gff3 is not None:
            raise ValueError("give either --bed or --gff3")
        if (self.gff3 is None) != (self.feature is None):
            raise ValueError("--gff3 and --feature go together: the type of the features to embed, such as gene")
        if self.accessions and self.panel is None:
            raise ValueError("--accession chooses samples of --panel: give that too")

    def regions(self, lengths_bp: dict[str, int]) -> list[Region] | None:
        """The regions; None for whole sequences."""
        if self.bed is not None:
            return bed_regions(self.bed, lengths=lengths_bp)
        return gff3_regions(self.gff3, feature=self.feature, lengths=lengths_bp) if self.gff3 is not None else None


def embed_files(
    bundle: Path,
    out: Path,
    *,
    fasta: Path | None,
    manifest: Path | None,
    config: EmbeddingConfig,
    places: Places = Places(),
    remote_code: bool = False,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Embed FASTA files, or places in them, into one file of vectors; counts of windows written and skipped.

    With pooling "token" or "base" the counts hold the "vectors" that were written.

    A file that the same bundle, settings and input made is left as it is (counts then hold "reused"); the same job,
    once stopped, goes on behind the last block that it wrote. In place of a bundle, a folder of another model will do;
    its own Python code runs only with `remote_code`.

    Raises:
        ValueError: for a wrong bundle or setting, malformed input, or when no window was left.
    """
    files = [fasta] if fasta is not None else [row.fasta for row in read_manifest(manifest)]
    embedder = Embedder(open_encoder(bundle, remote_code=remote_code), config)
    lengths_bp = _checked_lengths(files)
    regions = places.regions(lengths_bp)
    total_bp = sum(lengths_bp.values()) if regions is None else sum(one.interval.length_bp for one in regions)
    panel = None if places.panel is None else open_panel(places.panel, places.accessions)
    if panel is not None:
        check_sequences(panel, lengths_bp)
    inputs = [*files, *(path for path in (places.bed, places.gff3, places.panel) if path is not None)]
    origin = {
        "bundle": embedder.encoder.fingerprint,
        "settings": plain(embedder.config),
        "inputs": [{"file": path.name, "sha256": file_sha256(path)} for path in inputs],
        **({"feature": places.feature} if places.feature else {}),
        **({"accessions": list(places.accessions)} if places.accessions else {}),
    }
    if out.exists():
        stored = read_origin(out) if out.is_file() else None
        if stored == origin:
            return {"reused": 1}
        if stored is None:
            raise ValueError(f"{out} exists and is no file of vectors: name another file or remove it")

    def tick(done_bp: int) -> None:
        if progress is not None:
            progress("embed (bp)", min(done_bp, total_bp), total_bp)

    sizes = {"window_bp": embedder.config.window_bp, "stride_bp": embedder.config.stride_bp}
    pieces = (piece for path in files for piece in read_fasta_pieces(path))
    tiles = tile_pieces(pieces, **sizes) if regions is None else tile_regions(_records(files), regions, **sizes)
    tiles = tiles if panel is None else tile_panel(tiles, panel)
    parts = Parts(out, width=embedder.width, origin=origin, storage=config.storage)
    counts = parts.write(embedder.embed_tiles(tiles, first_block=parts.n_done, progress=tick))
    if not config.pooling.whole:
        counts = {"vectors": counts["windows"], "skipped": counts["skipped"]}
    if progress is not None:
        progress("embed (bp)", total_bp, total_bp)
    return counts | ({"cut_tokens": embedder.cut_tokens} if embedder.cut_tokens else {})


def _records(files: list[Path]) -> Iterator[Record]:
    for path in files:
        yield from read_fasta(path)


def _checked_lengths(files: list[Path]) -> dict[str, int]:
    """Base pairs by sequence, after a look at every record: what is malformed is found before the first vector."""
    owner: dict[str, Path] = {}
    lengths_bp: dict[str, int] = {}
    for path in files:
        for piece in read_fasta_pieces(path):
            if owner.setdefault(piece.name, path) != path:
                raise ValueError(
                    f"sequence {piece.name!r} is in {owner[piece.name]} and in {path}: coordinates would be "
                    "ambiguous; embed the files one by one"
                )
            lengths_bp[piece.name] = piece.start + piece.bases.size
    return lengths_bp


@dataclass(frozen=True)
class RetrievalInputs:
    """Files of one retrieval; `truth` and `untrained` serve evaluation only, `target` also the fine scan."""

    vectors: Path
    queries: Path | None = None
    genes: Path | None = None
    genome: Path | None = None
    annotation: Path | None = None
    truth: Path | None = None
    target: tuple[Path, ...] = ()
    untrained: Path | None = None

    def __post_init__(self):
        genome = (self.genome, self.annotation)
        if (self.queries is None) == (genome == (None, None)):
            raise ValueError("give either --queries, or --genome with --annotation (and --genes to choose some)")
        if self.queries is None and None in genome:
            raise ValueError("--genome and --annotation go together: genes are cut out of that genome")
        if self.untrained is not None and not self.target:
            raise ValueError("--untrained needs --target: the untrained model has to embed it")
        if self.genes is not None and self.queries is not None:
            raise ValueError("--genes chooses genes of --annotation: it does not go with --queries")


def retrieve_files(
    bundle: Path, out: Path, inputs: RetrievalInputs, config: RetrievalConfig, *, progress: Progress | None = None
) -> tuple[Retrieval, RetrievalEvaluation | None]:
    """Search, write the hits, and evaluate where a truth is given.

    What serves the evaluation is checked first, so that nothing is written beside a wrong file, and then let go: the
    search has no truth at hand, which is read again after the hits are written.

    Raises:
        ValueError: for wrong or malformed input.
    """
    if inputs.target and inputs.truth is None and not config.localize_hits:
        raise ValueError("--target serves the evaluation and --localize: give --truth or --localize too")
    if config.localize_hits and not inputs.target:
        raise ValueError("--localize needs --target: the fine scan reads its bases")
    targets = read_vectors(inputs.vectors)
    opened = open_encoder(bundle)
    check_origin(targets, opened)
    embedder = Embedder(opened, _settings_of(targets))
    queries, without = _queries(inputs, config, encoder=opened, window_bp=embedder.config.window_bp)
    _check_evaluation(inputs, queries, targets, config=embedder.config)
    if config.localize_hits:
        scan_widths(config, target_window_bp=embedder.config.window_bp)
    found = retrieve(embedder, queries, targets, config=config, progress=progress)
    found = replace(found, without=without)
    spans = localize(found, embedder, _records(list(inputs.target))) if config.localize_hits else []
    for name in ("evaluation.json", *SPAN_FILES):  # of an earlier search
        (out / name).unlink(missing_ok=True)
    found.write(out)
    if config.localize_hits:
        write_spans(out, spans)
    if inputs.truth is None:
        return found, None
    truth = _truth(inputs.truth, targets)
    methods = {"model": found.scores.best, **_baselines(inputs, queries, targets, embedder=embedder, config=config)}
    if config.whiten:
        methods[f"model{NOT_WHITENED}"] = score_queries(
            found.query_vectors, targets.vectors, replace(config, whiten=False)
        ).best
    names = [query.name for query in queries]
    evaluation = evaluate_retrieval(methods, names, intervals=targets.intervals, truth=truth, config=config)
    evaluation.write(out / "evaluation.json")
    return found, evaluation


def _truth(path: Path, targets: VectorTable) -> dict[str, list[Interval]]:
    return read_truth(path, target_sequences={interval.sequence for interval in targets.intervals})


def _check_evaluation(
    inputs: RetrievalInputs, queries: list[Query], targets: VectorTable, *, config: EmbeddingConfig
) -> None:
    """Refuse a truth that can't be read or is of other sequences, targets without the tiles, a wrong bundle."""
    if inputs.truth is not None:
        rows_with_truth([query.name for query in queries], _truth(inputs.truth, targets))
    if inputs.target:
        _check_tiles({record.name: record.length_bp for record in _records(list(inputs.target))}, targets)
    if inputs.untrained is not None:
        resolve(config, open_encoder(inputs.untrained))


def _check_tiles(lengths_bp: dict[str, int], targets: VectorTable) -> None:
    for tile in targets.intervals:
        if tile.sequence not in lengths_bp:
            raise ValueError(
                f"--target lacks sequence {tile.sequence!r} of the vectors: give the FASTA that was embedded"
            )
        if tile.end > lengths_bp[tile.sequence]:
            raise ValueError(
                f"--target has {lengths_bp[tile.sequence]:,} bp of {tile.sequence!r}, the vectors go to {tile.end:,}: "
                "give the FASTA that was embedded"
            )


def _settings_of(targets: VectorTable) -> EmbeddingConfig:
    stored = targets.origin["settings"]
    return EmbeddingConfig(
        window_bp=stored["window_bp"],
        stride_bp=stored["stride_bp"],
        pooling=Pooling(stored["pooling"]),
        layer=stored["layer"],
    )


def _queries(
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


def _baselines(
    inputs: RetrievalInputs, queries: list[Query], targets: VectorTable, *, embedder: Embedder, config: RetrievalConfig
) -> dict[str, np.ndarray]:
    if not inputs.target:
        return {}
    records = {record.name: record.codes for record in _records(list(inputs.target))}
    tiles = [records[i.sequence][i.start : i.end] for i in targets.intervals]
    methods = {
        "GC content": gc_scores(queries, tiles),
        "4-mer cosine": composition_scores(queries, tiles, k=4),
        "6-mer cosine": composition_scores(queries, tiles, k=6),
        "11-mer containment": containment_scores(queries, tiles, k=11),
    }
    if inputs.untrained is not None:
        untrained = Embedder(open_encoder(inputs.untrained), replace(embedder.config))
        vectors = untrained.embed(tiles)
        asked = embed_queries(untrained, queries)
        methods["untrained model"] = score_queries(asked, vectors, config).best
        if config.whiten:
            without = score_queries(asked, vectors, replace(config, whiten=False))
            methods[f"untrained model{NOT_WHITENED}"] = without.best
    return methods
