"""Motifs in MEME's minimal format (https://meme-suite.org/meme/doc/meme-format.html): names and probabilities."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from plantgfm.formats.errors import FormatError
from plantgfm.formats.streams import text_lines
from plantgfm.sequence import encode

_WIDTH = re.compile(r"\bw=\s*(\d+)")
_SITES = re.compile(r"\bnsites=\s*([0-9.eE+]+)")
_PSEUDO_SITES = 1.0  # spread over the letters by their background, so that no probability is 0
_SITES_UNTOLD = 20.0  # what MEME assumes


@dataclass(frozen=True)
class Motif:
    """A position weight matrix."""

    name: str
    log_odds: Float64[np.ndarray, "w 4"]  # log2 of probability over background, in the order A, C, G, T


def consensus_motif(name: str, text: str) -> Motif:
    """One site of a known sequence: 97 % at each position, against even frequencies."""
    codes = encode(text)
    probabilities = np.full((codes.size, 4), 0.01)
    probabilities[np.arange(codes.size), codes] = 0.97
    return Motif(name, np.log2(probabilities * 4))


def read_meme(path: Path) -> list[Motif]:
    """The motifs of a file, against its background, or even frequencies where it tells none.

    Raises:
        FormatError: for a file without motifs, an alphabet that is not of DNA, or rows that are no probabilities.
    """
    background, motifs, name, wanted, sites = np.full(4, 0.25), [], "", 0, 0.0
    rows: list[list[float]] = []
    awaited = False
    for line, text in text_lines(path):
        words = text.split()
        if wanted:
            rows.append(_row(path, line, words))
            if len(rows) == wanted:
                motifs.append(_motif(path, line, name, np.array(rows), background, sites))
                wanted, rows = 0, []
        elif awaited and words:
            background, awaited = _background(path, line, words), False
        elif text.startswith("ALPHABET") and "ACGT" not in text.replace(" ", ""):
            raise FormatError(path, f"has {text.strip()}: motifs of DNA are needed", line=line)
        elif text.startswith("Background letter frequencies"):
            awaited = True
        elif words and words[0] == "MOTIF":
            name = words[1] if len(words) > 1 else f"motif {len(motifs) + 1}"
        elif text.startswith("letter-probability matrix"):
            width, count = _WIDTH.search(text), _SITES.search(text)
            if width is None:
                raise FormatError(path, f"does not tell the width (w=) of motif {name}", line=line)
            wanted, sites = int(width[1]), float(count[1]) if count else _SITES_UNTOLD
    if wanted or not motifs:
        cut = f"ends within motif {name}" if wanted else "holds no letter-probability matrix: is it in MEME format?"
        raise FormatError(path, cut)
    return motifs


def _row(path: Path, line: int, words: list[str]) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != 4 or not (min(values) >= 0 and abs(sum(values) - 1) <= 0.05):  # nan is neither
        raise FormatError(path, f"{' '.join(words)!r} is no row of four probabilities", line=line)
    return values


def _background(path: Path, line: int, words: list[str]) -> Float64[np.ndarray, "4"]:
    told = dict(zip(words[::2], words[1::2]))
    try:
        values = np.array([float(told[letter]) for letter in "ACGT"])
    except (KeyError, ValueError):
        raise FormatError(path, "tells no background of A, C, G and T", line=line) from None
    if not (values.min() > 0 and np.isfinite(values.sum())):
        raise FormatError(path, "has a background of 0: every letter needs a frequency", line=line)
    return values / values.sum()


def _motif(path: Path, line: int, name: str, rows: np.ndarray, background: np.ndarray, sites: float) -> Motif:
    if not sites > 0:
        raise FormatError(path, f"motif {name} was made of no site (nsites=)", line=line)
    smoothed = (rows * sites + background * _PSEUDO_SITES) / (sites + _PSEUDO_SITES)
    return Motif(name, np.log2(smoothed / background))
