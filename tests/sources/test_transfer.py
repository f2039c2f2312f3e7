"""One file against a server that stalls, truncates, redirects, is busy, changes its mind and lies."""

import hashlib
import http.client
import json
from pathlib import Path

import pytest

from plantgfm.sources.checksums import Checksum
from plantgfm.sources.client import Stopped
from plantgfm.sources.errors import FetchError
from plantgfm.sources.transfer import part_of, transfer
from tests.sources.server import BrokenChunks, Content, Cut, Headers, Stall, Status

BODY = bytes(range(256)) * 400
PATH = "/genomes/a.fa.gz"


def md5(body: bytes) -> Checksum:
    return Checksum("md5", hashlib.md5(body).hexdigest())


@pytest.fixture
def get(server, client, tmp_path):
    """Transfer PATH and give its bytes; nothing else may be left in the folder."""

    def run(body: bytes = BODY, checksum: Checksum | None = None, progress=None) -> bytes:
        target = tmp_path / "a.fa.gz"
        transfer(client, server.address + PATH, target, checksum or md5(body), progress=progress)
        assert [path.name for path in tmp_path.iterdir()] == ["a.fa.gz"]
        return target.read_bytes()

    return run


def ranges(server) -> list[str | None]:
    return [request.headers.get("Range") for request in server.gets(PATH)]


def test_a_file_arrives_with_its_progress(server, get):
    server.put(PATH, BODY)
    seen = []
    assert get(progress=lambda done, total: seen.append((done, total))) == BODY
    assert seen == sorted(seen) and seen[-1] == (len(BODY), len(BODY))
    assert server.gets(PATH)[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("fault", [Cut, Stall])
def test_what_breaks_off_is_resumed_where_it_ended(server, get, fault):
    server.put(PATH, BODY)
    server.break_next(PATH, fault(1000), fault(500))
    assert get() == BODY
    assert ranges(server) == [None, "bytes=1000-", "bytes=1500-"]
    assert server.gets(PATH)[1].headers["If-Range"] == '"first"'
    assert server.outwaited == []  # a stall is dropped after stall_s, not when the server wishes


def test_a_part_of_an_earlier_fetch_is_resumed(server, client, get, tmp_path):
    url = server.put(PATH, BODY)
    server.break_next(PATH, *[Cut(0)] * 3, Cut(700))
    server.break_next(PATH, *[Cut(0)] * 4)
    with pytest.raises(FetchError, match="ended after 700 of 102400 bytes"):
        transfer(client, url, tmp_path / "a.fa.gz", md5(BODY))
    assert part_of(tmp_path / "a.fa.gz").read_bytes() == BODY[:700]
    assert not (tmp_path / "a.fa.gz").exists()
    server.requests.clear()
    server.faults.clear()
    assert get() == BODY
    assert ranges(server) == ["bytes=700-"]


def test_a_file_that_changed_meanwhile_is_begun_again(server, get):
    server.put(PATH, BODY)
    changed = BODY[::-1]

    def change(handler, running, content, start):
        Cut(1000)(handler, running, content, start)
        running.put(PATH, changed, etag='"second"', modified="Thu, 02 Jan 2025 00:00:00 GMT")

    server.break_next(PATH, change)
    assert get(changed) == changed
    assert ranges(server) == [None, "bytes=1000-"]


def test_a_file_that_became_shorter_is_begun_again(server, get):
    server.put(PATH, BODY)

    def shorten(handler, running, content, start):
        Cut(1000)(handler, running, content, start)
        running.put(PATH, BODY[:900])

    server.break_next(PATH, shorten)
    assert get(BODY[:900]) == BODY[:900]
    assert ranges(server) == [None, "bytes=1000-", None]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"etag": "", "modified": ""}, [None, None]),
        ({"etag": 'W/"weak"', "modified": ""}, [None, None]),
        ({"etag": 'W/"weak"'}, [None, "bytes=1000-"]),
    ],
)
def test_only_a_strong_validator_allows_a_resume(server, get, headers, expected):
    server.put(PATH, BODY, **headers)
    server.break_next(PATH, Cut(1000))
    assert get() == BODY
    assert ranges(server) == expected


def test_a_server_without_ranges_sends_all_again(server, get):
    server.put(PATH, BODY, ranges=False)
    server.break_next(PATH, Cut(1000))
    assert get() == BODY


@pytest.mark.parametrize("said", ["bytes 0-102399/102400", "bytes 1000-102399/999999", "items 1-2", ""])
def test_a_wrong_range_is_not_appended(server, get, said):
    server.put(PATH, BODY)
    server.break_next(PATH, Cut(1000), Headers(206, {"Content-Range": said}))
    assert get() == BODY
    assert ranges(server) == [None, "bytes=1000-", None]


def test_a_part_without_its_origin_is_not_trusted(server, get, tmp_path):
    server.put(PATH, BODY)
    part_of(tmp_path / "a.fa.gz").write_bytes(b"from somewhere else")
    assert get() == BODY
    assert ranges(server) == [None]


def test_a_part_of_another_url_is_not_resumed(server, get, tmp_path):
    server.put(PATH, BODY)
    part = part_of(tmp_path / "a.fa.gz")
    part.write_bytes(BODY[:100])
    origin = {"url": "http://elsewhere/a.fa.gz", "validator": '"first"', "total_bytes": len(BODY)}
    part.with_name(part.name + ".json").write_text(json.dumps(origin))
    assert get() == BODY
    assert ranges(server) == [None]


def test_busy_answers_between_the_pieces_are_waited_for(server, get, waits):
    server.put(PATH, BODY)
    server.break_next(PATH, Status(500), Cut(1000), Status(429, {"Retry-After": "9"}), Status(503))
    assert get() == BODY
    assert 9 in waits
    assert ranges(server) == [None, None, "bytes=1000-", "bytes=1000-", "bytes=1000-"]


def test_a_redirect_is_followed_with_the_range(server, client, get):
    server.put(PATH, BODY)
    server.put("/mirror", BODY)
    server.break_next(PATH, Cut(1000), Status(302, {"Location": server.address + "/mirror"}))
    assert get() == BODY
    assert server.gets("/mirror")[0].headers["Range"] == "bytes=1000-"


def test_a_chunked_answer_that_breaks_is_begun_again(server, get):
    server.put(PATH, BODY, length=False)
    server.break_next(PATH, BrokenChunks(5000))
    assert get() == BODY


def test_bytes_with_a_wrong_checksum_get_no_name(server, client, tmp_path):
    url = server.put(PATH, BODY)
    with pytest.raises(FetchError, match=f"give {md5(BODY)}, published is {md5(b'x')}; nothing was kept"):
        transfer(client, url, tmp_path / "a.fa.gz", md5(b"x"))
    assert list(tmp_path.iterdir()) == []
    assert len(server.gets(PATH)) == 1


def test_older_bytes_that_spoil_the_checksum_are_fetched_again_once(server, client, get, tmp_path):
    url = server.put(PATH, BODY)
    part = part_of(tmp_path / "a.fa.gz")
    part.write_bytes(b"\0" * 100)
    origin = {"url": url, "validator": '"first"', "total_bytes": len(BODY)}
    part.with_name(part.name + ".json").write_text(json.dumps(origin))
    assert get() == BODY
    assert ranges(server) == ["bytes=100-", None]


def test_a_server_that_always_breaks_at_the_same_byte_is_given_up(server, client, tmp_path):
    url = server.put(PATH, BODY, etag="", modified="")
    server.break_next(PATH, *[Cut(1000)] * 50)
    with pytest.raises(FetchError, match="ended after 1000 of 102400 bytes"):
        transfer(client, url, tmp_path / "a.fa.gz", md5(BODY))
    assert len(server.gets(PATH)) == 4
    assert not (tmp_path / "a.fa.gz").exists()


def test_a_stop_keeps_the_part_and_gives_no_name(server, client, get, tmp_path):
    url = server.put(PATH, BODY)
    server.break_next(PATH, Stall(1000))
    with pytest.raises(Stopped):
        transfer(client, url, tmp_path / "a.fa.gz", md5(BODY), progress=lambda *_: client.stop())
    assert part_of(tmp_path / "a.fa.gz").read_bytes() == BODY[:1000]
    assert not (tmp_path / "a.fa.gz").exists()
    client.stopped.clear()
    assert get() == BODY
    assert ranges(server) == [None, "bytes=1000-"]


def test_a_stop_is_heard_at_the_next_block(server, client, tmp_path, monkeypatch):
    monkeypatch.setattr("plantgfm.sources.transfer._BLOCK_BYTES", 1000)
    url = server.put(PATH, BODY)
    with pytest.raises(Stopped):
        transfer(client, url, tmp_path / "a.fa.gz", md5(BODY), progress=lambda *_: client.stop())
    assert part_of(tmp_path / "a.fa.gz").stat().st_size <= 1000


def test_a_file_that_the_disk_has_no_room_for_is_not_begun(server, client, tmp_path, monkeypatch):
    url = server.put(PATH, BODY)
    usage = type("Usage", (), {"free": len(BODY) - 1})
    monkeypatch.setattr("plantgfm.sources.transfer.shutil.disk_usage", lambda _: usage)
    with pytest.raises(FetchError, match="102,400 bytes, .* has 102,399 free"):
        transfer(client, url, tmp_path / "a.fa.gz", md5(BODY))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_final(server, client, tmp_path):
    with pytest.raises(FetchError, match="HTTP 404 Not Found; check the url"):
        transfer(client, server.address + PATH, tmp_path / "a.fa.gz", md5(BODY))
    assert list(tmp_path.iterdir()) == []
    assert len(server.gets(PATH)) == 1


def test_a_server_that_does_not_know_if_range_is_found_out(server, get):
    server.put(PATH, BODY)
    changed = BODY[::-1]

    def change(handler, running, content, start):
        Cut(1000)(handler, running, content, start)
        running.put(PATH, changed, etag='"second"')

    stale = {"Content-Range": "bytes 1000-102399/102400", "ETag": '"second"'}
    server.break_next(PATH, change, Headers(206, stale))
    seen = []
    assert get(changed, progress=lambda done, _: seen.append(done)) == changed
    assert ranges(server) == [None, "bytes=1000-", None]
    assert seen.count(len(BODY)) == 1, "the rest of another file was fetched in vain"


def test_pieces_of_two_files_are_fetched_again_once(server, get, client, tmp_path):
    url = server.put(PATH, BODY)
    other = {"Content-Range": "bytes 1000-102399/102400"}

    def wrong(handler, running, content, start):
        Headers(206, other)(handler, running, Content(content.body[::-1]), start)

    server.break_next(PATH, Cut(1000), wrong)
    assert get() == BODY
    assert ranges(server) == [None, "bytes=1000-", None]
    (tmp_path / "a.fa.gz").unlink()
    server.break_next(PATH, *[Cut(1000), wrong] * 5)
    with pytest.raises(FetchError, match="nothing was kept"):
        transfer(client, url, tmp_path / "a.fa.gz", md5(BODY))
    assert list(tmp_path.iterdir()) == [] and len(server.gets(PATH)) == 7


@pytest.mark.parametrize("length", ["1000", "-5", "x"])
def test_a_wrong_length_gives_no_file(server, client, tmp_path, length):
    url = server.put(PATH, BODY)
    server.break_next(PATH, Headers(200, {"Content-Length": length}))
    if length == "1000":
        with pytest.raises(FetchError, match="nothing was kept"):
            transfer(client, url, tmp_path / "a.fa.gz", md5(BODY))
        assert list(tmp_path.iterdir()) == []
    else:
        transfer(client, url, tmp_path / "a.fa.gz", md5(BODY))


def test_a_network_that_goes_away_is_waited_for(server, get, monkeypatch):
    server.put(PATH, BODY)
    server.break_next(PATH, Cut(1000))
    read, failures = http.client.HTTPResponse.read1, [OSError(113, "No route to host"), OSError(100, "Network is down")]

    def read1(self, size):
        if failures:
            raise failures.pop()
        return read(self, size)

    monkeypatch.setattr(http.client.HTTPResponse, "read1", read1)
    assert get() == BODY
    assert failures == [] and len(server.gets(PATH)) == 3


def test_a_disk_that_fills_up_is_named_and_the_next_call_goes_on(server, client, get, tmp_path, monkeypatch):
    url = server.put(PATH, BODY)
    server.break_next(PATH, Cut(1000))
    with monkeypatch.context() as patched:
        patched.setattr("plantgfm.sources.transfer._BLOCK_BYTES", 700)
        opened = Path.open

        def full(self, mode="r", *args, **kwargs):
            stream = opened(self, mode, *args, **({"buffering": 0} if mode == "ab" else {}), **kwargs)
            return Full(stream) if mode == "ab" else stream

        patched.setattr(Path, "open", full)
        with pytest.raises(FetchError, match=r"\.part cannot be written \(No space left on device\).*make room"):
            transfer(client, url, tmp_path / "a.fa.gz", md5(BODY))
    assert part_of(tmp_path / "a.fa.gz").read_bytes() == BODY[:700] and not (tmp_path / "a.fa.gz").exists()
    assert get() == BODY
    assert ranges(server)[-1] == "bytes=700-"


class Full:
    """A file on a disk with room for one write."""

    def __init__(self, stream):
        self._stream, self._writes = stream, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stream.close()

    def write(self, block):
        self._writes += 1
        if self._writes > 1:
            raise OSError(28, "No space left on device")
        return self._stream.write(block)


DAMAGED = (b"", b"[]", b"{", b"[" * 9000, b"\xff", b'{"url": 1}', b'{"url": "%s", "validator": 5, "total_bytes": "x"}')


@pytest.mark.parametrize("said", DAMAGED, ids=range(len(DAMAGED)))
def test_a_part_with_a_damaged_origin_is_not_trusted(server, get, tmp_path, said):
    url = server.put(PATH, BODY)
    part = part_of(tmp_path / "a.fa.gz")
    part.write_bytes(b"\0" * 100)
    part.with_name(part.name + ".json").write_bytes(said.replace(b"%s", url.encode()))
    assert get() == BODY
    assert ranges(server) == [None]
