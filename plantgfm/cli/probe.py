"""The command that probes a frozen model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

from plantgfm.cli.model import SET, Step
from plantgfm.cli.paths import PATH
from plantgfm.cli.progress import progress_bars


def probe_inputs(command: Callable) -> Callable:
    """The options that name files to probe by; of `probe` and of `ablate --probes`."""
    for option in reversed(
        (
            click.option("--tasks", type=PATH, help="Folder with pgb/, promoter_strength_leaf/, 6mA_*/."),
            click.option("--queries", type=PATH, help="FASTA of sequences to look for."),
            click.option("--truth", type=PATH, help="Table of where --queries lie in --target (orthologs)."),
            click.option("--target", type=PATH, help="FASTA that --queries are sought in."),
            click.option("--manifest", type=PATH, help="Manifest with GFF3, where it is not where the run had it."),
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("model", type=PATH)
@click.option("--out", type=PATH, required=True, help="Folder for probes.json, report.html and report.md.")
@click.option("--run", type=PATH, help="For a bundle: the run whose held-out windows it is probed on.")
@click.option("--step", type=Step(), help="Checkpoint of a run: a step, or 'best'; the newest by default.")
@probe_inputs
@click.option("--layer", type=int, help="Layer whose states are pooled: -1 after the final norm, 0 token embedding.")
@SET
def probe(
    model: Path,
    out: Path,
    run: Path | None,
    step: int | str | None,
    tasks: Path | None,
    queries: Path | None,
    truth: Path | None,
    target: Path | None,
    manifest: Path | None,
    layer: int | None,
    overrides: tuple[str, ...],
) -> None:
    """Say what a frozen model's vectors tell, beside what far simpler features tell.

    MODEL is a run (its newest checkpoint) or a bundle. Linear probes on mean-pooled vectors of held-out windows tell
    species, share of repeats, class of repeats, and coding, intron or intergenic; on sequences of --tasks promoter
    strength and 6mA sites. Each is fitted on some regions, genes or sequences, tuned on others, scored on the rest, and
    stands beside the same probe on 6-mers, 4-mers, GC, the model before training, and chance. Retrieval (MRR,
    recall@10) and bits per base by distance to genes come with them. What can't be probed is named with its reason:
    classes need GFF3, retrieval needs queries (a simulated world has both).

    \b
    Example: plantgfm probe runs/demo --out runs/demo/probes
             plantgfm probe runs/mine --tasks tasks --queries exons.fa --truth orthologs.tsv --target lyrata.fa --out p
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from plantgfm.ablation.config import ProbeConfig
    from plantgfm.ablation.probe_report import summary_table, write_probes
    from plantgfm.ablation.probe_run import ProbeInputs, probe_model
    from plantgfm.ablation.probe_search import SearchInputs
    from plantgfm.config import settings

    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: give a folder")
    config = settings(ProbeConfig, [*overrides, *([f"layer={layer}"] if layer is not None else [])])
    inputs = ProbeInputs(tasks, SearchInputs(queries, truth, target), manifest)
    with progress_bars() as progress:
        stored = probe_model(model, inputs, config, run=run, step=step, progress=progress)
    paths = write_probes(stored, out)
    click.echo(summary_table(stored).to_text())
    for name, why in sorted(stored["left_out"].items()):
        click.echo(f"left out: {name}: {why}")
    click.echo(f"\n{stored['seconds']:.0f} s; table {paths[0]}, report {paths[1]}")
