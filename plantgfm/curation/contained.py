"""Containment among sequences: what lies, at a nucleotide identity, wholly inside a longer one.

Part of the stage of duplicates: Jaccard indices see copies of like size, FracMinHash sees a copied part.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Int64, UInt64

from plantgfm.sketch import identity_of_containment

MIN_HASHES = 20
MAX_SHARERS = 32
"""Hashes that more sequences hold than this are repeats of everyone: they say nothing and are left out."""


def shared_counts(
    sets: list[UInt64[np.ndarray, "hashes"]],
) -> tuple[Int64[np.ndarray, "pairs 3"], Int64[np.ndarray, "sets"]]:
    """Rows (i, j, shared hashes) with i < j, and how many hashes of each set count at all.

    Args:
        sets: sorted distinct hashes of each sequence.
    """
    hashes = np.concatenate([np.empty(0, np.uint64), *sets])
    owner = np.repeat(np.arange(len(sets)), [one.size for one in sets])
    order = np.lexsort((owner, hashes))
    hashes, owner = hashes[order], owner[order]
    _, group, size = np.unique(hashes, return_inverse=True, return_counts=True)
    counted = np.bincount(owner[size[group] <= MAX_SHARERS], minlength=len(sets))
    chosen = (size[group] > 1) & (size[group] <= MAX_SHARERS)
    group, owner = group[chosen], owner[chosen]
    keys = []
    for step in range(1, int(size[group].max()) if group.size else 1):
        same = group[:-step] == group[step:]
        keys.append(owner[:-step][same] * len(sets) + owner[step:][same])
    pair, shared = np.unique(np.concatenate([np.empty(0, np.int64), *keys]), return_counts=True)
    return np.stack([pair // max(1, len(sets)), pair % max(1, len(sets)), shared], axis=1), counted


def find_containers(
    sets: list[UInt64[np.ndarray, "hashes"]], identity: Callable[[int, int], float], *, k: int
) -> dict[int, tuple[int, float]]:
    """For each contained sequence its container (the largest) and the identity of the two.

    A container has more hashes, or as many and a smaller number; so nothing contains itself by a detour.

    Args:
        sets: sorted distinct hashes of each sequence.
        identity: nucleotide identity that is asked of two sequences, given their numbers.
        k: length of the k-mers.
    """
    pairs, counted = shared_counts(sets)
    found: dict[int, tuple[int, float]] = {}
    for i, j, shared in pairs.tolist():
        inner, outer = (i, j) if (counted[i], -i) < (counted[j], -j) else (j, i)
        if (
            counted[inner] < max(MIN_HASHES, sets[inner].size / 2)
            or shared < identity(inner, outer) ** k * counted[inner]
        ):
            continue
        known = found.get(inner)
        if known is None or (counted[outer], -outer) > (counted[known[0]], -known[0]):
            found[inner] = outer, identity_of_containment(shared / int(counted[inner]), k)
    return found
