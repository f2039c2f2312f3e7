"""One file over HTTP: a `.part` beside the target, resumed while it is the same file, renamed when it is right."""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from plantgfm.identity import read_json
from plantgfm.sources.checksums import Checksum, file_checksum
from plantgfm.sources.client import Client, Stopped, TransientError, stated_length
from plantgfm.sources.errors import FetchError, said

Progress = Callable[[int, int], None]
"""Bytes there, bytes in all (0: the server does not say)."""

_BLOCK_BYTES = 1 << 18


@dataclass(frozen=True)
class _Origin:
    """What a part was begun from; kept beside it, so that a resume can ask for the rest of the same file."""

    url: str
    validator: str  # strong ETag, else Last-Modified, "" where the server gives neither: no resume
    total_bytes: int | None


def part_of(target: Path) -> Path:
    """Where the bytes of an unfinished download lie."""
    return target.with_name(f".{target.name}.part")


def _origin_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.part.json")


def transfer(client: Client, url: str, target: Path, checksum: Checksum, *, progress: Progress | None = None) -> None:
    """Download a file, check it, and give it its name; nothing but a right and complete file ever has that name.

    Raises:
        FetchError: the server refuses, or is out of order for too long, or the bytes do not give the checksum, or the
            disk has no room.
        Stopped: the client was stopped; the part stays and is resumed next time.
    """
    part, resumed, again = part_of(target), part_of(target).exists(), True
    download = _Download(client, url, target, progress)
    while True:
        client.persist(download.attempt, url)
        found = file_checksum(part, checksum.kind)
        if found == checksum:
            break
        _discard(target)
        if not (again and (resumed or download.resumed)):
            raise FetchError(
                f"{url}: the bytes give {found}, published is {checksum}; nothing was kept. The file or its list has "
                "changed, or something on the way alters it: compare with the page of the entry"
            )
        again = False  # bytes of several answers may be of several files: once more from the start
    _finish(part, target)


class _Download:
    """The part of one file, and the requests that make it whole."""

    def __init__(self, client: Client, url: str, target: Path, progress: Progress | None):
        self.client, self.url, self.target, self.progress = client, url, target, progress
        self.part = part_of(target)
        self.resumed = False  # bytes of several answers stand in the part
        self.reached_bytes = 0  # the furthest that any attempt came: only what lies beyond is progress

    def attempt(self) -> None:
        """One request; returns when the part is complete."""
        origin = _read_origin(self.target, self.url)
        start = self.part.stat().st_size if origin else 0
        self.reached_bytes = max(self.reached_bytes, start)
        if origin and origin.total_bytes == start:
            return
        headers = {"Range": f"bytes={start}-", "If-Range": origin.validator} if start else {}
        with self.client.open(self.url, headers=headers) as response:
            if response.status == 416:  # the file is now shorter than our part
                _discard(self.target)
                raise TransientError("the file has changed on the server")
            if response.status == 206:
                self._check_range(response, start, origin)
                self.resumed = True
            else:
                start, origin = 0, self._begin(response)
            self._append(response, start, origin.total_bytes)

    def _begin(self, response: http.client.HTTPResponse) -> _Origin:
        """Start a part from its first byte; its origin is on disk before the byte is."""
        etag = response.headers.get("ETag", "")
        weak = etag.startswith("W/")  # RFC 9110, 13.1.5: If-Range takes a strong validator only
        validator = etag if etag and not weak else response.headers.get("Last-Modified", "")
        origin = _Origin(self.url, validator, stated_length(response))
        _discard(self.target)
        free = shutil.disk_usage(self.target.parent).free
        if (origin.total_bytes or 0) > free:
            raise FetchError(f"{self.url} has {origin.total_bytes:,} bytes, {self.target.parent} has {free:,} free")
        _origin_of(self.target).write_text(json.dumps(asdict(origin)), encoding="utf-8")
        self.part.touch()
        return origin

    def _check_range(self, response: http.client.HTTPResponse, start: int, origin: _Origin | None) -> None:
        """Raise TransientError, without the part, unless the answer goes on where the part ends."""
        given = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", given)
        total = origin.total_bytes if origin else None
        if not origin or not match or int(match[1]) != start or match[2] not in ("*", str(total or match[2])):
            _discard(self.target)
            raise TransientError(f"asked for bytes from {start} of {total}, got {said(given)!r}")
        kind = "Last-Modified" if email.utils.parsedate(origin.validator) else "ETag"
        if response.headers.get(kind, origin.validator) != origin.validator:  # a server that does not know If-Range
            _discard(self.target)
            raise TransientError("the file has changed on the server")

    def _append(self, response: http.client.HTTPResponse, done: int, total: int | None) -> None:
        """Write what arrives; TransientError where it stalls or ends too early."""
        reason = ""
        try:
            with self.part.open("ab") as stream:
                while not reason:
                    block, reason = _next_block(response)
                    stream.write(block)
                    done += len(block)
                    if self.progress and block:
                        self.progress(done, total or 0)
                    if self.client.stopped.is_set():
                        raise Stopped
        except OSError as error:  # of the disk: what the network does is a reason
            message = f"{self.part} cannot be written ({error.strerror}) after {done} bytes"
            raise FetchError(f"{message}; make room, then the same command goes on from there") from None
        if reason != "ended" or (total is not None and done != total):
            progressed = done > self.reached_bytes
            self.reached_bytes = max(self.reached_bytes, done)
            raise TransientError(f"{reason} after {done} of {total or 'unknown'} bytes", progressed=progressed)


def _next_block(response: http.client.HTTPResponse) -> tuple[bytes, str]:
    """The next bytes, or none and the reason: "ended", or what went wrong on the way."""
    try:
        block = response.read1(_BLOCK_BYTES)
    except TimeoutError:
        return b"", "stalled"
    except (OSError, http.client.HTTPException) as error:
        return b"", f"broke off ({type(error).__name__})"
    return block, "" if block else "ended"


def _read_origin(target: Path, url: str) -> _Origin | None:
    """The origin of a part that can be resumed; a part without one is thrown away."""
    try:
        origin = _Origin(**read_json(_origin_of(target), remedy="delete it"))
    except (FileNotFoundError, ValueError, TypeError):
        origin = None
    known = origin and isinstance(origin.validator, str) and isinstance(origin.total_bytes, int | None)
    if known and origin.url == url and origin.validator and part_of(target).is_file():
        return origin
    _discard(target)
    return None


def _finish(part: Path, target: Path) -> None:
    """Bytes and name reach the disk, in this order."""
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    _origin_of(target).unlink(missing_ok=True)


def _discard(target: Path) -> None:
    part_of(target).unlink(missing_ok=True)
    _origin_of(target).unlink(missing_ok=True)
