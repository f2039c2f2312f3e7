"""Paths on the command line: any name is one, and `~` is home also where the shell leaves it (`--out=~/x`)."""

from __future__ import annotations

from pathlib import Path

import click

from plantgfm.formats.paths import user_path


class UserPath(click.Path):
    """A `Path` with `~` replaced."""

    def convert(self, value, param, ctx):
        """The path; nothing is asked of it, readers say better what is wrong with a file."""
        return user_path(super().convert(value, param, ctx))


PATH = UserPath(path_type=Path)
