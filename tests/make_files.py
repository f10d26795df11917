"""Files and weights of our own making, for tests. Needs numpy only; shares no code with the scanners."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mvc.formats import NotThisFormat

Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]
"""Tensor name to safetensors dtype, shape and little-endian row-major bytes."""

_NUMPY = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


@dataclass(frozen=True)
class BytesView:
    """A file in memory, as formats see it."""

    name: str
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        piece = self.data[offset : offset + length]
        if len(piece) != length:
            raise NotThisFormat(f"truncated at byte {len(self.data)}")
        return piece


def no_sibling(name: str) -> None:
    """A folder without other files."""


def safetensors_bytes(
    tensors: Mapping[str, tuple[str, Sequence[int], bytes]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """A safetensors file: the tensors in the mapping's order, the header padded to 8 bytes with spaces."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    position = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [position, position + len(data)],
        }
        position += len(data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(data for _, _, data in tensors.values())


def npy_bytes(array: NDArray[np.generic], version: tuple[int, int] | None = None) -> bytes:
    """What ``numpy.save`` writes; the oldest version that fits unless one is given."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), version=version, allow_pickle=True)
    return buffer.getvalue()


GGML_TYPES = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q8_0": 8,
    "Q4_K": 12,
    "Q6_K": 14,
    "I8": 24,
    "I16": 25,
    "I32": 26,
} | {"I64": 27, "F64": 28, "BF16": 30, "TQ2_0": 35, "MXFP4": 39}
GGML_BLOCKS = {"Q4_0": 32, "Q8_0": 32, "Q4_K": 256, "Q6_K": 256, "TQ2_0": 256, "MXFP4": 32}

GgufValue = str | bool | int | float | list["GgufValue"]


def gguf_bytes(
    tensors: Mapping[str, tuple[str, Sequence[int], bytes]],
    values: Mapping[str, GgufValue] | None = None,
    *,
    version: int = 3,
    order: str = "<",
    alignment: int = 32,
) -> bytes:
    """A GGUF file; shapes in numpy's order, the tensors' bytes as they are to lie in the file.

    Integers become 32-bit unsigned values (64-bit signed where they do not fit), floats 64-bit ones.
    """
    size = "I" if version == 1 else "Q"

    def text(value: str) -> bytes:
        raw = value.encode()
        return struct.pack(f"{order}{size}", len(raw)) + raw

    def kind_of(value: GgufValue) -> int:
        if isinstance(value, list):
            return 9
        if isinstance(value, bool):
            return 7
        if isinstance(value, int):
            return 4 if 0 <= value < 1 << 32 else 11
        return 12 if isinstance(value, float) else 8

    def plain(value: GgufValue) -> bytes:
        if isinstance(value, str):
            return text(value)
        if isinstance(value, list):
            kind = kind_of(value[0]) if value else 4
            head = struct.pack(f"{order}I{size}", kind, len(value))
            return head + b"".join(map(plain, value))
        return struct.pack(order + {7: "?", 4: "I", 11: "q", 12: "d"}[kind_of(value)], value)

    values = dict(values or {})
    if alignment != 32:
        values["general.alignment"] = alignment
    out = b"GGUF" + struct.pack(f"{order}I2{size}", version, len(tensors), len(values))
    for name, value in values.items():
        out += text(name) + struct.pack(f"{order}I", kind_of(value)) + plain(value)
    data = b""
    for name, (dtype, shape, raw) in tensors.items():
        data += bytes(-len(data) % alignment)
        extents = struct.pack(f"{order}{len(shape)}{size}", *reversed(shape))
        place = struct.pack(f"{order}IQ", GGML_TYPES[dtype], len(data))
        out += text(name) + struct.pack(f"{order}I", len(shape)) + extents + place
        data += raw
    out += bytes(-len(out) % alignment)
    return out + data + bytes(-len(data) % alignment)


def varint(number: int) -> bytes:
    """A number as Protocol Buffers write it; a negative one in ten bytes."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """A Protocol Buffers message of these fields: numbers as varints, text and bytes with their length."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            raw = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(raw)) + raw
    return out


ONNX_TYPES = (
    {"F32": 1, "U8": 2, "I8": 3, "U16": 4, "I16": 5, "I32": 6, "I64": 7, "BOOL": 9, "F16": 10, "F64": 11}
    | {"U32": 12, "U64": 13, "C64": 14, "C128": 15, "BF16": 16, "F8_E4M3": 17, "F8_E4M3FNUZ": 18}
    | {"F8_E5M2": 19, "F8_E5M2FNUZ": 20, "U4": 21, "I4": 22, "F4": 23, "F8_E8M0": 24, "U2": 25, "I2": 26}
    | {"F6_E2M3": 27, "F6_E3M2": 28}
)


def onnx_tensor(
    name: str,
    dtype: str,
    shape: Sequence[int],
    data: bytes | None = None,
    *,
    field: int = 9,
    external: Mapping[str, str] | None = None,
) -> bytes:
    """A TensorProto with its bytes in ``field`` (9 is raw_data), or in another file."""
    fields: list[tuple[int, int | str | bytes]] = [(1, b"".join(map(varint, shape)))] if shape else []
    fields += [(2, ONNX_TYPES[dtype]), (8, name)]
    if data is not None:
        fields.append((field, data))
    for key, value in (external or {}).items():
        fields.append((13, message((1, key), (2, value))))
    return message(*fields, *([(14, 1)] if external is not None else []))


def onnx_bytes(
    *graph: tuple[int, int | str | bytes], more: Sequence[tuple[int, int | str | bytes]] = ()
) -> bytes:
    """An ONNX model around the fields of a graph: 1 is a node, 5 an initializer."""
    operators = message((1, ""), (2, 21))
    return message((1, 10), (2, "tests"), (7, message(*graph, (2, "g"))), (8, operators), *more)


def leveldb_bytes(blocks: Sequence[Sequence[tuple[bytes, bytes]]], *, compression: int = 0) -> bytes:
    """A LevelDB table of these blocks of rows; keys share what they can with the one before."""

    def block(rows: Sequence[tuple[bytes, bytes]]) -> bytes:
        out, last = b"", b""
        for key, value in rows:
            shared = 0
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
            out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
            last = key
        return out + struct.pack("<II", 0, 1)  # one restart, at the start

    out, handles = b"", []
    for rows in blocks:
        data = block(rows)
        handles.append((rows[-1][0] if rows else b"", varint(len(out)) + varint(len(data))))
        out += data + bytes([compression]) + bytes(4)
    index = block(handles)
    place = varint(len(out)) + varint(len(index))
    out += index + bytes(5)
    return out + (varint(0) + varint(0) + place).ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


TF_TYPES = {"F32": 1, "F64": 2, "I32": 3, "U8": 4, "I8": 6, "I64": 9, "BF16": 14, "F16": 19}


def tf_shape(shape: Sequence[int]) -> bytes:
    """A TensorShapeProto."""
    return message(*((2, message((1, extent)) if extent else b"") for extent in shape))


def tf_entry(dtype: str, shape: Sequence[int], offset: int, size: int, shard: int = 0) -> bytes:
    """A checkpoint's BundleEntryProto."""
    fields = [(1, TF_TYPES[dtype]), (2, tf_shape(shape)), (3, shard), (4, offset), (5, size)]
    return message(*(pair for pair in fields if pair[1] != 0)) + b"\x35" + bytes(4)  # and a checksum


def tf_constant(name: str, dtype: str, shape: Sequence[int], data: bytes, field: int = 4) -> bytes:
    """A NodeDef that is a constant."""
    tensor = message((1, TF_TYPES[dtype]), (2, tf_shape(shape)), (field, data))
    value = message((1, "value"), (2, message((8, tensor))))
    kind = message((1, "dtype"), (2, message((6, TF_TYPES[dtype]))))
    return message((1, name), (2, "Const"), (5, kind), (5, value))


TFLITE_TYPES = {"F32": 0, "F16": 1, "I32": 2, "U8": 3, "I64": 4, "I8": 9, "I4": 17, "BF16": 18}


class _FlatTable:
    """A flatbuffer's table: scalars as bytes; tables, lists of tables, texts and vectors of numbers."""

    def __init__(self, fields: Mapping[int, object]) -> None:
        self.fields = fields


def _flat_bytes(root: _FlatTable, identifier: bytes) -> bytes:
    out = bytearray(4) + identifier
    waiting: list[tuple[int, object]] = [(0, root)]  # an offset's place, and what it is to point at

    def point(place: int) -> None:
        out[place : place + 4] = struct.pack("<I", len(out) - place)

    while waiting:
        place, value = waiting.pop(0)
        out += bytes(-len(out) % 8)
        if isinstance(value, _FlatTable):
            count = max(value.fields, default=-1) + 1
            slots = {number: 8 + 8 * at for at, number in enumerate(value.fields)}
            offsets = b"".join(struct.pack("<H", slots.get(number, 0)) for number in range(count))
            start = len(out)
            out += struct.pack("<HH", 4 + 2 * count, 8 + 8 * len(slots)) + offsets
            out += bytes(-len(out) % 8)
            point(place)
            table = len(out)
            out += struct.pack("<ii", table - start, 0) + bytes(8 * len(slots))
            for number, content in value.fields.items():
                at = table + slots[number]
                if isinstance(content, bytes):
                    out[at : at + len(content)] = content
                else:
                    waiting.append((at, content))
        elif isinstance(value, list):
            point(place)
            out += struct.pack("<I", len(value)) + bytes(4 * len(value))
            first = len(out) - 4 * len(value)
            waiting += [(first + 4 * at, item) for at, item in enumerate(value)]
        elif isinstance(value, str):
            point(place)
            out += struct.pack("<I", len(value.encode())) + value.encode() + b"\0"
        else:
            assert isinstance(value, tuple)  # the number of items, and their bytes
            out += bytes(4)  # so that the items are aligned
            point(place)
            out += struct.pack("<I", value[0]) + value[1]
    return bytes(out)


def tflite_bytes(
    tensors: Mapping[str, tuple[str, Sequence[int], bytes]],
    *,
    scales: Mapping[str, Sequence[float]] | None = None,
    description: str = "",
    identifier: bytes = b"TFL3",
) -> bytes:
    """A TFLite model: one graph, a buffer for each tensor behind the empty one."""
    buffers = [_FlatTable({})]
    rows = []
    for name, (dtype, shape, data) in tensors.items():
        fields: dict[int, object] = {
            0: (len(shape), struct.pack(f"<{len(shape)}i", *shape)),
            1: bytes([TFLITE_TYPES[dtype]]),
            2: struct.pack("<I", len(buffers)),
            3: name,
        }
        if scales and name in scales:
            count = len(scales[name])
            vectors = (count, struct.pack(f"<{count}f", *scales[name])), (count, bytes(8 * count))
            fields[4] = _FlatTable({2: vectors[0], 3: vectors[1]})
        rows.append(_FlatTable(fields))
        buffers.append(_FlatTable({0: (len(data), data)} if data else {}))
    root: dict[int, object] = {0: struct.pack("<I", 3), 2: [_FlatTable({0: list(rows)})], 4: list(buffers)}
    if description:
        root[3] = description
    return _flat_bytes(_FlatTable(root), identifier)


def to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round float32 to bfloat16 (to nearest, ties to even), as bit patterns. The values must be finite."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(
        np.uint16
    )


def from_bf16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The float32 values of bfloat16 bit patterns; exact."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def random_weights(
    rng: np.random.Generator, shapes: Mapping[str, Sequence[int]], dtype: str = "BF16"
) -> Tensors:
    """Weights spread like a trained model's, in BF16, F16, F32 or F64.

    Matrices: normal, scaled by the square root of the last dimension, each row a little louder or quieter
    than the next. Vectors: close to one, like the weights of a norm.
    """
    tensors: Tensors = {}
    for name, shape in shapes.items():
        values = rng.standard_normal(tuple(shape))
        if len(shape) >= 2:
            rows = np.exp(0.3 * rng.standard_normal((shape[0],) + (1,) * (len(shape) - 1)))
            values *= rows / np.sqrt(max(shape[-1], 1))
        else:
            values = 1 + 0.1 * values
        tensors[name] = (dtype, tuple(shape), _encode(np.asarray(values), dtype))
    return tensors


def finetuned(weights: Tensors, rng: np.random.Generator, relative_step: float) -> Tensors:
    """The weights moved a little: per tensor, the norm of the move is ``relative_step`` of the tensor's norm.

    A step far below the dtype's precision leaves most elements as they are, as fine-tuning in it does.
    """
    moved: Tensors = {}
    for name, (dtype, shape, data) in weights.items():
        values = _decode(data, dtype)
        scale = float(np.sqrt(np.mean(values**2))) if values.size else 0.0
        step = relative_step * scale * rng.standard_normal(values.shape)
        moved[name] = (dtype, shape, _encode(values + step, dtype))
    return moved


def _encode(values: NDArray[np.float64], dtype: str) -> bytes:
    if dtype == "BF16":
        return to_bf16(values.astype(np.float32)).astype("<u2").tobytes()
    return values.astype(_NUMPY[dtype]).tobytes()


def _decode(data: bytes, dtype: str) -> NDArray[np.float64]:
    if dtype == "BF16":
        return from_bf16(np.frombuffer(data, "<u2").astype(np.uint16)).astype(np.float64)
    return np.frombuffer(data, _NUMPY[dtype]).astype(np.float64)
