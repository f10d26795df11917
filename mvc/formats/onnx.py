"""ONNX: a graph as a Protocol Buffers message, with tensors inside it or in files beside it.

Specification: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto and docs/ExternalData.md there. Tensors
are named wherever a model holds them: initializers, sparse ones too, constants in attributes, the graphs
inside control flow, functions and training. What is stored as varints, or unpacked, lies in no one stretch
and has no name here. A file beside the model is described when the model names it plainly; a location with a
folder in it is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mvc.dtypes import DTYPES
from mvc.formats.base import (
    MAX_LISTED,
    MAX_VALUE_CHARACTERS,
    MAX_VALUES,
    NotThisFormat,
    Sibling,
    Value,
    View,
    limited,
)
from mvc.formats.wire.protobuf import BYTES, VARINT, Field, Wire
from mvc.spans import MAX_RANK, Layout, Span, element_count, shown

EXTERNAL_FORMAT = "onnx-data"
"""The format of a file beside a model that holds its tensors."""

MAX_TENSORS = 100_000
MAX_NESTING = 32
"""Graphs within graphs."""

_MAX_NAME_BYTES = 4096
_MAX_NAMES_BYTES = 16 << 20
_NUMBER = re.compile(r"[0-9]{1,19}")

_DTYPES = (
    {1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 9: "BOOL", 10: "F16", 11: "F64"}
    | {12: "U32", 13: "U64", 14: "C64", 15: "C128", 16: "BF16", 17: "F8_E4M3", 18: "F8_E4M3FNUZ"}
    | {19: "F8_E5M2", 20: "F8_E5M2FNUZ", 21: "U4", 22: "I4", 23: "F4", 24: "F8_E8M0", 25: "U2", 26: "I2"}
    | {27: "F6_E2M3", 28: "F6_E3M2"}
)
"""``TensorProto.DataType``; strings (8) are no tensors to us."""

_EXTERNAL = 1
_FIXED_WIDTH_DATA = {4: ("F32", "C64"), 10: ("F64", "C128")}  # float_data, double_data


@dataclass(frozen=True, slots=True)
class Onnx:
    """Scanner of ``.onnx`` files, and of the files that hold their tensors."""

    name: str = "onnx"

    def claims(self, name: str, head: bytes) -> bool:
        """By the file name: a message has no magic bytes."""
        return name.lower().endswith(".onnx")

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """The model's tensors; those outside by the name of the file that they lie in."""
        walk = _Walk(Wire(view))
        walk.model()
        layouts = {place: Layout(EXTERNAL_FORMAT, tuple(spans)) for place, spans in walk.outside.items()}
        return {**layouts, view.name: Layout(self.name, tuple(walk.inside))}

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """Versions, the producer, metadata, and the names of the graph, its inputs and outputs."""
        return limited(_model_values(Wire(view)))


@dataclass(frozen=True, slots=True)
class OnnxTensor:
    """Scanner of ``.pb`` files that hold one tensor, as ONNX's test data are stored."""

    name: str = "onnx-tensor"

    def claims(self, name: str, head: bytes) -> bool:
        """By the file name."""
        return name.lower().endswith(".pb")

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """The tensor."""
        walk = _Walk(Wire(view))
        tensor = _read_tensor(walk.wire, walk.wire.fields(0, view.size), strict=True)
        if tensor.dtype is None or tensor.start is None or tensor.external:
            raise NotThisFormat("no tensor of one stretch of bytes")
        walk.add(tensor, tensor.name)
        return {view.name: Layout(self.name, tuple(walk.inside))}

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """None: a tensor stands alone."""
        return {}


# --- tensors -----------------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Tensor:
    """A TensorProto. ``start`` is where its bytes lie, None where they lie in no one stretch."""

    name: str = ""
    dtype: str | None = None
    shape: list[int] = field(default_factory=list)
    start: int | None = None
    length: int = 0
    external: dict[str, str] = field(default_factory=dict)


def _read_tensor(wire: Wire, fields: Iterator[Field], *, strict: bool = False) -> _Tensor:
    """Read a TensorProto; ``strict`` refuses fields that it does not have."""
    tensor = _Tensor()
    raw: Field | None = None
    packed: list[Field] = []
    is_external = False
    for found in fields:
        number = found.number
        if number == 1:
            tensor.shape += wire.integers(found, MAX_RANK)
            if len(tensor.shape) > MAX_RANK:
                raise NotThisFormat(f"a tensor of more than {MAX_RANK} dimensions")
        elif number == 2:
            wire.expect(found, VARINT)
            tensor.dtype = _DTYPES.get(found.value)
        elif number == 8:
            tensor.name = wire.text(found, _MAX_NAME_BYTES)
        elif number == 9:
            wire.expect(found, BYTES)
            raw = found
        elif number in _FIXED_WIDTH_DATA:
            packed.append(found)
        elif number == 13:
            _read_entry(wire, found, tensor.external)
        elif number == 14:
            wire.expect(found, VARINT)
            is_external = found.value == _EXTERNAL
        elif strict and number not in (3, 5, 6, 7, 11, 12, 16):
            raise NotThisFormat(f"a field {number} that no tensor has")
    if not is_external:
        tensor.external = {}
        data = raw if raw is not None else _only_packed(tensor, packed)
        if data is not None:
            tensor.start, tensor.length = data.value, data.length
    return tensor


def _only_packed(tensor: _Tensor, found: list[Field]) -> Field | None:
    """The field of fixed-width numbers that is the whole tensor."""
    if len(found) == 1 and found[0].kind == BYTES and tensor.dtype in _FIXED_WIDTH_DATA[found[0].number]:
        return found[0]
    return None


def _read_entry(wire: Wire, found: Field, entries: dict[str, str]) -> None:
    """One pair of texts."""
    pair = {1: "", 2: ""}
    for part in wire.message(found):
        if part.number in pair:
            pair[part.number] = wire.text(part, _MAX_NAME_BYTES)
    entries[pair[1]] = pair[2]
    if len(entries) > MAX_RANK:
        raise NotThisFormat("a tensor with too many entries of external data")


# --- the walk ----------------------------------------------------------------------------------------------
class _Walk:
    """Everything in a model that may hold tensors.

    ``inside`` are the spans of the model's own file, ``outside`` those of others by their bare names.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.inside: list[Span] = []
        self.outside: dict[str, list[Span]] = {}
        self._count = 0
        self._names = 0

    def model(self) -> None:
        """Walk a ModelProto, which is the whole file."""
        version = graphs = 0
        for found in self.wire.fields(0, self.wire.size):
            if found.number == 1:
                self.wire.expect(found, VARINT)
                version = found.value
            elif found.number == 7:
                self._graph(found, 1)
                graphs += 1
            elif found.number == 20:
                for graph in self.wire.message(found):
                    if graph.number in (1, 2):
                        self._graph(graph, 1)
            elif found.number == 25:
                self._function(found)
        if not version or graphs != 1:
            raise NotThisFormat("no model of one graph")

    def add(self, tensor: _Tensor, name: str) -> None:
        """Note where a tensor lies, if it lies in one stretch."""
        self._count += 1
        self._names += len(name)
        if self._count > MAX_TENSORS or self._names > _MAX_NAMES_BYTES:
            raise NotThisFormat(f"more than {MAX_TENSORS} tensors, or names of too many bytes")
        if tensor.dtype is None or any(extent < 0 for extent in tensor.shape):
            return
        shape = tuple(tensor.shape)
        length = DTYPES[tensor.dtype].byte_count(element_count(shape))
        if tensor.external:
            self._add_outside(tensor.external, Span(0, length, name, tensor.dtype, shape))
        elif tensor.start is not None:
            if tensor.length != length:
                raise NotThisFormat(f"tensor {shown(name)} has a length that its shape contradicts")
            self.inside.append(Span(tensor.start, length, name, tensor.dtype, shape))

    def _add_outside(self, external: Mapping[str, str], span: Span) -> None:
        location, offset = external.get("location", ""), external.get("offset", "0")
        length = external.get("length", str(span.length))
        if not _is_bare(location) or not _NUMBER.fullmatch(offset) or length != str(span.length):
            return
        placed = Span(int(offset), span.length, span.name, span.dtype, span.shape)
        self.outside.setdefault(location, []).append(placed)

    def _graph(self, graph: Field, nesting: int) -> None:
        if nesting > MAX_NESTING:
            raise NotThisFormat(f"graphs nested more than {MAX_NESTING} deep")
        for found in self.wire.message(graph):
            if found.number == 1:
                self._node(found, nesting)
            elif found.number == 5:
                self._tensor(found)
            elif found.number == 15:
                self._sparse(found)

    def _function(self, function: Field) -> None:
        name = ""
        for found in self.wire.message(function):
            if found.number == 1:
                name = self.wire.text(found, _MAX_NAME_BYTES)
            elif found.number == 7:
                self._node(found, 1)
            elif found.number == 11:
                self._attribute(found, name, is_constant=False, nesting=1)

    def _node(self, node: Field, nesting: int) -> None:
        name = output = kind = ""
        attributes = []
        for found in self.wire.message(node):
            if found.number == 2 and not output:
                output = self.wire.text(found, _MAX_NAME_BYTES)
            elif found.number == 3:
                name = self.wire.text(found, _MAX_NAME_BYTES)
            elif found.number == 4:
                kind = self.wire.text(found, _MAX_NAME_BYTES)
            elif found.number == 5:
                attributes.append(found)
        is_constant = kind == "Constant"
        owner = (output or name) if is_constant else (name or output)
        for attribute in attributes:
            self._attribute(attribute, owner, is_constant=is_constant, nesting=nesting)

    def _attribute(self, attribute: Field, owner: str, *, is_constant: bool, nesting: int) -> None:
        """Tensors and graphs of an attribute; a constant is named as its output is, all else by attribute."""
        name = ""
        tensors, sparse = [], []
        for found in self.wire.message(attribute):
            if found.number == 1:
                name = self.wire.text(found, _MAX_NAME_BYTES)
            elif found.number in (5, 10):
                tensors.append(found)
            elif found.number in (6, 11):
                self._graph(found, nesting + 1)
            elif found.number in (22, 23):
                sparse.append(found)
        full = owner if is_constant else f"{owner}.{name}"
        for place, found in enumerate(tensors):
            self._tensor(found, full if len(tensors) == 1 else f"{full}.{place}")
        for place, found in enumerate(sparse):
            self._sparse(found, full if len(sparse) == 1 else f"{full}.{place}")

    def _tensor(self, found: Field, name: str | None = None) -> str:
        """A tensor under this name, or else its own; returns it."""
        tensor = _read_tensor(self.wire, self.wire.message(found))
        name = tensor.name if name is None else name
        self.add(tensor, name)
        return name

    def _sparse(self, sparse: Field, name: str | None = None) -> None:
        indices = []
        for found in self.wire.message(sparse):
            if found.number == 1:
                name = self._tensor(found, name)
            elif found.number == 2:
                indices.append(found)
        for found in indices:
            self._tensor(found, f"{name or ''}.indices")


def _is_bare(location: str) -> bool:
    """Whether it names a file of the same folder, and plainly so."""
    return location not in ("", ".", "..") and not any(sign in location for sign in "/\\\0")


# --- values ------------------------------------------------------------------------------------------------
_NAMED_VALUES = {
    1: ("ir_version", VARINT),
    2: ("producer_name", BYTES),
    3: ("producer_version", BYTES),
    4: ("domain", BYTES),
    5: ("model_version", VARINT),
}


def _model_values(wire: Wire) -> Iterator[tuple[str, Value]]:
    left = MAX_VALUES - 4 * MAX_LISTED  # for metadata and operator sets
    for found in wire.fields(0, wire.size):
        if found.number in _NAMED_VALUES:
            name, kind = _NAMED_VALUES[found.number]
            wire.expect(found, kind)
            yield name, _int64(found.value) if kind == VARINT else wire.text(found, MAX_VALUE_CHARACTERS)
        elif found.number == 7:
            yield from _graph_values(wire, found)
        elif found.number in (8, 14) and left:
            left -= 1
            entry = _operators(wire, found) if found.number == 8 else _metadata(wire, found)
            if entry is not None:
                yield entry


def _operators(wire: Wire, found: Field) -> tuple[str, Value]:
    domain, version = "", 0
    for part in wire.message(found):
        if part.number == 1:
            domain = wire.text(part, _MAX_NAME_BYTES)
        elif part.number == 2:
            wire.expect(part, VARINT)
            version = _int64(part.value)
    return f"opset_import.{domain or 'ai.onnx'}", version


def _metadata(wire: Wire, found: Field) -> tuple[str, Value] | None:
    """One entry; None for a text that is too long to keep."""
    pair = {1: "", 2: ""}
    for part in wire.message(found):
        if part.number in pair:
            if part.length > MAX_VALUE_CHARACTERS:
                return None
            pair[part.number] = wire.text(part, MAX_VALUE_CHARACTERS)
    return f"metadata.{pair[1]}", pair[2]


def _graph_values(wire: Wire, graph: Field) -> Iterator[tuple[str, Value]]:
    listed: dict[str, list[Field]] = {"inputs": [], "outputs": []}
    counts = {"initializers": 0, "nodes": 0}
    for found in wire.message(graph):
        if found.number == 2:
            yield "graph.name", wire.text(found, MAX_VALUE_CHARACTERS)
        elif found.number in (11, 12):
            listed["inputs" if found.number == 11 else "outputs"].append(found)
        elif found.number in (1, 5):
            counts["nodes" if found.number == 1 else "initializers"] += 1
    for name, fields in listed.items():
        if len(fields) > MAX_LISTED:
            yield f"graph.{name}.#", len(fields)
            continue
        for place, found in enumerate(fields):
            for part in wire.message(found):
                if part.number == 1:
                    yield f"graph.{name}.{place}", wire.text(part, _MAX_NAME_BYTES)
    for name, count in counts.items():
        yield f"graph.{name}.#", count


def _int64(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number
