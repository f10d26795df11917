"""A store in memory: for tests, and for work that need not outlive the process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mvc.backends.base import NEAR_BYTES, Backend, NotFound, check_key, check_range, folder_of
from mvc.errors import RootMoved

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class MemoryBackend(Backend):
    """Objects in a dictionary."""

    request_bytes = NEAR_BYTES

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes:
        """All bytes of an object."""
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise NotFound(f"there is no {key}") from None

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``."""
        data = self.get(key)
        check_range(key, offset, length, len(data))
        return data[offset : offset + length]

    def put(self, key: str, pieces: Sequence[Buffer]) -> bool:
        """Create an object; False if there is one already."""
        data = b"".join(pieces)
        with self._lock:
            if check_key(key) in self._objects:
                return False
            self._objects[key] = data
            return True

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys that begin with ``prefix``, ascending, with sizes."""
        folder_of(prefix)
        with self._lock:
            found = sorted((key, len(data)) for key, data in self._objects.items() if key.startswith(prefix))
        return iter(found)

    def delete(self, key: str) -> None:
        """Remove an object if there is one."""
        with self._lock:
            self._objects.pop(check_key(key), None)

    def replace(self, key: str, expected: bytes | None, data: bytes) -> None:
        """Compare and swap."""
        with self._lock:
            if self._objects.get(check_key(key)) != expected:
                raise RootMoved(f"{key} was changed by somebody else")
            self._objects[key] = data
