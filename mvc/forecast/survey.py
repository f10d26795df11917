"""One file as far as headers and samples tell: its tensors, what they hold, and which pieces it would be cut
into. Pieces have ids of their own, which are equal where samples and lengths are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from blake3 import blake3

from mvc.chunking import CONTENT_AVG, INLINE_GLUE, INLINE_TENSOR, content_pieces, tensor_pieces
from mvc.dtypes import DTYPES
from mvc.forecast.reading import Reader
from mvc.forecast.sampling import Run, chosen
from mvc.formats import Description, Value
from mvc.objectid import BlobId, ManifestId
from mvc.objects import Manifest, Part
from mvc.sketch import Sketch, can_sketch, sketch
from mvc.spans import Region, tile

WHOLE_GLUE = 64 << 10
"""Bytes of what lies between tensors, such as a long header, that are read to the last; of more, samples."""

_WINDOW = 640  # bytes, 1 % of a part

Content = tuple[int, bytes]
"""What a tensor holds, as far as is known: its length and the hash of its sample."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file that would be an object: where it lies, and in which tensor (its number in the
    table) at which position, if in one. ``length`` is in bytes."""

    id: BlobId
    offset: int
    length: int
    tensor: int | None
    position: int


class Surveyed:
    """A file that was looked at."""

    def __init__(
        self,
        reader: Reader,
        path: str,
        size: int,
        mtime_ns: int,
        described: Description,
        values: Mapping[str, Value],
    ) -> None:
        self.path = path
        self.size = size
        self.mtime_ns = mtime_ns
        self.format = described.layout.format
        self.reason = described.reason
        self.spans = described.layout.spans
        self.values = values
        self.runs = chosen(size, self.spans)
        self.identity = ManifestId(blake3(b"file" + path.encode("utf-8", "surrogateescape")).digest())
        self._reader = reader

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the file."""
        return self._reader.part(self.path, offset, length)

    def sample(self, place: int, group: list[Run]) -> bytes:
        """The bytes of some runs of a tensor, by its number."""
        span = self.spans[place]
        return b"".join(self.read(span.offset + run.position, run.length) for run in group)

    @cached_property
    def contents(self) -> list[Content | None]:
        """What each tensor holds; None where it was not sampled."""
        return [
            (span.length, blake3(b"".join(self.sample(place, group) for group in groups)).digest())
            if groups
            else None
            for place, (span, groups) in enumerate(zip(self.spans, self.runs, strict=True))
        ]

    @cached_property
    def sketches(self) -> dict[int, Sketch]:
        """The sketch of each tensor that can have one, by its number."""
        return {
            place: sketch(span, lambda offset, length, span=span: self.read(span.offset + offset, length))  # type: ignore[misc]
            for place, span in enumerate(self.spans)
            if can_sketch(span)
        }

    @cached_property
    def weight(self) -> int:
        """Bytes of the tensors that have sketches."""
        return sum(self.spans[place].length for place in self.sketches)

    # --- what it would become ------------------------------------------------------------------------------
    @cached_property
    def manifest(self) -> Manifest:
        """The manifest, but for ids and hashes, which are others of the same length."""
        spans = tuple(sorted(self.spans, key=lambda span: (span.offset, span.name)))
        parts = tuple(part for _piece, part in self._cut)
        return Manifest(self.format, self.size, bytes(self.identity), parts, spans, self.reason)

    @property
    def pieces(self) -> list[Piece]:
        """Its parts that would be objects, in order."""
        return [piece for piece, _part in self._cut if piece is not None]

    @cached_property
    def _cut(self) -> list[tuple[Piece | None, Part]]:
        numbers = {id(span): place for place, span in enumerate(self.spans)}
        found: list[tuple[Piece | None, Part]] = []
        for region in tile(self.size, self.spans):
            if region.span is None:
                found += self._glue(region)
            else:
                found += self._tensor(region, numbers[id(region.span)])
        return found

    def _glue(self, region: Region) -> Iterator[tuple[Piece | None, Part]]:
        if region.length <= INLINE_GLUE:
            yield None, Part(region.length, None, self.read(region.offset, region.length))
            return
        if region.length <= WHOLE_GLUE:
            data = self.read(region.offset, region.length)
            at = region.offset

            def fill(target: memoryview, offset: int) -> int:
                start = offset - region.offset
                count = min(len(target), len(data) - start)
                target[:count] = data[start : start + count]
                return count

            for view in content_pieces(fill, region.offset, region.length):
                identity = BlobId.of(view)
                yield Piece(identity, at, len(view), None, 0), Part(len(view), identity)
                at += len(view)
            return
        for position in range(0, region.length, CONTENT_AVG):
            offset, length = region.offset + position, min(CONTENT_AVG, region.length - position)
            identity = _identity(blake3(self.window(offset, length)).digest(), 0, length)
            yield Piece(identity, offset, length, None, 0), Part(length, identity)

    def window(self, offset: int, length: int) -> bytes:
        """What is read of a part of a long stretch of no known structure: its middle."""
        taken = min(_WINDOW, length)
        return self.read(offset + (length - taken) // 2, taken)

    def _tensor(self, region: Region, place: int) -> Iterator[tuple[Piece | None, Part]]:
        if region.length <= INLINE_TENSOR:
            yield None, Part(region.length, None, self.read(region.offset, region.length))
            return
        content = self.contents[place] if region.length == self.spans[place].length else None
        seed = bytes(self.identity) + region.offset.to_bytes(8, "little") if content is None else content[1]
        position = 0
        for length in tensor_pieces(region.length, DTYPES[self.spans[place].dtype].block):
            identity = _identity(seed, position, length)
            yield (
                Piece(identity, region.offset + position, length, place, position),
                Part(length, identity),
            )
            position += length


def _identity(seed: bytes, number: int, length: int) -> BlobId:
    return BlobId(blake3(b"%s%d:%d" % (seed, number, length)).digest())
