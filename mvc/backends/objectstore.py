"""A store in a bucket: objects by conditional puts and ranges, through obstore.

Every failure is told apart by :mod:`mvc.backends.refusals` and what may pass is tried again here, not by
obstore: only who knows that an earlier try may have been carried out can tell a lost reply from somebody
else's object (docs/design/0026).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from mvc.backends.base import Backend, NotFound, check_key, check_range, folder_of, without
from mvc.backends.patience import Attempts, Patience
from mvc.backends.refusals import Refusal, Unreachable, refusal_of
from mvc.errors import CorruptFile, RootMoved, StorageError
from mvc.parallel import ordered_map

if TYPE_CHECKING:
    import obstore
    from _typeshed import ReadableBuffer as Buffer
    from obstore import PutMode
    from obstore.store import ObjectStore

MAX_OBJECT_BYTES = 128 << 20
"""Of one object that is read whole: a pack has 64 MiB, and nothing else comes near it."""

RESUMED_BYTES = 4 << 20
"""Of what is read in one request, from which on a cut one goes on where it was instead of from its start."""

GAP_BYTES = 16 << 10
"""Between two parts that are asked for in one request: what crosses the line in the time of a request."""

LONGEST_BYTES = 16 << 20
"""Of parts that are asked for in one request."""

IN_FLIGHT = 8
"""Requests at a time for the parts of one object."""

_CHUNK = 1 << 20
_SMALLEST_UPLOAD = 256 << 10
_NO_SUCH_RANGE = 416

T = TypeVar("T")

Connect = Callable[[float], "ObjectStore"]
"""Opens the store for requests that are given up after so many seconds without an answer."""


class ObjectStoreBackend(Backend):
    """Objects below a prefix of a bucket.

    ``where`` is how messages name it, without anything secret.
    """

    def __init__(self, connect: Connect, where: str, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._connect = connect
        self._stores: dict[float, ObjectStore] = {}
        self.where = where

    def get(self, key: str) -> bytes:
        """All bytes of an object."""
        return bytes(self.view(key))

    def view(self, key: str) -> Buffer:
        """All bytes of an object, as they came."""
        return self._read(check_key(key), None)[0]

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``."""
        check_key(key)
        if length < 1 or offset < 0:
            check_range(key, offset, length, self._size(key))  # no request can ask for nothing
            return b""
        return bytes(self._read(key, (offset, length))[0])

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Several parts of one object. Neighbours come in one request, and several requests are under way."""
        check_key(key)
        found: dict[tuple[int, int], bytes] = {}

        def read(group: Sequence[tuple[int, int]]) -> None:
            start, length = group[0][0], max(sum(part) for part in group) - group[0][0]
            data = self._read(key, (start, length))[0]
            for offset, size in group:
                found[offset, size] = bytes(data[offset - start : offset - start + size])

        asked = sorted({part for part in ranges if part[0] >= 0 and part[1] > 0})
        for part in ranges:
            if part[0] < 0 or part[1] < 1:
                found[part] = self.get_range(key, *part)
        deque(ordered_map(read, _groups(asked), workers=IN_FLIGHT, window=2 * IN_FLIGHT), maxlen=0)
        return [found[part] for part in ranges]

    def put(self, key: str, pieces: Sequence[Buffer]) -> bool:
        """Create an object; False if there is one already."""
        return self._write(check_key(key), b"".join(pieces), "create")

    def delete(self, key: str) -> None:
        """Remove an object if there is one."""
        import obstore

        check_key(key)
        try:
            self._try(f"cannot delete {key}", lambda: obstore.delete(self._store(), key))
        except NotFound:
            return

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys that begin with ``prefix``, ascending, with sizes.

        The folder part of ``prefix`` is what the server is asked for, page by page; all pages are sorted
        here, because not every server sorts as S3 does.
        """
        import obstore

        folder = folder_of(prefix)

        def pages() -> list[tuple[str, int]]:
            stream = obstore.list(self._store(), folder or None, chunk_size=1000)
            return [
                (meta["path"], meta["size"])
                for page in stream
                for meta in page
                if meta["path"].startswith(prefix)
            ]

        yield from sorted(self._try(f"cannot list {prefix or 'objects'}", pages))

    def some_key(self, *, but: Collection[str] = ()) -> str | None:
        """Any key but these; reads no further than to the first page that has one."""
        import obstore

        def first() -> str | None:
            keys = (meta["path"] for page in obstore.list(self._store()) for meta in page)
            return next(without(keys, but), None)

        return self._try("cannot list objects", first)

    def replace(self, key: str, expected: bytes | None, data: bytes) -> None:
        """Compare, and put on the condition that what was compared is still there."""
        check_key(key)
        moved = f"{key} was changed by somebody else"
        if expected is None:
            if not self._write(key, data, "create"):
                raise RootMoved(moved)
            return
        current, tag = self._current(key)
        if current != expected:
            raise RootMoved(moved)
        if not self.put_if(key, tag, data):
            raise RootMoved(moved)

    def put_if(self, key: str, tag: str, data: bytes) -> bool:
        """Put ``data`` in place of the state that has this ETag; False if another is there.

        Raises:
            RootMoved: another is there and an earlier try broke off, which may have been carried out before
                (``perhaps_done``).
        """
        return self._write(check_key(key), data, {"e_tag": tag})

    def tag(self, key: str) -> str:
        """The ETag of an object's state now.

        Raises:
            NotFound: there is no such object.
            StorageError: the store gives none, so that nothing can be replaced there.
        """
        return self._current(key)[1]

    def _current(self, key: str) -> tuple[bytes | None, str]:
        try:
            data, tag = self._read(key, None)
        except NotFound:
            return None, ""
        if not tag:
            raise StorageError(
                f"{self.where} gives no ETags: nothing can be replaced there", hint="choose another store"
            )
        return bytes(data), tag

    def _size(self, key: str) -> int:
        import obstore

        return self._try(f"cannot read {key}", lambda: obstore.head(self._store(), key))["size"]

    def _read(self, key: str, part: tuple[int, int] | None) -> tuple[memoryview, str]:
        """A whole object, or (offset, length) of it, and the ETag of the state that it is of."""
        reading = _Reading(key, part)
        attempts = Attempts(self._patience)
        while True:
            came = reading.length
            try:
                return reading.go_on(self._store())
            except Exception as error:
                if reading.length > came:
                    attempts.progressed()
                refusal = self._refusal(f"cannot read {key}", error)
                if refusal.status == _NO_SUCH_RANGE and part is not None:
                    check_range(key, *part, self._size(key))
                if not refusal.passes or not attempts.again(refusal.patience):
                    raise self._failure(f"cannot read {key}", refusal) from None

    def _write(self, key: str, data: bytes, mode: PutMode) -> bool:
        """Put an object under a condition; False if it does not hold."""
        import obstore

        store = self._store(len(data))
        attempts = Attempts(self._patience)
        uncertain = False
        while True:
            try:
                obstore.put(store, key, data, mode=mode, use_multipart=False)
                return True
            except Exception as error:
                refusal = self._refusal(f"cannot write {key}", error)
                if refusal.condition and not uncertain:
                    return False
                uncertain = uncertain or refusal.uncertain
                if not refusal.condition and not (refusal.passes and attempts.again(refusal.patience)):
                    raise self._failure(f"cannot write {key}", refusal) from None
            # A reply may have been lost, now or before: asking costs less than sending everything again.
            ours = self._outcome(key, data, mode) if uncertain else None
            if ours:
                return True
            if refusal.condition or ours is False:
                if mode == "create" and "/" in key:
                    return False  # write-once: what is there is what was there first
                moved = RootMoved(f"{key} was changed by somebody else")
                moved.perhaps_done = True
                raise moved

    def _outcome(self, key: str, data: bytes, mode: PutMode) -> bool | None:
        """What has become of a put that was not answered: True where these very bytes are there, which can
        only be ours, since what is replaced has a nonce; False where others stand in the way; None where
        everything is as it was."""
        import obstore

        try:
            meta = self._try(f"cannot read {key}", lambda: obstore.head(self._store(), key))
            tag = meta["e_tag"] or ""
            if isinstance(mode, dict) and tag == mode["e_tag"]:
                return None
            if meta["size"] != len(data):
                return False
            if tag.strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest():
                return True
            return self._read(key, None)[0] == data  # encrypted by the server, say
        except NotFound:
            return None if mode == "create" else False

    def _try(self, doing: str, request: Callable[[], T]) -> T:
        """Do what may be done any number of times, until it is answered."""
        attempts = Attempts(self._patience)
        while True:
            try:
                return request()
            except Exception as error:
                refusal = self._refusal(doing, error)
                if not refusal.passes or not attempts.again(refusal.patience):
                    raise self._failure(doing, refusal) from None

    def _refusal(self, doing: str, error: Exception) -> Refusal:
        """What went wrong, unless it is for our caller as it is.

        Raises:
            NotFound: there is no such object.
        """
        from obstore.exceptions import BaseError

        if isinstance(error, FileNotFoundError | BaseError):
            refusal = refusal_of(error)
            if refusal.missing:
                raise NotFound(f"{doing}: there is none in {self.where}") from None
            return refusal
        raise error

    def _failure(self, doing: str, refusal: Refusal) -> StorageError:
        kind = Unreachable if refusal.passes else StorageError
        return kind(f"{doing} in {self.where}: {refusal.reason}", hint=refusal.hint)

    def _store(self, upload: int = 0) -> ObjectStore:
        """The store for a request that sends so many bytes. The HTTP client's clock runs from the request's
        beginning until the answer's first byte, the upload counted."""
        seconds = self._patience.stall
        if upload:
            size = _SMALLEST_UPLOAD  # few sizes, since each has a store and connections of its own
            while size < upload:
                size *= 8
            seconds += size / self._patience.slowest
        if seconds not in self._stores:
            self._stores[seconds] = self._connect(seconds)
        return self._stores[seconds]


def _groups(ranges: Sequence[tuple[int, int]]) -> Iterator[Sequence[tuple[int, int]]]:
    """Ascending ranges, those together that lie next to each other; none longer than a pack."""
    group: list[tuple[int, int]] = []
    end = 0
    for offset, length in ranges:
        reach = max(end, offset + length)
        if group and (offset > end + GAP_BYTES or reach - group[0][0] > LONGEST_BYTES):
            yield group
            group, reach = [], offset + length
        group.append((offset, length))
        end = reach
    if group:
        yield group


class _Reading:
    """An object, or part of one, on its way: what came before a cut is kept where that is much."""

    def __init__(self, key: str, part: tuple[int, int] | None) -> None:
        self._key = key
        self._part = part
        self._tag = ""
        self._data = bytearray()
        self.length = 0

    def go_on(self, store: ObjectStore) -> tuple[memoryview, str]:
        """Ask for what is missing; returns the whole and its ETag.

        Raises:
            CorruptFile: the object is too short or too long.
        """
        import obstore
        from obstore.exceptions import PreconditionError

        try:
            result = obstore.get(store, self._key, options=self._options())
        except PreconditionError:  # it is another one by now
            self.length = 0
            result = obstore.get(store, self._key, options=self._options())
        size = result.meta["size"]
        if self._part is not None:
            check_range(self._key, *self._part, size)
        elif size > MAX_OBJECT_BYTES:
            raise CorruptFile(f"{self._key} has {size:,} bytes, more than any object of a store")
        wanted = size if self._part is None else self._part[1]
        start = (0 if self._part is None else self._part[0]) + self.length
        if wanted > self.length and result.range[0] != start:
            raise CorruptFile(f"{self._key}: the store sent other bytes than were asked for")
        tag = self._tag = result.meta["e_tag"] or ""
        if not self.length and (wanted < RESUMED_BYTES or not tag):
            data = memoryview(result.bytes())
        else:
            if not self.length:
                self._data = bytearray(wanted)  # at once: to grow would copy several times
            for chunk in result.stream(min_chunk_size=_CHUNK):
                if self.length + len(chunk) > wanted:
                    raise CorruptFile(f"{self._key}: more bytes came than the {wanted:,} that were promised")
                self._data[self.length : self.length + len(chunk)] = chunk
                self.length += len(chunk)
            data = memoryview(self._data)[: self.length].toreadonly()
        if len(data) != wanted:
            raise CorruptFile(f"{self._key}: {len(data):,} bytes came, not {wanted:,}")
        return data, tag

    def _options(self) -> obstore.GetOptions | None:
        done = self.length
        options: obstore.GetOptions = {}
        if done:
            options["if_match"] = self._tag
        if self._part is not None:
            options["range"] = (self._part[0] + done, self._part[0] + self._part[1])
        elif done:
            options["range"] = {"offset": done}
        return options or None
