"""Small made-up records to build corpora from."""

from pathlib import Path

import numpy as np

from plantgfm.schema import AcceptedRecord, Assembly, Compartment
from plantgfm.sequence import REPEAT_BIT, UNKNOWN

CLUSTER_WINDOW_BP = 6_144


def random_bases(rng, length_bp, *, gaps=0, gap_bp=400, repeat_fraction=0.3):
    bases = rng.integers(0, 4, length_bp, dtype=np.uint8)
    for start in rng.integers(0, max(1, length_bp - gap_bp), gaps):
        bases[start : start + gap_bp] = UNKNOWN
    at = 0
    while at < length_bp:
        run = int(rng.integers(50, 800))
        if rng.random() < repeat_fraction:
            bases[at : at + run] |= REPEAT_BIT
        at += run
    return bases


def accepted(
    folder: Path, species, name, bases, *, cluster_id=None, cluster_size=None, assembly="v1", cultivar="wild", start=0
):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{species}-{assembly}-{name}-{start}.u8".replace(" ", "_")
    path.write_bytes(b"xyz" + bases.tobytes())
    windows = -(-bases.size // CLUSTER_WINDOW_BP)
    origin = Assembly(species, cultivar, assembly, Compartment.NUCLEAR, folder / "genome.fa")
    return AcceptedRecord(
        assembly=origin,
        name=name,
        bases=path,
        offset=3,
        length_bp=bases.size,
        repeat_source="soft-mask",
        cluster_window_bp=CLUSTER_WINDOW_BP,
        cluster_id=np.full(windows, -1, np.int64) if cluster_id is None else cluster_id,
        cluster_size=np.ones(windows, np.int32) if cluster_size is None else cluster_size,
        start=start,
    )


def species_name(index):
    return f"Planta species{index:02d}"


def make_records(folder: Path, *, species=10, length_bp=400_000, gaps=3, seed=0, records=2, growth=0.0):
    """Records of several species, each `growth` longer than the species before."""
    rng = np.random.default_rng(seed)
    out = []
    for index in range(species):
        each = int(length_bp * (1 + growth * index)) // records
        for number in range(records):
            bases = random_bases(rng, each + 17 * number, gaps=gaps)
            out.append(accepted(folder, species_name(index), f"chr{number + 1}", bases))
    return out
