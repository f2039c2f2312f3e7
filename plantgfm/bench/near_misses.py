"""How far the sketches of the stage of duplicates err: near misses that are kept, copies that are found, by length.

    python -m plantgfm.bench.near_misses --seeds 100

A row is a length and a true identity: substitutions at that rate in random sequence, the estimate of identity by the
one-permutation sketch (mean and standard deviation over seeds), and the share of pairs that each test at the threshold
calls one sequence: the Jaccard index of two records, and the containment of one in a record that is longer by 10 kb.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from jaxtyping import UInt8

from plantgfm.curation.config import ContaminationConfig, DuplicateConfig
from plantgfm.curation.contained import Contents, find_containers
from plantgfm.report.table import Table
from plantgfm.sequence import reverse_complement
from plantgfm.sketch import distinct, fraction, identity_of_jaccard, jaccard, jaccard_of_identity, one_permutation

LENGTHS_BP = (1_000, 2_000, 6_000, 20_000, 100_000)
IDENTITIES = (0.95, 0.97, 0.98, 0.985, 0.99, 0.995, 0.998)
_FLANK_BP = 5_000


def run(lengths_bp: tuple[int, ...], identities: tuple[float, ...], *, seeds: int) -> list[dict[str, Any]]:
    """Rows by length and identity; every second copy lies on the other strand."""
    rows = []
    for length in lengths_bp:
        for identity in identities:
            pairs = [_pair(length, identity, seed) for seed in range(seeds)]
            estimates = np.array([_estimate(codes, copy) for codes, copy in pairs])
            bar = DuplicateConfig().record_identity
            rows.append(
                {
                    "length_bp": length,
                    "identity": identity,
                    "estimate": float(estimates.mean()),
                    "deviation": float(estimates.std()),
                    "record": float(np.mean([_matches(codes, copy, bar) for codes, copy in pairs])),
                    "part": float(np.mean([_is_part(codes, copy, bar) for codes, copy in pairs])),
                }
            )
    return rows


def _pair(length_bp: int, identity: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([length_bp, int(identity * 10_000), seed])
    codes = rng.integers(0, 4, length_bp).astype(np.uint8)
    copy, places = codes.copy(), rng.random(length_bp) > identity
    copy[places] = (copy[places] + rng.integers(1, 4, int(places.sum()))) % 4
    return codes, np.ascontiguousarray(reverse_complement(copy)) if seed % 2 else copy


def _jaccard(a: np.ndarray, b: np.ndarray) -> float:
    settings = DuplicateConfig()
    return jaccard(*(one_permutation(codes, k=settings.k, bins=settings.bins) for codes in (a, b)))


def _estimate(a: np.ndarray, b: np.ndarray) -> float:
    return identity_of_jaccard(_jaccard(a, b), DuplicateConfig().k)


def _matches(a: np.ndarray, b: np.ndarray, identity: float) -> bool:
    return _jaccard(a, b) >= jaccard_of_identity(identity, DuplicateConfig().k)


def _is_part(codes: UInt8[np.ndarray, "P"], copy: UInt8[np.ndarray, "P"], identity: float) -> bool:
    rng = np.random.default_rng(codes.size)
    flanks = [rng.integers(0, 4, _FLANK_BP).astype(np.uint8) for _ in range(2)]
    contents = [_contents(copy), _contents(np.concatenate([flanks[0], codes, flanks[1]]))]
    return bool(find_containers(contents, lambda i, j: identity, k=DuplicateConfig().k))


def _contents(codes: np.ndarray) -> Contents:
    settings = ContaminationConfig()
    return Contents(distinct([fraction(codes, k=settings.k, scaled=settings.scaled)[0]]), lambda: [codes])


def main(arguments: list[str]) -> int:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=100)
    rows = run(LENGTHS_BP, IDENTITIES, seeds=parser.parse_args(arguments).seeds)
    cells = [list(row.values()) for row in rows]
    formats = {"identity": ".1%", "estimate": ".2%", "deviation": ".3%", "as a record": ".1%", "as a part": ".1%"}
    bar = DuplicateConfig().record_identity
    note = f"shares of pairs that count as one at a threshold of {bar:.0%}"
    print(Table("Near misses and copies", ("bp", *formats), cells, formats=formats, note=note).to_text())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
