"""A byte-bounded cache of decoded objects, least recently used out first.

Each is kept with the depth of the record that it came from: a record of depth d may only lean on records of
smaller depth, and a cache must not hide that there is none.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from mvc.objectid import ObjectId


class PlainCache:
    """Plain bytes by id, at most ``limit_bytes`` of them. Safe to use from several threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held = 0
        self._items: OrderedDict[ObjectId, tuple[bytes, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, identity: ObjectId, below: int) -> bytes | None:
        """The bytes, if they came from a record of a depth below that; else None."""
        with self._lock:
            found = self._items.get(identity)
            if found is None or found[1] >= below:
                return None
            self._items.move_to_end(identity)
            return found[0]

    def put(self, identity: ObjectId, plain: bytes, depth: int) -> None:
        """Keep bytes, dropping older ones to stay within the limit."""
        if len(plain) > self._limit // 4:
            return
        with self._lock:
            known = self._items.get(identity)
            if known is not None:
                self._items[identity] = plain, min(depth, known[1])
                return
            self._items[identity] = plain, depth
            self._held += len(plain)
            while self._held > self._limit:
                _old, dropped = self._items.popitem(last=False)
                self._held -= len(dropped[0])

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._items.clear()
            self._held = 0
