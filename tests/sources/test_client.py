"""Waits are bounded and polite, retries end, and what a server asks for is heard."""

import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest

from plantgfm.sources.client import (
    Client,
    Stopped,
    TransientError,
    UnreachedError,
    _Redirects,
    retry_after,
    stated_length,
)
from plantgfm.sources.config import FetchConfig
from plantgfm.sources.errors import FetchError
from tests.sources.server import Cut, Raw, Stall, Status


def test_the_wait_doubles_up_to_its_bound_and_is_drawn_below_it(waits):
    def fail():
        raise TransientError("no")

    config = FetchConfig(attempts=6, backoff_s=1, backoff_max_s=5)
    with pytest.raises(FetchError, match=r"it: no \(6 attempts"):
        Client(config, sleep=waits, draw=lambda: 1.0).persist(fail, "it")
    assert waits == [1, 2, 4, 5, 5]
    waits.clear()
    with pytest.raises(FetchError):
        Client(config, sleep=waits, draw=lambda: 0.5).persist(fail, "it")
    assert waits == [0.5, 1, 2, 2.5, 2.5]


def test_a_try_that_brought_bytes_starts_the_count_again(client):
    tries = iter([False, False, False, True, False, False, True, False, False])

    def fail():
        raise TransientError("no", progressed=next(tries))

    with pytest.raises(StopIteration):
        client.persist(fail, "it")  # 4 attempts are allowed; nine are made


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server, client, status):
    url = server.put("/list", b"text")
    server.break_next("/list", Status(status), Status(status))
    assert client.text(url) == "text"
    assert len(server.gets("/list")) == 3


def test_the_server_says_how_long_to_wait(server, client, waits):
    url = server.put("/list", b"text")
    server.break_next("/list", Status(429, {"Retry-After": "17"}), Status(503, {"Retry-After": "nonsense"}))
    assert client.text(url) == "text"
    assert waits == [17, 2]


def test_a_server_that_asks_for_too_long_a_wait_is_given_up(server, client, waits):
    url = server.put("/list", b"text")
    server.break_next("/list", Status(429, {"Retry-After": "86400"}))
    with pytest.raises(FetchError, match="asks for 86400 s"):
        client.text(url)
    assert waits == []


def test_retry_after_is_a_number_or_a_date():
    assert retry_after(None) is None
    assert retry_after("3") == 3
    assert retry_after("Thu, 01 Jan 1970 00:01:40 GMT", now=lambda: 40.0) == 60
    assert retry_after("Thu, 01 Jan 1970 00:01:40 GMT", now=lambda: 400.0) == 0
    for text in ("soon", "-1", "1e9", "\xb2", "", "Thu, 01 Jan 99999 00:00:00 GMT", "Thu, 32 Foo 1970", "0" * 40):
        assert retry_after(text) is None, text


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_final(server, client, status):
    url = server.put("/list", b"text")
    server.break_next("/list", Status(status))
    with pytest.raises(FetchError, match=f"HTTP {status}"):
        client.text(url)
    assert len(server.gets("/list")) == 1


def test_no_server_is_an_error_with_its_address(server, client, waits):
    server.put("/list", b"text")
    client.text(server.address + "/list")  # something answers: there is a network, and patience for this host
    with pytest.raises(FetchError, match=r"http://127\.0\.0\.1:1/x: .*refused"):
        client.text("http://127.0.0.1:1/x")
    assert len(waits) == client.config.attempts - 1


def test_without_a_network_it_ends_soon_and_tells_every_wait(waits, monkeypatch):
    asked, lines = [], []

    def no_name(host, *_, **__):
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    config = FetchConfig(attempts=8, unreached_attempts=3, host_interval_s=0)
    client = Client(config, sleep=waits, draw=lambda: 1.0, tell=lines.append)
    for path in ("a", "b", "c"):  # a host is given up once
        with pytest.raises(UnreachedError, match=r"^no\.where cannot be reached \(.* 3 attempts\); .*https_proxy"):
            client.size(f"https://no.where/{path}")
    assert asked == ["no.where"] * 3 and waits == [1.0, 2.0]
    assert [line.rpartition("; ")[2] for line in lines] == ["attempt 2 of 3 in 1 s", "attempt 3 of 3 in 2 s"]


def test_a_host_that_takes_no_connection_is_not_waited_for_as_long_as_one_that_stalls(server, waits, monkeypatch):
    asked, connect = [], socket.create_connection

    def recorded(address, timeout, *rest, **more):
        asked.append(timeout)
        return connect(address, timeout, *rest, **more)

    monkeypatch.setattr(socket, "create_connection", recorded)
    client, url = Client(FetchConfig(connect_s=5, stall_s=40), sleep=waits), server.put("/a", b"12345")
    with client.open(url) as response:
        assert response.fp.raw._sock.gettimeout() == 40
    assert asked == [5]


def test_a_list_that_is_cut_short_is_read_again(server, client):
    url = server.put("/list", b"a long text")
    server.break_next("/list", Cut(3))
    assert client.text(url) == "a long text"


def test_a_redirect_in_a_circle_ends(server, client):
    server.break_next("/a", *[Status(302, {"Location": "/a"})] * 20)
    with pytest.raises(FetchError, match="HTTP 302"):
        client.text(server.address + "/a")
    assert len(server.gets("/a")) < 10  # not a circle for each attempt


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:,x", "http://[x", "//["])
def test_a_redirect_out_of_the_web_is_refused_at_once(server, client, to):
    server.break_next("/a", Status(302, {"Location": to}))
    with pytest.raises(FetchError) as caught:
        client.text(server.address + "/a")
    assert str(caught.value).isprintable() and "catalogue" in str(caught.value)
    assert len(server.requests) == 1


def test_a_redirect_to_another_host_is_followed(server, client):
    server.put("/b", b"text")
    other = server.address.replace("127.0.0.1", "localhost")
    server.break_next("/a", Status(302, {"Location": f"{other}/b"}), Status(302, {"Location": "b"}))
    assert client.text(server.address + "/a") == client.text(server.address + "/a") == "text"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_an_answer_that_is_no_http_is_asked_for_again(server, client, answer):
    url = server.put("/list", b"text")
    server.break_next("/list", Raw(answer))
    assert client.text(url) == "text"
    assert len(server.gets("/list")) == 2


def test_what_a_server_says_cannot_write_on_the_terminal(server, client):
    server.break_next("/a", Raw(b"HTTP/1.1 404 \x1b[31mgone\x07" + b"!" * 5000 + b"\r\n\r\n"))
    with pytest.raises(FetchError, match="HTTP 404") as caught:
        client.text(server.address + "/a")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


@pytest.mark.parametrize("length", ["\xb2", "-1", "1e3", "x", "9" * 40])
def test_a_length_that_is_no_number_is_no_length(server, client, length):
    answer = f"HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n".encode("latin-1")
    server.put("/a", b"text")
    server.break_next("/a", Raw(answer + b"text"))
    assert client.text(server.address + "/a") == "text"
    assert stated_length(SimpleNamespace(headers={"Content-Length": length})) is None


@pytest.mark.parametrize("to", ["http://exa mple.org/a", "http://127.0.0.1:port/a", "no address"])
def test_an_address_that_is_none_is_final(client, waits, to):
    with pytest.raises(FetchError, match="check the url of the catalogue"):
        client.text(to)
    assert waits == []


def test_a_certificate_that_is_not_trusted_is_final(client, waits, monkeypatch):
    def fail(*_, **__):
        raise urllib.error.URLError(ssl.SSLCertVerificationError(1, "self-signed certificate"))

    monkeypatch.setattr(client._opener, "open", fail)
    with pytest.raises(FetchError, match="is not trusted .*self-signed.*; check the clock"):
        client.text("https://example.org/a")
    assert waits == []


@pytest.mark.parametrize("attempts", [1, 8])
def test_a_stop_wakes_a_request_that_waits(server, attempts):
    client, url, ended = Client(FetchConfig(stall_s=600, attempts=attempts)), server.put("/a", b"12345"), []
    server.break_next("/a", Stall(2, hold_s=600))

    def ask():
        with pytest.raises(Stopped):
            client.text(url)
        ended.append(True)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    while not server.gets("/a"):
        time.sleep(0.01)
    client.stop()
    asking.join(timeout=120)
    assert ended == [True]


def test_a_redirect_does_not_leave_encryption():
    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(FetchError, match="redirects to http://example.org/b, away from https"):
        _Redirects().redirect_request(request, None, 302, "Found", {}, "http://example.org/b")
    moved = _Redirects().redirect_request(request, None, 302, "Found", {}, "https://example.org/b")
    assert moved.full_url == "https://example.org/b"


def test_requests_to_one_host_keep_their_distance(server, waits):
    url = server.put("/list", b"text")
    client = Client(FetchConfig(host_interval_s=3), sleep=waits, clock=lambda: waits.now)
    for _ in range(3):
        client.text(url)
    assert waits == [3, 3]
    client.text(url.replace("127.0.0.1", "localhost"))
    assert waits == [3, 3]


@pytest.mark.parametrize("status", [403, 405, 501])
@pytest.mark.parametrize(
    ("body", "how", "size"),
    [
        (b"12345", {}, 5),
        (b"12345", {"ranges": False}, 5),
        (b"12345", {"length": False}, None),
        (b"12345", {"ranges": False, "length": False}, None),
        (b"", {}, 0),
    ],
)
def test_a_server_that_answers_no_head_is_asked_for_the_first_byte(server, client, status, body, how, size):
    assert client.size(server.put("/a", body, head_status=status, **how)) == size
    assert [request.method for request in server.requests] == ["HEAD", "GET"]
    assert server.requests[1].headers["Range"] == "bytes=0-0"


def test_a_file_that_is_not_there_is_not_asked_for_twice(server, client):
    with pytest.raises(FetchError, match="HTTP 404"):
        client.size(server.address + "/none")
    assert [request.method for request in server.requests] == ["HEAD"]


def test_the_size_comes_without_the_file(server, client):
    assert client.size(server.put("/a", b"12345")) == 5
    assert client.size(server.put("/b", b"12345", length=False)) is None
    assert {request.method for request in server.requests} == {"HEAD"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"attempts": 0}, "attempts=0"),
        ({"stall_s": 0}, "stall_s=0"),
        ({"host_interval_s": -1}, "host_interval_s=-1"),
        ({"unreached_attempts": 0}, "unreached_attempts=0"),
        ({"connect_s": 0}, "connect_s=0"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        FetchConfig(**setting)
