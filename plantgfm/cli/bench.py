"""Benches as commands: `train` and `hosts`; what `make bench` runs is `python -m plantgfm.bench`."""

from __future__ import annotations

import sys

import click

# The options are those of the modules, which also run by themselves where click is not installed.
_HANDED_ON = {"ignore_unknown_options": True, "help_option_names": []}


@click.group()
def bench() -> None:
    """Measure training: a step beside PyTorch over sizes, lengths, precisions and meshes; several processes.

    Example: plantgfm bench train --sizes tiny --tokens 512 --out bench
    """


@bench.command(context_settings=_HANDED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train(arguments: tuple[str, ...]) -> None:
    """Time a training step beside the same architecture in PyTorch; --help lists the options.

    Example: plantgfm bench train --sizes tiny,base --tokens 512,1024 --precisions float32,bfloat16 --out bench
    """
    from plantgfm.bench.train import main

    sys.exit(main(arguments))


@bench.command(context_settings=_HANDED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def hosts(arguments: tuple[str, ...]) -> None:
    """Time a step of several processes on this machine, one core each, windows growing with them; --help for options.

    Example: plantgfm bench hosts --processes 1,2 --out bench
    """
    from plantgfm.bench.hosts import main

    sys.exit(main(arguments))
