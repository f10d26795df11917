"""A backend that counts requests, bytes and round trips, and takes as long as a network would."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mvc.backends.base import Backend

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class CountingBackend(Backend):
    """Does what ``backend`` does. ``rounds`` counts what waited for each other: a request that begins when
    none is under way begins a round. ``request_bytes`` are those of a bucket."""

    request_bytes = Backend.request_bytes

    def __init__(self, backend: Backend, seconds: float = 0.0) -> None:
        self._backend = backend
        self._seconds = seconds
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Count anew."""
        self.requests: Counter[str] = Counter()
        self.read: Counter[str] = Counter()
        self.rounds = 0
        self._under_way = 0

    @property
    def total(self) -> int:
        """Requests of all kinds."""
        return sum(self.requests.values())

    def _ask(self, key: str) -> str:
        kind = key.split("/")[0]
        with self._lock:
            self.requests[kind] += 1
            self.rounds += self._under_way == 0
            self._under_way += 1
        threading.Event().wait(self._seconds)
        return kind

    def _answered(self, kind: str, count: int) -> None:
        with self._lock:
            self._under_way -= 1
            self.read[kind] += count

    def get(self, key: str) -> bytes:
        kind, data = self._ask(key), b""
        try:
            data = self._backend.get(key)
        finally:
            self._answered(kind, len(data))
        return data

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        kind, data = self._ask(key), b""
        try:
            data = self._backend.get_range(key, offset, length)
        finally:
            self._answered(kind, len(data))
        return data

    def put(self, key: str, pieces: Sequence[Buffer]) -> bool:
        return self._backend.put(key, pieces)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        self._answered(self._ask("list"), 0)
        return self._backend.list(prefix)

    def delete(self, key: str) -> None:
        self._backend.delete(key)

    def replace(self, key: str, expected: bytes | None, data: bytes) -> None:
        self._backend.replace(key, expected, data)
