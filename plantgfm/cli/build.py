"""Commands that build data: simulate, curate, vocabulary."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from plantgfm.cli.paths import PATH
from plantgfm.cli.progress import progress_bars

SET = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting; may be given several times."
)


@click.command()
@click.option("--out", type=PATH, required=True, help="Folder to write the world into.")
@click.option("--world", type=click.Choice(["embedded", "null"]), default="embedded", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=None, help="The same seed gives the same bytes.")
@SET
def simulate(out: Path, world: str, seed: int | None, overrides: tuple[str, ...]) -> None:
    """Write a simulated plant clade, or genomes without structure, with the truth beside it.

    \b
    manifest.csv              assemblies for pre-training, planted defects among them
    held_out.csv              the species kept out of pre-training
    genomes/, annotation/     FASTA and GFF3 of all of them
    passport.tsv, references/ MCPD records that name a reference per accession; contaminants to screen against
    truth/                    orthologs, repeats, motifs, tree, defects; of the null world orthologs and entropy

    Example: plantgfm simulate --out world --set genome_size_bp=200000
    """
    from plantgfm.config import settings
    from plantgfm.simulate.config import NullConfig, WorldConfig
    from plantgfm.simulate.null import simulate_null
    from plantgfm.simulate.world import simulate_world

    seeded = [*overrides, *([f"seed={seed}"] if seed is not None else [])]
    with progress_bars() as progress:
        if world == "embedded":
            folder = simulate_world(settings(WorldConfig, seeded), out, progress=progress)
        else:
            folder = simulate_null(settings(NullConfig, seeded), out, progress=progress)
    click.echo(
        f"{folder}: {sum(1 for _ in folder.rglob('*') if _.is_file())} files; start at {folder / 'manifest.csv'}"
    )


@click.command()
@click.argument("manifests", type=PATH, nargs=-1, required=True, metavar="MANIFEST...")
@click.option("--out", type=PATH, help="Folder for the ledger; needed but with --part.")
@click.option(
    "--store",
    type=PATH,
    default=Path("runs/.store"),
    show_default=True,
    help="Artefacts of earlier curations; unchanged input is not processed again.",
)
@click.option("--passport", type=PATH, help="MCPD table, CSV or TSV.")
@click.option("--references", type=PATH, help="references.tsv: contaminants to screen against.")
@click.option(
    "--executor",
    type=click.Choice(["auto", "serial", "processes", "dask"]),
    default="auto",
    show_default=True,
    help="Who works: this process, a pool of processes, or Dask; auto is serial with one worker, else processes.",
)
@click.option("--workers", type=int, default=1, show_default=True, help="Processes, Dask workers, or SLURM jobs.")
@click.option("--cluster", default="", help="Of Dask: slurm, or a scheduler's address; without it, this machine.")
@click.option("--part", metavar="I/N", help="Only prepare share I of N into the store, for one task of an array job.")
@click.option("--what-if/--no-what-if", default=True, show_default=True, help="Try one step of each threshold, too.")
@SET
def curate(manifests, out, store, passport, references, executor, workers, cluster, part, what_if, overrides) -> None:
    """Judge every record of a manifest, or of several as one, in five stages; what is discarded has a reason.

    \b
    ledger.parquet, measures.parquet   every decision, and every record's figures
    ledger.json, assemblies.tsv        the table, sums, settings; figures of the assemblies
    report.html                        funnel, reasons, duplicates, contamination, and what one step of each threshold
                                       would have changed

    Each assembly file is one task. What was prepared before is found again in the store, whoever prepared it; stopped
    by Ctrl-C, the same command goes on. A worker that dies costs its file, which is tried again. On a cluster:
    --executor dask --cluster slurm, or one job array of --part I/N and this command after it (configs/run/).

    Example: plantgfm curate genomes/manifest.csv --out curation --workers 4 --set duplicates.record_identity=0.995
    """
    from plantgfm.config import ExecutorKind, check_executor, settings
    from plantgfm.curation.config import CurationConfig
    from plantgfm.curation.curate import curate as run_curation
    from plantgfm.curation.curate import prepare_part
    from plantgfm.formats.manifest import read_manifests
    from plantgfm.formats.passport import read_passport
    from plantgfm.wiring.curation_report import write_curation_report
    from plantgfm.wiring.executors import open_executor
    from plantgfm.wiring.ledger_tables import ledger_table

    config = settings(CurationConfig, overrides)
    check_executor(ExecutorKind(executor), workers=workers, cluster=cluster)
    share = parse_part(part) if part else None
    if (out is None) is (share is None):
        raise ValueError("give either --out, for the ledger, or --part, which prepares and writes none")
    if out is not None and out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: name a folder")
    if passport and share:
        read_passport(passport)  # needed by the last call only, but better found wrong now
    inputs = {"store": store / "curation", "references": references}
    assemblies = read_manifests(manifests)
    with (
        terminated_like_interrupted(),
        progress_bars() as progress,
        open_executor(ExecutorKind(executor), workers=workers, cluster=cluster) as pool,
    ):
        watched = {**inputs, "executor": pool, "progress": progress}
        if share:
            number, reused = prepare_part(assemblies, config, part=share[0], parts=share[1], **watched)
            click.echo(f"part {part}: {number} of {len(assemblies)} assemblies prepared, {reused} of them before")
            return
        result = run_curation(assemblies, config, passport=passport, what_if=what_if, **watched)
    result.write(out)
    report = write_curation_report(out)
    for key in result.repaired:
        click.echo(f"what {store} held of {key} was damaged, and was made again")
    click.echo(ledger_table(result.ledger).to_text())
    click.echo(f"\nfingerprint {result.fingerprint}; ledger in {out}, report: {report}")


def parse_part(text: str) -> tuple[int, int]:
    """The numbers of "I/N".

    Raises:
        ValueError: for other text.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"--part {text!r} is no share: give I/N with I from 1 to N, such as 3/48")
    return int(found[1]), int(found[2])


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM (a batch system's end of time) tidy up as Ctrl-C does."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.command()
@click.argument("corpus", type=PATH)
@click.option("--out", type=PATH, required=True, help="JSON file of the vocabulary.")
@click.option("--report/--no-report", default=True, show_default=True, help="Compare with plain 6-mers and BPE.")
@SET
def vocabulary(corpus: Path, out: Path, report: bool, overrides: tuple[str, ...]) -> None:
    """Choose 8-mers on the training regions of a corpus (its folder, or a run's) and report what they do.

    Of other kinds (--set kind=BASES for single bases, kind=BPE for byte-pair encoding) nothing is reported.

    Example: plantgfm vocabulary runs/demo --out vocabulary.json --set eight_mers=2048
    """
    from plantgfm.config import settings
    from plantgfm.corpus.read import open_corpus
    from plantgfm.tokenization.config import VocabularyConfig
    from plantgfm.wiring.runs import corpus_path
    from plantgfm.wiring.vocabulary import build_and_report

    config = settings(VocabularyConfig, overrides)
    built, tables = build_and_report(open_corpus(corpus_path(corpus)), config, report=report)
    out.parent.mkdir(parents=True, exist_ok=True)
    built.save(out)
    for table in tables:
        click.echo(table.to_text() + "\n")
    click.echo(f"{out}: {built.size} tokens, fingerprint {built.fingerprint}")
