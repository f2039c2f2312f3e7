"""Killed wherever it writes, started again, curation ends as if nobody had touched it."""

import os
import random
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest

from plantgfm.bench.kills import command, curate_under_kills
from plantgfm.curation import store as store_module
from plantgfm.curation.config import CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.formats import streams
from plantgfm.formats.manifest import write_manifest
from tests.curation.planted import mutated, random_codes, write_assembly


class Killed(BaseException):
    """What stands for SIGKILL here: nothing after it is tidied up."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("input")
    base = random_codes(40_000, 61)
    return [
        write_assembly(folder, "a", [("r", base), ("s", random_codes(9_000, 62))]),
        write_assembly(folder, "b", [("t", mutated(base, 0.998))]),
        write_assembly(folder, "c", [("u", random_codes(20_000, 63))], species="Alter duo"),
    ]


@pytest.fixture(scope="module")
def expected(rows, tmp_path_factory):
    return curate(rows, CurationConfig(), store=tmp_path_factory.mktemp("store"))


class Killer:
    """Writes files as the store does, and kills at one of them: while it is written, or when it has its name."""

    def __init__(self, at, *, named):
        self.at, self.named, self.count = at, named, 0

    @contextmanager
    def atomic_binary(self, path):
        with self._writing(path, streams.atomic_binary) as stream:
            yield stream

    @contextmanager
    def atomic_text(self, path):
        with self._writing(path, streams.atomic_text) as stream:
            yield stream

    @contextmanager
    def _writing(self, path, atomic):
        self.count += 1
        now = self.count == self.at
        if now and not self.named:
            path.with_name(f".{path.name}.half.part").write_bytes(b"half")
            raise Killed
        with atomic(path) as stream:
            yield stream
        if now:
            raise Killed


@pytest.mark.parametrize("named", [False, True])
def test_killed_at_any_write_it_goes_on_from_what_is_whole(rows, expected, tmp_path, monkeypatch, named):
    def curate_with(killer, store):
        with monkeypatch.context() as patch:
            patch.setattr(store_module, "atomic_binary", killer.atomic_binary)
            patch.setattr(store_module, "atomic_text", killer.atomic_text)
            curate(rows, CurationConfig(), store=store)

    counter = Killer(0, named=named)
    curate_with(counter, tmp_path / "all")
    assert counter.count >= 3 * 6 + 4 + 1, "files of each assembly, of the join, and one for the hashes of files"
    for at in range(1, counter.count + 1):
        store = tmp_path / f"{at}"
        with pytest.raises(Killed):
            curate_with(Killer(at, named=named), store)
        whole = len(list((store / "assemblies").glob("*.seal")))
        found = curate(rows, CurationConfig(), store=store)
        assert found.fingerprint == expected.fingerprint and found.ledger.decisions == expected.ledger.decisions
        assert (found.reused, found.repaired) == (whole, [])


def test_a_killed_worker_and_a_killed_driver_cost_their_file(rows, expected, tmp_path):
    manifest = tmp_path / "manifest.csv"
    write_manifest(manifest, rows)
    folder = tmp_path / "run"
    folder.mkdir()
    with (folder / "log").open("w") as log:
        driver = subprocess.Popen(command(manifest, folder), stdout=log, stderr=log, start_new_session=True)
        while driver.poll() is None and not list(folder.glob("store/curation/assemblies/*.seal")):
            time.sleep(0.005)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    done = len(list(folder.glob("store/curation/assemblies/*.seal")))
    assert done >= 1
    ending = curate_under_kills(manifest, folder, kills=1, files=12, rng=random.Random(3))
    assert ending.fingerprint == expected.fingerprint and ending.orphans == 0
