"""Processor seconds by stage of commit and checkout: what takes the time, however busy the machine is.

Functions at the borders of the stages are replaced by ones that read the clock of the calling thread
(``time.thread_time``), so waiting for a core does not count. What a stage calls of another stage counts for
that one. What no stage claims is ``the rest``: mostly Python between them.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

BORDERS: dict[str, tuple[str, ...]] = {
    "read": (
        "mvc.fileio:FileIO.read_at",
        "mvc.fileio:FileIO.read_into",
        "mvc.fileio:FileIO.map_read",
        "mvc.fileio:FileIO.open_read",
    ),
    "write": (
        "mvc.fileio:FileIO.write",
        "mvc.fileio:FileIO.write_at",
        "mvc.fileio:FileIO.sync",
        "mvc.fileio:FileIO.sync_folder",
        "mvc.fileio:FileIO.replace",
    ),
    "find bases": (
        "mvc.odb.database:ObjectDatabase.entries",
        "mvc.bases:BaseFinder.file",
        "mvc.bases:FileBases.choice",
    ),
    "predict": ("mvc.odb.database:ObjectDatabase.predict",),
    "decode": ("mvc.odb.database:decode_chain", "mvc.odb.database:decode_chain_into"),
    "choose": ("mvc.odb.estimate:choose",),
    "encode": ("mvc.odb.writer:encode_tensor", "mvc.odb.writer:encode_opaque"),
}
"""For each stage the functions that are its borders, each as the module that calls it sees it."""

HASHERS = ("mvc.objectid", "mvc.odb.pack", "mvc.odb.record", "mvc.weights")
"""Modules whose ``blake3`` counts as hashing; so does SHA-256 in ``mvc.ingest``."""


class Stages:
    """Sums by stage; :meth:`install` cannot be taken back, so it is for a process of its own."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._lock = threading.Lock()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._began = time.process_time()
        self._waited = 0.0

    def install(self) -> None:
        """Put the clocks in.

        Raises:
            AttributeError: a border is not where :data:`BORDERS` says; the table is to be mended.
        """
        for stage, names in BORDERS.items():
            for name in names:
                module, _, path = name.partition(":")
                *owners, last = path.split(".")
                owner = functools.reduce(getattr, owners, importlib.import_module(module))
                setattr(owner, last, self._timed(stage, getattr(owner, last)))
        for name in HASHERS:
            module = importlib.import_module(name)
            module.blake3 = functools.partial(_Hasher, self._timed, module.blake3)  # type: ignore[attr-defined]
        sha256 = functools.partial(_Hasher, self._timed, hashlib.sha256)
        importlib.import_module("mvc.ingest").hashlib = SimpleNamespace(sha256=sha256)  # type: ignore[attr-defined]
        writer = importlib.import_module("mvc.odb.pack").PackWriter
        writer.flush = self._waiting(writer.flush)

    def _waiting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def waiting(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._waited += time.perf_counter() - began

        return waiting

    def waited(self) -> float:
        """Seconds of the wall clock that flushing packs took since the last time; begins anew."""
        waited, self._waited = self._waited, 0.0
        return waited

    def _timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            stack = self._local.__dict__.setdefault("stack", [])
            began = time.thread_time()
            stack.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                whole = time.thread_time() - began
                own = whole - stack.pop()
                if stack:
                    stack[-1] += whole
                with self._lock:
                    self._seconds[stage] += own

        return timed

    def take(self) -> dict[str, float]:
        """Seconds by stage since the last time, with ``the rest``; begins anew."""
        ended = time.process_time()
        with self._lock:
            out = dict(self._seconds)
            self._seconds.clear()
        out["the rest"] = ended - self._began - sum(out.values())
        self._began = ended
        return out


class _Hasher:
    """A hash object whose work is timed."""

    def __init__(
        self, timed: Callable[..., Callable[..., Any]], make: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        self._inner = timed("hash", make)(*args, **kwargs)
        self.update = timed("hash", self._inner.update)
        self.digest = self._inner.digest
        self.hexdigest = self._inner.hexdigest
