"""Checks that a file that was stored is what its source says, out of the bytes as they were read."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mvc.errors import UserError
from mvc.importing.version import Digest
from mvc.objects import Manifest
from mvc.origins.dvc import dos2unix
from mvc.paths import shown
from mvc.source import Source

if TYPE_CHECKING:
    from hashlib import _Hash

_CHUNK = 1 << 20  # as DVC cuts texts before it looks for line ends


class Checked:
    """A source whose bytes are hashed while they are read, once and in order, as the source of a file names
    them; what was not read in order is read again."""

    def __init__(self, source: Source, digest: Digest | None) -> None:
        self._source = source
        self._digest = digest
        self._hash = None if digest is None else _hash_of(digest, source.size)
        self._at = 0
        self.name = source.name
        self.size = source.size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly so many bytes."""
        return self._source.read(offset, length)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill the buffer; hashes what has not been seen yet."""
        count = self._source.read_into(buffer, offset)
        if self._hash is not None and offset <= self._at < offset + count:
            self._hash.update(buffer[self._at - offset : count])
            self._at = offset + count
        return count

    def changed(self) -> bool:
        """Whether somebody wrote to it."""
        return self._source.changed()

    def refuse_other(self, path: str, manifest: Manifest) -> None:
        """Refuse bytes that are not what the source says.

        Raises:
            UserError: they are not.
        """
        digest = self._digest
        if digest is None:
            return
        if digest.kind == "sha256":
            found = manifest.sha256.hex()
        else:
            found = self._finished().hexdigest()
            if found != digest.hex and digest.kind == "md5-dos2unix":
                found = self._without_returns()
        if found != digest.hex:
            raise UserError(
                f"{shown(path)} is damaged in the source: its {digest.kind} is {found[:12]} "
                f"instead of {digest.hex[:12]}",
                hint="mend the source first: 'git fsck', 'git lfs fsck', 'dvc fetch' or another download",
            )

    def _finished(self) -> _Hash:
        if self._hash is None:
            raise AssertionError("asked for a hash that the manifest has")
        buffer = memoryview(bytearray(_CHUNK))
        while self._at < self.size and self.read_into(buffer, self._at):
            pass
        return self._hash

    def _without_returns(self) -> str:
        found = hashlib.md5(usedforsecurity=False)
        for at in range(0, self.size, _CHUNK):
            found.update(dos2unix(self._source.read(at, min(_CHUNK, self.size - at))))
        return found.hexdigest()


def _hash_of(digest: Digest, size: int) -> _Hash | None:
    if digest.kind == "sha256":
        return None  # the manifest has it
    if digest.kind == "git":
        kind = hashlib.sha1 if len(digest.hex) == 40 else hashlib.sha256
        return kind(b"blob %d\0" % size, usedforsecurity=False)
    return hashlib.md5(usedforsecurity=False)
