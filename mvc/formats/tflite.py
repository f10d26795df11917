"""TFLite: a flatbuffer whose buffers hold the constant tensors of its graphs.

Specification: ``schema.fbs`` of TensorFlow Lite, identifier TFL3. Tensors that share one buffer are rows of
one place. A buffer of another length than its tensor's elements take (a sparse or compressed one) has no
name here. Scales and zero points by channel have none either: they are so many and so short that naming them
makes small models 1 to 2 % larger than leaving them between the tensors does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mvc.dtypes import DTYPES
from mvc.formats.base import MAX_VALUE_CHARACTERS, NotThisFormat, Sibling, Value, View
from mvc.formats.wire.flatbuffers import Flat
from mvc.spans import MAX_RANK, Layout, Span, element_count

MAX_SUBGRAPHS = 10_000
MAX_TENSORS = 100_000
"""Tensors, and buffers."""

_IDENTIFIER = b"TFL3"
_MAX_NAME_BYTES = 4096
_MAX_NAMES_BYTES = 16 << 20
_DTYPES = {
    0: "F32",
    1: "F16",
    2: "I32",
    3: "U8",
    4: "I64",
    6: "BOOL",
    7: "I16",
    8: "C64",
    9: "I8",
    10: "F64",
} | {11: "C128", 12: "U64", 15: "U32", 16: "U16", 17: "I4", 18: "BF16", 19: "I2", 20: "U4"}

# Fields of the tables, by their place in the schema.
_VERSION, _SUBGRAPHS, _DESCRIPTION, _BUFFERS = 0, 2, 3, 4
_GRAPH_TENSORS = 0
_SHAPE, _TYPE, _BUFFER, _NAME = 0, 1, 2, 3
_DATA, _OFFSET, _SIZE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Tflite:
    """Scanner of ``.tflite`` files."""

    name: str = "tflite"

    def claims(self, name: str, head: bytes) -> bool:
        """By the identifier behind the root's offset, or by the file name."""
        return head[4:8] == _IDENTIFIER or name.lower().endswith(".tflite")

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """One span per tensor that has its data in the file."""
        flat, root = _open(view)
        if flat.vector(root, _SUBGRAPHS) is None or flat.vector(root, _BUFFERS) is None:
            raise NotThisFormat("no model of graphs and buffers")
        buffers = [_place(flat, table) for table in flat.tables(root, _BUFFERS, MAX_TENSORS)]
        spans: list[Span] = []
        tensors = names = 0
        for graph in flat.tables(root, _SUBGRAPHS, MAX_SUBGRAPHS):
            for table in flat.tables(graph, _GRAPH_TENSORS, MAX_TENSORS):
                tensors += 1
                span = _span(flat, table, buffers)
                if span is not None:
                    names += len(span.name)
                    spans.append(span)
                if tensors > MAX_TENSORS or names > _MAX_NAMES_BYTES:
                    raise NotThisFormat(f"more than {MAX_TENSORS} tensors, or names of too many bytes")
        return {view.name: Layout(self.name, tuple(spans))}

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """The schema's version, and the description."""
        flat, root = _open(view)
        place = flat.field(root, _VERSION)
        found: dict[str, Value] = {"version": 0 if place is None else flat.word(place)}
        description = flat.text(root, _DESCRIPTION, MAX_VALUE_CHARACTERS)
        return {**found, "description": description} if description else found


def _open(view: View) -> tuple[Flat, int]:
    flat = Flat(view)
    if flat.identifier() != _IDENTIFIER:
        raise NotThisFormat("the identifier TFL3 is missing")
    return flat, flat.root()


def _place(flat: Flat, buffer: int) -> tuple[int, int] | None:
    """Where a buffer's bytes lie, and how many; None for an empty one. Those of models of more than 2 GiB
    follow the flatbuffer."""
    held = flat.vector(buffer, _DATA)
    if held is not None and held[1]:
        return held
    offset, size = flat.field(buffer, _OFFSET), flat.field(buffer, _SIZE)
    if offset is None or size is None or flat.long(offset) <= 1:  # 1 stands for "not written yet"
        return None
    return flat.long(offset), flat.long(size)


def _span(flat: Flat, table: int, buffers: list[tuple[int, int] | None]) -> Span | None:
    """A tensor's span; None where the file does not hold it."""
    place = flat.field(table, _BUFFER)
    number = 0 if place is None else flat.word(place)
    if number >= len(buffers):
        raise NotThisFormat(f"a tensor in buffer {number} of {len(buffers)}")
    held = buffers[number]
    place = flat.field(table, _TYPE)
    dtype = _DTYPES.get(0 if place is None else flat.byte(place))
    shape = flat.integers(table, _SHAPE, MAX_RANK)
    if held is None or dtype is None or any(extent < 0 for extent in shape):
        return None
    if held[1] != DTYPES[dtype].byte_count(element_count(shape)):
        return None
    return Span(*held, flat.text(table, _NAME, _MAX_NAME_BYTES), dtype, shape)
