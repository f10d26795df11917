"""The weights id: equal for equal weights, whatever file or files hold them.

``w1:`` and 64 hexadecimal digits of BLAKE3 (key-derivation mode) over the canonical msgpack of the sorted set
of ``[name, dtype, shape, digest]``, one row for each tensor; ``digest`` is the plain BLAKE3-256 of the
tensor's elements in row-major order, little-endian (docs/format.md, "Weights ids"). Container, order,
sharding, alignment, strides, byte order and metadata play no part; names, dtypes, shapes and every bit of
every element do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from blake3 import blake3

from mvc import canonical
from mvc.dtypes import DTYPES
from mvc.spans import NotTileable, Region, Span, check_span, element_count, row_major_strides

CONTEXT = "mvc 2026 weights 1"
PREFIX = "w1:"
SUFFIX_BIG_ENDIAN = ":be"

MOST_STRIDED_BYTES = 128 << 20
"""A view in another than row-major order is held whole while it is hashed: beyond so many bytes it is not."""

MOST_TIMES_HASHED = 4
"""Views of one storage may be many, and each is hashed by itself. All tensors of a file together may take so
many times the bytes up to the end of the last one, and :data:`MOST_STRIDED_BYTES` besides."""

_BLOCK_BYTES = 1 << 20

Read = Callable[[int, int], bytes]
"""Exactly ``length`` bytes of a file at ``offset``, as ``read(offset, length)``."""


class TensorHash(NamedTuple):
    """One tensor of a weights id. ``dtype`` without byte order; ``digest`` has 32 bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: bytes


Form = tuple[str, str, tuple[int, ...]]
"""A tensor's name, dtype without byte order, and shape."""


def form(span: Span) -> Form:
    """What a weights id knows of a tensor besides its elements."""
    return span.name, span.dtype.removesuffix(SUFFIX_BIG_ENDIAN), span.shape


def weights_id(rows: Iterable[TensorHash]) -> str | None:
    """The weights id of a set of tensors; None when there are none."""
    unique = sorted({(row.name.encode(), row.dtype, row.shape, row.digest) for row in rows})
    if not unique:
        return None
    packed = canonical.pack(
        [[name.decode(), dtype, list(shape), digest] for name, dtype, shape, digest in unique]
    )
    return PREFIX + blake3(packed, derive_key_context=CONTEXT).hexdigest()


def tensor_hashes(spans: Sequence[Span], digests: Sequence[bytes | None]) -> list[TensorHash] | None:
    """A file's rows of a weights id; None when a tensor's digest is not known."""
    rows = []
    for span, digest in zip(spans, digests, strict=True):
        if digest is None:
            return None
        rows.append(TensorHash(*form(span), digest))
    return rows


def is_plain(span: Span) -> bool:
    """Whether the bytes as they lie in the file are the ones that are hashed."""
    if span.dtype.endswith(SUFFIX_BIG_ENDIAN):
        return False
    return span.strides is None or span.strides == row_major_strides(span.shape)


# --- hashing while a file passes by ------------------------------------------------------------------------
class PassingDigests:
    """Hashes tensors while their file is read from start to end, region by region.

    One hasher is alive at a time: it takes 2 KB, which a file of 100,000 tensors has not to spare for each.
    """

    def __init__(self) -> None:
        self._known: dict[Span, bytes] = {}
        self._passing: tuple[Span, blake3] | None = None

    def watcher(self, region: Region) -> blake3 | None:
        """What is to be updated with all the bytes of a region, in order; None where they are not one tensor
        as it is hashed. The regions before it have passed then."""
        self._settle()
        span = region.span
        if span is None or region.length != span.length or not is_plain(span):
            return None
        hasher = blake3()
        self._passing = span, hasher
        return hasher

    def finish(self, spans: Sequence[Span], read: Read) -> tuple[bytes | None, ...]:
        """The digests of all tensors; what did not pass by whole (views, other byte orders) is read again."""
        self._settle()
        return tuple(digests(spans, read, self._known))

    def _settle(self) -> None:
        if self._passing is not None:
            span, hasher = self._passing
            self._known[span] = hasher.digest()
            self._passing = None


# --- hashing what lies somewhere ---------------------------------------------------------------------------
def digests(
    spans: Sequence[Span], read: Read, known: dict[Span, bytes] | None = None
) -> Iterator[bytes | None]:
    """The digest of each tensor, in order, each one read when its turn comes; None for a strided view of
    more than :data:`MOST_STRIDED_BYTES`, for what goes beyond :data:`MOST_TIMES_HASHED`, and for a row that
    contradicts itself or has a dtype that is not known here. Aliases are read once."""
    left = MOST_STRIDED_BYTES + MOST_TIMES_HASHED * max((s.offset + s.length for s in spans), default=0)
    found: dict[tuple[object, ...], bytes | None] = {}
    for span, digest in (known or {}).items():
        found[_place(span)] = digest
        left -= span.length
    for span in spans:
        place = _place(span)
        if place not in found:
            found[place] = None
            if _is_sound(span):
                left -= _bytes_hashed(span)
                found[place] = _digest(span, read) if left >= 0 else None
        yield found[place]


def _is_sound(span: Span) -> bool:
    """Whether dtype, shape, strides and length say the same: manifests are not checked for that, for a newer
    mvc may know more dtypes."""
    try:
        check_span(span.offset + span.length, span)
    except NotTileable:
        return False
    return True


def _bytes_hashed(span: Span) -> int:
    """What hashing a tensor costs: the bytes that it touches, or those that it has when it repeats some."""
    if span.strides is None:
        return span.length
    return max(span.length, element_count(span.shape) * DTYPES[span.dtype].width)


def _place(span: Span) -> tuple[object, ...]:
    return span.offset, span.length, span.dtype, span.shape, span.strides


def _digest(span: Span, read: Read) -> bytes | None:
    if not fits_in_memory(span):
        return None
    hasher = blake3()
    for block in row_major_bytes(span, read):
        hasher.update(block)
    return hasher.digest()


def fits_in_memory(span: Span) -> bool:
    """Whether a tensor's elements can be put in order: a strided view is held whole meanwhile."""
    return _lies_in_order(span) or _bytes_hashed(span) <= MOST_STRIDED_BYTES


def row_major_bytes(span: Span, read: Read) -> Iterator[bytes]:
    """A sound tensor's elements in row-major order, little-endian, in blocks of whole elements; of one that
    :func:`fits_in_memory`."""
    component = _component(span.dtype) if span.dtype.endswith(SUFFIX_BIG_ENDIAN) else 1
    if _lies_in_order(span):
        for start in range(0, span.length, _BLOCK_BYTES):
            yield _swapped(read(span.offset + start, min(_BLOCK_BYTES, span.length - start)), component)
        return
    data = bytearray(span.length)
    for at in range(0, span.length, _BLOCK_BYTES):
        block = read(span.offset + at, min(_BLOCK_BYTES, span.length - at))
        data[at : at + len(block)] = block
    for block in _row_major(data, span.shape, span.strides or (), DTYPES[span.dtype].width):
        yield _swapped(block, component)


def _lies_in_order(span: Span) -> bool:
    return span.length == 0 or span.strides is None or span.strides == row_major_strides(span.shape)


def _component(dtype: str) -> int:
    """Bytes whose order is turned round: a complex number is two of them."""
    width = DTYPES[dtype].width
    return width // 2 if dtype.startswith("C") else width


def _swapped(block: bytes, width: int) -> bytes:
    """Elements of ``width`` bytes with their bytes in the other order. Blocks hold whole elements: their
    lengths are multiples of 16 or end the tensor."""
    if width == 1:
        return block
    import numpy as np  # here: nearly no file needs it, and importing numpy takes 0.1 s

    return np.frombuffer(block, f">u{width}").astype(f"<u{width}").tobytes()


def _row_major(
    data: bytearray, shape: tuple[int, ...], strides: tuple[int, ...], width: int
) -> Iterator[bytes]:
    """A strided view's elements in row-major order, in blocks of whole elements."""
    import numpy as np  # here: as above

    # This constructor checks the strides against the buffer; as_strided would read past its end.
    # Along an extent of 1 a stride means nothing, and may be more than numpy takes.
    axes = [axis for axis in zip(shape, strides, strict=True) if axis[0] > 1]
    extents, steps = [extent for extent, _ in axes], [stride * width for _, stride in axes]
    view = np.ndarray(extents, f"V{width}", data, strides=steps)
    for block in np.nditer(
        view, ["external_loop", "buffered", "zerosize_ok"], order="C", buffersize=_BLOCK_BYTES // width
    ):
        yield np.asarray(block).tobytes()
