"""HTTP as a polite guest: time-outs, retries with backoff and jitter, Retry-After, a pause between requests."""

from __future__ import annotations

import email.utils
import http.client
import random
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TypeVar
from urllib.parse import urlsplit
from weakref import WeakSet

from plantgfm.formats.numbers import is_whole
from plantgfm.sources.config import FetchConfig
from plantgfm.sources.errors import FetchError, said

RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_NO_HEAD_STATUS = frozenset({403, 405, 501})
"""Answers to HEAD that say nothing of GET: an address signed for GET alone answers HEAD with 403."""

_LIST_BYTES = 64 << 20  # a checksum list is smaller; more is no list
_HEADERS = {"User-Agent": "plantgfm (genome fetch)", "Accept-Encoding": "identity"}
Result = TypeVar("Result")


class TransientError(Exception):
    """A failure that may pass: no connection, a stall, a cut, a busy server.

    Attributes:
        retry_after_s: what the server asked for, where it did.
        progressed: bytes arrived before the failure, so that the count of attempts starts again.
        unreached: the host that took no connection, "" where one did.
    """

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, progressed: bool = False, unreached: str = ""
    ):
        self.retry_after_s, self.progressed, self.unreached = retry_after_s, progressed, unreached
        super().__init__(message)


class UnreachedError(FetchError):
    """A host that took no connection, in a command that nothing has answered: most often there is no network."""

    def __init__(self, host: str, reason: str):
        self.host, self.reason = host, reason
        way_out = "check the network, or the proxy in https_proxy; then the same command again"
        super().__init__(f"{host} cannot be reached ({reason}); {way_out}")


class RefusedError(FetchError):
    """A server that answers with a status which no other try would change."""

    def __init__(self, message: str, *, status: int):
        self.status = status
        super().__init__(message)


class Stopped(Exception):
    """Someone asked the downloads to stop."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, Range and If-Range with them, but never from https down to http, nor out of HTTP."""

    def http_error_302(self, req, fp, code, msg, headers):
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError:  # also of an address that is none; only an HTTPError keeps the answer, to be closed with it
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise FetchError(f"{req.full_url} redirects to {newurl}, away from https; correct the catalogue's url")
        if not newurl.startswith(("http:", "https:")):
            raise FetchError(f"{req.full_url} redirects to {said(newurl)}, no web address; correct the catalogue's url")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _handlers(watch: Callable[[socket.socket], None], connect_s: float) -> tuple[urllib.request.BaseHandler, ...]:
    """Handlers of http and https that show every socket to `watch`: one that waits can be woken from outside only."""

    class Prompt:
        """Takes a connection within `connect_s`; then what is read may take its own time."""

        def connect(self):
            stall_s, self.timeout = self.timeout, min(connect_s, self.timeout)
            super().connect()
            self.sock.settimeout(stall_s)
            self.timeout = stall_s
            watch(self.sock)

    class Plain(Prompt, http.client.HTTPConnection):
        pass

    class Secure(Prompt, http.client.HTTPSConnection):
        pass

    class Http(urllib.request.HTTPHandler):
        def http_open(self, req):
            return self.do_open(Plain, req)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, req):
            return self.do_open(Secure, req, context=ssl.create_default_context())

    return Http(), Https()


def _shut(opened: socket.socket) -> None:
    with suppress(OSError):  # closed already
        opened.shutdown(socket.SHUT_RDWR)


class Client:
    """Opens URLs; shared by the threads of one fetch."""

    def __init__(
        self,
        config: FetchConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
        draw: Callable[[], float] = random.random,
        tell: Callable[[str], None] | None = None,
    ):
        self.config = config
        self._tell = tell or (lambda _: None)
        self._reached = False  # something has taken a connection
        self._unreached: dict[str, UnreachedError] = {}
        self.stopped = threading.Event()
        self._clock, self._draw = clock, draw
        self._sleep = self._wait if sleep is None else sleep
        self._next_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._opener = urllib.request.build_opener(_Redirects, *_handlers(self._watch, config.connect_s))

    def stop(self) -> None:
        """End every wait and every transfer at its next block; who waits for a block is woken."""
        self.stopped.set()
        with self._lock:
            for waiting in self._sockets:
                _shut(waiting)

    def _watch(self, opened: socket.socket) -> None:
        with self._lock:
            self._reached = True
            self._sockets.add(opened)
        if self.stopped.is_set():
            _shut(opened)

    def _wait(self, seconds: float) -> None:
        self.stopped.wait(seconds)

    def open(self, url: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        """The response to one request; waits for the host's turn first.

        Raises:
            TransientError: a failure worth another try.
            FetchError: any other status, an address that answers with no HTTP.
        """
        self._take_turn(urlsplit(url).hostname or "")
        try:
            request = urllib.request.Request(url, method=method, headers={**_HEADERS, **(headers or {})})
            return self._opener.open(request, timeout=self.config.stall_s)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the caller asked for a range and knows what its refusal means
                return error
            with closing(error):
                if error.code in RETRIED_STATUS:
                    wait_s = retry_after(error.headers.get("Retry-After"))
                    raise TransientError(f"HTTP {error.code} {said(error.reason)}", retry_after_s=wait_s) from None
                reason = f"HTTP {error.code} {said(error.reason)}"
            raise RefusedError(f"{url}: {reason}; check the url of the catalogue", status=error.code) from None
        except FetchError:
            raise
        except (http.client.InvalidURL, ValueError) as error:  # an address that is none
            raise FetchError(f"{said(url)}: {said(error)}; check the url of the catalogue") from None
        except (http.client.HTTPException, OSError) as error:  # URLError is an OSError
            if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
                way_out = "check the clock, a proxy on the way, and SSL_CERT_FILE"
                raise FetchError(f"{url}: its certificate is not trusted ({said(error.reason)}); {way_out}") from None
            # What fails behind the connection is no URLError.
            host = (urlsplit(url).hostname or "") if isinstance(error, urllib.error.URLError) else ""
            reason = said(getattr(error, "reason", None) or error or type(error).__name__)
            raise TransientError(reason, unreached=host) from None

    def _take_turn(self, host: str) -> None:
        with self._lock:
            now = self._clock()
            turn = max(now, self._next_at.get(host, now))
            self._next_at[host] = turn + self.config.host_interval_s
        if turn > now:
            self._sleep(turn - now)
        if self.stopped.is_set():
            raise Stopped

    def persist(self, action: Callable[[], Result], what: str) -> Result:
        """The action's result, tried again after transient failures.

        The wait is drawn between 0 and a bound that doubles up to `backoff_max_s` ("full jitter"), or is what the
        server asked for. Attempts that brought bytes do not count. Every wait is told, with its reason.

        Raises:
            UnreachedError: `unreached_attempts` failures to reach a host while nothing else was reached either; from
                then on at once.
            FetchError: `attempts` failures in a row, or a server that asks for a wait beyond `retry_after_max_s`.
        """
        host, failures = urlsplit(what).hostname or "", 0
        if host in self._unreached:
            raise self._unreached[host]
        while True:
            try:
                return action()
            except TransientError as error:
                if self.stopped.is_set():
                    raise Stopped from None
                failures = 1 if error.progressed else failures + 1
                attempts = self.config.attempts
                if error.unreached and not self._reached:
                    attempts = min(attempts, self.config.unreached_attempts)
                    if failures >= attempts:
                        self._unreached[host] = UnreachedError(error.unreached, f"{error}, {failures} attempts")
                        raise self._unreached[host] from None
                if failures >= attempts:
                    raise FetchError(f"{what}: {error} ({failures} attempts without a byte); try again later") from None
                pause_s = self._pause(failures, error, what)
                self._tell(f"{what}: {error}; attempt {failures + 1} of {attempts} in {pause_s:.0f} s")
                self._sleep(pause_s)
                if self.stopped.is_set():
                    raise Stopped from None

    def _pause(self, failures: int, error: TransientError, what: str) -> float:
        bound = min(self.config.backoff_s * 2 ** (failures - 1), self.config.backoff_max_s)
        if error.retry_after_s is None:
            return bound * self._draw()
        if error.retry_after_s > self.config.retry_after_max_s:
            raise FetchError(
                f"{what}: {error}; the server asks for {error.retry_after_s:.0f} s, try again then"
            ) from None
        return error.retry_after_s

    def text(self, url: str) -> str:
        """A small text, such as a checksum list, with retries."""

        def once() -> str:
            with self.open(url) as response:
                try:
                    body = response.read(_LIST_BYTES + 1)
                except (http.client.HTTPException, OSError) as error:
                    raise TransientError(f"cut short ({error!r})") from None
            expected = stated_length(response)
            if expected is not None and len(body) < min(expected, _LIST_BYTES + 1):
                raise TransientError(f"cut short after {len(body)} of {expected} bytes")
            if len(body) > _LIST_BYTES:
                raise FetchError(f"{url}: over {_LIST_BYTES} bytes, no checksum list; check the catalogue")
            return body.decode("utf-8", "replace")

        return self.persist(once, url)

    def size(self, url: str) -> int | None:
        """Bytes of a file by a HEAD request with retries; None where the server does not say.

        A server that answers no HEAD is asked for the first byte, which tells the size as well.
        """

        def once() -> int | None:
            try:
                with self.open(url, method="HEAD") as response:
                    return stated_length(response)
            except RefusedError as error:
                if error.status not in _NO_HEAD_STATUS:
                    raise
            with self.open(url, headers={"Range": "bytes=0-0"}) as response:  # the rest, if it comes, is not read
                return _ranged_length(response)

        return self.persist(once, url)


def stated_length(response: http.client.HTTPResponse) -> int | None:
    """Bytes by Content-Length; None where the header is absent or no number."""
    text = response.headers.get("Content-Length", "")
    return int(text) if is_whole(text) else None


def _ranged_length(response: http.client.HTTPResponse) -> int | None:
    """Bytes of the whole file, as the answer to a range tells; None where it does not."""
    if response.status == 200:  # a server without ranges sends all of it
        return stated_length(response)
    total = response.headers.get("Content-Range", "").rpartition("/")[2].strip()
    return int(total) if is_whole(total) else None


def retry_after(value: str | None, *, now: Callable[[], float] = time.time) -> float | None:
    """Seconds that a Retry-After header asks for: a number or a date (RFC 9110, 10.2.3); None where it says nothing."""
    if value is None:
        return None
    if is_whole(value.strip()):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now())
    except (ValueError, TypeError, IndexError, OverflowError):  # what email.utils lets through of broken dates
        return None
