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
@click.option("--genes", type=PATH, help="Gene ids, one a line, or a table with a column gene; by default all genes.")
@click.option("--genome", type=PATH, help="Or a genome whose genes are the queries: FASTA.")
@click.option("--annotation", type=PATH, help="GFF3 of that genome.")
@click.option("--part", type=click.Choice(["gene", "cds", "promoter"]), default="gene", show_default=True)
@click.option("--upstream-bp", type=int, default=2000, show_default=True, help="Promoter: before the gene's start.")
@click.option("--downstream-bp", type=int, default=300, show_default=True, help="Promoter: from the start on.")
@click.option(
    "--vectors",
    type=PATH,
    help="Target, as `plantgfm embed` wrote it with this bundle. Without it --target is embedded: OUT/target.parquet.",
)
@click.option(
    "--out", type=PATH, required=True, help="Folder for tables (TSV, Parquet) and tracks (BED, GFF3, bedGraph)."
)
@click.option("--top-k", type=int, default=50, show_default=True, help="Hits per query.")
@click.option("--components", type=int, default=1, show_default=True, help="Leading components removed (debiasing).")
@click.option("--whiten/--no-whiten", default=True, show_default=True, help="Give all other components an equal say.")
@click.option(
    "--localize", type=int, default=0, show_default=True, help="Hits per query to scan finely; needs --target."
)
@click.option(
    "--confirm", type=int, default=0, show_default=True, help="Hits per query that aligners look at; needs --target."
)
@click.option(
    "--tools",
    default="auto",
    show_default=True,
    help="Aligners for --truth and --confirm: auto for all installed of minimap2, miniprot, tblastn, tblastx, MMseqs2; "
    "none; or names with commas.",
)
@click.option(
    "--target",
    type=PATH,
    multiple=True,
    help="FASTA of the target, embedded unless --vectors are given: adds sequence evidence, --localize, baselines.",
)
@click.option(
    "--rank-by",
    type=click.Choice(["auto", "fused", "embedding"]),
    default="auto",
    show_default=True,
    help="Embedding alone, or summed with sequence evidence; auto: the sum where --target is given.",
)
@click.option("--truth", type=PATH, help="Evaluate: orthologs (gene_id, chr, start, end, ...). Ranking never sees it.")
@click.option("--truth-annotation", type=PATH, help="GFF3 of the target, for a Compara dump as --truth.")
@click.option("--untrained", type=PATH, help="Bundle of the untrained model: adds it to the evaluation.")
@click.option(
    "--reranker", type=PATH, help="From `plantgfm train-reranker`, needs --vectors: orders the hits by probability."
)
@click.option(
    "--projection", type=PATH, help="From `plantgfm train-projection`, needs --vectors: a head on those of both sides."
)
@click.option("--target-species", help="With --reranker or --projection, which must not have seen it.")
@click.option("--query-species", help="With --projection, which must not have seen it either.")
@click.option("--bigwig", is_flag=True, help="Tracks as bigWig, too: best_z.bw and hits.bw (extra bigwig).")
@SET
def retrieve(bundle: Path, out: Path, overrides: tuple[str, ...], **options) -> None:
    """Find where sequences of one plant lie in another, by embedding and sequence, and say how that compares.

    With --target alone its windows are embedded in parts of 96 bp, which are matched one by one: by the embedding alone
    that finds far more than one vector a window, in time that grows with queries times target. With --vectors of
    `plantgfm embed`, one a window, large searches take a fraction of that.

    With --target windows are ranked by the sum of z of four sources: debiased cosine of the embedding, cosine of 6-mer
    frequencies, 11-mers shared (weighed by rarity), ungapped local alignments; with --vectors, queries no longer than a
    quarter of a window are ranked among windows of their own size, whose vectors are made once beside them. By the
    embedding alone, of one vector a window, --set index=APPROXIMATE (extra index) finds windows by an approximate
    index, and tells its recall.
    --truth is a table with columns gene_id (or query), chr, start (0-based), end, and where known strand, display_name,
    homology_type, perc_id, perc_cov, score, source_seed; a BioMart table of Ensembl; or a Compara dump with
    --truth-annotation.

    Example: plantgfm retrieve runs/demo/bundle --queries genes.fa --target genome.fa.gz --out hits
    """
    from plantgfm.config import settings
    from plantgfm.retrieval.config import QueryPart, RankBy, RetrievalConfig
    from plantgfm.wiring.retrieval import RetrievalInputs, retrieve_files
    from plantgfm.wiring.tables import place_tables, retrieval_table

    named = {name: options.pop(name) for name in ("top_k", "components", "whiten", "upstream_bp", "downstream_bp")}
    named["localize_hits"], named["confirm_hits"] = options.pop("localize"), options.pop("confirm")
    named["tools"] = options.pop("tools")
    named["query_part"], named["rank_by"] = QueryPart(options.pop("part")), RankBy(options.pop("rank_by"))
    config = settings(RetrievalConfig(**named), overrides)
    with progress_bars() as progress:
        outcome = retrieve_files(bundle, out, RetrievalInputs(**options), config, progress=progress)
    if outcome.evaluation is not None:
        tables = [retrieval_table(outcome.evaluation), *place_tables(outcome.places)]
        click.echo("\n\n".join(table.to_text() for table in tables) + "\n")
    click.echo(f"{out / 'hits.tsv'}: {len(outcome.found.hits)} hits of {len(outcome.found.queries)} queries")
    for note in outcome.found.notes():
        click.echo(note)
    if options["projection"] is not None and options["query_species"] is None:
        click.echo(
            "the projection may have seen the queries' species: only their file was asked for; give --query-species"
        )


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
@click.option("--keep", type=PATH, help="Folder to keep a finished run's settings, metrics and figures in for good.")
def report(run: Path, out: Path | None, keep: Path | None) -> None:
    """Draw a run's report: curation, loss curves, vocabulary use, held-out figures, retrieval ranks.

    RUN is a run, or the folder that `plantgfm curate --out` wrote: then the report is that of curation alone; or the
    one that `plantgfm retrieve --out` wrote: all figures are drawn again from its tables; or one of --keep: its
    report.md and figures are drawn again from what was kept, or with --out as HTML.

    \b
    Example: plantgfm report runs/demo
             plantgfm report runs/real --keep experiments/pretraining/results/real
             plantgfm report experiments/pretraining/results/real
    """
    from plantgfm.wiring.curation_report import holds_curation, write_curation_report
    from plantgfm.wiring.kept import holds_kept_run, keep_run, write_kept_report
    from plantgfm.wiring.report import write_report
    from plantgfm.wiring.retrieval_report import holds_retrieval, write_retrieval_report

    if keep is not None:
        if out is not None:
            raise click.UsageError("--keep writes its report into its folder: leave --out out")
        click.echo(f"kept: {keep_run(run, keep)}")
        return
    if holds_kept_run(run):
        click.echo(f"report: {write_kept_report(run, out)}")
        return
    if holds_retrieval(run):
        click.echo(f"report: {write_retrieval_report(run, out)}")
        return
    if holds_curation(run):
        click.echo(f"report: {write_curation_report(run, out)}")
        return
    path, summary = write_report(run, out)
    click.echo(summary.to_text())
    click.echo(f"\nreport: {path}")


@click.command("train-reranker")
@click.argument("folders", type=PATH, nargs=-1, required=True)
@click.option("--species", multiple=True, required=True, help="Of the target of each folder, in their order.")
@click.option("--truth", type=PATH, multiple=True, required=True, help="Orthologs of each folder, in their order.")
@click.option("--within-bp", type=int, default=0, show_default=True, help="Gap to the ortholog that counts as near.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=PATH, required=True, help="JSON file to write.")
def train_reranker(folders, species, truth, within_bp: int, seed: int, out: Path) -> None:
    """Train a calibrated model that tells how probable it is that a hit lies near the ortholog.

    FOLDERS are what `plantgfm retrieve --out` wrote. The file lists the species and sequences that it saw; `retrieve
    --reranker` refuses a target among them. Printed is how reliable it is on queries that did not fit it.

    Example: plantgfm train-reranker hits_lyrata --species "Arabidopsis lyrata" --truth truth.tsv --out reranker.json
    """
    from plantgfm.wiring.reranking import reliability_table, train_reranker_files

    model = train_reranker_files(list(folders), list(species), list(truth), out, within_bp=within_bp, seed=seed)
    click.echo(reliability_table(model).to_text())
    click.echo(f"{out}")


@click.command("train-projection")
@click.argument("bundle", type=PATH)
@click.option("--vectors", type=PATH, multiple=True, required=True, help="Windows of a species, by `plantgfm embed`.")
@click.option("--target-species", multiple=True, required=True, help="Of each --vectors, in their order.")
@click.option(
    "--genome", type=PATH, multiple=True, help="Genome whose genes have orthologs there: FASTA, one for each."
)
@click.option("--annotation", type=PATH, multiple=True, help="GFF3 of each genome.")
@click.option("--queries", type=PATH, multiple=True, help="Or FASTA of sequences that have orthologs there.")
@click.option("--query-species", multiple=True, required=True, help="Of each --genome or --queries.")
@click.option("--truth", type=PATH, multiple=True, required=True, help="Orthologs, as for `plantgfm retrieve`.")
@click.option("--truth-annotation", type=PATH, multiple=True, help="GFF3 of each target, for Compara dumps.")
@click.option(
    "--hold-out", multiple=True, help="Species, or sequence of a target, to stop by; default: sequences by lot."
)
@click.option("--part", type=click.Choice(["gene", "cds", "promoter"]), default="gene", show_default=True)
@click.option("--head", type=click.Choice(["linear", "hidden"]), default="linear", show_default=True)
@click.option("--rank", type=int, default=16, show_default=True, help="Numbers that what the head adds passes through.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=PATH, required=True, help="JSON file to write.")
@SET
def train_projection(bundle: Path, out: Path, overrides: tuple[str, ...], **options) -> None:
    """Train a head that moves vectors of orthologs towards each other, on other species than those it is for.

    Options that name files or species are given once a pair of species, in the same order. The head starts as the
    identity and is kept as it was when the held-out queries were ranked best; the file lists the species that it
    saw, and `retrieve --projection` refuses a target or a query species among them. Printed are the curve and the gain
    over no head, on the queries that chose the step.

    \b
    Example: plantgfm train-projection runs/demo/bundle --vectors pumila.parquet --target-species "Orela pumila" \\
               --genome gigas.fa.gz --annotation gigas.gff3.gz --query-species "Orela gigas" \\
               --truth orthologs.tsv --out projection.json
    """
    from plantgfm.config import settings
    from plantgfm.retrieval.config import HeadKind, ProjectionConfig, QueryPart
    from plantgfm.wiring.projecting import curve_table, pair_files, train_projection_files

    named = {"head": HeadKind(options["head"]), "query_part": QueryPart(options["part"])}
    config = settings(ProjectionConfig(rank=options["rank"], seed=options["seed"], **named), overrides)
    names = ("vectors", "target_species", "query_species", "truth")
    files = pair_files(
        *(list(options[name]) for name in names),
        queries=list(options["queries"]),
        genomes=list(options["genome"]),
        annotations=list(options["annotation"]),
        truth_annotations=list(options["truth_annotation"]),
    )
    with progress_bars() as progress:
        hold_out = list(options["hold_out"])
        head = train_projection_files(bundle, files, out, hold_out=hold_out, config=config, progress=progress)
    click.echo(curve_table(head).to_text())
    click.echo(f"{out}")
