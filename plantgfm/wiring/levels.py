"""Windows of their own size for short queries: which queries get them, and their vectors, made once and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from plantgfm.embedding.embed import Embedder, told
from plantgfm.embedding.regions import Region, tile_regions
from plantgfm.embedding.store import Parts, read_origin
from plantgfm.formats.fasta import read_fasta_pieces
from plantgfm.identity import file_sha256, fingerprint
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.levels import own_window_bp
from plantgfm.retrieval.queries import Query, rewindowed
from plantgfm.retrieval.targets import Targets

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Level:
    """Queries, and the windows that they are ranked among."""

    embedder: Embedder
    queries: list[Query]
    targets: Targets


@dataclass(frozen=True)
class ShortQueries:
    """Those that are much shorter than the windows that were given, and what becomes of them."""

    queries: list[Query]  # as they were cut for the given windows
    window_bp: int  # of windows of their own
    remark: str
    own: bool  # they get these windows


def short_queries(queries: list[Query], targets: Targets, config: RetrievalConfig, *, window_bp: int) -> ShortQueries:
    """Who is too short for the windows that were given; nobody where the settings leave these as they are.

    Nobody, too, where windows are matched part by part, and so have no mean to drown in.

    Args:
        queries: all of them.
        targets: the windows that were given, with their bases or without.
        config: whether short queries get windows of their own.
        window_bp: the width of those that were given.
    """
    means = not targets.origin["settings"].get("part_bp", 0)  # files from before parts do not tell
    short, own_bp = own_window_bp(queries, window_bp=window_bp) if config.short_tiles and means else ([], 0)
    if not short:
        return ShortQueries([], 0, "", own=False)
    shortest = (
        f"{len(short)} of {len(queries)} queries are a quarter of the target's windows ({window_bp:,} bp) or less"
    )
    groups = (len(short), len(queries) - len(short))
    if not targets.fasta:
        said = f"whose mean says little of them: give --target, or embed the target with --window-bp {own_bp} for them"
        return ShortQueries(short, own_bp, f"{shortest}, {said}", own=False)
    if config.csls and any(0 < group <= config.csls for group in groups):
        said = f"and are ranked among these: retrieval.csls={config.csls} needs more queries of a kind"
        return ShortQueries(short, own_bp, f"{shortest}, {said}", own=False)
    said = f"and are ranked among windows of their own, {own_bp} bp every {_stride_bp(own_bp)}"
    return ShortQueries(short, own_bp, f"{shortest}, {said}", own=True)


def _stride_bp(window_bp: int) -> int:
    return max(window_bp // 2, 1)


def levels_of(
    embedder: Embedder,
    queries: list[Query],
    targets: Targets,
    short: ShortQueries,
    *,
    vectors: Path,
    progress: Progress | None = None,
) -> list[Level]:
    """The given windows with the queries that are not too short for them, and own windows with those that are.

    Windows of their own cover what the given ones cover. Their vectors lie beside those that were given, in a file
    whose name holds a fingerprint of the model, the sequences and the settings, so that the next search reads them.

    Args:
        embedder: of the given windows.
        queries: all of them.
        targets: the given windows.
        short: from `short_queries`.
        vectors: the file of the given windows.
        progress: called with base pairs embedded.

    Raises:
        ValueError: where the folder of `vectors` can't be written.
    """
    if not short.own:
        return [Level(embedder, queries, targets)]
    sizes = {"window_bp": short.window_bp, "stride_bp": _stride_bp(short.window_bp)}
    narrow = Embedder(embedder.encoder, replace(embedder.config, **sizes))
    own = Targets.open(_embedded(narrow, targets, vectors, progress), fasta=targets.fasta)
    again = [rewindowed(query, window_bp=short.window_bp) for query in short.queries]
    names = {query.name for query in again}
    others = [query for query in queries if query.name not in names]
    given = [Level(embedder, others, targets)] if others else []
    return [*given, Level(narrow, again, own)]


def _embedded(embedder: Embedder, targets: Targets, vectors: Path, progress: Progress | None) -> Path:
    """The file of vectors of narrow windows; one that is there is left as it is, a stopped job goes on."""
    covered = targets.covered()
    origin = {
        "bundle": embedder.encoder.fingerprint,
        "settings": told(embedder.config),
        "inputs": [{"file": path.name, "sha256": file_sha256(path)} for path in targets.fasta],
        "covers": fingerprint([(one.sequence, one.start, one.end) for one in covered]),
    }
    path = vectors.with_name(f"{vectors.name}.{embedder.config.window_bp}bp-{fingerprint(origin)}.parquet")
    if read_origin(path) == origin:
        return path
    total_bp = sum(one.length_bp for one in covered)

    def tick(done_bp: int) -> None:
        if progress is not None:
            progress("embed for short queries (bp)", min(done_bp, total_bp), total_bp)

    pieces = (piece for file in targets.fasta for piece in read_fasta_pieces(file))
    sizes = {"window_bp": embedder.config.window_bp, "stride_bp": embedder.config.stride_bp}
    tiles = tile_regions(pieces, [Region(one, "") for one in covered], **sizes)
    try:
        parts = Parts(path, width=embedder.width, origin=origin, storage=embedder.config.storage, wait=True)
        if read_origin(path) == origin:  # another search has made it in the meantime
            parts.discard()
            return path
        parts.write(embedder.embed_tiles(tiles, first_block=parts.n_done, progress=tick))
    except OSError as error:
        raise ValueError(
            f"windows for short queries are kept beside --vectors, and {path} can't be written ({error.strerror}): "
            "make room, copy the vectors elsewhere, or --set short_tiles=false"
        ) from None
    return path
