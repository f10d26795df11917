"""A backend before another one, which counts what is asked of it: requests by kind, and bytes both ways.

A request here is a call of a backend's method, and what a store in a bucket pays for. What repeats them, or
makes several of one (``get_ranges``, pages of a list), lies behind it and is not seen.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from mvc.backends.base import Backend

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class RecordingBackend(Backend):
    """Does what ``backend`` does, and counts.

    ``requests`` by the methods' names, ``places`` by the first part of their key; ``read_bytes`` and
    ``written_bytes``, of objects. Safe to use from several threads.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.request_bytes = backend.request_bytes
        self.requests: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        self.read_bytes = 0
        self.written_bytes = 0
        self._guard = threading.Lock()

    def reset(self) -> None:
        """Count anew."""
        with self._guard:
            self.requests.clear()
            self.places.clear()
            self.read_bytes = self.written_bytes = 0

    def get(self, key: str) -> bytes:
        """All bytes of an object."""
        self._count("get", key)
        data = self.backend.get(key)
        self._moved(len(data), 0)
        return data

    def view(self, key: str) -> Buffer:
        """All bytes of an object; all are counted, however few are looked at."""
        self._count("get", key)
        data = memoryview(self.backend.view(key))
        self._moved(data.nbytes, 0)
        return data

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``."""
        self._count("get_range", key)
        data = self.backend.get_range(key, offset, length)
        self._moved(len(data), 0)
        return data

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Several parts of one object; each counts as a request, though neighbours may come in one."""
        for _ in ranges:
            self._count("get_range", key)
        parts = self.backend.get_ranges(key, ranges)
        self._moved(sum(map(len, parts)), 0)
        return parts

    def put(self, key: str, pieces: Sequence[Buffer]) -> bool:
        """Create an object; False if there is one already."""
        self._count("put", key)
        self._moved(0, sum(memoryview(piece).nbytes for piece in pieces))
        return self.backend.put(key, pieces)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys that begin with ``prefix``, ascending, with sizes."""
        self._count("list", prefix)
        return self.backend.list(prefix)

    def some_key(self, *, but: Collection[str] = ()) -> str | None:
        """Any key that is there but these."""
        self._count("list", "")
        return self.backend.some_key(but=but)

    def delete(self, key: str) -> None:
        """Remove an object if there is one."""
        self._count("delete", key)
        self.backend.delete(key)

    def replace(self, key: str, expected: bytes | None, data: bytes) -> None:
        """Compare and swap."""
        self._count("replace", key)
        self._moved(0, len(data))
        self.backend.replace(key, expected, data)

    def _count(self, kind: str, key: str) -> None:
        with self._guard:
            self.requests[kind] += 1
            self.places[key.split("/", 1)[0]] += 1

    def _moved(self, read: int, written: int) -> None:
        with self._guard:
            self.read_bytes += read
            self.written_bytes += written
