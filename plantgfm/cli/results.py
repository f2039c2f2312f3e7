"""Commands that answer questions: retrieve, report."""

from __future__ import annotations

from pathlib import Path

import click

from plantgfm.cli.build import SET
from plantgfm.cli.paths import PATH
from plantgfm.cli.progress import progress_bars


@click.command()
@click.argument("bundle", type=PATH)
@click.option("--queries", type=PATH, help="FASTA of sequences to look for.")
@click.option("--genes", type=PATH, help="File of gene ids, one a line; without it all genes of --annotation.")
@click.option("--genome", type=PATH, help="Or a genome whose genes are the queries: FASTA.")
@click.option("--annotation", type=PATH, help="GFF3 of that genome.")
@click.option("--part", type=click.Choice(["gene", "cds", "promoter"]), default="gene", show_default=True)
@click.option("--upstream-bp", type=int, default=2000, show_default=True, help="Promoter: before the gene's start.")
@click.option("--downstream-bp", type=int, default=300, show_default=True, help="Promoter: from the start on.")
@click.option("--vectors", type=PATH, required=True, help="Target, as `plantgfm embed` wrote it with this bundle.")
@click.option(
    "--out", type=PATH, required=True, help="Folder for tables (TSV, Parquet) and tracks (BED, GFF3, bedGraph)."
)
@click.option("--top-k", type=int, default=50, show_default=True, help="Hits per query.")
@click.option("--components", type=int, default=1, show_default=True, help="Leading components removed (debiasing).")
@click.option("--whiten/--no-whiten", default=True, show_default=True, help="Give all other components an equal say.")
@click.option(
    "--localize", type=int, default=0, show_default=True, help="Hits per query to scan finely; needs --target."
)
@click.option("--truth", type=PATH, help="Evaluate: TSV of query, chr, start (0-based), end. Ranking never sees it.")
@click.option(
    "--target", type=PATH, multiple=True, help="FASTA of the target, for --localize and the evaluation's baselines."
)
@click.option("--untrained", type=PATH, help="Bundle of the untrained model: adds it to the evaluation.")
@SET
def retrieve(bundle: Path, out: Path, overrides: tuple[str, ...], **options) -> None:
    """Find where sequences of one plant lie in another, by embedding, and say how that compares.

    Example: plantgfm retrieve runs/demo/bundle --queries genes.fa --vectors vectors.parquet --out hits
    """
    from plantgfm.config import settings
    from plantgfm.retrieval.config import QueryPart, RetrievalConfig
    from plantgfm.wiring.downstream import RetrievalInputs, retrieve_files
    from plantgfm.wiring.tables import retrieval_table

    named = {name: options.pop(name) for name in ("top_k", "components", "whiten", "upstream_bp", "downstream_bp")}
    named["localize_hits"] = options.pop("localize")
    named["query_part"] = QueryPart(options.pop("part"))
    config = settings(RetrievalConfig(**named), overrides)
    with progress_bars() as progress:
        found, evaluation = retrieve_files(bundle, out, RetrievalInputs(**options), config, progress=progress)
    click.echo(f"{out / 'hits.tsv'}: {len(found.hits)} hits of {len(found.queries)} queries")
    for note in found.notes():
        click.echo(note)
    if evaluation is not None:
        click.echo(retrieval_table(evaluation).to_text())


@click.command()
@click.argument("folder", type=PATH, default="runs")
def runs(folder: Path) -> None:
    """List the runs of a folder: state, step, best metric, corpus and the corpora before it, why one stopped.

    Running is what a process holds now; finished what has its result; failed what an error ended; stopped what a
    signal or a kill ended. The same command goes on with what is stopped or failed.

    Example: plantgfm runs runs
    """
    from plantgfm.wiring.run_list import list_runs, runs_table

    click.echo(runs_table(list_runs(folder)).to_text())


@click.command()
@click.argument("run", type=PATH)
@click.option("--out", type=PATH, help="HTML file; RUN/report.html by default.")
def report(run: Path, out: Path | None) -> None:
    """Draw a run's report: curation, loss curves, vocabulary use, held-out figures, retrieval ranks.

    RUN is a run, or the folder that `plantgfm curate --out` wrote: then the report is that of curation alone.

    Example: plantgfm report runs/demo
    """
    from plantgfm.wiring.curation_report import holds_curation, write_curation_report
    from plantgfm.wiring.report import write_report

    if holds_curation(run):
        click.echo(f"report: {write_curation_report(run, out)}")
        return
    path, summary = write_report(run, out)
    click.echo(summary.to_text())
    click.echo(f"\nreport: {path}")
