"""A merged safetensors file: one side's header where it says what is meant, else a new one."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from blake3 import blake3

from mvc.errors import UserError
from mvc.formats import NotThisFormat
from mvc.formats.safetensors import Described, emit_header, read_header, read_metadata
from mvc.memoryfile import MemoryFile, Stretch
from mvc.merging.composed import Composed, has_tensors
from mvc.merging.sides import NotMergeable, Side, Sides
from mvc.merging.strategy import THEIRS
from mvc.merging.tensors import Source

_Metadata = dict[str, str] | None


def compose_safetensors(name: str, sides: Sides, sources: Mapping[str, Source], side: str | None) -> Composed:
    """The file; in conflict may be keys of ``__metadata__``, which are as ours has them.

    Metadata are merged by key; ``side`` wins where both changed one. The header is ours, or else theirs,
    byte for byte, where its tensors and metadata are those of the result. A new one lists tensors as the
    reference library does, wider types first and then by name, so that each is aligned to its elements.

    Raises:
        NotMergeable: more tensors, or others, than such a file may have.
    """
    found = _Metadatas(name)
    metadata, conflicts = _merge_metadata(found, sides, side)
    for frame in (sides.ours, sides.theirs):
        if has_tensors(frame.manifest.tensors, sources) and found[frame] == metadata:
            spans = frame.manifest.tensors
            begin = min((span.offset for span in spans), default=frame.manifest.size)
            header, order = frame.stretches(0, begin), [span.name for span in spans]
            break
    else:
        header, order = _new_header(sources, metadata)
    offset = sum(stretch.length for stretch in header)
    offsets: dict[str, int] = {}
    for tensor in order:
        offsets[tensor] = offset
        offset += sources[tensor].span.length
    body = chain.from_iterable(sources[tensor].stretches() for tensor in order)
    return Composed(MemoryFile(name, [*header, *body]), offsets, conflicts)


def _new_header(sources: Mapping[str, Source], metadata: _Metadata) -> tuple[tuple[Stretch, ...], list[str]]:
    described = [Described(name, source.span.dtype, source.span.shape) for name, source in sources.items()]
    try:
        header, ordered = emit_header(described, metadata)
    except UserError as refusal:
        raise NotMergeable(refusal.message) from None
    return (Stretch.of(header),), [tensor.name for tensor in ordered]


class _Metadatas:
    """The ``__metadata__`` of the sides of a file; each header is parsed once, however many sides have it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._known: dict[bytes, _Metadata] = {}

    def __getitem__(self, side: Side | None) -> _Metadata:
        if side is None or side.manifest.format != "safetensors":
            return None
        view = side.view(self._name)
        try:
            header = blake3(read_header(view)).digest()
            if header not in self._known:
                self._known[header] = read_metadata(view)
        except NotThisFormat as refusal:
            raise NotMergeable(refusal.reason) from None
        return self._known[header]


def _merge_metadata(found: _Metadatas, sides: Sides, side: str | None) -> tuple[_Metadata, tuple[str, ...]]:
    base, ours, theirs = (found[one] for one in sides)
    if ours == theirs or theirs == base:
        return ours, ()
    if ours == base:
        return theirs, ()
    before, mine, others = base or {}, ours or {}, theirs or {}
    merged: dict[str, str] = {}
    conflicts: list[str] = []
    for key in dict.fromkeys((*mine, *others)):
        was, here, there = before.get(key), mine.get(key), others.get(key)
        if here in (was, there):
            chosen = there
        elif there == was:
            chosen = here
        else:
            chosen = there if side == THEIRS else here
            if side is None:
                conflicts.append(f"__metadata__ {key}")
        if chosen is not None:
            merged[key] = chosen
    return merged, tuple(conflicts)
