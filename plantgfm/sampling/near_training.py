"""Which windows have a near-duplicate in the training regions, wherever it lies there and on either strand.

Duplicate clusters are of windows on a fixed grid: a copy that lies half a window off is in none. Here the windows to be
scored are looked up themselves: their k-mer hashes in those of every training stretch, and of the places where they
are found, the window's width of places that holds most of them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numba import njit

from plantgfm.corpus.read import Corpus
from plantgfm.schema import Split
from plantgfm.sketch import distinct, fraction

_K = 21
_HASHES = 192  # of a window: its share found is then known to 0.04, its identity to 0.003
_MOST_SCALED = 16
_STRETCH = 1.25  # a window and its copy may differ in length by insertions of this share
_CHUNK_BP = 1 << 20


def near_training(
    corpus: Corpus, starts: Int64[np.ndarray, "n"], width_bp: int, *, identity: float
) -> Bool[np.ndarray, "n"]:
    """Whether each window is, at a nucleotide identity, found again in a training region.

    Args:
        corpus: where the windows lie.
        starts: leftmost base of each window in the corpus bases.
        width_bp: of the windows.
        identity: from which on a window counts as found (`SamplerConfig.near_identity`); windows without any k-mer
            are never.
    """
    sets, scaled = _window_hashes(corpus, starts, width_bp)
    sizes = np.array([one.size for one in sets], dtype=np.int64)
    hashes, window = np.concatenate([np.empty(0, np.uint64), *sets]), np.repeat(np.arange(sizes.size), sizes)
    order = np.argsort(hashes, kind="stable")
    hashes, window = hashes[order], window[order]
    needed = np.maximum(1, np.ceil(sizes * identity**_K)).astype(np.int64)
    near = np.zeros(sizes.size, dtype=bool)
    reach = int(_STRETCH * width_bp)
    for start, end in _training_chunks(corpus, reach):
        found, places = fraction(corpus.bases[start:end], k=_K, scaled=scaled)
        low = np.searchsorted(hashes, found, side="left")
        count = np.searchsorted(hashes, found, side="right") - low
        hits = np.flatnonzero(count)
        if not hits.size:
            continue
        rows = np.repeat(low[hits] - np.cumsum(count[hits]) + count[hits], count[hits]) + np.arange(count[hits].sum())
        owner = window[rows]
        by_window = np.argsort(owner, kind="stable")  # places stay in order
        _mark(owner[by_window], np.repeat(places[hits], count[hits])[by_window], rows[by_window], reach, needed, near)
    return near


def share_in_training(
    corpus: Corpus, starts: Int64[np.ndarray, "n"], width_bp: int, *, training: Corpus
) -> Float64[np.ndarray, "n"]:
    """The share of each window's k-mers that training regions hold, wherever and however scattered they lie there.

    Args:
        corpus: where the windows lie.
        starts: leftmost base of each window in the corpus bases.
        width_bp: of the windows.
        training: the corpus whose training regions are looked through.
    """
    sets, scaled = _window_hashes(corpus, starts, width_bp)
    every = distinct([np.empty(0, np.uint64), *sets])
    seen = np.zeros(every.size, dtype=bool)
    for start, end in _training_chunks(training, int(_STRETCH * width_bp)):
        found, _ = fraction(training.bases[start:end], k=_K, scaled=scaled)
        seen |= np.isin(every, found)
    return np.array([seen[np.searchsorted(every, one)].mean() if one.size else 0.0 for one in sets])


def _window_hashes(corpus: Corpus, starts: np.ndarray, width_bp: int) -> tuple[list[np.ndarray], int]:
    """Distinct k-mer hashes of each window, and of how many one is taken."""
    scaled = int(np.clip(width_bp // _HASHES, 1, _MOST_SCALED))
    return [_hashes(corpus.bases[start : start + width_bp], scaled) for start in starts.tolist()], scaled


def _hashes(bases: np.ndarray, scaled: int) -> np.ndarray:
    return distinct([fraction(np.ascontiguousarray(bases), k=_K, scaled=scaled)[0]])


def _training_chunks(corpus: Corpus, reach: int) -> list[tuple[int, int]]:
    """Stretches of neighbouring training regions of one record, in chunks that overlap by a reach."""
    table, stretches = corpus.regions, []
    for row in np.flatnonzero(table.split == int(Split.TRAIN)).tolist():
        start, record = int(table.offset[row]), int(table.record[row])
        end = start + int(table.length_bp[row])
        if stretches and stretches[-1][1:] == (start, record):
            stretches[-1] = stretches[-1][0], end, record
        else:
            stretches.append((start, end, record))
    return [
        (at, min(end, at + _CHUNK_BP + reach)) for start, end, _ in stretches for at in range(start, end, _CHUNK_BP)
    ]


@njit(cache=True, nogil=True)
def _mark(owner, places, rows, reach, needed, near):
    """Mark the windows of which some `reach` of places holds as many distinct hashes as are needed."""
    counts, begin = {np.int64(-1): 0}, 0
    for end in range(1, owner.size + 1):
        if end < owner.size and owner[end] == owner[begin]:
            continue
        window = owner[begin]
        if not near[window] and end - begin >= needed[window]:
            counts.clear()
            first, seen = begin, 0
            for last in range(begin, end):
                while places[last] - places[first] > reach:
                    counts[rows[first]] -= 1
                    seen -= counts[rows[first]] == 0
                    first += 1
                counts[rows[last]] = counts.get(rows[last], 0) + 1
                seen += counts[rows[last]] == 1
                if seen >= needed[window]:
                    near[window] = True
                    break
        begin = end
