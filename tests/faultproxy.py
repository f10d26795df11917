"""An HTTP proxy before a server that does to requests what networks and servers do: it cuts, stalls, answers
503, loses replies, is slow; and it counts bytes.

A test gives it a function that decides on each request::

    with FaultProxy(port) as proxy:
        proxy.decide = lambda request: LoseReply() if request.method == "PUT" else None
        ...
        assert proxy.requests["PUT"] == 2

It speaks HTTP/1.1 with ``Content-Length``, as obstore does, and keeps connections open.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

_CHUNK = 256 << 10


@dataclass(frozen=True)
class Answer:
    """Answer this instead of asking the server."""

    status: int
    body: bytes = b""


@dataclass(frozen=True)
class LoseReply:
    """Let the server do it, and close the connection instead of telling."""


@dataclass(frozen=True)
class CutReply:
    """Close the connection after so many bytes of the reply's body."""

    after: int


@dataclass(frozen=True)
class CutRequest:
    """Close the connection after so many bytes of the request's body; the server gets no whole request."""

    after: int = 0


@dataclass(frozen=True)
class StallReply:
    """Send so many bytes of the reply's body and then, for so many seconds, nothing."""

    after: int
    seconds: float


@dataclass(frozen=True)
class DropHeaders:
    """Leave these headers of the request out, as a server that does not know them would."""

    names: tuple[str, ...]


Fault = Answer | LoseReply | CutReply | CutRequest | StallReply | DropHeaders


@dataclass(frozen=True)
class Request:
    """What a test decides on. ``number`` counts all requests from 1."""

    number: int
    method: str
    path: str
    headers: dict[str, str] = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return int(self.headers.get("content-length", 0))


class FaultProxy:
    """Listens on ``port`` of this machine and hands on to ``upstream`` there.

    ``rate`` is the whole link's bytes a second in each direction (None: as fast as it goes), ``delay`` what
    each request waits, in seconds. ``sent`` and ``received`` count bytes of bodies and heads, from the client
    and to it; ``requests`` by method, ``log`` has all requests.
    """

    def __init__(self, upstream: int, *, rate: float | None = None, delay: float = 0) -> None:
        self.decide: Callable[[Request], Fault | None] = lambda request: None
        self.rate = rate
        self.delay = delay
        self.sent = self.received = 0
        self.requests: Counter[str] = Counter()
        self.log: list[Request] = []
        self._upstream = upstream
        self._guard = threading.Lock()
        self._ready_at = {"up": 0.0, "down": 0.0}
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def forget(self) -> None:
        """Begin to count anew."""
        with self._guard:
            self.sent = self.received = 0
            self.requests.clear()
            self.log.clear()

    def cut(self) -> None:
        """Break all connections that are open now."""
        with self._guard:
            held = list(self._open)
        for connection in held:
            _break(connection)

    def close(self) -> None:
        """Listen no more."""
        self._closed = True
        _break(self._listener)  # wakes who waits for connections
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        with self._guard:
            self._open.add(client)
        try:
            server = socket.create_connection(("127.0.0.1", self._upstream))
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._guard:
                self._open.add(server)
            while self._one(client, server):
                pass
        except OSError:
            pass  # a side is gone, as it may be
        finally:
            with self._guard:
                self._open.discard(client)
                if server is not None:
                    self._open.discard(server)
            client.close()
            if server is not None:
                server.close()

    def _one(self, client: socket.socket, server: socket.socket) -> bool:
        """One request and its reply; False where the connection ends."""
        read = _read_head(client)
        if read is None:
            return False
        head, rest = read
        first, headers = _parse(head)
        method, path, _ = first.split(" ", 2)
        with self._guard:
            self.requests[method] += 1
            request = Request(len(self.log) + 1, method, path, headers)
            self.log.append(request)
        self._count(len(head), "up")
        if self.delay:
            time.sleep(self.delay)
        fault = self.decide(request)
        if isinstance(fault, CutRequest):
            server.sendall(head)
            self._relay(client, server, rest, min(fault.after, request.size), "up")
            return False
        if isinstance(fault, Answer):
            _swallow(client, request.size - len(rest))
            text = f"HTTP/1.1 {fault.status} As told\r\nContent-Length: {len(fault.body)}\r\n\r\n"
            client.sendall(text.encode() + fault.body)
            return True
        if isinstance(fault, DropHeaders):
            head = _without(head, fault.names)
        server.sendall(head)
        if "100-continue" in headers.get("expect", ""):
            raise AssertionError("this proxy does not know Expect")
        self._relay(client, server, rest, request.size, "up")
        return self._reply(client, server, method, fault)

    def _reply(self, client: socket.socket, server: socket.socket, method: str, fault: Fault | None) -> bool:
        read = _read_head(server)
        if read is None:
            return False
        head, rest = read
        first, headers = _parse(head)
        status = int(first.split(" ", 2)[1])
        empty = method == "HEAD" or status in (204, 304)
        if "chunked" in headers.get("transfer-encoding", ""):
            raise AssertionError("this proxy does not know chunks")
        size = 0 if empty else int(headers.get("content-length", 0))
        if isinstance(fault, LoseReply):
            _swallow(server, size - len(rest))
            return False
        client.sendall(head)
        self._count(len(head), "down")
        if isinstance(fault, CutReply):
            self._relay(server, client, rest, min(fault.after, size), "down")
            return False
        if isinstance(fault, StallReply) and fault.after < size:
            left = self._relay(server, client, rest, fault.after, "down")
            time.sleep(fault.seconds)
            self._relay(server, client, left, size - fault.after, "down")
            return True
        self._relay(server, client, rest, size, "down")
        return headers.get("connection", "").lower() != "close"

    def _relay(self, source: socket.socket, target: socket.socket, held: bytes, size: int, way: str) -> bytes:
        """Hand on so many bytes, those that were read already first; returns what was read beyond."""
        ours, beyond = held[:size], held[size:]
        if ours:
            self._count(len(ours), way)
            target.sendall(ours)
        left = size - len(ours)
        while left:
            chunk = source.recv(min(_CHUNK, left))
            if not chunk:
                raise ConnectionError("the other side ended")
            self._count(len(chunk), way)
            target.sendall(chunk)
            left -= len(chunk)
        return beyond

    def _count(self, size: int, way: str) -> None:
        """Count bytes, and wait until the link has room for them."""
        with self._guard:
            if way == "up":
                self.sent += size
            else:
                self.received += size
            if self.rate is None:
                return
            now = time.monotonic()
            begin = max(now, self._ready_at[way])
            self._ready_at[way] = begin + size / self.rate
            wait = self._ready_at[way] - now
        if wait > 0.001:
            time.sleep(wait)


def _read_head(source: socket.socket) -> tuple[bytes, bytes] | None:
    """Head of a message, its empty line included, and what was read behind it; None at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = source.recv(_CHUNK)
        if not chunk:
            return None
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _parse(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}


def _without(head: bytes, names: tuple[str, ...]) -> bytes:
    lines = head.split(b"\r\n")
    return b"\r\n".join(
        line for line in lines if line.partition(b":")[0].decode("latin-1").lower() not in names
    )


def _swallow(source: socket.socket, size: int) -> None:
    while size > 0:
        chunk = source.recv(min(_CHUNK, size))
        if not chunk:
            return
        size -= len(chunk)


def _break(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
