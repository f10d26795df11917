"""What a backend is: six operations on named bytes that a folder and a bucket can both do.

Everything but ``root`` is write-once; ``root`` is replaced by compare-and-swap. Objects are bounded (64 MiB),
so nothing is streamed.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from mvc.errors import CorruptFile, InvalidName, StorageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

NEAR_BYTES = 32 << 10
"""A backend whose :attr:`Backend.request_bytes` are no more than this lies on this machine."""

MAX_KEY_BYTES = 512
LOCK_SUFFIX = ".lock"
PREVIOUS_SUFFIX = ".previous"
"""Of the second copy that a folder keeps of what was replaced last; never listed."""

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class NotFound(StorageError):
    """Nothing is stored under this key. The caller knows whether that is damage."""


def check_key(key: str) -> str:
    """Return a key that every backend can hold; nothing else may reach a disk or a server.

    Keys are names of ASCII letters, digits, ``-``, ``_`` and ``.`` joined by ``/``. No name begins with a dot
    or is longer than 255 bytes, none ends in ``.lock`` (the folder backend locks there).

    Raises:
        InvalidName: it is not such a key.
    """
    if (
        len(key) > MAX_KEY_BYTES
        or not _KEY.fullmatch(key)
        or any(len(name) > 255 or name.endswith(LOCK_SUFFIX) for name in key.split("/"))
    ):
        raise InvalidName(f"{key[:80]!r} is not a key of a store")
    return key


def folder_of(prefix: str) -> str:
    """The part of a prefix that can only be whole names: all before the last ``/``.

    Raises:
        InvalidName: no key begins so.
    """
    folder = prefix.rpartition("/")[0]
    return check_key(folder) if "/" in prefix else folder


def check_range(key: str, offset: int, length: int, size: int) -> None:
    """Refuse a range that leaves the object, before anything is allocated for it.

    Raises:
        CorruptFile: the object is shorter than whoever recorded the range believed.
    """
    if offset < 0 or length < 0 or offset + length > size:
        raise CorruptFile(f"{key} ends at byte {size}, before byte {offset} + {length}")


def without(keys: Iterable[str], but: Collection[str]) -> Iterator[str]:
    """Those of the keys that are none of these, and begin with none that ends in ``/``."""
    folders = tuple(name for name in but if name.endswith("/"))
    return (key for key in keys if key not in but and not key.startswith(folders))


class Incoming:
    """An object that comes piece by piece and gets its key at the end; see :meth:`Backend.begin`.

    Used from one thread at a time. Nothing is visible before :meth:`finish`, and who does not come to that
    calls :meth:`discard`. This one keeps the pieces; a backend that need not has its own.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._pieces: list[Buffer] = []

    def add(self, piece: Buffer) -> None:
        """Append bytes, which must not change before the end.

        Raises:
            StorageError: the store refuses.
        """
        self._pieces.append(piece)

    def finish(self, key: str) -> bool:
        """Create the object, as :meth:`Backend.put`. Ends this, also by an error.

        Raises:
            InvalidName, StorageError: as there.
        """
        return self._backend.put(key, self._pieces)

    def discard(self) -> None:
        """Forget the bytes; nothing happens after :meth:`finish`."""
        self._pieces.clear()


class Backend(ABC):
    """Named bytes. Safe to use from several threads and processes at once.

    Every method raises ``InvalidName`` for a key that :func:`check_key` refuses and ``StorageError`` when the
    store itself refuses (full, not permitted, I/O).
    """

    request_bytes: int = 128 << 10
    """As many bytes are worth one request less, where several are under way: what lies between two wanted
    ranges is read along up to there (docs/design/0027-transfer.md)."""

    @property
    def near(self) -> bool:
        """Whether a request costs so little that nothing is fetched before it is asked for."""
        return self.request_bytes <= NEAR_BYTES

    @abstractmethod
    def get(self, key: str) -> bytes:
        """All bytes of an object.

        Raises:
            NotFound: there is no such object.
        """

    @abstractmethod
    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset`` (both in bytes).

        Raises:
            NotFound: there is no such object.
            CorruptFile: the object ends before.
        """

    @abstractmethod
    def put(self, key: str, pieces: Sequence[Buffer]) -> bool:
        """Create an object from pieces laid end to end; False if there is one already, which is left alone.

        When it returns, the object that is there (ours or the other) is durable and whole. After a
        ``StorageError`` it may or may not be there, but never in part.
        """

    def begin(self) -> Incoming:
        """Start to put an object whose bytes are not all there yet, without holding them where that can be.

        Raises:
            StorageError: the store refuses.
        """
        return Incoming(self)

    @abstractmethod
    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys that begin with ``prefix``, ascending, each with its size in bytes.

        What is put or deleted meanwhile may or may not be among them.
        """

    def some_key(self, *, but: Collection[str] = ()) -> str | None:
        """Any key but these; None where there is no other. Of ``but``, what ends in ``/`` is a beginning."""
        return next(without((key for key, _size in self.list("")), but), None)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Several parts of one object, each (offset, length) in bytes, in the order in which they are asked
        for. A backend to which each request is a journey asks for several at once.

        Raises:
            NotFound, CorruptFile: as :meth:`get_range`.
        """
        return [self.get_range(key, offset, length) for offset, length in ranges]

    def confirm(self, key: str) -> None:  # noqa: B027 (most have nothing to do)
        """Make sure that an object which was listed is durable: who put it may not have come to the end.

        Raises:
            StorageError: the store refuses.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; it is fine if there is none."""

    @abstractmethod
    def replace(self, key: str, expected: bytes | None, data: bytes) -> None:
        """Put ``data`` in place of exactly the bytes ``expected`` (None: of nothing), in one durable step.

        After a ``StorageError`` either the old or the new bytes are there: read again.

        Raises:
            RootMoved: something else is there.
        """

    def view(self, key: str) -> Buffer:
        """A read-only buffer of a whole write-once object, without copying it where the backend can.

        Raises:
            NotFound: there is no such object.
        """
        return self.get(key)
