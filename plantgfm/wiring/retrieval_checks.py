"""Files of a search, and what is refused before it: options and bases that do not go together, names no table holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plantgfm.embedding.encoders import Encoder
from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.tables import fits_a_cell
from plantgfm.identity import file_sha256
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.projection import Projection
from plantgfm.retrieval.targets import Targets
from plantgfm.schema import Record


@dataclass(frozen=True)
class RetrievalInputs:
    """Files of one retrieval; `truth`, `truth_annotation` and `untrained` serve evaluation only."""

    vectors: Path | None = None  # of the target; None: those of its parts are made in the folder of the hits
    queries: Path | None = None
    genes: Path | None = None
    genome: Path | None = None
    annotation: Path | None = None
    truth: Path | None = None
    truth_annotation: Path | None = None
    target: tuple[Path, ...] = ()
    untrained: Path | None = None
    reranker: Path | None = None
    target_species: str | None = None
    bigwig: bool = False  # tracks as bigWig, too
    projection: Path | None = None
    query_species: str | None = None

    def __post_init__(self):
        genome = (self.genome, self.annotation)
        if (self.queries is None) == (genome == (None, None)):
            raise ValueError("give either --queries, or --genome with --annotation (and --genes to choose some)")
        if self.queries is None and None in genome:
            raise ValueError("--genome and --annotation go together: genes are cut out of that genome")
        if self.vectors is None:
            if not self.target:
                raise ValueError("give --target, the FASTA to search, or --vectors that `plantgfm embed` made of it")
            learned = {"--reranker": self.reranker, "--projection": self.projection}
            for option, path in learned.items():
                if path is not None:
                    raise ValueError(f"{option} needs --vectors, made as those that it was trained with")
        if self.untrained is not None and (not self.target or self.truth is None):
            raise ValueError("--untrained needs --target and --truth: it is embedded for the evaluation alone")
        if self.genes is not None and self.queries is not None:
            raise ValueError("--genes chooses genes of --annotation: it does not go with --queries")
        if self.truth_annotation is not None and self.truth is None:
            raise ValueError("--truth-annotation places the genes of --truth: give both")
        if (self.reranker is None and self.projection is None) != (self.target_species is None):
            one = "--reranker" if self.projection is None else "--projection"
            raise ValueError(f"{one} and --target-species go together: it must not have seen what is searched")
        if self.query_species is not None and self.projection is None:
            raise ValueError("--query-species serves --projection, which must not have seen it: give both")


def records_of(files: Iterable[Path]) -> Iterator[Record]:
    """The records of FASTA files, in turn."""
    for path in files:
        yield from read_fasta(path)


def lengths_of(records: Iterable[Record]) -> dict[str, int]:
    """Base pairs of the target by sequence; ValueError for one that is there twice."""
    lengths_bp: dict[str, int] = {}
    for record in records:
        if record.name in lengths_bp:
            raise ValueError(f"--target has sequence {record.name!r} twice: give each file once")
        lengths_bp[record.name] = record.length_bp
    return lengths_bp


def check_tiles(records: Iterable[Record], targets: Targets) -> dict[str, int]:
    """Refuse bases that lack a sequence of the windows or some of its bases, or have one twice.

    Returns:
        As `lengths_of`.

    Raises:
        ValueError: with the sequence.
    """
    lengths_bp = lengths_of(records)
    for name, end in targets.lengths_bp().items():
        if name not in lengths_bp:
            raise ValueError(f"--target lacks sequence {name!r} of the vectors: give the FASTA that was embedded")
        if end > lengths_bp[name]:
            raise ValueError(
                f"--target has {lengths_bp[name]:,} bp of {name!r}, the vectors go to {end:,}: "
                "give the FASTA that was embedded"
            )
    return lengths_bp


def check_model(encoder: Encoder) -> None:
    """Refuse a model that can't embed a target without --vectors: one that does not know its windows."""
    if not encoder.window_bp:
        raise ValueError(
            "this model does not tell how long its windows are: embed the target with `plantgfm embed --window-bp`, "
            "and give --vectors"
        )


def check_names(queries: Iterable[str], sequences: Iterable[str]) -> None:
    """Refuse names that no table holds, before the search and not after it.

    Raises:
        ValueError: with the name.
    """
    for kind, names in (("query", queries), ("sequence", sequences)):
        if wrong := [name for name in names if not fits_a_cell(name)]:
            raise ValueError(
                f"{kind} {wrong[0]!r} holds a tab or a line break, or begins with a quote, which no table can hold: "
                "rename it"
            )


def inputs_of(origin: dict[str, Any]) -> list[str]:
    """SHA-256 of the files that vectors were made of."""
    return [one["sha256"] for one in origin.get("inputs", [])]


def kind_of(origin: dict[str, Any]) -> dict[str, object]:
    """What their scores depend on most, of the settings that vectors were made with."""
    settings = origin["settings"]
    return {
        "pooling": settings["pooling"],
        "layer": settings["layer"],
        "part_bp": settings.get("part_bp", 0),  # files from before parts do not tell
    }


def open_projection(
    path: Path,
    targets: Targets,
    config: RetrievalConfig,
    *,
    species: str,
    query_species: str | None,
    query_files: list[Path],
) -> Projection:
    """The projection of a file, where it was made for such vectors and has seen neither side.

    Raises:
        ValueError: naming what differs, or what it has seen.
    """
    head = Projection.read(path)
    head.check_made_for(bundle=targets.origin["bundle"], settings=targets.origin["settings"], config=config)
    head.check_unseen(
        species=species,
        sequences=targets.names,
        inputs=inputs_of(targets.origin),
        query_species=query_species,
        query_inputs=[file_sha256(one) for one in query_files],
    )
    return head
