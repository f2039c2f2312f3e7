"""Ablations of retrieval: the same queries in the same target, one setting changed an arm.

`python -m plantgfm.ablation.retrieval ARMS.yaml BUNDLE --target target.fa ... --out FOLDER`. An arm is a list of
settings, `embedding.KEY=value` and `retrieval.KEY=value`; the first arm is what the others are compared with, query by
query. Vectors are made once for arms that share their embedding, and are kept beside the tables: a run that was stopped
goes on from them.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import numpy as np
from omegaconf import OmegaConf
from yaml import YAMLError

from plantgfm.config import settings
from plantgfm.embedding.config import EmbeddingConfig
from plantgfm.formats.tables import write_tsv
from plantgfm.identity import fingerprint, plain
from plantgfm.report.table import Table
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.evaluate import LEAST_QUERIES, RetrievalEvaluation, interval, reciprocal
from plantgfm.retrieval.search import FUSED
from plantgfm.retrieval.sources import EMBEDDING
from plantgfm.wiring.downstream import embed_files
from plantgfm.wiring.retrieval import RetrievalInputs, retrieve_files
from plantgfm.wiring.retrieval_evaluation import UNTRAINED

ARM_COLUMNS = (
    "arm",
    "settings",
    "windows",
    "queries",
    "method",
    "recall_at_1",
    "recall_at_50",
    "recall_at_top_k",
    "mrr",
    "mrr_low",
    "mrr_high",
    "shared_queries",
    "difference",
    "difference_low",
    "difference_high",
    "cpu_seconds",
)
SHOWN = (FUSED, EMBEDDING, UNTRAINED, "6-mer cosine", "11-mer containment")


@dataclass(frozen=True)
class Arm:
    """One way to search."""

    name: str
    changes: tuple[str, ...]
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)


@dataclass(frozen=True)
class Measured:
    """What an arm found."""

    arm: Arm
    windows: int
    evaluation: RetrievalEvaluation
    cpu_seconds: float  # of this process, embedding of the target included where this arm was the first to need it


def read_arms(path: Path) -> list[Arm]:
    """The arms of a file: a mapping `arms` from names to lists of settings, and `common`, settings of all of them.

    Raises:
        ValueError: for another form, a setting that does not exist, or fewer than two arms.
    """
    try:
        data = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, YAMLError) as error:
        raise ValueError(f"{path} can't be read as YAML: {str(error).splitlines()[0]}") from None
    arms = data.get("arms") if isinstance(data, dict) else None
    if not isinstance(arms, dict) or len(arms) < 2 or not all(isinstance(one, list) for one in arms.values()):
        raise ValueError(f"{path} needs `arms`, a mapping of at least two names to lists of settings")
    common = data.get("common") or []
    return [_arm(path, str(name), [*common, *changes], changes) for name, changes in arms.items()]


def _arm(path: Path, name: str, given: list[str], changes: list[str]) -> Arm:
    rooms: dict[str, list[str]] = {"embedding": [], "retrieval": []}
    for text in given:
        room, _, rest = str(text).partition(".")
        if room not in rooms or not rest:
            raise ValueError(f"{path}, arm {name}: {text!r} is no embedding.KEY=value or retrieval.KEY=value")
        rooms[room].append(rest)
    made = {
        "embedding": EmbeddingConfig(),
        "retrieval": RetrievalConfig(null_queries=0, tools="none", short_tiles=False),
    }
    try:
        parts = {room: settings(made[room], texts) for room, texts in rooms.items()}
    except ValueError as error:
        raise ValueError(f"{path}, arm {name}: {error}") from None
    return Arm(name, tuple(changes), **parts)


def measure(
    arms: list[Arm],
    bundle: Path,
    inputs: RetrievalInputs,
    out: Path,
    *,
    told: Callable[[Measured], None] | None = None,
) -> list[Measured]:
    """Embed and search for every arm; hits and figures of each lie in a folder of its name.

    Args:
        arms: the first is the base.
        bundle: the model.
        inputs: with `target`, one FASTA file, and `truth`; `vectors` is made here.
        out: folder.
        told: called after each arm.
    """
    done = []
    for arm in arms:
        began = _cpu_seconds()
        vectors = out / "vectors" / f"{fingerprint(plain(arm.embedding))}.parquet"
        embed_files(bundle, vectors, fasta=inputs.target[0], manifest=None, config=arm.embedding)
        outcome = retrieve_files(bundle, out / arm.name, replace(inputs, vectors=vectors), arm.retrieval)
        spent = _cpu_seconds() - began
        done.append(Measured(arm, len(outcome.found.targets), outcome.evaluation, spent))
        if told is not None:
            told(done[-1])
    return done


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def arm_rows(measured: list[Measured], *, resamples: int = 1000, seed: int = 0) -> list[dict[str, object]]:
    """A line for each arm and method; differences are an arm's minus the first's, over the queries that both have.

    An arm that shares fewer than 5 queries with the first one, as promoters of other genes do, has no difference.
    """
    rows = []
    for one in measured:
        found = {score.method: score for score in one.evaluation.methods}
        for method in dict.fromkeys((*SHOWN, *found)):
            if method not in found:
                continue
            score = found[method]
            base = one is measured[0]
            shared, difference = (0, None) if base else _difference(one, measured[0], method, resamples, seed)
            values = (
                one.arm.name,
                " ".join(one.arm.changes),
                one.windows,
                score.queries,
                method,
                *(round(value, 4) for value in (score.recall[1], score.recall[50], _at_top_k(one, method))),
                *(round(value, 4) for value in (score.mean_reciprocal_rank, score.mrr_low, score.mrr_high)),
                shared or None,
                *([None] * 3 if difference is None else [round(value, 4) for value in difference]),
                round(one.cpu_seconds, 1),
            )
            rows.append(dict(zip(ARM_COLUMNS, values)))
    return rows


def _at_top_k(one: Measured, method: str) -> float:
    """Recall among all hits that the arm reports; of chance in closed form that at 50."""
    ranks = one.evaluation.ranks.get(method)
    if ranks is None:
        return {score.method: score for score in one.evaluation.methods}[method].recall[50]
    return one.evaluation.recall_at(method, one.arm.retrieval.top_k)


def _difference(
    one: Measured, base: Measured, method: str, resamples: int, seed: int
) -> tuple[int, tuple[float, float, float] | None]:
    mine, others = one.evaluation, base.evaluation
    if method not in mine.ranks or method not in others.ranks:
        return 0, None
    shared = [name for name in mine.queries if name in set(others.queries)]
    if len(shared) < LEAST_QUERIES:
        return len(shared), None
    values = [reciprocal(e.ranks[method])[[e.queries.index(name) for name in shared]] for e in (mine, others)]
    draws = np.random.default_rng(seed).integers(0, len(shared), (resamples, len(shared)))
    return len(shared), interval(values[0] - values[1], draws)


def arm_table(rows: list[dict[str, object]], method: str) -> Table:
    """Every arm by one method."""
    shown = ("arm", "settings", "windows", "queries", "recall_at_1", "recall_at_top_k", "mrr", "mrr_low", "mrr_high")
    shown = (*shown, "difference", "difference_low", "difference_high", "cpu_seconds")
    cells = [tuple(row[name] for name in shown) for row in rows if row["method"] == method]
    formats = dict.fromkeys(("recall_at_1", "recall_at_top_k", "mrr", "mrr_low", "mrr_high"), ".3f")
    formats |= dict.fromkeys(("difference", "difference_low", "difference_high"), "+.3f")
    return Table(f"Arms by {method}", shown, cells, formats=formats)


_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("arms", type=_PATH)
@click.argument("bundle", type=_PATH)
@click.option("--target", type=_PATH, required=True, help="FASTA of the target.")
@click.option("--truth", type=_PATH, required=True, help="Orthologs, as of `plantgfm retrieve`.")
@click.option("--queries", type=_PATH, help="FASTA; or genes of an annotated genome:")
@click.option("--genome", type=_PATH, help="FASTA.")
@click.option("--annotation", type=_PATH, help="GFF3.")
@click.option("--genes", type=_PATH, help="File of gene ids.")
@click.option("--untrained", type=_PATH, help="Bundle of the untrained model.")
@click.option("--out", type=_PATH, required=True, help="Folder.")
def main(arms: Path, bundle: Path, target: Path, out: Path, **files) -> None:
    """Search with every arm of ARMS; arms.tsv grows by each one that is done."""
    inputs, measured = RetrievalInputs(vectors=out, target=(target,), **files), []

    def told(one: Measured) -> None:
        measured.append(one)
        write_tsv(out / "arms.tsv", arm_rows(measured), columns=ARM_COLUMNS)
        click.echo(f"{one.arm.name}: {one.cpu_seconds:.0f} s")

    measure(read_arms(arms), bundle, inputs, out, told=told)
    rows = arm_rows(measured)
    for method in SHOWN:
        if any(row["method"] == method for row in rows):
            click.echo("\n" + arm_table(rows, method).to_text())


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except (click.ClickException, ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
