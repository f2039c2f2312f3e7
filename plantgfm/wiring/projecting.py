"""Vectors, genes and orthologs to a projection: what the command `train-projection` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.encoders import Encoder, open_encoder
from plantgfm.formats.gff3 import read_gff3
from plantgfm.identity import file_sha256
from plantgfm.report.table import Table
from plantgfm.retrieval.checks import check_origin
from plantgfm.retrieval.config import ProjectionConfig
from plantgfm.retrieval.evaluate import few_queries
from plantgfm.retrieval.projection import Projection, kept_settings
from plantgfm.retrieval.projection_pairs import OrthologSet
from plantgfm.retrieval.projection_training import train_projection
from plantgfm.retrieval.reranker import Seen, binomial
from plantgfm.retrieval.sources import embed_queries
from plantgfm.retrieval.targets import Targets
from plantgfm.wiring.retrieval import RetrievalInputs, queries_of, settings_of
from plantgfm.wiring.retrieval_checks import inputs_of
from plantgfm.wiring.retrieval_evaluation import truth_of

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class PairFiles:
    """Genes of one species, windows of another, and the orthologs of the ones in the other."""

    inputs: RetrievalInputs  # vectors, queries or genome and annotation, truth
    target_species: str
    query_species: str


def pair_files(
    vectors: list[Path],
    target_species: list[str],
    query_species: list[str],
    truths: list[Path],
    *,
    queries: list[Path],
    genomes: list[Path],
    annotations: list[Path],
    truth_annotations: list[Path],
) -> list[PairFiles]:
    """What stands at the same place of each list; ValueError where they are not equally long."""
    told = {"--target-species": target_species, "--query-species": query_species, "--truth": truths}
    told |= {"--queries": queries} if queries else {"--genome": genomes, "--annotation": annotations}
    told |= {"--truth-annotation": truth_annotations} if truth_annotations else {}
    if queries and (genomes or annotations):
        raise ValueError("give either --queries, or --genome with --annotation, for all --vectors alike")
    for name, given in told.items():
        if len(given) != len(vectors):
            raise ValueError(f"{len(vectors)} --vectors, {len(given)} {name}: give one for each, in their order")
    nothing: list[Path | None] = [None] * len(vectors)
    columns = (queries or nothing, genomes or nothing, annotations or nothing, truths, truth_annotations or nothing)
    names = ("queries", "genome", "annotation", "truth", "truth_annotation")
    return [
        PairFiles(RetrievalInputs(vectors=path, **dict(zip(names, row))), target, query)
        for path, target, query, *row in zip(vectors, target_species, query_species, *columns)
    ]


def train_projection_files(
    bundle: Path,
    files: list[PairFiles],
    out: Path,
    *,
    hold_out: list[str],
    config: ProjectionConfig,
    progress: Progress | None = None,
) -> Projection:
    """Train on the orthologs of some pairs of species, and write the head.

    Args:
        bundle: that made all vectors; it embeds the queries.
        files: of each pair of species.
        out: JSON file.
        hold_out: species, or sequences of targets, that stop the training and choose the head; none: by lot.
        config: of head and training.
        progress: called with (label, done, total).

    Raises:
        ValueError: for wrong or malformed input, vectors of different kinds, or too few labels.
    """
    if not out.parent.is_dir():
        raise ValueError(f"{out.parent} is no folder: make it first")
    if out.is_dir():
        raise ValueError(f"{out} is a folder: name a file in it")
    encoder = open_encoder(bundle)
    targets = [Targets.open(one.inputs.vectors) for one in files]
    first = targets[0].origin
    for one, target in zip(files, targets):
        check_origin(target, encoder)
        if kept_settings(target.origin["settings"]) != kept_settings(first["settings"]):
            raise ValueError(
                f"{one.inputs.vectors} and {files[0].inputs.vectors} were embedded with different settings: make them "
                "equal"
            )
    sets = []
    for number, (one, target) in enumerate(zip(files, targets), start=1):
        sets.append(_ortholog_set(one, target, encoder, config))
        if progress is not None:
            progress(f"embed queries: {one.query_species}", number, len(files))
    made_by = {"bundle": encoder.fingerprint, "settings": first["settings"]}
    head = train_projection(sets, **made_by, hold_out=hold_out, config=config, progress=progress)
    head.write(out)
    return head


def _ortholog_set(one: PairFiles, targets: Targets, encoder: Encoder, config: ProjectionConfig) -> OrthologSet:
    inputs, search = one.inputs, config.search()
    embedder = Embedder(encoder, settings_of(targets))
    truth = truth_of(inputs, targets.lengths_bp(), search)
    found, _ = queries_of(inputs, search, encoder=encoder, window_bp=embedder.config.window_bp)
    queries = [query for query in found if truth.by_query.get(query.name)]
    if not queries:
        raise ValueError(
            f"no query of {one.query_species} has a label in {one.target_species}: do {inputs.truth} and "
            f"{inputs.vectors} belong together?"
        )
    read = inputs.queries or inputs.genome
    on = [] if inputs.annotation is None else sorted({f.interval.sequence for f in read_gff3(inputs.annotation)})
    return OrthologSet(
        Seen(binomial(one.target_species), sorted(targets.names), inputs_of(targets.origin)),
        Seen(binomial(one.query_species), on, [file_sha256(read)]),
        targets,
        queries,
        embed_queries(embedder, queries, search),
        {query.name: truth.by_query[query.name] for query in queries},
    )


def curve_table(head: Projection) -> Table:
    """The curve of training, and what the head is worth on what was held out."""
    rows = [(look.step, look.loss, look.mrr, look.moved) for look in head.curve]
    said = head.validation
    mean, low, high = said.difference
    kept = f"step {said.step}" if said.step else "the identity, as no step was better"
    note = (
        f"{head.queries} queries ({head.pairs:,} pairs) trained on, {said.queries} held out "
        f"({'; '.join(said.held_out)}); kept: {kept}; MRR {said.mrr:.3f} against {said.mrr_without:.3f} without a "
        f"head, {mean:+.3f} [{low:+.3f}, {high:+.3f}], on queries that chose the step; "
        f"seen: {', '.join(head.species())}"
    )
    note = "; ".join([note, *few_queries(said.queries)])
    columns = ("step", "loss", "MRR held out", "added length")
    return Table("Projection", columns, rows, note=note, formats=dict.fromkeys(columns[1:], ".3f"))
