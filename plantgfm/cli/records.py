"""Commands on what curation decided: explain."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)


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
