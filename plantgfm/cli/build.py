"""Commands that build data: simulate, curate, vocabulary."""

from __future__ import annotations

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
    manifest.csv    assemblies for pre-training, planted defects among them
    held_out.csv    the species kept out of pre-training
    passport.tsv    MCPD records that name a reference per accession
    truth/          annotation, orthologs, repeats, defects

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
@click.argument("manifest", type=PATH)
@click.option("--out", type=PATH, required=True, help="Folder for the ledger (Parquet, JSON).")
@click.option(
    "--store",
    type=PATH,
    default=Path("runs/.store"),
    show_default=True,
    help="Artefacts of earlier curations; unchanged input is not processed again.",
)
@click.option("--passport", type=PATH, help="MCPD table, CSV or TSV.")
@click.option("--references", type=PATH, help="references.tsv: contaminants to screen against.")
@click.option("--processes", type=int, default=1, show_default=True, help="Worker processes.")
@SET
def curate(manifest, out, store, passport, references, processes, overrides) -> None:
    """Judge every record of a manifest in five stages; what is discarded has a reason.

    Example: plantgfm curate genomes/manifest.csv --out curation
    """
    from plantgfm.config import settings
    from plantgfm.curation.config import CurationConfig
    from plantgfm.curation.curate import curate as run_curation
    from plantgfm.formats.manifest import read_manifest
    from plantgfm.wiring.data import workers
    from plantgfm.wiring.tables import ledger_table

    config = settings(CurationConfig, overrides)
    with progress_bars() as progress, workers(processes) as executor:
        result = run_curation(
            read_manifest(manifest),
            config,
            store=store / "curation",
            passport=passport,
            references=references,
            executor=executor,
            progress=progress,
        )
    result.write(out)
    click.echo(ledger_table(result.ledger).to_text())
    click.echo(f"\nfingerprint {result.fingerprint}; ledger in {out}")


@click.command()
@click.argument("corpus", type=PATH)
@click.option("--out", type=PATH, required=True, help="JSON file of the vocabulary.")
@click.option("--report/--no-report", default=True, show_default=True, help="Compare with plain 6-mers and BPE.")
@SET
def vocabulary(corpus: Path, out: Path, report: bool, overrides: tuple[str, ...]) -> None:
    """Choose 8-mers on the training regions of a corpus (its folder, or a run's) and report what they do.

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
