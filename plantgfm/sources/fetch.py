"""Fetching entries of the catalogue into a folder, with a manifest that training can read."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from plantgfm.formats.errors import FormatError
from plantgfm.formats.manifest import read_manifest, write_manifest
from plantgfm.schema import Assembly, Compartment
from plantgfm.sources.catalogue import Entry
from plantgfm.sources.checksums import Checksum, file_checksum, find_checksum
from plantgfm.sources.client import Client, Stopped, UnreachedError
from plantgfm.sources.config import FetchConfig
from plantgfm.sources.errors import FetchError
from plantgfm.sources.transfer import part_of, transfer

MANIFEST = "manifest.csv"
LOCK = ".fetch.lock"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Plan:
    """What fetching one entry would take."""

    entry: Entry
    size_bytes: int | None  # of the file, as the server says; None where it does not
    have_bytes: int  # of the file or of its part, here

    @property
    def missing_bytes(self) -> int | None:
        """Bytes to download, as far as the sizes tell."""
        return None if self.size_bytes is None else max(0, self.size_bytes - self.have_bytes)


def plan(
    entries: Sequence[Entry],
    folder: str | Path,
    config: FetchConfig,
    *,
    progress: Progress | None = None,
    client: Client | None = None,
) -> list[Plan]:
    """Sizes of what would be downloaded; asks the servers, writes nothing.

    Args:
        entries: verified entries.
        folder: where files or parts of them may be already.
        config: patience and pauses.
        progress: called with (label, entries asked for, entries).
        client: that tells of its waits, or for tests.

    Raises:
        FetchError: servers that do not answer, or do not know the file, one line a file; all were asked.
    """
    client = client or Client(config)
    plans, failures = [], []
    for number, entry in enumerate(entries, start=1):
        target = Path(folder) / entry.file_name
        here = next((path for path in (target, part_of(target)) if path.is_file()), None)
        try:
            plans.append(Plan(entry, client.size(entry.url), here.stat().st_size if here else 0))
        except FetchError as error:
            failures.append((entry.name, error))
        if progress:
            progress(f"sizes: {entry.name}", number, len(entries))
    if failures:
        raise FetchError(_describe(failures, len(entries), "cannot be fetched"))
    return plans


def _describe(failures: list[tuple[str, Exception]], number: int, what: str) -> str:
    """What failed, one line a file; files of a host that cannot be reached stand in one."""
    by_reason: dict[str, list[str]] = {}
    for name, error in failures:
        by_reason.setdefault(str(error) if isinstance(error, UnreachedError) else f"{name}: {error}", []).append(name)
    lines = []
    for reason, names in by_reason.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(reason if reason.startswith(f"{names[0]}: ") else f"{names[0]}{more}: {reason}")
    head = f"{len(failures)} of {number} {what}:"
    return f"{head} {lines[0]}" if len(lines) == 1 and len(failures) == number else "\n  ".join([head, *lines])


def fetch(
    entries: Sequence[Entry],
    folder: str | Path,
    config: FetchConfig,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
    client: Client | None = None,
) -> list[Path]:
    """Download entries into a folder; each complete file gets its row in the folder's `manifest.csv` at once.

    A file that is there and gives its checksum is kept. One that fails does not stop the others.

    Args:
        entries: verified entries, as `choose` and `fetchable` give them.
        folder: made where absent; one fetch at a time may use it.
        config: patience and pauses.
        jobs: files at a time.
        progress: called with (name, bytes there, bytes in all), from any thread, one at a time.
        client: for tests.

    Raises:
        FetchError: what could not be fetched, one line a file; another fetch in the folder; jobs below 1.
        FormatError: a manifest in the folder that cannot be read.
    """
    if jobs < 1:
        raise FetchError(f"jobs={jobs} needs to be at least 1")
    for entry in entries:
        if entry.source.is_pointer or not entry.verified:
            raise FetchError(f"{entry.name} is a pointer or not verified; choose entries with `choose`")
    folder, client = Path(folder), client or Client(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise FetchError(f"{folder} is no folder, or lies below a file; give another --out") from None
    with _locked(folder):
        known_rows(folder)  # a manifest that cannot be read is an error now, not after hours
        worker = _Worker(client, folder, progress)
        failures = _run(worker, entries, jobs)
    if failures:
        raise FetchError(_describe(failures, len(entries), "not fetched"))
    return [folder / entry.file_name for entry in entries]


def _run(worker: _Worker, entries: Sequence[Entry], jobs: int) -> list[tuple[str, Exception]]:
    """Fetch all; what failed, and how. An interrupt stops the threads at their next block."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = [(entry, pool.submit(worker.fetch, entry)) for entry in entries]
        failures = []
        try:
            for entry, future in futures:
                try:
                    future.result()
                except (FetchError, FormatError, OSError) as error:
                    failures.append((entry.name, error))
        except BaseException:
            worker.client.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return failures


class _Worker:
    """What the threads of one fetch share."""

    def __init__(self, client: Client, folder: Path, progress: Progress | None):
        self.client, self.folder, self._progress = client, folder, progress
        self._lists: dict[str, str] = {}
        self._lock = threading.Lock()

    def fetch(self, entry: Entry) -> None:
        """One entry, from its checksum to its row in the manifest."""
        if self.client.stopped.is_set():
            raise Stopped
        checksum, target = self._checksum(entry), self.folder / entry.file_name
        if target.is_dir():
            raise FetchError(f"{target} is there, but is a directory; move it away")
        if target.exists():
            if (found := file_checksum(target, checksum.kind)) != checksum:
                raise FetchError(f"{target} is there, but gives {found} instead of {checksum}; move it away")
        else:
            transfer(self.client, entry.url, target, checksum, progress=lambda *sizes: self._report(entry, *sizes))
        size = target.stat().st_size
        self._report(entry, size, size)
        with self._lock:
            _add_row(self.folder, entry, target)

    def _report(self, entry: Entry, done: int, total: int) -> None:
        if self._progress:
            with self._lock:
                self._progress(entry.name, done, total or done + 1)

    def _checksum(self, entry: Entry) -> Checksum:
        if entry.checksum:
            return entry.checksum
        if entry.checksum_url not in self._lists:
            self._lists[entry.checksum_url] = self.client.text(entry.checksum_url)
        try:
            return find_checksum(self._lists[entry.checksum_url], entry.file_name)
        except ValueError as error:
            raise FetchError(f"{entry.checksum_url} {error}; check url and checksum_url of the catalogue") from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The folder is ours while this lasts; the lock goes with the process, the empty file stays."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FetchError(f"another fetch is at work in {folder}; wait for it, or give another --out") from None
        yield
    finally:
        os.close(descriptor)


def known_rows(folder: Path) -> list[Assembly]:
    """The assemblies of the folder's manifest, none where it has none."""
    path = folder / MANIFEST
    return read_manifest(path) if path.exists() else []


def _add_row(folder: Path, entry: Entry, target: Path) -> None:
    """The manifest with a row for this file, in place of an older one."""
    row = Assembly(
        species=entry.species,
        cultivar=entry.cultivar,
        assembly=entry.assembly,
        compartment=Compartment.NUCLEAR,
        fasta=target,
        ploidy=entry.ploidy,
        expected_size_bp=entry.expected_size_bp,
        source=f"{entry.source.value} {entry.accession} {entry.url}",
        licence=entry.licence,
    )
    others = [old for old in known_rows(folder) if old.fasta.resolve() != target.resolve()]
    write_manifest(folder / MANIFEST, sorted([*others, row], key=lambda assembly: assembly.key))
