"""What chance gives: shuffled queries searched as the real ones are, and p and q from their best scores.

A shuffled query keeps its length, its windows and its counts of dinucleotides (Altschul and Erickson 1985, Mol. Biol.
Evol. 2:526), so that what composition alone finds is found by it too. Its best score is taken over windows, strands and
target as that of a real query is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from jaxtyping import Float64, UInt8

from plantgfm.retrieval.queries import Query


def shuffle_dinucleotides(codes: UInt8[np.ndarray, "P"], rng: np.random.Generator) -> UInt8[np.ndarray, "P"]:
    """A random sequence with the same count of every dinucleotide, and the same first and last base.

    Unknown bases are a fifth letter. Every such sequence is as likely as any other.
    """
    if codes.size < 3:
        return codes.copy()
    after = [codes[1:][codes[:-1] == letter].tolist() for letter in range(5)]
    last = _last_edges(after, int(codes[-1]), rng)
    for letter, edges in enumerate(after):
        if letter in last:
            edges.remove(last[letter])
        edges[:] = [edges[i] for i in rng.permutation(len(edges))] + ([last[letter]] if letter in last else [])
    out, used, here = np.empty_like(codes), [0] * 5, int(codes[0])
    out[0] = here
    for position in range(1, codes.size):
        step = used[here]
        used[here] = step + 1
        here = after[here][step]
        out[position] = here
    return out


def _last_edges(after: list[list[int]], end: int, rng: np.random.Generator) -> dict[int, int]:
    """By which letter each one is left for good, but the last of the sequence: a tree that leads to the end."""
    letters = [letter for letter, edges in enumerate(after) if edges and letter != end]
    while True:
        last = {letter: after[letter][int(rng.integers(len(after[letter])))] for letter in letters}
        reached = {end}
        for _ in letters:
            reached |= {letter for letter in letters if last[letter] in reached}
        if len(reached) == len(letters) + 1:
            return last


def shuffled_queries(queries: list[Query], *, count: int, seed: int) -> list[Query]:
    """`count` shuffled queries, drawn from all queries in turn; the same for the same seed."""
    out = []
    for number in range(count):
        query = queries[number % len(queries)]
        rng = np.random.default_rng((seed, number))
        shuffled = shuffle_dinucleotides(query.bases(), rng)
        windows = [shuffled[slice(*query.span_of(window))] for window in range(len(query.windows))]
        out.append(replace(query, name=f"{query.name} shuffled {number}", windows=windows))
    return out


def empirical_p(z: float, null: Float64[np.ndarray, "M"]) -> float:
    """(1 + how many null values reach it) / (1 + all of them), as a p-value from samples never is 0."""
    return (1 + int(np.sum(null >= z))) / (1 + null.size)


def benjamini_hochberg(p: Iterable[float]) -> Float64[np.ndarray, "M"]:
    """False discovery rate of calling each p and all smaller ones (Benjamini and Hochberg 1995, JRSS B 57:289)."""
    values = np.asarray(list(p), np.float64)
    order = np.argsort(-values, kind="stable")
    scaled = values[order] * values.size / (values.size - np.arange(values.size))
    out = np.empty_like(values)
    out[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return out
