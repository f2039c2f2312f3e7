"""Speed of curation on one core, stage by stage, and what it takes at the size of a genome.

Files come from the manifest that the environment variable PLANTGFM_BENCH_MANIFEST names, else they are simulated:
AT-rich sequence with repeats, tandem repeats and gaps, gzipped. They are curated again and again in one warm process,
each time into an empty store, until enough bases have passed. Seconds are the processor's (`time.process_time`), for
everything runs on the calling thread; they leave out what others do on the machine, but not what that does to caches.
Tables of assemblies beside the sequence (annotation, reports) are not read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from datasketch import MinHash

from plantgfm.bench.timing import row
from plantgfm.curation.config import CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.curation.digests import strand_digests
from plantgfm.curation.dust import low_complexity_runs
from plantgfm.curation.facts import measure
from plantgfm.curation.repeats import mark_frequent
from plantgfm.curation.vectors import index_vectors, screen_vectors
from plantgfm.formats.fasta import read_fasta, write_fasta
from plantgfm.formats.manifest import read_manifest
from plantgfm.formats.streams import blocks
from plantgfm.schema import Assembly, Compartment, Record
from plantgfm.sequence import UNKNOWN
from plantgfm.sketch import EMPTY, canonical_kmers, minhash, survey

BAR_SKETCH_MBP = 150.0
BAR_STAGES_MBP = 60.0
BAR_STAGES_MASKED_MBP = 35.0
BAR_OF_DATASKETCH = 10.0
BAR_RERUN_SECONDS = 2.0
BAR_BANDING_SECONDS = 60.0
BAR_MEMORY_GB = 2.0
_BASES = 500_000_000  # that pass in all
_SIMULATED_BP = 5_000_000  # of each of three files
_BATCH_KMERS = 100_000  # what datasketch hashes at a time in a turn
_ROUNDS = 5
_WINDOWS = 10_000_000
_RECORDS, _RECORD_BP = 12, 125_000_000

_SCALE = """
import json, resource, sys, time
from pathlib import Path
from plantgfm.bench import curation
began = time.process_time()
found = getattr(curation, sys.argv[1])(*map(int, sys.argv[2:4]), Path(sys.argv[4]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({**found, "peak_gb": peak * 1024 / 1e9}))
"""


def run() -> list[dict[str, object]]:
    """Rows (name, value, unit, bar): megabases a second of parts and of all stages, ratios, a rerun without change."""
    with tempfile.TemporaryDirectory() as folder:
        assemblies = _assemblies(Path(folder))
        records = [record for one in assemblies for record in read_fasta(one.fasta)]
        total_bp = sum(record.length_bp for record in records)
        rounds = max(2, -(-_BASES // total_bp))
        parts = _parts(assemblies, records, CurationConfig())
        store = iter(range(rounds + 1))
        work = {**parts, "all": lambda: _curate(assemblies, Path(folder) / str(next(store)))}
        seconds = _seconds(work, rounds)
        again = min(_timed(lambda: _curate(assemblies, Path(folder) / "0"), wall=True) for _ in range(_ROUNDS))
    speed = {name: total_bp / each.min() / 1e6 for name, each in seconds.items()}
    unmasked = (seconds["all"] - seconds["low complexity"]).min()
    mean = total_bp / seconds["all"].mean() / 1e6
    return [
        *(row(f"curation: {name}", speed[name], "Mbp/s") for name in parts if name != "file to sketch"),
        row("curation: gz FASTA to N/GC/gaps and sketch", speed["file to sketch"], "Mbp/s", BAR_SKETCH_MBP),
        row("curation: five stages but low complexity", total_bp / unmasked / 1e6, "Mbp/s", BAR_STAGES_MBP),
        row("curation: five stages", speed["all"], "Mbp/s", BAR_STAGES_MASKED_MBP),
        row(f"curation: five stages, mean of {rounds * total_bp / 1e6:,.0f} Mbp", mean, "Mbp/s"),
        row("curation: 128 permutations / datasketch's update_batch", _of_datasketch(records), "x", BAR_OF_DATASKETCH),
        row("curation: the same again, by the clock, at most", again, "s", BAR_RERUN_SECONDS),
    ]


def run_scale() -> list[dict[str, object]]:
    """Rows (name, value, unit, bar): seconds and peak memory of fresh processes, bars are upper bounds."""
    with tempfile.TemporaryDirectory() as folder:
        banding = _fresh("band", _WINDOWS, 0, folder)
        genome = _fresh("stream", _RECORDS, _RECORD_BP, folder)
    windows, gbp = f"{_WINDOWS / 1e6:g} M windows", f"{_RECORDS * _RECORD_BP / 1e9:g} Gbp"
    return [
        row(f"curation: banding and components of {windows}", banding["seconds"], "s", BAR_BANDING_SECONDS),
        row(f"curation: peak memory of {windows}", banding["peak_gb"], "GB", BAR_MEMORY_GB),
        row(f"curation: components of {windows}", banding["components"], "components"),
        row(f"curation: five stages of {gbp} in {_RECORDS} records", genome["mbp_per_second"], "Mbp/s"),
        row(f"curation: peak memory of {gbp}", genome["peak_gb"], "GB", BAR_MEMORY_GB),
    ]


def band(windows: int, seed: int, folder: Path) -> dict[str, float]:
    """Seconds of banding and components of synthetic windows; those that make the windows are taken off."""
    from plantgfm.curation.windows import bands_for, components_of
    from plantgfm.sketch import jaccard_of_identity

    settings = CurationConfig().duplicates
    ranges = bands_for(jaccard_of_identity(settings.window_identity, settings.k), settings.window_bins)
    components_of([_Windows(1_000, settings.window_bins, seed)], ranges)  # compiles
    parts = _Windows(windows, settings.window_bins, seed)
    seconds = _timed(lambda: parts.keep(components_of([parts], ranges)))
    return {"seconds": seconds - parts.seconds, "components": int(np.unique(parts.kept).size)}


def stream(records: int, record_bp: int, folder: Path) -> dict[str, float]:
    """Curate one synthetic assembly, written for it and removed."""
    path, rng = folder / "genome.fa", np.random.default_rng(0)
    write_fasta(path, ((f"chr{i}", _simulated(rng, record_bp)) for i in range(records)), width=80)
    assembly = Assembly("Planta magna", "", "bench", Compartment.NUCLEAR, path)
    began = time.process_time()
    result = _curate([assembly], folder / "store")
    seconds = time.process_time() - began
    if len(result.accepted) != records:
        raise ValueError(f"{len(result.accepted)} of {records} synthetic records were kept; all are clean")
    return {"mbp_per_second": records * record_bp / seconds / 1e6}


class _Windows:
    """Rows of sketches that are made when they are read: a fifth belongs to families that share most slots."""

    def __init__(self, windows: int, slots: int, seed: int):
        self._windows, self._slots, self._seed = windows, slots, seed
        self.shape = (windows, slots)
        self.seconds = 0.0  # that making them took
        self.kept = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return self._windows

    def __getitem__(self, rows: slice) -> np.ndarray:
        began = time.process_time()
        rng = np.random.default_rng([self._seed, rows.start])
        n = min(rows.stop, self._windows) - rows.start
        made = rng.integers(0, 1 << 64, (n, self._slots), dtype=np.uint64)
        members = np.flatnonzero(np.arange(rows.start, rows.start + n) % 5 == 0)
        family = (members + rows.start) // 5 % (self._windows // 100 + 1)
        shared = np.arange(self._slots * 3 // 4) + family[:, None] * self._slots
        made[members, : shared.shape[1]] = (shared.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        self.seconds += time.process_time() - began
        return made

    def keep(self, components: np.ndarray) -> None:
        """Hold the result."""
        self.kept = components


def _fresh(what: str, first: int, second: int, folder: str) -> dict[str, float]:
    command = [sys.executable, "-c", _SCALE, what, str(first), str(second), folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _curate(assemblies: list[Assembly], store: Path):
    return curate(assemblies, CurationConfig(), store=store)


def _assemblies(folder: Path) -> list[Assembly]:
    named = os.environ.get("PLANTGFM_BENCH_MANIFEST")
    if named:
        keep = ("species", "cultivar", "assembly", "compartment", "fasta")
        return [Assembly(**{name: getattr(one, name) for name in keep}) for one in read_manifest(Path(named))]
    rng, assemblies = np.random.default_rng(0), []
    for i in range(3):
        path = folder / f"{i}.fa.gz"
        write_fasta(path, [("chr1", _simulated(rng, _SIMULATED_BP))])
        assemblies.append(Assembly(f"Planta species{i}", "", "bench", Compartment.NUCLEAR, path))
    return assemblies


def _simulated(rng: np.random.Generator, length_bp: int) -> np.ndarray:
    bases = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3, 3], dtype=np.uint8)[rng.integers(0, 10, length_bp, dtype=np.uint8)]
    family = bases[:5_000].copy()
    for start in rng.integers(0, length_bp - 5_000, length_bp // 50_000):
        bases[start : start + 5_000] = family
    for start in rng.integers(0, length_bp - 5_000, length_bp // 100_000):
        bases[start : start + 2_000] = np.resize(bases[start : start + int(rng.integers(2, 200))], 2_000)
        bases[start + 3_000 : start + 3_200] = UNKNOWN
    return bases


def _parts(
    assemblies: list[Assembly], records: list[Record], config: CurationConfig
) -> dict[str, Callable[[], object]]:
    """What is timed beside the whole: the file alone, and kernels on records that were read."""
    duplicates, repeats = config.duplicates, config.repeats
    k = duplicates.k
    sizes = {
        "bins": duplicates.bins,
        "window_bins": duplicates.window_bins,
        "window_bp": duplicates.window_bp,
        "permutations": duplicates.permutations,
        "seed": duplicates.seed,
        "signature_scaled": duplicates.signature_scaled,
        "scaled": config.contamination.scaled,
    }
    dust = {"window_bp": repeats.dust_window, "threshold": repeats.dust_threshold}

    vectors = index_vectors([], config.contamination.vector_seed_k)

    def to_sketch(record: Record) -> None:
        measure(record.name, record.description, record.codes, {})
        survey(record.codes, k=k, bins=duplicates.bins)

    return {
        "inflate": lambda: [len(block) for one in assemblies for block in blocks(one.fasta)],
        "read": lambda: [record.length_bp for one in assemblies for record in read_fasta(one.fasta)],
        "gaps and N": lambda: [measure(record.name, "", record.codes, {}) for record in records],
        "vectors": lambda: [screen_vectors(record.codes, vectors, config.contamination) for record in records],
        "digests of both strands": lambda: [strand_digests(record.codes) for record in records],
        "frequent k-mers": lambda: [_frequent([record.codes], config) for record in records],
        "every sketch, fused": lambda: [survey(record.codes, k=k, **sizes) for record in records],
        "low complexity": lambda: [low_complexity_runs(record.codes, **dust) for record in records],
        "file to sketch": lambda: [to_sketch(record) for one in assemblies for record in read_fasta(one.fasta)],
    }


def _frequent(codes: list[np.ndarray], config: CurationConfig) -> None:
    for _ in mark_frequent(lambda: (one.copy() for one in codes), sum(one.size for one in codes), config.repeats):
        pass


def _seconds(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each work in each of interleaved rounds; one round before them compiles and warms."""
    found = {name: np.zeros(rounds + 1) for name in work}
    for turn in range(rounds + 1):
        for name, do in work.items():
            found[name][turn] = _timed(do)
    return {name: each[1:] for name, each in found.items()}


def _timed(do: Callable[[], object], *, wall: bool = False) -> float:
    clock = time.perf_counter if wall else time.process_time
    began = clock()
    do()
    return clock() - began


def _of_datasketch(records: list[Record]) -> float:
    """How much quicker a signature is here: k-mers a second of both in turns, the quickest of each."""
    config = CurationConfig().duplicates
    codes = max((record.codes for record in records), key=len)[: 4 * _BATCH_KMERS]
    kmers = canonical_kmers(codes, config.k)
    known = kmers[kmers != EMPTY][:_BATCH_KMERS].tolist()
    settings = {"num_perm": config.permutations, "seed": config.seed, "scheme": "affine64", "hashfunc": int}
    ours, theirs = [], []
    for _ in range(_ROUNDS):
        ours.append(_timed(lambda: minhash(codes, k=config.k, permutations=config.permutations, seed=config.seed)))
        theirs.append(_timed(lambda: _update(MinHash(**settings), known)))
    return (codes.size / min(ours[1:])) / (len(known) / min(theirs))


def _update(signature: MinHash, kmers: list[int]) -> None:
    for start in range(0, len(kmers), 2_000):  # its quickest size
        signature.update_batch(kmers[start : start + 2_000])
