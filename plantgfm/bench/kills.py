"""Curation under random kills: workers and drivers end by SIGKILL, and the corpus that comes out is the same.

    python -m plantgfm.bench.kills --runs 20

Each run starts `plantgfm curate` on an empty store, kills it or one of its workers at random moments, starts it again,
and goes on until it ends by itself. Exit status 1 where a fingerprint or a ledger differs from the undisturbed one.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from plantgfm.identity import file_sha256
from plantgfm.report.table import Table
from plantgfm.simulate.config import WorldConfig
from plantgfm.simulate.world import simulate_world

WORKERS = 2
_POLL_SECONDS = 0.01
_LATER_SECONDS = 0.3
_LIMIT_SECONDS = 600
_ORPHAN_SECONDS = 10.0
_START = "import sys; from plantgfm.cli import main; sys.argv[0] = 'plantgfm'; main()"


@dataclass
class Ending:
    """How a curation ended that was killed on the way."""

    fingerprint: str
    ledger: str  # digest of the table of all decisions
    starts: int  # of the driver
    kills: Counter = field(default_factory=Counter)  # by victim: "driver", "worker"
    refused: int = 0  # starts that ended by themselves with an error, because of a kill
    orphans: int = 0  # workers that outlived their driver


def command(manifest: Path, folder: Path) -> list[str]:
    """The curation of a manifest into a folder, with worker processes."""
    given = [str(manifest), "--out", str(folder / "out"), "--store", str(folder / "store")]
    return [sys.executable, "-c", _START, "curate", *given, "--workers", str(WORKERS)]


def curate_under_kills(manifest: Path, folder: Path, *, kills: int, files: int, rng: random.Random) -> Ending:
    """Curate until it ends by itself; up to `kills` processes are killed on the way.

    Args:
        manifest: what to curate.
        folder: for the store and the ledger.
        kills: SIGKILLs, each at the driver or at one of its workers.
        files: that the store holds at the end; a kill falls when it holds a drawn number of them, and a little later.
        rng: draws moments and victims.

    Raises:
        ValueError: when a start fails that nothing was killed in, or one takes ten minutes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ending = Ending("", "", 0)
    while not ending.fingerprint:
        ending.starts += 1
        with (folder / f"log{ending.starts}.txt").open("w+") as log:
            driver = subprocess.Popen(command(manifest, folder), stdout=log, stderr=log, start_new_session=True)
            killed = _disturb(driver, ending, folder / "store", kills=kills, files=files, rng=rng)
            log.seek(0)
            told = log.read()
        if driver.returncode == 0:
            ending.fingerprint = re.findall(r"fingerprint (\w+)", told)[-1]
            ending.ledger = file_sha256(folder / "out" / "ledger.parquet")
        elif not killed:
            raise ValueError(f"curation ended with {driver.returncode} though nothing was killed: {told[-2_000:]}")
        elif killed == "worker":
            ending.refused += 1
            if "Traceback" in told:
                raise ValueError(f"a killed worker made a traceback instead of an error: {told[-2_000:]}")
    return ending


def _disturb(
    driver: subprocess.Popen, ending: Ending, store: Path, *, kills: int, files: int, rng: random.Random
) -> str:
    """Wait for a driver to end, killing on the way; what was killed last, "" for nothing."""
    killed, began = "", time.monotonic()
    process = psutil.Process(driver.pid)
    while sum(ending.kills.values()) < kills:
        drawn, victim = rng.randrange(_files(store), max(files, _files(store) + 1)), rng.choice(["driver", "worker"])
        while _files(store) < drawn and driver.poll() is None:
            time.sleep(_POLL_SECONDS)
        time.sleep(rng.uniform(0, _LATER_SECONDS))
        workers = _children(process)
        while victim == "worker" and not workers and driver.poll() is None:
            time.sleep(_POLL_SECONDS)
            workers = _children(process)
        if driver.poll() is not None:
            return killed
        killed = victim
        ending.kills[victim] += 1
        if victim == "driver":
            driver.kill()
            driver.wait()
            _, alive = psutil.wait_procs(workers, timeout=_ORPHAN_SECONDS)
            ending.orphans += len(alive)
            for one in alive:
                one.kill()
            return killed
        rng.choice(workers).kill()
    try:
        driver.wait(_LIMIT_SECONDS - (time.monotonic() - began))
    except subprocess.TimeoutExpired:
        driver.kill()
        raise ValueError(f"curation did not end within {_LIMIT_SECONDS} s, after {dict(ending.kills)} kills") from None
    return killed


def _files(folder: Path) -> int:
    """Files of the store, finished or not."""
    return sum(path.is_file() for path in folder.rglob("*"))


def _children(process: psutil.Process) -> list[psutil.Process]:
    """Worker processes; the resource tracker of multiprocessing is none."""
    try:
        return [one for one in process.children(recursive=True) if "spawn_main" in " ".join(one.cmdline())]
    except psutil.NoSuchProcess:
        return []


def make_input(folder: Path, *, genome_size_bp: int) -> Path:
    """A small embedded world; its manifest."""
    return simulate_world(WorldConfig(genome_size_bp=genome_size_bp, species=8), folder) / "manifest.csv"


def main(arguments: list[str]) -> int:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--kills", type=int, default=4, help="at most, in each run")
    parser.add_argument("--genome-size-bp", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    rng, sums, wrong = random.Random(given.seed), Counter(), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = make_input(folder / "world", genome_size_bp=given.genome_size_bp)
        expected = curate_under_kills(manifest, folder / "undisturbed", kills=0, files=0, rng=rng)
        files = _files(folder / "undisturbed" / "store")
        for run in range(given.runs):
            found = curate_under_kills(manifest, folder / f"run{run}", kills=given.kills, files=files, rng=rng)
            same = (found.fingerprint, found.ledger) == (expected.fingerprint, expected.ledger)
            wrong += not same
            sums += found.kills + Counter(starts=found.starts, refused=found.refused, orphans=found.orphans)
            print(f"run {run + 1}: {dict(found.kills)}, {found.starts} starts, same: {same}", file=sys.stderr)
    rows = [(what, sums[what]) for what in ("driver", "worker", "starts", "refused", "orphans")]
    rows = [("runs", given.runs), ("with another fingerprint or ledger", wrong), *rows]
    note = f"fingerprint {expected.fingerprint}"
    print(Table("Curation under random kills", ("what", "number"), rows, note=note).to_text())
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
