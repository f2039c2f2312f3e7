"""What is wrong with a search, told before it: targets of another model, settings, queries."""

from __future__ import annotations

from collections.abc import Mapping

from plantgfm.embedding.config import StrandUse
from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.encoders import Encoder
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.late import check_csls
from plantgfm.retrieval.motifs import motifs_of
from plantgfm.retrieval.queries import Query
from plantgfm.retrieval.targets import Targets


def check_origin(targets: Targets, encoder: Encoder) -> None:
    """Refuse target vectors that another model made, or that are not of the forward strand.

    Raises:
        ValueError: naming both fingerprints, or the strand.
    """
    made_by, here = targets.origin.get("bundle"), encoder.fingerprint
    if made_by != here:
        raise ValueError(
            f"the target vectors were made by bundle {made_by}, this is bundle {here}: embed the target again"
        )
    strand = targets.origin["settings"]["strand"]
    if strand != StrandUse.FORWARD.value:
        raise ValueError(
            f"the target vectors have strand={strand!r}: embed the target with --strand forward, both strands of a "
            "query are searched"
        )


def check_settings(targets: Targets, embedder: Embedder) -> None:
    """Raise ValueError where queries would be embedded in another way than the target was."""
    settings = targets.origin["settings"]
    config = embedder.config
    for name, value in (("pooling", config.pooling.value), ("layer", config.layer), ("part_bp", config.part_bp)):
        stored = settings.get(name, 0 if name == "part_bp" else None)  # files from before parts do not tell them
        if stored != value:
            raise ValueError(f"the target vectors have {name}={stored!r}, the queries {value!r}: make them equal")


def check_search(queries: list[Query], config: RetrievalConfig, *, lengths_bp: Mapping[str, int], parts: int) -> None:
    """Refuse what can't be searched for in such a target; it need not be embedded yet.

    Args:
        queries: what to look for.
        config: csls, motifs.
        lengths_bp: of the target's sequences.
        parts: vectors of a window.

    Raises:
        ValueError: without queries, for one longer than the target, for csls of parts or of too few queries, or for
            motifs that can't be read.
    """
    if not queries:
        raise ValueError("there is no query: give a FASTA file with at least one record, or gene ids")
    check_csls(config, parts=parts)
    if config.csls >= len(queries):
        raise ValueError(
            f"retrieval.csls={config.csls} needs more queries than that, there are {len(queries)}: lower it"
        )
    if config.motifs:
        motifs_of(config.motifs)
    target_bp = sum(lengths_bp.values())
    longest = max(queries, key=lambda query: query.length_bp)
    if longest.length_bp > target_bp:
        raise ValueError(
            f"query {longest.name} has {longest.length_bp:,} bp, the target {target_bp:,}: query and target may have "
            "changed places"
        )
