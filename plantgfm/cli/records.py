"""Commands on what curation decided: explain, compare-corpora."""

from __future__ import annotations

from pathlib import Path

import click

from plantgfm.cli.paths import PATH


@click.command()
@click.argument("run", type=PATH)
@click.argument("record")
@click.option("--assembly", default="", help="Part of the assembly's key, where several assemblies have the name.")
@click.option("--corpus", type=PATH, help="The corpus, or a run on it; by default that of the run.")
def explain(run: Path, record: str, assembly: str, corpus: Path | None) -> None:
    """Tell one record's story: what each stage measured, asked and decided, and where its bases went.

    RUN is a run, or the folder that `plantgfm curate --out` wrote. A name that several assemblies have is told for
    each of them. Coordinates are 0-based and half-open.

    Example: plantgfm explain runs/demo chr1 --assembly "Orela gigas"
    """
    from plantgfm.wiring.explain import explain as tell

    stories = tell(run, record, assembly=assembly, corpus=corpus)
    if len(stories) > 1:
        click.echo(f"{record} lies in {len(stories)} assemblies; --assembly chooses\n")
    click.echo("\n\n".join(stories))


@click.command("compare-corpora")
@click.argument("a", type=PATH)
@click.argument("b", type=PATH)
@click.option("--out", type=PATH, help="JSON file of everything that differs.")
def compare_corpora(a: Path, b: Path, out: Path | None) -> None:
    """Say what differs from corpus A to corpus B, per species: content, decisions, settings, fingerprints.

    A and B are runs, or corpus folders; decisions are compared between runs, which hold ledgers.

    Example: plantgfm compare-corpora runs/before runs/after --out changes.json
    """
    from plantgfm.wiring.compare import compare_corpora as compare
    from plantgfm.wiring.compare import comparison_tables, write_comparison

    comparison = compare(a, b)
    if out:
        write_comparison(comparison, out)
    click.echo("\n\n".join(table.to_text() for table in comparison_tables(comparison)))
    if out:
        click.echo(f"\n{out}: {len(comparison.records)} records and {len(comparison.decisions)} decisions that differ")
