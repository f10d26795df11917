"""Files that are cheap to make and dear to read: for each format of the table, built to cost most within what
its scanner is ready to spend, and beyond it.

Sizes are those that hurt: just below a budget, where everything is read, or far above it, where nothing may be.
"""

# ruff: noqa: E501 - bombs read best as one line each

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from collections.abc import Callable

import numpy as np

from tests.make_files import (
    leveldb_bytes,
    message,
    npy_bytes,
    onnx_bytes,
    onnx_tensor,
    tf_constant,
    tf_entry,
    tflite_bytes,
    varint,
)
from tests.make_pickles import Name, body, pickled, tensor, torch_legacy, torch_tar, zip_bytes

HUGE = (1 << 63) - 1
SIGNATURE = b"\x89HDF\r\n\x1a\n"

Bomb = Callable[[], bytes]


# --- safetensors -------------------------------------------------------------------------------------------
def _safetensors(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def _rows(count: int, name: str = "%d") -> bytes:
    row = '"%s":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    return ("{" + ",".join(row % (name % n) for n in range(count)) + "}").encode()


SAFETENSORS: dict[str, Bomb] = {
    "header of 100 MB": lambda: _safetensors(b"{" + b" " * 100_000_000 + b"}"),
    "spaces": lambda: _safetensors(b"{" + b" " * 24_000_000 + b"}"),
    "most tensors": lambda: _safetensors(_rows(140_000)),
    "a million keys": lambda: _safetensors(
        b'{"a":{' + b",".join(b'"%d":0' % n for n in range(990_000)) + b"}}"
    ),
    "empty lists": lambda: _safetensors(b'{"a":[' + b"[]," * 490_000 + b"0]}"),
    "empty objects": lambda: _safetensors(b'{"a":[' + b"{}," * 490_000 + b"0]}"),
    "nested": lambda: _safetensors(b'{"a":' * 900_000),
    "nested within Python's limit": lambda: _safetensors((b'{"a":' * 900 + b"1" + b"}" * 900) + b" " * 9),
    "long number": lambda: _safetensors(b'{"a":' + b"9" * 24_000_000 + b"}"),
    "long fraction": lambda: _safetensors(b'{"a":1.' + b"9" * 24_000_000 + b"}"),
    "long name": lambda: _safetensors(_rows(1, "n" * 20_000_000 + "%d")),
    "wide text": lambda: _safetensors(('{"__metadata__":{"a":"' + "\U0001f600" * 6_000_000 + '"}}').encode()),
    "escapes": lambda: _safetensors(b'{"__metadata__":{"a":"' + b"\\u0041" * 4_000_000 + b'"}}'),
    "long shape": lambda: _safetensors(
        b'{"a":{"dtype":"U8","shape":[' + b"1," * 900_000 + b'1],"data_offsets":[0,1]}}', b"a"
    ),
    "large extents": lambda: _safetensors(
        b'{"a":{"dtype":"U8","shape":[' + b"9999999999999999999," * 60 + b'0],"data_offsets":[0,0]}}'
    ),
    "much metadata": lambda: _safetensors(
        b'{"__metadata__":{' + b",".join(b'"%d":""' % n for n in range(990_000)) + b"}}"
    ),
}


# --- gguf --------------------------------------------------------------------------------------------------
def _gguf(tensors: int, keys: int, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + rest


def _gguf_text(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _gguf_array(kind: int, count: int, items: bytes) -> bytes:
    return _gguf_text(b"a") + struct.pack("<IIQ", 9, kind, count) + items


def _gguf_keys(count: int, value: bytes) -> bytes:
    return b"".join(_gguf_text(b"%d" % n) + value for n in range(count))


def _gguf_tensors(count: int, rank: int = 1) -> bytes:
    extents = struct.pack("<I", rank) + struct.pack("<Q", 0) * rank
    return b"".join(_gguf_text(b"%d" % n) + extents + struct.pack("<IQ", 0, 0) for n in range(count))


GGUF: dict[str, Bomb] = {
    "2^60 tensors": lambda: _gguf(1 << 60, 0),
    "2^60 keys": lambda: _gguf(0, 1 << 60),
    "text of 2^60 bytes": lambda: _gguf(0, 1, struct.pack("<Q", 1 << 60)),
    "array of 2^60": lambda: _gguf(0, 1, _gguf_array(4, 1 << 60, b"")),
    "array of 2^60 texts": lambda: _gguf(0, 1, _gguf_array(8, 1 << 60, b"")),
    "most texts": lambda: _gguf(0, 1, _gguf_array(8, 1_999_999, bytes(8) * 1_999_999)),
    "texts that end": lambda: _gguf(0, 1, _gguf_array(8, 1_999_999, bytes(8) * 100)),
    "most arrays in an array": lambda: _gguf(
        0, 1, _gguf_array(9, 124_999, struct.pack("<IQ", 0, 0) * 124_999)
    ),
    "deep arrays": lambda: _gguf(0, 1, _gguf_array(9, 1, struct.pack("<IQ", 9, 1) * 100_000)),
    "most keys": lambda: _gguf(0, 65_536, _gguf_keys(65_536, struct.pack("<IB", 0, 0))),
    "keys of short arrays": lambda: _gguf(
        0, 65_536, _gguf_keys(65_536, struct.pack("<IIQ", 9, 0, 16) + bytes(16))
    ),
    "keys of short arrays of texts": lambda: _gguf(
        0, 65_536, _gguf_keys(65_536, struct.pack("<IIQ", 9, 8, 16) + bytes(8) * 16)
    ),
    "most tensors": lambda: _gguf(100_000, 0, _gguf_tensors(100_000)),
    "most dimensions": lambda: _gguf(100_000, 0, _gguf_tensors(100_000, 64)),
    "long names": lambda: _gguf(
        0, 1_000, b"".join(_gguf_text(b"%05d" % n * 13_000) + b"\0" * 5 for n in range(1_000))
    ),
}


# --- pickles -----------------------------------------------------------------------------------------------
def _opcodes(opcodes: bytes) -> bytes:
    return b"\x80\x04" + opcodes + b"."


def _laughs(levels: int, width: int) -> bytes:
    """Lists of the same list: ``width ** levels`` elements for whoever follows all references."""
    return b"]\x94" + b"".join(
        b"(" + b"h" + bytes([n]) + (b"h" + bytes([n])) * (width - 1) + b"l\x94" for n in range(levels)
    )


def _shared_dicts(levels: int, tail: bytes) -> bytes:
    """Dictionaries of two names for the one below: 2 ** levels names of what is at the bottom."""
    out = tail + b"\x94"
    for level in range(levels):
        out += b"}(" + body("a") + b"h" + bytes([level]) + body("b") + b"h" + bytes([level]) + b"u\x94"
    return out


PICKLES: dict[str, Bomb] = {
    "laughs": lambda: _opcodes(_laughs(60, 50)),
    "laughs of dictionaries": lambda: _opcodes(_shared_dicts(60, b"N")),
    "tuples in tuples": lambda: _opcodes(b"N" + b"\x85" * 2_000_000),
    "marks": lambda: _opcodes(b"(" * 5_000_000),
    "nothing, often": lambda: _opcodes(b"N0" * 5_000_000),
    "many small values": lambda: _opcodes(b"]\x94(" + b"K\x01" * 3_000_000 + b"e"),
    "many dictionaries": lambda: _opcodes(b"](" + b"}" * 3_000_000 + b"e"),
    "many keys": lambda: _opcodes(
        b"}(" + b"".join(b"J%sN" % struct.pack("<i", n) for n in range(700_000)) + b"u"
    ),
    "many memos": lambda: _opcodes(b"N" + b"\x94" * 4_000_000),
    "memo of a large number": lambda: _opcodes(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff"),
    "copies of a list": lambda: _opcodes(
        b"](" + b"N" * 100_000 + b"e\x94" + (b"cbuiltins\nlist\n" + b"h\x00\x85R0") * 3_000
    ),
    "copies of a text": lambda: _opcodes(
        body("x" * 60_000)
        + b"\x94"
        + (b"c_codecs\nencode\n" + b"h\x00" + body("latin1") + b"\x86R0") * 20_000
    ),
    "long integers": lambda: _opcodes(b"](" + (b"\x8a\xff" + b"\x7f" * 255) * 100_000 + b"e"),
    "integer of a gigabyte": lambda: _opcodes(b"\x8b\xff\xff\xff\x3f"),
    "decimal digits": lambda: _opcodes(b"I" + b"9" * 1_000_000 + b"\n"),
    "text of 2^63 bytes": lambda: _opcodes(b"\x8d" + struct.pack("<Q", HUGE)),
    "bytes of 2^63 bytes": lambda: _opcodes(b"\x8e" + struct.pack("<Q", HUGE)),
    "frame of 2^63 bytes": lambda: _opcodes(b"\x95" + struct.pack("<Q", HUGE) + b"N"),
    "many long texts": lambda: _opcodes(b"](" + body("\U0001f600" * 16_000) * 400 + b"e"),
    "lines that do not end": lambda: _opcodes(b"S'" + b"a" * 8_000_000),
    "many long lines": lambda: _opcodes((b"V" + b"\\u0041" * 100_000 + b"\n0") * 40),
    "many globals": lambda: _opcodes(b"".join(b"cm%d\nn\n0" % n for n in range(400_000))),
    "a global of much text": lambda: _opcodes(b"c" + b"m" * 900_000 + b"\nn\n"),
    "many identities": lambda: _opcodes(b"](" + b"NQ" * 1_500_000 + b"e"),
    "many calls": lambda: _opcodes(b"](" + b"cm\nn\n\x94" + b"h\0)R" * 700_000 + b"e"),
    "states": lambda: _opcodes(b"cm\nn\n)R" + b"}b" * 1_500_000),
    "names without end": lambda: _opcodes(_shared_dicts(40, body(tensor("0")))),
}


def _in_torch(pickle: bytes, *, deflated: bool = False) -> bytes:
    return zip_bytes({"a/data.pkl": pickle, "a/data/0": bytes(24)}, ["a/data.pkl"] if deflated else [])


TORCH: dict[str, Bomb] = {
    "names without end": lambda: _in_torch(PICKLES["names without end"]()),
    "many tensors": lambda: _in_torch(pickled({f"t{n}": tensor("0") for n in range(60_000)})),
    "one tensor under many names": lambda: _in_torch(
        _opcodes(
            body(tensor("0")) + b"\x940}(" + b"".join(body(f"k{n}") + b"h\0" for n in range(400_000)) + b"u"
        )
    ),
    "deflated spaces": lambda: _in_torch(bytes(63 << 20), deflated=True),
    "deflated opcodes": lambda: _in_torch(_opcodes(b"N0" * (31 << 20)), deflated=True),
    "deflated laughs": lambda: _in_torch(_opcodes(b"](" + b"}" * (60 << 20) + b"e"), deflated=True),
    "deflated beyond": lambda: _in_torch(bytes(200 << 20), deflated=True),
    "deep tensors": lambda: _in_torch(
        _opcodes(
            body(Name("torch.nn.parameter", "Parameter"))
            + b"\x940"
            + b"h\0" * 1000
            + body(tensor("0"))
            + b"\x85R" * 1000
        )
    ),
}

TORCH_LEGACY: dict[str, Bomb] = {
    "storages without end": lambda: torch_legacy({"w": tensor("0")}, {"0": (HUGE, bytes(24))}),
    "most keys": lambda: (
        torch_legacy({}, {})[: -len(pickled([]))] + _opcodes(b"](" + body("0") * 900_000 + b"e")
    ),
    "nothing, often": lambda: (
        torch_legacy({}, {})[: -len(pickled({}) + pickled([]))] + PICKLES["nothing, often"]()
    ),
    "laughs": lambda: (
        torch_legacy({}, {})[: -len(pickled({}) + pickled([]))] + PICKLES["laughs of dictionaries"]()
    ),
}


def _tar(*members: tuple[str, bytes, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, kind, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


TORCH_TAR: dict[str, Bomb] = {
    "most members": lambda: _tar(*(("sys_info", b"0", b"") for _ in range(10_001))),
    "sparse": lambda: _tar(("sys_info", b"0", b""), ("storages", b"S", bytes(512))),
    "pax of 100 kB": lambda: _tar(("sys_info", b"0", b""), ("x", b"x", b"9 a=b\n" * 20_000)),
    "many pax": lambda: _tar(
        ("sys_info", b"0", b""), *(("x", b"x", b"9 a=b\n" * 10_000) for _ in range(900))
    ),
    "2^60 storages": lambda: torch_tar({}, pickled(1 << 60), pickled(0)),
    "many storages": lambda: torch_tar(
        {},
        pickled(20_000)
        + b"".join(pickled((n, "cpu", Name("torch", "FloatStorage"))) + bytes(8) for n in range(20_000)),
        pickled(0),
    ),
    "many tensors of one storage": lambda: torch_tar(
        {},
        pickled(1) + pickled((1, "cpu", Name("torch", "FloatStorage"))) + bytes(8),
        pickled(20_000)
        + b"".join(
            pickled((n + 2, 1, Name("torch", "FloatTensor"))) + struct.pack("<iiqqq", 1, 0, 0, 1, 0)
            for n in range(20_000)
        ),
    ),
}


# --- archives ----------------------------------------------------------------------------------------------
def _empty_members(count: int, name: Callable[[int], bytes], data: bytes = b"") -> bytes:
    """An archive of so many stored members with the same data."""
    crc, size = zlib.crc32(data), len(data)
    out, directory = bytearray(), bytearray()
    for n in range(count):
        raw = name(n)
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, crc, size, size, len(raw), 0, 0, 0, 0, 0, len(out)
        )
        directory += raw
        out += struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, crc, size, size, len(raw), 0) + raw + data
    return bytes(out + directory + _end(count, len(directory), len(out)))


def _end(count: int, length: int, start: int) -> bytes:
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + length, 1)
    return (
        end64 + locator + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    )


def _overlapping(count: int) -> bytes:
    """Many entries of one deflated member, as in 42.zip's successors: 10 MB of each."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    plain = bytes(10_000_000)
    data = deflate.compress(plain) + deflate.flush()
    local = struct.pack(
        "<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, zlib.crc32(plain), len(data), len(plain), 5, 0
    )
    entry = struct.pack(
        "<4s6H3L5H2L",
        *(b"PK\1\2", 20, 20, 0, 8, 0, 0, zlib.crc32(plain), len(data), len(plain), 5, 0, 0, 0, 0, 0, 0),
    )
    out = local + b"00000" + data
    directory = b"".join(entry + b"%05d" % n for n in range(count))
    return out + directory + _end(count, len(directory), len(out))


def _of_itself(levels: int) -> bytes:
    data = zip_bytes({"0.safetensors": bytes(1 << 24)}, ["0.safetensors"])
    for level in range(levels):
        names = [f"{n}-{level}.zip" for n in range(10)]
        data = zip_bytes(dict.fromkeys(names, data), names)
    return data


ZIP: dict[str, Bomb] = {
    "most members": lambda: _empty_members(110_000, lambda n: b"%d" % n),
    "a million members": lambda: _empty_members(1_000_000, lambda n: b"%d" % n),
    "most members of pickles": lambda: _empty_members(110_000, lambda n: b"%d.pkl" % n, b"N."),
    "most members of arrays": lambda: _empty_members(100_000, lambda n: b"%d.npy" % n, b"\x93NUMPY"),
    "long names": lambda: _empty_members(480, lambda n: b"%05d" % n * 13_000),
    "overlapping": lambda: _overlapping(60_000),
    "zips of zips": lambda: _of_itself(6),
    "inner headers": lambda: zip_bytes(
        {f"{n}.safetensors": _safetensors(b"{" + b"[]," * 300_000 + b"}") for n in range(32)}
    ),
    "inner tensors": lambda: zip_bytes({f"{n}.safetensors": _safetensors(_rows(30_000)) for n in range(8)}),
    "inner pickles": lambda: zip_bytes({f"{n}.pkl": _opcodes(b"N0" * 400_000) for n in range(32)}),
    "inner pickles of values": lambda: zip_bytes(
        {f"{n}.pkl": _opcodes(b"](" + b"}" * 900_000 + b"e") for n in range(32)}
    ),
    "inner models": lambda: zip_bytes(
        {f"{n}.onnx": onnx_bytes((1, b"\x2a\x00" * 400_000)) for n in range(32)}
    ),
    "inner flatbuffers": lambda: zip_bytes({f"{n}.tflite": TFLITE["one table, often"]() for n in range(8)}),
    "inner trees": lambda: zip_bytes({f"{n}.h5": SIGNATURE + b"\xff" * 3000 for n in range(32)}),
}

NPZ: dict[str, Bomb] = {
    "most arrays": lambda: _empty_members(100_000, lambda n: b"%d.npy" % n, npy_bytes(np.zeros(0))),
    "long headers": lambda: _empty_members(
        1_000,
        lambda n: b"%d.npy" % n,
        b"\x93NUMPY\2\0" + struct.pack("<I", 60_000) + b"{" + b" " * 59_998 + b"}",
    ),
    "overlapping": lambda: _overlapping(60_000),
}


# --- npy ---------------------------------------------------------------------------------------------------
def _npy(header: bytes, version: bytes = b"\2\0") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<I", len(header)) + header


NPY: dict[str, Bomb] = {
    "header of 4 GB": lambda: b"\x93NUMPY\2\0\xff\xff\xff\xff{}",
    "nested": lambda: _npy(b"{'descr': " + b"(" * 65_000),
    "sums": lambda: _npy(b"{'descr': " + b"1+" * 32_000 + b"1}"),
    "powers": lambda: _npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (9**9**9**9,)}"),
    "spaces": lambda: _npy(b"{" + b" " * 65_000 + b"}"),
    "spaces between": lambda: _npy(b"{'descr'" + b" " * 30_000 + b":" + b" " * 30_000 + b"}"),
    "quotes": lambda: _npy(b"{'descr': '" + b"a" * 65_000 + b"}"),
    "many keys": lambda: _npy(b"{" + b"'a': True," * 6_000 + b"}"),
    "long shape": lambda: _npy(
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"1," * 30_000 + b")}"
    ),
    "large shape": lambda: _npy(
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * 60_000 + b",)}"
    ),
    "structured": lambda: _npy(
        b"{'descr': [" + b"('a', '<f4')," * 5_000 + b"], 'fortran_order': False, 'shape': ()}"
    ),
}


# --- messages ----------------------------------------------------------------------------------------------
def _nested(number: int, levels: int, bottom: bytes = b"") -> bytes:
    out = bottom
    for _ in range(levels):
        out = varint(number << 3 | 2) + varint(len(out)) + out
    return out


def _deep_graphs(levels: int) -> bytes:
    """Graphs in attributes of nodes, and so on."""
    graph = b""
    for _ in range(levels):
        graph = message((1, message((5, message((1, "a"), (6, graph))))))
    return onnx_bytes((1, message((5, message((6, graph))))))


def _model(*graph: bytes) -> bytes:
    """An ONNX model of a graph in pieces; ``onnx_bytes`` takes the square of their number."""
    return message((1, 10), (7, b"".join((*graph, message((2, "g"))))))


ONNX: dict[str, Bomb] = {
    "packed extents": lambda: onnx_bytes((5, message((1, b"\1" * 600), (2, 1)))),
    "packed flood": lambda: onnx_bytes((5, message((4, bytes(20_000_000)), (2, 1), (8, "w")))),
    "extents one by one": lambda: onnx_bytes((5, b"\x08\x01" * 990_000)),
    "most fields": lambda: b"\x08\x0a" * 999_900,
    "most unknown fields": lambda: b"\x08\x0a" + b"\xf8\x01\x00" * 999_000,
    "most nodes": lambda: _model(b"\x0a\x00" * 990_000),
    "most attributes": lambda: onnx_bytes((1, b"\x2a\x00" * 990_000)),
    "most tensors": lambda: _model(
        *(message((5, onnx_tensor(f"t{n}", "F32", (0,), b""))) for n in range(100_000))
    ),
    "most entries outside": lambda: _model(
        message(
            (
                5,
                b"\x10\x01\x70\x01"
                + b"".join(message((13, message((1, str(n)), (2, "v")))) for n in range(200_000)),
            )
        )
    ),
    "tensors of one place outside": lambda: _model(
        *(
            message((5, onnx_tensor(f"t{n}", "F32", (1,), external={"location": f"f{n}"})))
            for n in range(90_000)
        )
    ),
    "graphs in graphs": lambda: _deep_graphs(60),
    "wide and deep": lambda: _deep_graphs(30),
    "length of 2^63": lambda: b"\x08\x0a\x3a" + varint(HUGE),
    "varints": lambda: (
        b"\x08"
        + b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"
        + b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" * 990_000
    ),
    "long names": lambda: _model(
        *(message((5, onnx_tensor("n" * 4_000 + str(n), "F32", (0,), b""))) for n in range(5_000))
    ),
    "metadata": lambda: (
        _model() + b"".join(message((14, message((1, str(n)), (2, "v" * 400)))) for n in range(90_000))
    ),
}

ONNX_TENSOR: dict[str, Bomb] = {
    "extents one by one": lambda: b"\x08\x01" * 990_000,
    "fields": lambda: b"\x10\x01" * 999_000,
    "packed flood": lambda: message((2, 1), (4, bytes(20_000_000))),
    "nested": lambda: _nested(1, 3_000),
}

TF_GRAPH: dict[str, Bomb] = {
    "most nodes": lambda: message((1, message((1, "n"), (2, "k")))) * 300_000,
    "most constants": lambda: b"".join(
        message((1, tf_constant(f"w{n}", "F32", (1,), bytes(4)))) for n in range(60_000)
    ),
    "most attributes": lambda: message((1, message((1, "n"), (2, "k")) + b"\x2a\x00" * 990_000)),
    "most functions": lambda: message((1, message((1, "n"), (2, "k"))), (2, b"\x0a\x00" * 990_000)),
    "extents": lambda: message(
        (1, message((2, "k"), (5, message((2, message((8, message((2, b"\x12\x00" * 1_000_000)))))))))
    ),
    "saved model of graphs": lambda: message((1, 1), (2, b"\x12\x00" * 990_000)),
    "nested": lambda: _nested(2, 3_000),
}


def _table_of(blocks: int, rows: int) -> bytes:
    header = message((1, 1))
    made = [
        [(b"%06d%06d" % (b, r), tf_entry("F32", (1,), 4 * r, 4)) for r in range(rows)] for b in range(blocks)
    ]
    return leveldb_bytes([[(b"", header)], *made])


def _one_block(count: int) -> bytes:
    """A table whose index names one block again and again."""

    def block(rows: list[tuple[bytes, bytes]]) -> bytes:
        out = b"".join(varint(0) + varint(len(k)) + varint(len(v)) + k + v for k, v in rows)
        return out + struct.pack("<2I", 0, 1) + bytes(5)

    data = block([(b"%07d" % n, b"") for n in range(10_000)])
    index = block([(b"%07d" % n, varint(0) + varint(len(data) - 5)) for n in range(count)])
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(index) - 5)
    return data + index + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


TF_INDEX: dict[str, Bomb] = {
    "most tensors": lambda: _table_of(100, 1_000),
    "most blocks": lambda: _table_of(60_000, 1),
    "one block again and again": lambda: _one_block(1_000_000),
    "long shared keys": lambda: leveldb_bytes(
        [[(b"", message((1, 1))), *((b"k" * 60_000 + b"%06d" % n, b"") for n in range(20_000))]]
    ),
    "fields in an entry": lambda: leveldb_bytes([[(b"", message((1, 1))), (b"w", b"\x12\x00" * 990_000)]]),
    "extents": lambda: leveldb_bytes([[(b"", message((1, 1))), (b"w", message((2, b"\x12\x00" * 990_000)))]]),
}


# --- flatbuffers -------------------------------------------------------------------------------------------
def _flat(count: int, *, graphs: bool = False) -> bytes:
    """A model whose vector of buffers, or of graphs, points at one table so many times."""
    out = bytearray(tflite_bytes({"w": ("F32", (1,), bytes(4))}))
    vector = len(out)
    out += struct.pack("<I", count)
    table = vector + 4 + 4 * count
    out += b"".join(struct.pack("<I", table - (vector + 4 + 4 * n)) for n in range(count))
    # a table of eight fields, each of which leads back to this vector
    vtable = table + 4 + 4 * 8
    out += struct.pack("<i", table - vtable) + b"".join(
        struct.pack("<I", (vector - (table + 4 + 4 * n)) & 0xFFFFFFFF) for n in range(8)
    )
    out += struct.pack("<HH", 4 + 16, 36) + b"".join(struct.pack("<H", 4 + 4 * n) for n in range(8))
    root = struct.unpack_from("<I", out)[0]
    offsets = root - struct.unpack_from("<i", out, root)[0]
    for number in (2, 4) if graphs else (4,):
        place = root + struct.unpack_from("<H", out, offsets + 4 + 2 * number)[0]
        struct.pack_into("<I", out, place, vector - place)
    return bytes(out)


def _scattered(count: int) -> bytes:
    """A vector of tables far apart from each other and from their tables of offsets."""
    out = bytearray(tflite_bytes({"w": ("F32", (1,), bytes(4))}))
    vector = len(out)
    gap = 1 << 13
    start = vector + 4 + 4 * count
    out += struct.pack("<I", count)
    out += b"".join(struct.pack("<I", start + gap * n - (vector + 4 + 4 * n)) for n in range(count))
    out += bytes(gap * count + gap)
    for n in range(count):
        table = start + gap * n
        struct.pack_into("<i", out, table, -(gap // 2))
        struct.pack_into("<HHH", out, table + gap // 2, 6, 8, 4)
    root = struct.unpack_from("<I", out)[0]
    offsets = root - struct.unpack_from("<i", out, root)[0]
    place = root + struct.unpack_from("<H", out, offsets + 4 + 8)[0]
    struct.pack_into("<I", out, place, vector - place)
    return bytes(out)


TFLITE: dict[str, Bomb] = {
    "one table, often": lambda: _flat(100_000),
    "graphs of themselves": lambda: _flat(10_000, graphs=True),
    "graphs of each other": lambda: _flat(400, graphs=True),
    "scattered": lambda: _scattered(6_000),
    "most tensors": lambda: tflite_bytes({f"t{n}": ("F32", (1,), bytes(4)) for n in range(20_000)}),
    "offset to itself": lambda: bytes(4) + b"TFL3" + bytes(100),
    "2^32 items": lambda: tflite_bytes({"w": ("F32", (1,), bytes(4))})[:-40] + b"\xff" * 40,
}


# --- HDF5 --------------------------------------------------------------------------------------------------
def _hdf5(make: Callable[[object], None]) -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="latest") as file:
        make(file)
    return buffer.getvalue()


def _deep_groups(file: object) -> None:
    for _ in range(300):
        file = file.create_group("g")  # type: ignore[attr-defined]


def _cycle(file: object) -> None:
    for a in range(30):
        group = file.create_group(f"g{a}")  # type: ignore[attr-defined]
        for b in range(a + 1):
            group[f"to{b}"] = file[f"g{b}"]  # type: ignore[index]


def _many_links(file: object) -> None:
    file["d"] = np.arange(4.0)  # type: ignore[index]
    for n in range(20_000):
        file[f"link{n}"] = file["d"]  # type: ignore[index]


def _many_attributes(file: object) -> None:
    for n in range(8_000):
        file.attrs[f"a{n}"] = n  # type: ignore[attr-defined]


def _large_attribute(file: object) -> None:
    file.attrs["big"] = np.zeros(1 << 24, "u1")  # type: ignore[attr-defined]
    file.attrs["text"] = "x" * (1 << 24)  # type: ignore[attr-defined]


def _many_chunks(file: object) -> None:
    data = file.create_dataset("c", shape=(60_000,), chunks=(1,), dtype="u1")  # type: ignore[attr-defined]
    data[:] = 0


def _huge_extents(file: object) -> None:
    file.create_dataset("c", shape=(1 << 40, 1 << 20), chunks=(1 << 10, 1), dtype="f8")  # type: ignore[attr-defined]


def _deflated(file: object) -> None:
    data = file.create_dataset("z", shape=(1 << 28,), chunks=(1 << 24,), dtype="u1", compression=9)  # type: ignore[attr-defined]
    data[:1] = 1


HDF5: dict[str, Bomb] = {
    "signature and noise": lambda: SIGNATURE + b"\xff" * 100_000,
    "groups in groups": lambda: _hdf5(_deep_groups),
    "groups in each other": lambda: _hdf5(_cycle),
    "many links": lambda: _hdf5(_many_links),
    "many attributes": lambda: _hdf5(_many_attributes),
    "large attributes": lambda: _hdf5(_large_attribute),
    "many chunks": lambda: _hdf5(_many_chunks),
    "huge extents": lambda: _hdf5(_huge_extents),
    "deflated": lambda: _hdf5(_deflated),
}


def _keras(data: bytes, config: bytes = b"{}") -> bytes:
    return zip_bytes({"config.json": config, "model.weights.h5": data}, ["config.json"])


KERAS: dict[str, Bomb] = {
    "many links": lambda: _keras(HDF5["many links"]()),
    "deflated configuration": lambda: _keras(HDF5["groups in groups"](), b" " * (1 << 30)),
    "most items": lambda: _keras(HDF5["groups in groups"](), b"[" + b"[]," * 240_000 + b"[]]"),
    "deep configuration": lambda: _keras(HDF5["groups in groups"](), b'{"a":' * 200_000),
    "long names": lambda: _keras(
        HDF5["groups in groups"](), json.dumps({"k" * 1_000: {str(n): n for n in range(100_000)}}).encode()
    ),
    "most members": lambda: _empty_members(110_000, lambda n: b"%d" % n),
}

BOMBS: dict[str, dict[str, Bomb]] = {
    "safetensors": SAFETENSORS,
    "gguf": GGUF,
    "pickle": PICKLES,
    "torch": TORCH,
    "torch-legacy": TORCH_LEGACY,
    "torch-tar": TORCH_TAR,
    "zip": ZIP,
    "npz": NPZ,
    "npy": NPY,
    "onnx": ONNX,
    "onnx-tensor": ONNX_TENSOR,
    "tf-graph": TF_GRAPH,
    "tf-index": TF_INDEX,
    "tflite": TFLITE,
    "hdf5": HDF5,
    "keras": KERAS,
}
"""By the format that claims them, then by what they are."""

SUFFIXES = {
    "safetensors": ".safetensors",
    "gguf": ".gguf",
    "pickle": ".pkl",
    "torch": ".pt",
    "torch-legacy": ".pth",
    "torch-tar": ".tar",
    "zip": ".zip",
    "npz": ".npz",
    "npy": ".npy",
    "onnx": ".onnx",
    "onnx-tensor": ".pb",
    "tf-graph": ".pb",
    "tf-index": ".index",
    "tflite": ".tflite",
    "hdf5": ".h5",
    "keras": ".keras",
}


def file_name(kind: str, what: str) -> str:
    """What a bomb is called in a folder."""
    return f"{''.join(c if c.isalnum() else '-' for c in what)}{SUFFIXES[kind]}"
