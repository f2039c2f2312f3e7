"""The command that fetches genomes of the catalogue."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

import click

from plantgfm.cli.build import SET
from plantgfm.cli.paths import PATH
from plantgfm.cli.progress import note, progress_bars


@click.command()
@click.argument("names", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All entries that are verified and have a file.")
@click.option("--out", type=PATH, default=Path("genomes"), show_default=True, help="Folder for the files.")
@click.option("--dry-run", is_flag=True, help="Ask the servers for the sizes, show the total, write nothing.")
@click.option("--catalogue", type=PATH, help="Another catalogue.  [default: data/catalogue.tsv of the code]")
@click.option("--jobs", type=click.IntRange(1, 16), default=2, show_default=True, help="Files at a time.")
@SET
def fetch(names, everything, out, dry_run, catalogue, jobs, overrides) -> None:
    """Download genomes of the catalogue, checked against their published checksums.

    Without names it shows what the catalogue has. A download that broke off goes on where it stopped; a file has its
    name only when it is complete and right. OUT/manifest.csv gets a row for each, ready for training.

    Entries marked verified=no are refused until someone has checked them on a public page; entries of SRA and GRIN are
    pointers without a file. data/README.md says how to add or verify one.

    \b
    Example: plantgfm fetch rice maize soybean --out genomes
      before:  plantgfm fetch                          what there is
               plantgfm fetch --all --dry-run          how much it would be
      after:   python train.py run.name=mine corpus=manifest corpus.path=genomes/manifest.csv

    Patience, with --set: attempts, unreached_attempts, connect_s, backoff_s, backoff_max_s, retry_after_max_s, stall_s,
    host_interval_s.
    """
    from plantgfm.config import settings
    from plantgfm.sources.catalogue import CATALOGUE, choose, fetchable, read_catalogue
    from plantgfm.sources.client import Client
    from plantgfm.sources.config import FetchConfig
    from plantgfm.sources.errors import FetchError
    from plantgfm.sources.fetch import MANIFEST, plan
    from plantgfm.sources.fetch import fetch as run_fetch

    if names and everything:
        raise click.UsageError("give names or --all, not both")
    if dry_run and not names and not everything:
        raise click.UsageError("--dry-run needs names or --all")
    config = settings(FetchConfig, overrides)
    entries = read_catalogue(catalogue or CATALOGUE)
    if not names and not everything:
        click.echo(_listing(entries))
        return
    chosen = fetchable(entries) if everything else choose(entries, names)
    if not chosen:
        raise FetchError("the catalogue has no verified entry to fetch; see data/README.md")
    if everything:
        click.echo(f"{len(chosen)} of {len(entries)} entries; the others are not verified, or pointers")
    client = Client(config, tell=note)
    if dry_run:
        note(f"asking {_hosts(chosen)} for the size of {len(chosen)} file{'s' * (len(chosen) != 1)}")
        with progress_bars() as progress:
            sizes = plan(chosen, out, config, progress=progress, client=client)
        click.echo(_sizes(sizes))
        return
    try:
        with progress_bars(unit="B") as progress:
            note(f"fetching {len(chosen)} file{'s' * (len(chosen) != 1)} from {_hosts(chosen)}")
            files = run_fetch(chosen, out, config, jobs=jobs, progress=progress, client=client)
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on where this one was", err=True)
        sys.exit(130)
    click.echo(f"{len(files)} files in {out}; train with corpus=manifest corpus.path={out / MANIFEST}")


def _listing(entries) -> str:
    """One line an entry, and what may be done with it."""
    width = max(len(entry.name) for entry in entries)
    lines = []
    for entry in entries:
        state = "pointer" if entry.source.is_pointer else "ready" if entry.verified else "not verified"
        what = f"{entry.species} {entry.cultivar}".strip()
        lines.append(f"{entry.name:{width}}  {state:12}  {entry.source.value:14}  {entry.accession:18}  {what}")
    return "\n".join([*lines, "", "give names or --all; --help says more"])


def _hosts(entries) -> str:
    return ", ".join(sorted({urlsplit(entry.url).hostname for entry in entries}))


def _sizes(plans) -> str:
    """A line a file, and the total."""
    width = max(len(item.entry.name) for item in plans)
    lines = [
        f"{p.entry.name:{width}}  {_bytes(p.size_bytes):>10}  here {_bytes(p.have_bytes):>10}  {p.entry.url}"
        for p in plans
    ]
    known = [item.missing_bytes for item in plans if item.missing_bytes is not None]
    unknown = len(plans) - len(known)
    more = f", and {unknown} files whose size the server does not say" if unknown else ""
    return "\n".join([*lines, f"to download: {_bytes(sum(known))} ({sum(known):,} bytes){more}; nothing was written"])


def _bytes(size: int | None) -> str:
    if size is None:
        return "unknown"
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size} B"
