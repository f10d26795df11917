"""Bundles: the whole file, and one whose hashes fit whatever its directory claims."""

from __future__ import annotations

import contextlib

from blake3 import blake3

from mvc import canonical
from mvc.backends.bundle import KINDS, MAGIC, ROW, TRAILER, BundleBackend, read_directory
from mvc.errors import CorruptFile, StorageError, UnsupportedFeature
from tests.fuzz.target import Target

OURS = (CorruptFile, UnsupportedFeature)
_LENGTH_BYTES = 2
_HASHES = 64


def _whole(data: bytes) -> None:
    def read(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    try:
        backend = BundleBackend(read, read_directory(read, len(data)))
    except OURS:
        return
    end = len(MAGIC)
    for key, place in backend.directory.places.items():
        assert place.offset == end, "objects lie end to end"
        end += place.length
        assert len(backend.get(key)) == place.length
    assert end <= len(data)
    assert [key for key, _size in backend.list("")] == sorted(backend.directory.places)
    with contextlib.suppress(StorageError, CorruptFile):
        backend.verify(lambda _count: None)


def _sealed(data: bytes) -> None:
    """The input is the length of the objects and root, these, and the directory up to its hashes."""
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    content, directory = data[_LENGTH_BYTES:][:length], data[_LENGTH_BYTES:][length:]
    body = MAGIC + content + directory + blake3(directory).digest()
    _whole(body + blake3(body).digest())


def _directory(objects: list[tuple[int, bytes]], root: bytes, needs: bytes) -> bytes:
    rows = b"".join(ROW.pack(blake3(data).digest(), len(data), kind, bytes(3)) for kind, data in objects)
    return rows + needs + TRAILER.pack(len(objects), len(root), len(needs), b"", b"")[:-_HASHES]


def _directory_seeds() -> list[bytes]:
    seeds = []
    for objects in ([], [(kind, bytes([kind]) * 5) for kind in range(len(KINDS))]):
        for needs in (canonical.pack([]), canonical.pack([[bytes(32), "subject"]])):
            content = b"".join(data for _kind, data in objects) + b"root"
            seeds.append(
                len(content).to_bytes(_LENGTH_BYTES, "little") + content + _directory(objects, b"root", needs)
            )
    return seeds


def _file_seeds() -> list[bytes]:
    files = []
    for seed in _directory_seeds():
        length = int.from_bytes(seed[:_LENGTH_BYTES], "little")
        directory = seed[_LENGTH_BYTES + length :]
        body = MAGIC + seed[_LENGTH_BYTES:] + blake3(directory).digest()
        files.append(body + blake3(body).digest())
    return files


TARGETS = [Target("bundle", _whole, _file_seeds), Target("bundle directory", _sealed, _directory_seeds)]
