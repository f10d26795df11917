"""Files in which tensors can be replaced at equal size, and which version's remainder a merged file takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from mvc.formats.wire.zipdir import Marks
from mvc.memoryfile import Stretch
from mvc.merging.archives import checksums, loose_ranges, marks_of
from mvc.merging.composed import Composed
from mvc.merging.hybrid import Replaced, hybrid
from mvc.merging.sides import NotMergeable, Side, Sides, same_bytes, same_form
from mvc.merging.strategy import THEIRS
from mvc.merging.tensors import Source, Taken
from mvc.spans import Span, shown, tile

PLAIN = frozenset(
    {
        *("npy", "gguf", "onnx", "onnx-tensor", "tflite", "tf-graph", "hdf5"),
        *("pickle", "torch-legacy", "torch-tar"),
    }
)
"""Formats that say nothing of their tensors' bytes."""

ARCHIVES = frozenset({"torch", "npz", "keras", "zip"})
"""Zip archives, which have a checksum of each member."""

GLUE = "what lies between its tensors"
"""What is in conflict where the two sides changed it in different ways."""


def compose_in_place(name: str, sides: Sides, sources: Mapping[str, Source], side: str | None) -> Composed:
    """One side's file with tensors replaced. ``side`` is the one that wins where both changed what lies
    between tensors; None to leave that in conflict, as ours has it.

    Raises:
        NotMergeable: neither side's file has room for these tensors, or replacing them would leave it wrong.
    """
    if sides.ours.manifest.format not in PLAIN | ARCHIVES:
        raise NotMergeable(f"tensors of {sides.ours.manifest.format} files cannot be replaced")
    frame, agreed = _frame(name, sides, side)
    replaced = list(_replaced(frame, sources))
    made = hybrid(frame.side.reader, name, frame.side.manifest, replaced)
    patches = checksums(made, frame.marks, [one.span for one in replaced]) if replaced else []
    if patches:
        changed = [
            Replaced(
                Span(patch.offset, len(patch.data), "checksum", "U8", (len(patch.data),)),
                (Stretch.of(patch.data),),
            )
            for patch in patches
        ]
        made = hybrid(frame.side.reader, name, frame.side.manifest, [*replaced, *changed])
    offsets = {span.name: span.offset for span in frame.side.manifest.tensors}
    return Composed(made, offsets, () if agreed else (GLUE,))


class _Frame(NamedTuple):
    """A side whose file may be the one that tensors are replaced in; ``marks`` where it is an archive."""

    side: Side
    marks: Sequence[Marks]


def _frame(name: str, sides: Sides, side: str | None) -> tuple[_Frame, bool]:
    """The side that what lies between tensors comes from, and whether that is settled."""
    base, ours, theirs = (None if one is None else _framed(name, one) for one in sides)
    if ours is None or theirs is None:
        raise NotMergeable("it is missing on one side")
    if _same_glue(ours, theirs):
        return ours, True
    if base is not None and _same_glue(base, ours):
        return theirs, True
    if base is not None and _same_glue(base, theirs):
        return ours, True
    return (theirs if side == THEIRS else ours), side is not None


def _framed(name: str, side: Side) -> _Frame:
    if side.manifest.format not in ARCHIVES:
        return _Frame(side, ())
    return _Frame(side, marks_of(side.view(name)))


def _same_glue(one: _Frame, other: _Frame) -> bool:
    """Whether two files are the same but for the bytes of their tensors."""
    mine, others = one.side.manifest, other.side.manifest
    if (mine.format, mine.size, mine.tensors) != (others.format, others.size, others.tensors):
        return False
    loose = loose_ranges(one.marks)
    if loose != loose_ranges(other.marks):
        return False
    glue = [(r.offset, r.length) for r in tile(mine.size, mine.tensors) if r.span is None]
    return all(
        same_bytes(one.side, offset, other.side, offset, length) for offset, length in _without(glue, loose)
    )


def _without(
    ranges: Sequence[tuple[int, int]], holes: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """What is left of ranges without others; both are in order and do not overlap among themselves."""
    left = list(reversed(holes))
    for offset, length in ranges:
        end = offset + length
        while left and left[-1][0] < end:
            start, size = left[-1]
            if start > offset:
                yield offset, start - offset
            offset = max(offset, start + size)
            if start + size > end:
                break
            left.pop()
        if offset < end:
            yield offset, end - offset


def _replaced(frame: _Frame, sources: Mapping[str, Source]) -> Iterator[Replaced]:
    """What is to be replaced in a side's file; tensors that are the same bytes are replaced once.

    Raises:
        NotMergeable: the file has other tensors than these, or some that share bytes in a way that forbids
            it.
    """
    if frame.side.spans.keys() != sources.keys():
        raise NotMergeable("tensors were added or taken away, and its format has no room for that")
    places: dict[tuple[int, int], Source] = {}
    for span in frame.side.manifest.tensors:
        source = sources[span.name]
        if not same_form(source.span, span):
            raise NotMergeable("a tensor's dtype or shape changed, and its format has no room for that")
        known = places.setdefault((span.offset, span.length), source) if span.length else source
        if _bytes_of(known) != _bytes_of(source):
            raise NotMergeable(f"tensor {shown(span.name)} shares its bytes with one that would differ")
    end, was_kept = 0, True
    for (offset, length), source in sorted(places.items(), key=lambda item: item[0]):
        kept = isinstance(source, Taken) and source.side is frame.side
        if offset < end and not (kept and was_kept):
            raise NotMergeable(f"tensor {shown(source.span.name)} shares some of its bytes with another")
        was_kept = kept and (was_kept or offset >= end)
        end = max(end, offset + length)
        if not kept:
            yield Replaced(replace(source.span, offset=offset, length=length), source.stretches())


def _bytes_of(source: Source) -> tuple[object, ...]:
    """What decides which bytes a source gives."""
    if isinstance(source, Taken):
        return id(source.side), source.span.offset, source.span.length
    places = tuple((id(operand.side), operand.span.offset) for operand in source.operands)
    return places, source.span.length, source.recipe
