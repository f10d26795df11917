"""TensorFlow: the checkpoint's index, which describes the data beside it, and graphs with constants.

Specifications: ``tensor_bundle.h`` and ``tensor_bundle.proto`` (a LevelDB table from names to entries);
``graph.proto``, ``saved_model.proto`` and ``tensor.proto``. What is stored as varints, or once for many
elements, lies in no stretch of its own and has no name here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mvc.dtypes import DTYPES
from mvc.formats.base import NotThisFormat, Sibling, Value, View
from mvc.formats.wire.leveldb import Row, rows
from mvc.formats.wire.protobuf import BYTES, VARINT, Field, Wire
from mvc.spans import MAX_RANK, Layout, Span, element_count

DATA_FORMAT = "tf-data"
"""The format of a checkpoint's data."""

MAX_TENSORS = 100_000
MAX_SHARDS = 10_000

_ENDING = ".index"
_MAX_NAME_BYTES = 4096
_MAX_NAMES_BYTES = 16 << 20

_DTYPES = (
    {1: "F32", 2: "F64", 3: "I32", 4: "U8", 5: "I16", 6: "I8", 8: "C64", 9: "I64", 10: "BOOL", 11: "I8"}
    | {12: "U8", 13: "I32", 14: "BF16", 15: "I16", 16: "U16", 17: "U16", 18: "C128", 19: "F16", 22: "U32"}
    | {23: "U64", 24: "F8_E5M2", 25: "F8_E4M3"}
)
"""``types.proto``; quantised numbers are integers to us, texts and resources are no tensors."""

_FIXED_WIDTH_VALUES = {5: "F32", 6: "F64", 9: "C64", 12: "C128"}


@dataclass(frozen=True, slots=True)
class TfIndex:
    """Scanner of a checkpoint's ``.index``, and of the ``.data-00000-of-00001`` beside it."""

    name: str = "tf-index"

    def claims(self, name: str, head: bytes) -> bool:
        """By the file name: the magic bytes stand at the end."""
        return name.endswith(_ENDING)

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """No tensors in the index itself; those of each shard by the shard's name."""
        wire = Wire(view)
        table = rows(view)
        header = next(table, None)
        if header is None or header.key:
            raise NotThisFormat("no header")
        shards, big_endian = _read_header(wire, header)
        found: dict[int, list[Span]] = {}
        names = 0
        for count, row in enumerate(table, 1):
            names += len(row.key)
            if count > MAX_TENSORS or names > _MAX_NAMES_BYTES:
                raise NotThisFormat(f"more than {MAX_TENSORS} tensors, or names of too many bytes")
            placed = _read_entry(wire, row, big_endian=big_endian)
            if placed is not None and placed[0] < shards:
                found.setdefault(placed[0], []).append(placed[1])
        stem = view.name.removesuffix(_ENDING)
        data = {
            f"{stem}.data-{shard:05}-of-{shards:05}": Layout(DATA_FORMAT, tuple(spans))
            for shard, spans in found.items()
        }
        return {**data, view.name: Layout(self.name)}

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """None: an index holds nothing else."""
        return {}


@dataclass(frozen=True, slots=True)
class TfGraph:
    """Scanner of ``.pb`` files: a frozen graph, or a saved model's graphs."""

    name: str = "tf-graph"

    def claims(self, name: str, head: bytes) -> bool:
        """By the file name."""
        return name.lower().endswith(".pb")

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """The constants of all graphs."""
        walk = _Walk(Wire(view))
        walk.file(view.size)
        return {view.name: Layout(self.name, tuple(walk.spans))}

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """None: what else a graph says is how to compute."""
        return {}


# --- the index ---------------------------------------------------------------------------------------------
def _read_header(wire: Wire, row: Row) -> tuple[int, bool]:
    """Number of shards, and whether their numbers are big-endian."""
    shards, big_endian = 0, False
    for found in wire.fields(row.offset, row.length):
        if found.number in (1, 2):
            wire.expect(found, VARINT)
            if found.number == 1:
                shards = found.value
            else:
                big_endian = found.value == 1
    if not 0 < shards <= MAX_SHARDS:
        raise NotThisFormat(f"{shards} shards")
    return shards, big_endian


def _read_entry(wire: Wire, row: Row, *, big_endian: bool) -> tuple[int, Span] | None:
    """A tensor's shard and place; None for texts, and for what is stored in slices under other keys."""
    numbers = {1: 0, 3: 0, 4: 0, 5: 0}
    shape: tuple[int, ...] | None = ()
    for found in wire.fields(row.offset, row.length):
        if found.number in numbers:
            wire.expect(found, VARINT)
            numbers[found.number] = found.value
        elif found.number == 2:
            shape = _read_shape(wire, found)
        elif found.number == 7:
            return None
    dtype = _DTYPES.get(numbers[1])
    if dtype is None or shape is None or numbers[5] != DTYPES[dtype].byte_count(element_count(shape)):
        return None
    if big_endian and DTYPES[dtype].width > 1:
        dtype += ":be"
    try:
        name = row.key.decode()
    except UnicodeDecodeError:  # the key of a slice, which is no name
        return None
    return numbers[3], Span(numbers[4], numbers[5], name, dtype, shape)


def _read_shape(wire: Wire, field: Field) -> tuple[int, ...] | None:
    """A TensorShapeProto; None where an extent is unknown."""
    shape: list[int] = []
    for found in wire.message(field):
        if found.number == 3 and found.value:
            return None
        if found.number == 2:
            extents = [e for part in wire.message(found) if part.number == 1 for e in wire.integers(part, 1)]
            shape.append(extents[-1] if extents else 0)
            if len(shape) > MAX_RANK:
                raise NotThisFormat(f"a tensor of more than {MAX_RANK} dimensions")
    return tuple(shape) if all(extent >= 0 for extent in shape) else None


# --- graphs ------------------------------------------------------------------------------------------------
class _Walk:
    """Everything in a file of graphs that may hold constants."""

    def __init__(self, wire: Wire) -> None:
        self.spans: list[Span] = []
        self._wire = wire
        self._nodes = 0
        self._names = 0

    def file(self, size: int) -> None:
        """Walk a GraphDef or a SavedModel, told apart by their first fields."""
        first = next(self._wire.fields(0, size), None)
        if first is not None and first.number == 1 and first.kind == VARINT:
            self._saved_model(size)
        else:
            self._graph(self._wire.fields(0, size))
        if not self._nodes:
            raise NotThisFormat("no graph of any node")

    def _saved_model(self, size: int) -> None:
        for found in self._wire.fields(0, size):
            if found.number not in (1, 2):
                raise NotThisFormat(f"a field {found.number} that no saved model has")
            if found.number == 2:
                for part in self._wire.message(found):
                    if part.number == 2:
                        self._graph(self._wire.message(part))

    def _graph(self, fields: Iterator[Field]) -> None:
        for found in fields:
            if found.number == 1:
                self._node(found, "")
            elif found.number == 2:
                for part in self._wire.message(found):
                    if part.number == 1:
                        self._function(part)
            elif found.number > 5:
                raise NotThisFormat(f"a field {found.number} that no graph has")

    def _function(self, function: Field) -> None:
        name = ""
        for found in self._wire.message(function):
            if found.number == 1:
                for part in self._wire.message(found):
                    if part.number == 1:
                        name = self._wire.text(part, _MAX_NAME_BYTES)
            elif found.number == 3:
                self._node(found, f"{name}/")

    def _node(self, node: Field, prefix: str) -> None:
        name = kind = ""
        attributes = []
        for found in self._wire.message(node):
            if found.number == 1:
                name = self._wire.text(found, _MAX_NAME_BYTES)
            elif found.number == 2:
                kind = self._wire.text(found, _MAX_NAME_BYTES)
            elif found.number == 5:
                attributes.append(found)
        if not kind:
            raise NotThisFormat("a node without an operation")
        self._nodes += 1
        for attribute in attributes:
            self._attribute(attribute, prefix + name)

    def _attribute(self, attribute: Field, owner: str) -> None:
        """A node's attribute; a constant's value is named as its node is."""
        name = ""
        tensors = []
        for found in self._wire.message(attribute):
            if found.number == 1:
                name = self._wire.text(found, _MAX_NAME_BYTES)
            elif found.number == 2:
                tensors += [part for part in self._wire.message(found) if part.number == 8]
        for tensor in tensors:
            self._tensor(tensor, owner if name == "value" else f"{owner}.{name}")

    def _tensor(self, tensor: Field, name: str) -> None:
        dtype: str | None = None
        shape: tuple[int, ...] | None = ()
        data: list[Field] = []
        for found in self._wire.message(tensor):
            if found.number == 1:
                self._wire.expect(found, VARINT)
                dtype = _DTYPES.get(found.value)
            elif found.number == 2:
                shape = _read_shape(self._wire, found)
            elif found.number == 4 or found.number in _FIXED_WIDTH_VALUES:
                data.append(found)
        if dtype is None or shape is None or len(data) != 1:
            return
        length = DTYPES[dtype].byte_count(element_count(shape))
        (held,) = data
        fits = held.number == 4 or _FIXED_WIDTH_VALUES[held.number] == dtype
        if held.kind == BYTES and held.length == length and fits:
            self._names += len(name)
            if len(self.spans) == MAX_TENSORS or self._names > _MAX_NAMES_BYTES:
                raise NotThisFormat(f"more than {MAX_TENSORS} tensors, or names of too many bytes")
            self.spans.append(Span(held.value, length, name, dtype, shape))
