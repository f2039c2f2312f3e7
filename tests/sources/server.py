"""A server on this machine that behaves, or misbehaves as it is told: no test of this room needs the network."""

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Content:
    """A file as the server has it."""

    body: bytes
    etag: str = '"first"'
    modified: str = "Wed, 01 Jan 2025 00:00:00 GMT"
    ranges: bool = True
    length: bool = True
    head_status: int = 200  # of the answer to HEAD; another one where the server does not know that method


@dataclass
class Request:
    """What the server was asked."""

    method: str
    path: str
    headers: dict[str, str]


class Server:
    """Contents by path, and faults by path: each is used up by one GET, in order."""

    def __init__(self, address: str):
        self.address = address
        self.contents: dict[str, Content] = {}
        self.faults: dict[str, list] = {}
        self.requests: list[Request] = []
        self.done = threading.Event()
        self.outwaited: list[str] = []  # paths whose client stayed to the end of a stall

    def put(self, path: str, body: bytes, **kwargs) -> str:
        self.contents[path] = Content(body, **kwargs)
        return self.address + path

    def break_next(self, path: str, *faults) -> None:
        self.faults.setdefault(path, []).extend(faults)

    def gets(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.method == "GET" and request.path == path]


@dataclass
class Status:
    """Answer with a status and headers, and no content."""

    code: int
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(self, handler, _server, _content, _start):
        handler.send_response(self.code)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()


@dataclass
class Cut:
    """Promise all and close after some bytes."""

    after_bytes: int

    def __call__(self, handler, _server, content, start):
        head(handler, content, start)
        handler.wfile.write(content.body[start : start + self.after_bytes])


@dataclass
class Stall(Cut):
    """Send some bytes, then nothing, with the connection open."""

    hold_s: float = 10

    def __call__(self, handler, server, content, start):
        super().__call__(handler, server, content, start)
        handler.wfile.flush()
        if not server.done.wait(self.hold_s):
            server.outwaited.append(handler.path)


@dataclass
class Raw:
    """Bytes as they are, in place of an answer."""

    content: bytes

    def __call__(self, handler, _server, _content, _start):
        handler.wfile.write(self.content)


@dataclass
class Headers:
    """Answer a range with other headers than it should have."""

    code: int
    headers: dict[str, str]

    def __call__(self, handler, _server, content, start):
        handler.send_response(self.code)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content.body[start:])


@dataclass
class BrokenChunks:
    """A chunked answer that ends inside a chunk."""

    after_bytes: int

    def __call__(self, handler, _server, content, _start):
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("ETag", content.etag)
        handler.end_headers()
        handler.wfile.write(f"{len(content.body):x}\r\n".encode() + content.body[: self.after_bytes])


def head(handler, content: Content, start: int) -> None:
    size = len(content.body)
    handler.send_response(206 if start else 200)
    if content.etag:
        handler.send_header("ETag", content.etag)
    if content.modified:
        handler.send_header("Last-Modified", content.modified)
    if content.length:
        handler.send_header("Content-Length", str(size - start))
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
    handler.end_headers()


def first_byte(handler, content: Content) -> None:
    """The answer to `Range: bytes=0-0`."""
    size = len(content.body)
    handler.send_response(206 if size else 416)
    handler.send_header("Content-Range", f"bytes {'0-0' if size else '*'}/{size if content.length else '*'}")
    handler.end_headers()
    handler.wfile.write(content.body[:1])


def start_of(headers, content: Content) -> int:
    """The byte that a request asks to go on from: 0 where the file is no longer the one it means."""
    match = re.fullmatch(r"bytes=([0-9]+)-", headers.get("Range", ""))
    valid = headers.get("If-Range") in (content.etag, content.modified)
    return int(match[1]) if match and valid and content.ranges else 0


def handler_of(server_of):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer("HEAD")

        def do_GET(self):
            self.answer("GET")

        def answer(self, method):
            server = server_of()
            server.requests.append(Request(method, self.path, dict(self.headers)))
            content = server.contents.get(self.path)
            faults = server.faults.get(self.path)
            if method == "GET" and faults:
                faults.pop(0)(self, server, content, start_of(self.headers, content) if content else 0)
            elif content is None:
                Status(404)(self, server, None, 0)
            elif method == "HEAD" and content.head_status != 200:
                Status(content.head_status)(self, server, content, 0)
            elif self.headers.get("Range") == "bytes=0-0" and content.ranges:
                first_byte(self, content)
            else:
                start = start_of(self.headers, content)
                if start and start >= len(content.body):
                    Status(416)(self, server, content, start)
                    return
                head(self, content, start)
                if method == "GET":
                    self.wfile.write(content.body[start:])

    return Handler


@contextmanager
def serving():
    """A Server, until the block ends."""
    servers = []
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_of(lambda: servers[0])) as http:
        http.handle_error = lambda *_: None  # a client that hangs up is part of the tests
        servers.append(Server(f"http://127.0.0.1:{http.server_address[1]}"))
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield servers[0]
        finally:
            servers[0].done.set()
            http.shutdown()
            thread.join()
