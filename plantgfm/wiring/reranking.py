"""Hits and orthologs to a reranker: what the command `train-reranker` does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from plantgfm.formats.orthologs import Ortholog
from plantgfm.formats.tables import read_tsv
from plantgfm.identity import read_json
from plantgfm.report.table import Table
from plantgfm.retrieval.evaluate import read_truth
from plantgfm.retrieval.rerank_training import Labelled, labelled, train
from plantgfm.retrieval.reranker import Reranker, Seen, binomial
from plantgfm.retrieval.retrieve import HIT_COLUMNS
from plantgfm.wiring.retrieval_checks import inputs_of, kind_of

_NEEDED = ("ranked_by", "settings", "target", "target_sequences_bp")


def train_reranker_files(
    folders: list[Path], species: list[str], truths: list[Path], out: Path, *, within_bp: int, seed: int
) -> Reranker:
    """Train on the hits in some folders, and write the model.

    Args:
        folders: what `retrieve` wrote, without a reranker, all ranked by the same sources.
        species: of the target of each.
        truths: orthologs of each.
        out: JSON file.
        within_bp: gap to the ortholog that counts as near.
        seed: of the folds.

    Raises:
        ValueError: for unequal counts, folders that do not belong together, or too few labels.
    """
    if not len(folders) == len(species) == len(truths):
        raise ValueError(
            f"{len(folders)} folders, {len(species)} --species and {len(truths)} --truth: give one of each a folder"
        )
    if within_bp < 0:
        raise ValueError(f"--within-bp {within_bp} is negative: 0 asks for hits that overlap the ortholog")
    if not out.parent.is_dir():
        raise ValueError(f"{out.parent} is no folder: make it first")
    parts: list[Labelled] = []
    ranked_by: tuple[dict[str, float], bool, str | None] | None = None
    vectors: list[dict[str, object]] = []
    for folder, name, path in zip(folders, species, truths):
        if not (folder / "retrieval.json").is_file():
            raise ValueError(f"{folder} holds no retrieval.json: give a folder that `plantgfm retrieve` wrote")
        manifest = read_json(folder / "retrieval.json", remedy="`plantgfm retrieve` writes one")
        if missing := [key for key in _NEEDED if key not in manifest]:
            raise ValueError(f"{folder / 'retrieval.json'} lacks {missing[0]!r}: run `plantgfm retrieve` again")
        if manifest.get("reranked_by"):
            raise ValueError(f"the hits of {folder} were reranked: run `plantgfm retrieve` without --reranker")
        told = manifest["settings"].get("share_votes", False), manifest.get("projected_by")  # or else of older code
        by = (manifest["ranked_by"], *told)
        if ranked_by is not None and by != ranked_by:
            raise ValueError(f"the hits of {folder} and {folders[0]} were ranked by different sources: make them equal")
        ranked_by = by
        vectors.append(kind_of(manifest["target"]))
        if vectors[-1] != vectors[0]:
            raise ValueError(f"the hits of {folder} and {folders[0]} are of different vectors: make them equal")
        sequences = sorted(manifest["target_sequences_bp"])
        seen = Seen(binomial(name), sequences, inputs_of(manifest["target"]))
        rows = read_tsv(folder / "hits.tsv", required=HIT_COLUMNS)
        parts.append(labelled(rows, _labels(path, sequences), within_bp=within_bp, seen=seen))
    model = train(parts, within_bp=within_bp, ranked_by=ranked_by[0], share_votes=ranked_by[1], seed=seed)
    model = replace(model, projected_by=ranked_by[2], vectors=vectors[0])
    model.write(out)
    return model


def _labels(path: Path, sequences: list[str]) -> dict[str, list[Ortholog]]:
    return read_truth(path, target_sequences=set(sequences)).by_query


def reliability_table(model: Reranker) -> Table:
    """What was said of hits and what was true, on queries that did not fit the model."""
    rows = [(one.predicted, one.observed, one.hits) for one in model.reliability]
    seen = "; ".join(f"{one.species} ({len(one.sequences)} sequences)" for one in model.seen)
    scores = model.scores
    note = (
        f"{model.queries} queries, {model.hits:,} hits, near is a gap of at most {model.within_bp:,} bp; Brier score "
        f"{scores['brier']:.4f} (of the mean share {scores['brier_of_the_share']:.4f}), log loss "
        f"{scores['log_loss']:.4f}, calibration error {scores['calibration_error']:.4f}; seen: {seen}"
    )
    formats = dict.fromkeys(("probability said", "share near"), ".3f")
    return Table("Reliability", ("probability said", "share near", "hits"), rows, note=note, formats=formats)
