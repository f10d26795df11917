"""A set of files that mean harm: malformed, lying, executing, exploding, escaping, and oddly named.

Everything here may lie in a work tree. It must come back byte for byte, or be refused by its name.
"""

from __future__ import annotations

import io
import json
import pickle
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np

from tests.make_files import (
    gguf_bytes,
    message,
    npy_bytes,
    onnx_bytes,
    onnx_tensor,
    safetensors_bytes,
    tflite_bytes,
    varint,
)
from tests.make_pickles import (
    Evil,
    Made,
    Name,
    body,
    evil_pickles,
    pickled,
    tensor,
    torch_legacy,
    torch_tar,
    torch_zip,
    zip_bytes,
)

WEIGHTS = {"w": ("F32", (2, 3), bytes(range(24)))}
HUGE = (1 << 63) - 1


# --- malformed ---------------------------------------------------------------------------------------------
def _safetensors(header: bytes | str, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def malformed_safetensors() -> dict[str, bytes]:
    """Headers that lie, nest, repeat or overlap."""

    def rows(*listed: tuple[str, int, int]) -> str:
        text = '{"dtype":"U8","shape":[2],"data_offsets":[%d,%d]}'
        return "{" + ",".join(f'"{name}":{text % (start, end)}' for name, start, end in listed) + "}"

    return {
        "empty": b"",
        "cut": safetensors_bytes(WEIGHTS)[:-5],
        "length": _safetensors("{}", length=(1 << 64) - 1),
        "length of 100 MB": _safetensors("{}", length=100_000_000),
        "nested": _safetensors("[" * 200_000),
        "nested objects": _safetensors('{"a":' * 100_000),
        "digits": _safetensors(
            '{"a":{"dtype":"U8","shape":[%s],"data_offsets":[0,2]}}' % ("9" * 100_000), b"ab"
        ),
        "twice": _safetensors(rows(("a", 0, 2), ("a", 2, 4)), b"abcd"),
        "overlap": _safetensors(rows(("a", 0, 2), ("b", 1, 3)), b"abc"),
        "backwards": _safetensors(rows(("a", 2, 0)), b"ab"),
        "beyond": _safetensors(rows(("a", 0, HUGE)), b"ab"),
        "negative": _safetensors(rows(("a", -2, 0)), b"ab"),
        "product": _safetensors(
            json.dumps({"a": {"dtype": "F64", "shape": [1 << 32, 1 << 32], "data_offsets": [0, 0]}})
        ),
        "path": safetensors_bytes({"../../../etc/passwd": ("U8", (2,), b"ab"), "\0": ("U8", (0,), b"")}),
        "surrogate": _safetensors(rows(("\\ud800", 0, 2)), b"ab"),
        "not UTF-8": _safetensors(b'{"\xff":1}'),
        "infinite": _safetensors('{"a":Infinity,"b":NaN}'),
    }


def malformed_gguf() -> dict[str, bytes]:
    """Counts and lengths that no file can hold."""
    whole = gguf_bytes(WEIGHTS, {"a": "b", "list": [1, 2]})
    head = b"GGUF" + struct.pack("<I", 3)
    nested = struct.pack("<QQ", 0, 1) + struct.pack("<Q", 1) + b"a" + struct.pack("<I", 9)
    return {
        "cut": whole[:-9],
        "tensors": head + struct.pack("<QQ", HUGE, 0),
        "values": head + struct.pack("<QQ", 0, HUGE),
        "text": head + struct.pack("<QQQ", 0, 1, HUGE),
        "nested": head + nested + (struct.pack("<IQ", 9, 1) * 50_000),
        "array": head + nested + struct.pack("<IQ", 0, HUGE),
        "version": b"GGUF" + struct.pack("<I", 1 << 31) + whole[8:],
        "alignment": whole.replace(b"list", b"l\0st"),
        "other order": gguf_bytes(WEIGHTS, order=">"),
    }


def malformed_onnx() -> dict[str, bytes]:
    """Messages without end, and data outside of the folder."""
    outside = {"location": "../../../../etc/passwd", "offset": "0", "length": "100"}
    deep = b""
    for _ in range(3_000):
        deep = message((7, deep)) if len(deep) < 1 << 20 else deep
    return {
        "cut": onnx_bytes((5, onnx_tensor("w", "F32", (2, 3), bytes(24))))[:-3],
        "varint": b"\x08" + b"\xff" * 200,
        "length": b"\x3a" + varint(HUGE) + b"x",
        "deep": deep,
        "outside": onnx_bytes((5, onnx_tensor("w", "F32", (2, 3), external=outside))),
        "negative": onnx_bytes((5, onnx_tensor("w", "F32", (-2, -3), bytes(24)))),
        "product": onnx_bytes((5, onnx_tensor("w", "F32", (1 << 62, 1 << 62), bytes(24)))),
    }


def malformed_torch() -> dict[str, bytes]:
    """Tensors outside of their storage, storages that are not there, pickles that never end."""
    saved = {"0": bytes(24)}
    bomb = b"\x80\x02]q\0" + b"(h\0h\0h\0h\0h\0h\0h\0h\0lq\0" * 40 + b"."
    return {
        "cut.pt": torch_zip({"w": tensor("0")}, saved)[:-30],
        "offset.pt": torch_zip({"w": tensor("0", (2, 3), (3, 1), 1 << 60)}, saved),
        "strides.pt": torch_zip({"w": tensor("0", (1 << 40, 1 << 40), (0, 0))}, saved),
        "negative.pt": torch_zip({"w": tensor("0", (-1, 3), (3, -1))}, saved),
        "missing.pt": torch_zip({"w": tensor("7")}, saved),
        "traversal.pt": torch_zip({"w": tensor("../../x")}, {"../../x": bytes(24)}),
        "laughs.pt": zip_bytes({"a/data.pkl": bomb}),
        "deep.pkl": b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",
        "memo.pkl": b"\x80\x04Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.",
        "frame.pkl": b"\x80\x04\x95" + b"\xff" * 8 + b"N.",
        "long.pkl": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
        "length.pkl": b"\x80\x04\x8d" + b"\xff" * 8 + b"x.",
        "count.pth": torch_legacy({"w": tensor("0")}, {"0": (HUGE, bytes(24))}),
        "tar.pth": torch_tar({"w": 1}, pickled(1 << 60), pickled(-1)),
    }


def malformed_arrays(command: str) -> dict[str, bytes]:
    """Headers of arrays, and arrays of objects, which are pickles."""

    def npy(header: str) -> bytes:
        text = header.encode() + b"\n"
        return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text

    objects = np.array([Evil(command), {"a": 1}], dtype=object)
    npz, deflated = io.BytesIO(), io.BytesIO()
    np.savez(npz, objects=objects, plain=np.arange(3))
    np.savez_compressed(deflated, objects=objects, zeros=np.zeros(1 << 20))
    return {
        "objects.npy": npy_bytes(objects),
        "objects.npz": npz.getvalue(),
        "deflated.npz": deflated.getvalue(),
        "code.npy": npy(f"{{'descr': __import__('os').system({command!r}), 'shape': (1,)}}"),
        "huge.npy": npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({HUGE}, {HUGE}), }}"),
        "deep.npy": npy("(" * 60_000),
        "cut.npy": npy_bytes(np.arange(9.0))[:-4],
        "length.npy": b"\x93NUMPY\x02\0\xff\xff\xff\xff{}",
        "version.npy": b"\x93NUMPY\x63\x63\0\0",
    }


def malformed_others() -> dict[str, bytes]:
    """Of formats that are rarer."""
    flat = tflite_bytes({"w": ("F32", (2, 3), bytes(24))})
    signature = b"\x89HDF\r\n\x1a\n"
    return {
        "offset.tflite": b"\xff\xff\xff\xff" + flat[4:],
        "backwards.tflite": flat[:8] + b"\xff" * 40 + flat[48:],
        "cut.tflite": flat[:40],
        "signature.h5": signature,
        "noise.h5": signature + bytes(range(256)) * 8,
        "full.h5": signature + b"\0\0\0\0\0\x08\x08\0" + b"\xff" * 2000,
        "empty.keras": zip_bytes({}),
        "weights.keras": zip_bytes(
            {"config.json": b"[" * 100_000, "model.weights.h5": signature + b"\xff" * 64}
        ),
        "footer.index": bytes(100) + bytes.fromhex("57fb808b247547db"),
        "saved_model.pb": message((2, b"\xff" * 100)),
        "config.json": b'{"a":' * 100_000,
        "adapter_config.json": b'{"r": ' + b"9" * 100_000 + b"}",
        "model.safetensors.index.json": json.dumps({"weight_map": {"w": "../../../etc/passwd"}}).encode(),
    }


def linked_hdf5(folder: Path, outside: Path) -> dict[str, bytes]:
    """HDF5 files that refer to other files. Needs h5py."""
    import h5py

    def made(name: str) -> bytes:
        return (folder / name).read_bytes()

    with h5py.File(folder / "link.h5", "w") as file:
        file["outside"] = h5py.ExternalLink(str(outside), "/")
        file["here"] = np.arange(4.0)
        file["loop"] = h5py.SoftLink("/loop")
    with h5py.File(folder / "external.h5", "w") as file:
        file.create_dataset("w", shape=(4,), dtype="u1", external=[(str(outside), 0, 4)])
    layout = h5py.VirtualLayout(shape=(4,), dtype="f8")
    layout[:] = h5py.VirtualSource(str(outside), "here", shape=(4,))
    with h5py.File(folder / "virtual.h5", "w") as file:
        file.create_virtual_dataset("v", layout)
    return {name: made(name) for name in ("link.h5", "external.h5", "virtual.h5")}


# --- executing ---------------------------------------------------------------------------------------------
def executing(command: str) -> dict[str, bytes]:
    """Pickles that would run a command, bare and in every kind of file that holds pickles."""
    found: dict[str, bytes] = {}
    for way, evil in evil_pickles(command).items():
        found |= {
            f"{way}.pkl": evil,
            f"{way}.pt": zip_bytes({"a/data.pkl": evil, "a/version": b"3\n", "a/data/0": bytes(24)}),
            f"{way}.bin": evil + bytes(100),
            f"{way}.joblib": evil,
        }
    found["legacy.pth"] = torch_legacy({}, {}) + evil_pickles(command)["protocol 2"]
    found["reduced.pt"] = torch_zip({"w": Made(Name("os", "system"), (command,))}, {"0": bytes(24)})
    found["hub.pt"] = torch_zip({"w": Made(Name("torch.hub", "load"), ("a/b", "c", command))}, {})
    found["state.pt"] = torch_zip({"w": Made(Name("builtins", "exec"), (command,), {"a": tensor("0")})}, {})
    found["in.npz"] = zip_bytes(
        {"a.npy": npy_bytes(np.array([1], object)), "b.pkl": pickle.dumps(Evil(command))}
    )
    found["text.txt"] = body(command)
    return found


# --- archives ----------------------------------------------------------------------------------------------
def archives() -> dict[str, bytes]:
    """Zips whose members lead elsewhere, explode, overlap or lie."""
    weights = safetensors_bytes(WEIGHTS)
    link = zipfile.ZipInfo("link.safetensors")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    linked = io.BytesIO()
    with zipfile.ZipFile(linked, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    bomb = zip_bytes({"0.safetensors": bytes(1 << 25)}, ["0.safetensors"])
    nested = bomb
    for level in range(5):
        nested = zip_bytes(
            {f"{n}-{level}.zip": nested for n in range(4)}, [f"{n}-{level}.zip" for n in range(4)]
        )
    sound = zip_bytes({"a.safetensors": weights, "b.safetensors": weights})
    end = sound.rindex(b"PK\5\6")
    second = sound.rindex(b"PK\1\2")
    return {
        "traversal.zip": zip_bytes(
            {"../../escape.safetensors": weights, "/etc/x.npy": b"", "..\\..\\y": b"y"}
        ),
        "linked.zip": linked.getvalue(),
        "bomb.zip": bomb,
        "bomb.pt": zip_bytes({"a/data.pkl": bytes(1 << 25), "a/data/0": bytes(24)}, ["a/data.pkl"]),
        "bomb.npz": zip_bytes({"a.npy": npy_bytes(np.zeros(1 << 22))}, ["a.npy"]),
        "bomb.keras": zip_bytes({"config.json": b" " * (1 << 25)}, ["config.json"]),
        "nested.zip": nested,
        # both entries of the directory point at the first member
        "overlap.zip": sound[: second + 42] + bytes(4) + sound[second + 46 :],
        "twice.zip": sound.replace(b"b.safetensors", b"a.safetensors"),
        "members.zip": sound[: end + 8] + b"\xff\xff\xff\xff" + sound[end + 12 :],
        "directory.zip": sound[: end + 16] + b"\xf0\xff\xff\xff" + sound[end + 20 :],
        "comment.zip": sound[:end] + sound[end:][:20] + b"\xff\xff" + b"PK\5\6" * 100,
        "end.zip": b"PK\5\6" + bytes(18),
        "stub.zip": b"MZ" + bytes(1000) + sound,
    }


# --- large, or many ----------------------------------------------------------------------------------------
def many_tensors(count: int) -> bytes:
    """A safetensors file of so many tensors of four bytes."""
    return safetensors_bytes({f"layer.{n}.w": ("F16", (2,), struct.pack("<I", n)) for n in range(count)})


def write_sparse(path: Path, length: int) -> None:
    """A file of zeros that takes no room, but for a few bytes in the middle."""
    with path.open("wb") as file:
        file.truncate(length)
        file.seek(length // 2 + 12345)
        file.write(b"something")


# --- names -------------------------------------------------------------------------------------------------
ALLOWED = (
    "n" * 255,
    "ü" * 127,
    "重" * 85,
    "-rf",
    "--help",
    " leading",
    "$(touch marker)",
    "`touch marker`",
    "a;touch marker",
    "%s%n",
    "'\"",
    "*",
    "?",
    "~",
    "#",
    "\N{GRINNING FACE}",
    "REV:PATH".replace(":", "="),
    "a..b",
    "...x",
)
"""Names of files that come back, on file systems that take any byte."""

REFUSED = (
    b"new\nline",
    b"tab\t",
    b"bell\x07",
    b"esc\x1b[31m",
    b"del\x7f",
    b"not utf-8 \xff\xfe",
    b"half \xed\xa0\x80",
    b"back\\slash",
    b"C:drive",
    b"trailing.",
    b"trailing ",
    b".MVC",
    b".Git",
    b"git~1",
    b"NUL",
    b"con.txt",
    b".g\xe2\x80\x8cit",
)
"""Names of files that no version may hold."""

COLLIDING = (("Model.bin", "model.bin"), ("caf\u00e9", "cafe\u0301"), ("stra\u00dfe", "STRASSE"))
"""Names that some file systems take for one."""
