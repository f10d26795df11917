"""Finds out whether a store keeps what it must promise before anything is entrusted to it.

Some servers that speak S3 leave out the conditions of a put, and answer as if they had held: two writers
would overwrite each other's work and both be told that all is well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from mvc.backends.base import NotFound
from mvc.errors import MvcError, RootMoved, UnsupportedFeature

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

FOLDER = "probe/"
_FIRST, _SECOND, _THIRD = b"first of three states", b"second of three states", b"third of three states"


class Conditional(Protocol):
    """What is probed: a backend whose ``replace`` is a put on the condition of an ETag."""

    where: str

    def get(self, key: str, /) -> bytes:
        """All bytes of an object."""
        ...

    def get_range(self, key: str, offset: int, length: int, /) -> bytes:
        """A part of one."""
        ...

    def put(self, key: str, pieces: Sequence[Buffer], /) -> bool:
        """Create one."""
        ...

    def put_if(self, key: str, tag: str, data: bytes, /) -> bool:
        """Replace the state with this ETag."""
        ...

    def tag(self, key: str, /) -> str:
        """The ETag of the state now."""
        ...

    def delete(self, key: str, /) -> None:
        """Remove one."""
        ...

    def list(self, prefix: str, /) -> Iterator[tuple[str, int]]:
        """Keys that begin so, with sizes."""
        ...


def probe(store: Conditional) -> None:
    """Try everything that mvc relies on; nothing is left behind.

    Raises:
        UnsupportedFeature: the store lacks something, which is named.
        StorageError: it cannot be used at all.
    """
    key = f"{FOLDER}{os.urandom(16).hex()}"
    try:
        for promise, holds in _PROMISES:
            if not _holds(holds, store, key):
                raise UnsupportedFeature(
                    f"{store.where} does not {promise}: versions there could be lost",
                    hint="use a store with conditional writes: S3, GCS, Azure, R2, MinIO, SeaweedFS",
                )
    finally:
        store.delete(key)


def _holds(holds: Callable[[Conditional, str], bool], store: Conditional, key: str) -> bool:
    try:
        return holds(store, key)
    except (NotFound, RootMoved):
        return False
    except MvcError as error:
        if error.exit_code == _DAMAGE:
            return False
        raise


_DAMAGE = 5


def _keeps(store: Conditional, key: str) -> bool:
    return store.put(key, [_FIRST]) and store.get(key) == _FIRST


def _refuses_second(store: Conditional, key: str) -> bool:
    return not store.put(key, [_SECOND]) and store.get(key) == _FIRST


def _honours_tag(store: Conditional, key: str) -> bool:
    return store.put_if(key, store.tag(key), _SECOND) and store.get(key) == _SECOND


def _refuses_stale_tag(store: Conditional, key: str) -> bool:
    stale = store.tag(key)
    if not store.put_if(key, stale, _THIRD) or store.tag(key) == stale:
        return False
    try:
        replaced = store.put_if(key, stale, _FIRST)
    except RootMoved:  # a reply was lost: what is there decides
        replaced = False
    return not replaced and store.get(key) == _THIRD


def _cuts_exactly(store: Conditional, key: str) -> bool:
    return (
        store.get_range(key, 6, 2) == _THIRD[6:8] and store.get_range(key, len(_THIRD) - 1, 1) == _THIRD[-1:]
    )


def _lists(store: Conditional, key: str) -> bool:
    return (key, len(_THIRD)) in store.list(FOLDER)


_PROMISES: tuple[tuple[str, Callable[[Conditional, str], bool]], ...] = (
    ("give back what was put", _keeps),
    ("refuse to create what exists (If-None-Match)", _refuses_second),
    ("replace by a matching ETag (If-Match)", _honours_tag),
    ("refuse a stale ETag (If-Match)", _refuses_stale_tag),
    ("cut out ranges exactly", _cuts_exactly),
    ("list what was just put", _lists),
)
