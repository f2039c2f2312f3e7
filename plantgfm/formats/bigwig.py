"""bigWig: values along sequences, indexed for genome browsers (Kent et al. 2010, Bioinformatics 26:2204)."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from plantgfm.formats.errors import FormatError
from plantgfm.formats.streams import atomic_binary
from plantgfm.sequence import Interval


def need_bigwig() -> None:
    """Raise ValueError where bigWig can't be written."""
    if importlib.util.find_spec("pybigtools") is None:
        raise ValueError(
            "bigWig needs another package: pip install 'plantgfm[bigwig]', or leave --bigwig out (bedGraph needs none)"
        )


def write_bigwig(path: str | Path, rows: Iterable[tuple[Interval, float]], *, lengths: Mapping[str, int]) -> None:
    """Write rows as given: sequences in the order of their names, places ascending, no two rows of one base. Atomic.

    The writer does not tell when it fails, so what it wrote is opened again.

    Args:
        path: of the file.
        rows: places and values, at least one.
        lengths: bp of every sequence that a browser may ask about.

    Raises:
        FormatError: rows that overlap, go back, or lie past the end of their sequence; a file that is not whole.
        ValueError: without the package.
    """
    need_bigwig()
    import pybigtools

    path, checked = Path(path), _Checked(Path(path), rows, lengths)
    with tempfile.TemporaryDirectory(prefix="plantgfm-bigwig-") as folder:
        made = Path(folder) / "track.bw"
        pybigtools.open(str(made), "w").write(dict(sorted(lengths.items())), iter(checked))
        if checked.wrong is not None:
            raise checked.wrong
        _check_whole(path, made, checked.covered_bp)
        with made.open("rb") as stream, atomic_binary(path) as out:
            shutil.copyfileobj(stream, out)


class _Checked:
    """Rows as the writer takes them; it swallows what is raised while it reads, so that it is kept here."""

    def __init__(self, path: Path, rows: Iterable[tuple[Interval, float]], lengths: Mapping[str, int]):
        self._path, self._rows, self._lengths = path, rows, lengths
        self.covered_bp, self.wrong = 0, None

    def __iter__(self) -> Iterator[tuple[str, int, int, float]]:
        last = Interval("", 0, 0)
        try:
            for where, value in self._rows:
                name = where.sequence
                if name < last.sequence or name == last.sequence and where.start < last.end:
                    raise FormatError(self._path, "rows overlap or are not sorted", name)
                if where.end > self._lengths.get(name, 0) or where.length_bp == 0:
                    raise FormatError(self._path, f"no place of the sequence: {where.start}-{where.end}", name)
                self.covered_bp, last = self.covered_bp + where.length_bp, where
                yield name, where.start, where.end, float(value)
        except (ValueError, OSError) as error:  # of the rows' own making, too: the writer must not hide it
            self.wrong = error


def _check_whole(path: Path, made: Path, covered_bp: int) -> None:
    import pybigtools

    try:
        with pybigtools.open(str(made)) as found:
            summary: dict[str, Any] = found.info()["summary"]
    except (pybigtools.BBIReadError, OSError, ValueError) as error:  # ValueError: there is no file
        raise FormatError(path, f"could not be written ({error}); is the disk full?") from None
    if summary["basesCovered"] != covered_bp:
        raise FormatError(path, f"holds {summary['basesCovered']} of {covered_bp} bp; is the disk full?")
