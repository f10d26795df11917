"""A byte-bounded cache of decoded objects, least recently used out first."""

from __future__ import annotations

import threading
from collections import OrderedDict

from mvc.objectid import ObjectId


class PlainCache:
    """Plain bytes by id, at most ``limit_bytes`` of them. Safe to use from several threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held = 0
        self._items: OrderedDict[ObjectId, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, identity: ObjectId) -> bytes | None:
        """The bytes, or None."""
        with self._lock:
            plain = self._items.get(identity)
            if plain is not None:
                self._items.move_to_end(identity)
            return plain

    def put(self, identity: ObjectId, plain: bytes) -> None:
        """Keep bytes, dropping older ones to stay within the limit."""
        if len(plain) > self._limit // 4:
            return
        with self._lock:
            if identity in self._items:
                return
            self._items[identity] = plain
            self._held += len(plain)
            while self._held > self._limit:
                _old, dropped = self._items.popitem(last=False)
                self._held -= len(dropped)
