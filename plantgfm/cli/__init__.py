"""The command line. Each command imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import sys

import click

from plantgfm.cli.ablate import ablate
from plantgfm.cli.bench import bench
from plantgfm.cli.build import curate, simulate, vocabulary
from plantgfm.cli.fetch import fetch
from plantgfm.cli.model import embed, evaluate, export, import_, score_variants
from plantgfm.cli.probe import probe
from plantgfm.cli.records import compare_corpora, explain
from plantgfm.cli.results import report, retrieve, runs, train_projection, train_reranker
from plantgfm.cli.scaling import scaling


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="plantgfm")
def commands() -> None:
    """From plant genomes to a pre-trained, exported, searchable model.

    \b
    A whole run:       python train.py run.name=mine corpus=manifest corpus.path=genomes/manifest.csv
    Then:              plantgfm export runs/mine --out runs/mine/bundle
                       plantgfm embed runs/mine/bundle --fasta genome.fa.gz --out vectors.parquet
                       plantgfm retrieve runs/mine/bundle --queries genes.fa --target genome.fa.gz --out hits
    Public genomes:    plantgfm fetch rice maize soybean --out genomes
    The parts alone:   simulate, curate, explain, compare-corpora, vocabulary, evaluate, report, runs
    What it learned:   plantgfm probe runs/mine --out runs/mine/probes
    Experiments:       plantgfm ablate tokenizer --dry-run
                       plantgfm scaling --report --corpus-bp 5e10 --flops-per-second 3e14
    Speed:             plantgfm bench train --sizes tiny,base --tokens 512,1024
    """


for command in (
    fetch,
    simulate,
    curate,
    explain,
    compare_corpora,
    vocabulary,
    evaluate,
    export,
    import_,
    embed,
    score_variants,
    retrieve,
    train_reranker,
    train_projection,
    report,
    runs,
    probe,
    ablate,
    scaling,
    bench,
):
    commands.add_command(command)


def main() -> None:
    """Run a command; a wrong input is one line on standard error and exit status 2."""
    try:
        commands.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped; nothing half-written was left", err=True)
        sys.exit(130)
    except (ValueError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
