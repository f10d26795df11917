"""Reads the directory of an HDF5 file: which datasets it holds, and where in the file their bytes lie.

A script, run by :mod:`mvc.formats.wire.apart` in a process of its own (``python -I hdf5_reader.py PACKAGES
SIZE MODE``) because h5py hands the file's bytes to C. It imports nothing of mvc. Before the first byte of the
file it limits its own processor time and memory, and lowers the limit of open descriptors to those it has:
from then on neither it nor the C library can open a file, a plugin or a connection, whatever links, external
storage, virtual datasets or filters the file names. It asks for none of them either: only hard links are
followed, and no dataset is read.

MODE is ``tensors`` or ``values``. The answer is a JSON object with one of the keys

- ``tensors``: a list of ``[path, dtype, offset, length, shape, strides]``, strides in elements or null;
- ``values``: a list of ``[path, attribute, value, length]``: a scalar or a list of scalars, or the length of
  a list that is longer than MAX_LISTED, the other one null;
- ``refused``: one of the words in :data:`mvc.formats.hdf5.REFUSALS`.

Specification: HDF5 File Format Specification 3.0; the types of numpy's booleans and complex numbers are those
that h5py writes.
"""

from __future__ import annotations

import json
import math
import os
import resource
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

MAX_OBJECTS = 100_000
MAX_DEPTH = 64
MAX_PATH_BYTES = 4096
MAX_CHUNKS = 1 << 16
MAX_TEXT_BYTES = 4 << 20
MAX_ATTRIBUTES = 10_000
MAX_LISTED = 16

CPU_SECONDS = 20
MEMORY_BYTES = 512 << 20  # beside what the interpreter and the libraries take before the first byte is read
BLOCK = 1 << 13
CACHED_BLOCKS = 1 << 10

_MESSAGE = struct.Struct("!cQQ")
_FLOATS = {  # size, fields (sign, exponent and its width, mantissa and its width), bias
    (1, (7, 3, 4, 0, 3), 7): "F8_E4M3",
    (1, (7, 2, 5, 0, 2), 15): "F8_E5M2",
    (2, (15, 10, 5, 0, 10), 15): "F16",
    (2, (15, 7, 8, 0, 7), 127): "BF16",
    (4, (31, 23, 8, 0, 23), 127): "F32",
    (8, (63, 52, 11, 0, 52), 1023): "F64",
}
_PLAIN_NUMBERS = {f"{sign}{bits}" for sign in "IU" for bits in (8, 16, 32, 64)} | {"F16", "F32", "F64"}


class Refused(Exception):
    """A file that is not described, for the reason that the word stands for."""


class Remote:
    """The file, as a Python file object that asks the other side for blocks and keeps some of them."""

    def __init__(self, channel: socket.socket, size: int) -> None:
        self._channel = channel
        self._size = size
        self._position = 0
        self._blocks: dict[int, bytes] = {}

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move; ``whence`` is 0 (from the start) or 2 (from the end)."""
        self._position = offset + (self._size if whence == 2 else 0)
        return self._position

    def tell(self) -> int:
        """Where the next read starts."""
        return self._position

    def readinto(self, target: Any) -> int:
        """Fill a buffer; fewer bytes only at the end of the file."""
        view = memoryview(target).cast("B")
        done = 0
        while done < len(view) and self._position < self._size:
            number, within = divmod(self._position, BLOCK)
            piece = self._block(number)[within : within + len(view) - done]
            view[done : done + len(piece)] = piece
            done += len(piece)
            self._position += len(piece)
        return done

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            if len(self._blocks) >= CACHED_BLOCKS:
                del self._blocks[next(iter(self._blocks))]  # the oldest
            start = number * BLOCK
            length = min(BLOCK, self._size - start)
            self._channel.sendall(_MESSAGE.pack(b"R", start, length))
            block = self._blocks[number] = receive(self._channel, length)
        return block


def receive(channel: socket.socket, length: int) -> bytes:
    """Exactly so many bytes from the other side."""
    buffer = bytearray()
    while len(buffer) < length:
        piece = channel.recv(length - len(buffer))
        if not piece:
            raise EOFError("the other side is gone")
        buffer += piece
    return bytes(buffer)


def confine() -> None:
    """Give up what reading needs no more: open files, processes, written bytes, core dumps, time, memory."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(used.ru_utime + used.ru_stime) + CPU_SECONDS
    memory = _address_space() + MEMORY_BYTES if sys.platform == "linux" else None
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))  # the three that it has
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    if memory is not None:  # macOS does not enforce a limit of address space
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _address_space() -> int:
    """Bytes of address space in use."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def main() -> None:
    """Limit itself, read, answer, and end without clean-up, which would run more C code on hostile bytes."""
    packages, size, mode = sys.argv[1:]
    channel = socket.socket(fileno=0)
    # Whatever these say outside: no plugins, no threads, no locks.
    os.environ.clear()
    os.environ |= {
        "HDF5_PLUGIN_PRELOAD": "::",
        "HDF5_USE_FILE_LOCKING": "FALSE",
        "OPENBLAS_NUM_THREADS": "1",
    }
    sys.path.append(packages)
    try:
        import h5py
    except ModuleNotFoundError as error:
        answer: dict[str, Any] = {"refused": "missing" if error.name == "h5py" else "unusable"}
    except ImportError:
        answer = {"refused": "unusable"}
    else:
        confine()
        answer = read(h5py, Remote(channel, int(size)), mode)
    data = json.dumps(answer).encode()
    channel.sendall(_MESSAGE.pack(b"A", 0, len(data)) + data)
    os._exit(0)


def read(h5py: Any, file: Remote, mode: str) -> dict[str, Any]:
    """The answer for one file."""
    try:
        access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
        access.set_fileobj_driver(h5py.h5fd.fileobj_driver, file)
        root = h5py.h5g.open(h5py.h5f.open(b"file", h5py.h5f.ACC_RDONLY, access), b"/")
        walk = Walk(h5py, root)
        if mode == "tensors":
            return {"tensors": list(tensors(h5py, walk))}
        return {"values": list(values(h5py, walk))}
    except Refused as refusal:
        return {"refused": str(refusal)}
    except MemoryError:
        return {"refused": "memory"}
    except Exception:
        # h5py raises a dozen types for bytes that the C library refuses, other ones from version to version.
        return {"refused": "damaged"}


class Walk:
    """Objects that hard links lead to, from the root: each path of a dataset, and each group once."""

    def __init__(self, h5py: Any, root: Any) -> None:
        self._h5py = h5py
        self._root = root
        self._seen = {int(h5py.h5o.get_info(root).addr)}
        self._links = 0
        self._refusal = ""

    def objects(self) -> Iterator[tuple[str, int, Any]]:
        """Path, address in the file, and the open group or dataset: by name, depth first."""
        yield "", 0, self._root
        pending = self._hard_links(self._root, b"", 1)
        while pending:
            group, name, path, address, depth = pending.pop()
            text = _utf8(path)
            if text is None or address in self._seen:
                continue
            item = self._h5py.h5o.open(group, name)
            if isinstance(item, self._h5py.h5g.GroupID):
                self._seen.add(address)  # a cycle ends here, and so does a second way to it
                yield text, address, item
                pending += self._hard_links(item, path + b"/", depth + 1)
            elif isinstance(item, self._h5py.h5d.DatasetID):
                yield text, address, item

    def _hard_links(self, group: Any, prefix: bytes, depth: int) -> list[tuple[Any, bytes, bytes, int, int]]:
        """Last name first, because they are taken from the end."""
        found: list[tuple[Any, bytes, bytes, int, int]] = []
        if depth > MAX_DEPTH:
            raise Refused("depth")

        def note(name: bytes, info: Any) -> bool | None:
            self._links += 1
            if self._links > MAX_OBJECTS:
                self._refusal = "objects"
            elif len(prefix) + len(name) > MAX_PATH_BYTES:
                self._refusal = "path"
            elif info.type == self._h5py.h5l.TYPE_HARD:
                found.append((group, name, prefix + name, info.u, depth))
            return bool(self._refusal) or None  # to stop; an exception would not come through the C library

        group.links.iterate(note, info=True)
        if self._refusal:
            raise Refused(self._refusal)
        found.reverse()
        return found


def tensors(h5py: Any, walk: Walk) -> Iterator[list[Any]]:
    """A row for each path of a dataset whose elements lie in the file as in a tensor."""
    known: dict[int, list[Any] | None] = {}  # datasets under many names are looked at once
    for path, address, item in walk.objects():
        if isinstance(item, h5py.h5d.DatasetID):
            if address not in known:
                known[address] = _tensor(h5py, item)
            facts = known[address]
            if facts is not None:
                yield [path, *facts]


def _tensor(h5py: Any, dataset: Any) -> list[Any] | None:
    """Type, offset, length, shape and strides; None for what is no tensor, or not in one piece."""
    h5d, h5s = h5py.h5d, h5py.h5s
    plist = dataset.get_create_plist()
    layout = plist.get_layout()
    # Before anything else is asked: the extent of a virtual dataset may depend on other files.
    if layout not in (h5d.CONTIGUOUS, h5d.CHUNKED) or plist.get_external_count() or plist.get_nfilters():
        return None
    found = _dtype(h5py, dataset)
    space = dataset.get_space()
    kind = space.get_simple_extent_type()
    if found is None or kind not in (h5s.SCALAR, h5s.SIMPLE):
        return None
    dtype, width = found
    shape = [] if kind == h5s.SCALAR else [int(extent) for extent in space.get_simple_extent_dims()]
    if 0 in shape:
        return [dtype, 0, 0, shape, None]
    length = math.prod(shape) * width
    if layout == h5d.CHUNKED:
        place = _chunked(dataset, list(map(int, plist.get_chunk())), shape, width)
        return None if place is None else [dtype, *place]
    offset = dataset.get_offset()
    if offset is None or dataset.get_storage_size() != length:  # nothing written yet: all of it is fill value
        return None
    return [dtype, offset, length, shape, None]


def _chunked(dataset: Any, chunk: list[int], shape: list[int], width: int) -> list[Any] | None:
    """Offset, length, shape and strides of a dataset whose chunks lie end to end like its elements."""
    number = math.prod(-(-extent // size) for extent, size in zip(shape, chunk, strict=True))
    if number > MAX_CHUNKS or dataset.get_num_chunks() != number:
        return None
    places: list[Any] = []
    dataset.chunk_iter(places.append)
    stride = _row_major(shape if number > 1 else chunk)
    size = math.prod(chunk) * width
    if number > 1 and not _are_slabs(chunk, shape):
        return None
    places.sort(key=lambda place: place.byte_offset)
    offset = places[0].byte_offset
    for index, place in enumerate(places):
        element = sum(map(int.__mul__, place.chunk_offset, stride))
        if (
            place.size != size
            or place.byte_offset != offset + index * size
            or element * width != index * size
        ):
            return None
    touched = 1 + sum((extent - 1) * step for extent, step in zip(shape, stride, strict=True))
    return [offset, touched * width, shape, None if stride == _row_major(shape) else stride]


def _are_slabs(chunk: list[int], shape: list[int]) -> bool:
    """Whether a chunk's elements are consecutive in the dataset: ones, any extent, then all of the rest."""
    axis = 0
    while axis < len(chunk) - 1 and chunk[axis] == 1:
        axis += 1
    return chunk[axis + 1 :] == shape[axis + 1 :]


def _row_major(shape: list[int]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _dtype(h5py: Any, dataset: Any) -> tuple[str, int] | None:
    """Our name of the elements' type, and its width in bytes; None for a type that is no tensor's."""
    h5t = h5py.h5t
    kind = dataset.get_type()
    width = kind.get_size()
    name: str | None = None
    order = kind
    if isinstance(kind, h5t.TypeFloatID | h5t.TypeIntegerID):
        name = _number(h5t, kind)
    elif isinstance(kind, h5t.TypeEnumID) and _is_boolean(h5t, kind):
        return "BOOL", 1
    elif isinstance(kind, h5t.TypeCompoundID) and _is_complex(h5t, kind):
        order = kind.get_member_type(0)
        name = f"C{8 * width}"
    elif isinstance(kind, h5t.TypeOpaqueID) and width == 2 and _text(h5py, dataset, b"dtype") == "bfloat16":
        return "BF16", 2  # as Keras 3 writes it
    if name is None:
        return None
    if width > 1 and order.get_order() not in (h5t.ORDER_LE, h5t.ORDER_BE):
        return None
    return f"{name}:be" if width > 1 and order.get_order() == h5t.ORDER_BE else name, width


def _number(h5t: Any, kind: Any) -> str | None:
    """A float or an integer, without its byte order; None where some of its bits mean nothing."""
    width = kind.get_size()
    if kind.get_precision() != 8 * width or kind.get_offset() != 0:
        return None
    if isinstance(kind, h5t.TypeFloatID):
        if kind.get_norm() != h5t.NORM_IMPLIED:
            return None
        return _FLOATS.get((width, tuple(kind.get_fields()), kind.get_ebias()))
    if width not in (1, 2, 4, 8):
        return None
    return f"{'U' if kind.get_sign() == h5t.SGN_NONE else 'I'}{8 * width}"


def _is_boolean(h5t: Any, kind: Any) -> bool:
    if kind.get_size() != 1 or kind.get_nmembers() != 2:
        return False
    members = {kind.get_member_name(index): kind.get_member_value(index) for index in range(2)}
    return members == {b"FALSE": 0, b"TRUE": 1}


def _is_complex(h5t: Any, kind: Any) -> bool:
    if kind.get_nmembers() != 2 or [kind.get_member_name(index) for index in range(2)] != [b"r", b"i"]:
        return False
    real, imaginary = kind.get_member_type(0), kind.get_member_type(1)
    return (
        isinstance(real, h5t.TypeFloatID)
        and _number(h5t, real) in ("F32", "F64")
        and bool(real.equal(imaginary))
        and kind.get_size() == 2 * real.get_size()
        and [kind.get_member_offset(index) for index in range(2)] == [0, real.get_size()]
    )


def values(h5py: Any, walk: Walk) -> Iterator[list[Any]]:
    """A row for each attribute of a group that is a number, a text, or a list of them."""
    count = 0
    for path, _address, item in walk.objects():
        if isinstance(item, h5py.h5g.GroupID):
            names = _attributes(h5py, item, MAX_ATTRIBUTES - count)
            count += len(names)
            for raw in names:
                name = _utf8(raw)
                value = None if name is None else _value(h5py, h5py.h5a.open(item, raw))
                if value is not None:
                    yield [path, name, *value]


def _attributes(h5py: Any, item: Any, most: int) -> list[bytes]:
    """Names of an object's first attributes. They are listed in one go, because to open each by its number
    takes the library the square of their number."""
    names: list[bytes] = []

    def note(name: bytes, *_info: Any) -> bool | None:
        if len(names) < most:
            names.append(name)
        return len(names) >= most or None  # to stop

    if most > 0:
        h5py.h5a.iterate(item, note)
    return names


def _value(h5py: Any, attribute: Any) -> list[Any] | None:
    """One value, or nothing and the length of a list that is too long; None for what is neither."""
    h5s = h5py.h5s
    if attribute.get_space().get_simple_extent_type() not in (h5s.SCALAR, h5s.SIMPLE):
        return None
    shape, kind = attribute.shape, attribute.get_type()
    if len(shape) > 1 or not _is_plain(h5py.h5t, kind):
        return None
    if shape and shape[0] > MAX_LISTED:
        return [None, int(shape[0])]
    if math.prod(shape) * kind.get_size() > MAX_TEXT_BYTES:
        return None
    value = _plain(attribute)
    return None if value is None else [value, None]


def _is_plain(h5t: Any, kind: Any) -> bool:
    if isinstance(kind, h5t.TypeStringID):
        return True
    if isinstance(kind, h5t.TypeEnumID):
        return _is_boolean(h5t, kind)
    return isinstance(kind, h5t.TypeFloatID | h5t.TypeIntegerID) and _number(h5t, kind) in _PLAIN_NUMBERS


def _plain(attribute: Any) -> Any:
    """An attribute's scalar or list; None where one of its texts is too long or not UTF-8."""
    import numpy as np  # is there: h5py has imported it

    array = np.zeros(attribute.shape, dtype=attribute.dtype)
    attribute.read(array)
    found = array.tolist()
    items = [_text_or_number(item) for item in (found if attribute.shape else [found])]
    if None in items:
        return None
    return items if attribute.shape else items[0]


def _text_or_number(item: Any) -> Any:
    if isinstance(item, bytes):
        return _utf8(item) if len(item) <= MAX_TEXT_BYTES else None
    return item


def _text(h5py: Any, item: Any, name: bytes) -> str | None:
    """The text that an attribute holds; None where there is no such attribute or it is something else."""
    if not h5py.h5a.exists(item, name):
        return None
    value = _value(h5py, h5py.h5a.open(item, name))
    return value[0] if value and isinstance(value[0], str) else None


def _utf8(text: bytes) -> str | None:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None


if __name__ == "__main__":
    main()
