"""Bundles to vectors: what the command `embed` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from plantgfm.embedding.config import EmbeddingConfig
from plantgfm.embedding.embed import Embedder, told
from plantgfm.embedding.encoders import open_encoder
from plantgfm.embedding.panel import check_sequences, open_panel, tile_panel
from plantgfm.embedding.regions import Region, bed_regions, gff3_regions, tile_regions
from plantgfm.embedding.store import Parts, read_origin
from plantgfm.embedding.tiles import tile_pieces
from plantgfm.embedding.zarr_store import is_zarr, need_zarr
from plantgfm.formats.fasta import read_fasta_pieces
from plantgfm.formats.manifest import read_manifest
from plantgfm.identity import file_sha256

Progress = Callable[[str, int, int], None]


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
    fasta: Path | Sequence[Path] | None,
    manifest: Path | None,
    config: EmbeddingConfig,
    places: Places = Places(),
    remote_code: bool = False,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Embed FASTA files, or places in them, into one file of vectors; counts of windows written and skipped.

    `out` is a Parquet file or, where its name ends in `.zarr`, a Zarr group.

    With pooling "token" or "base" the counts hold the "vectors" that were written.

    A file that the same bundle, settings and input made is left as it is (counts then hold "reused"); the same job,
    once stopped, goes on behind the last block that it wrote. In place of a bundle, a folder of another model will do;
    its own Python code runs only with `remote_code`.

    Raises:
        ValueError: for a wrong bundle or setting, malformed input, or when no window was left.
    """
    if is_zarr(out):
        need_zarr(out)
    given = [fasta] if isinstance(fasta, Path) else fasta
    files = [row.fasta for row in read_manifest(manifest)] if given is None else list(given)
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
        "settings": told(embedder.config),
        "inputs": [{"file": path.name, "sha256": file_sha256(path)} for path in inputs],
        **({"feature": places.feature} if places.feature else {}),
        **({"accessions": list(places.accessions)} if places.accessions else {}),
    }
    if out.exists():
        stored = read_origin(out)
        if stored == origin:
            return {"reused": 1}
        if stored is None:
            raise ValueError(f"{out} exists and is no file of vectors: name another file or remove it")

    def tick(done_bp: int) -> None:
        if progress is not None:
            progress("embed (bp)", min(done_bp, total_bp), total_bp)

    sizes = {"window_bp": embedder.config.window_bp, "stride_bp": embedder.config.stride_bp}
    pieces = (piece for path in files for piece in read_fasta_pieces(path))
    tiles = tile_pieces(pieces, **sizes) if regions is None else tile_regions(pieces, regions, **sizes)
    tiles = tiles if panel is None else tile_panel(tiles, panel)
    parts = Parts(out, width=embedder.width, origin=origin, storage=config.storage)
    counts = parts.write(embedder.embed_tiles(tiles, first_block=parts.n_done, progress=tick))
    if not config.pooling.whole:
        counts = {"vectors": counts["windows"], "skipped": counts["skipped"]}
    if progress is not None:
        progress("embed (bp)", total_bp, total_bp)
    return counts | ({"cut_tokens": embedder.cut_tokens} if embedder.cut_tokens else {})


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
