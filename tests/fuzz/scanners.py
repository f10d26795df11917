"""Every format of the table: its scanner, what it says beside its tensors, and the choice between them."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np

from mvc.formats import FORMATS, Format, NotThisFormat, describe, describe_siblings, read_values, sound
from mvc.formats import hdf5 as hdf5_module
from mvc.formats.base import HEAD_BYTES
from mvc.spans import tile
from tests.fuzz.target import Target
from tests.make_files import (
    gguf_bytes,
    leveldb_bytes,
    message,
    no_sibling,
    npy_bytes,
    onnx_bytes,
    onnx_tensor,
    safetensors_bytes,
    tf_constant,
    tflite_bytes,
    varint,
)
from tests.make_pickles import evil_pickles, pickled, tensor, torch_legacy, torch_tar, torch_zip, zip_bytes

NAMES = (
    "x",
    "model.safetensors",
    "model.pt",
    "model.pth",
    "model.bin",
    "model.pkl",
    "model.npy",
    "model.npz",
    "model.gguf",
    "model.onnx",
    "tensor.pb",
    "model.h5",
    "model.keras",
    "model.tflite",
    "variables.index",
    "saved_model.pb",
    "archive.zip",
    "model.ckpt",
)
"""Names that a file may have; which formats claim it depends on the name."""

ANSWER = b"\0ANSWER\0"
"""What follows it is what the process that reads HDF5 is to have said."""

SIGNATURE = b"\x89HDF\r\n\x1a\n"
TENSORS = {
    "a.weight": ("F16", (2, 3), bytes(range(12))),
    "b": ("F32", (2,), bytes(range(8))),
    "empty": ("F32", (0, 7), b""),
}
MOST_SEED_BYTES = 1 << 14  # long inputs are slow, and little of them is ever looked at


@dataclass(frozen=True)
class HollowView:
    """A file that begins with some bytes and goes on with zeros, so that a short input can be a long file."""

    name: str
    data: bytes
    size: int

    def read(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise NotThisFormat("truncated")
        piece = self.data[offset : offset + length]
        return piece + bytes(length - len(piece))


def file_input(data: bytes, size: int | None = None) -> bytes:
    """The input that stands for a file of ``size`` bytes that begins so."""
    return ((size or len(data)) - len(data)).to_bytes(4, "little") + data


def _file(name: str, data: bytes) -> HollowView:
    hollow = int.from_bytes(data[:4], "little")
    return HollowView(name, data[4:], len(data[4:]) + hollow)


def _file_bytes(data: bytes) -> int:
    return len(data) + int.from_bytes(data[:4], "little")


def _scan(format: Format, data: bytes) -> None:
    name = f"x{SUFFIXES.get(format.name, '')}"
    data, _, answer = data.partition(ANSWER)
    with mock.patch.object(hdf5_module, "ask", lambda *_args: answer):
        _scan_view(format, _file(name, data))


def _scan_view(format: Format, view: HollowView) -> None:
    format.claims(view.name, view.data[:HEAD_BYTES])
    try:
        for name, layout in format.scan(view, no_sibling).items():
            if name == view.name:
                layout = sound(view.size, layout)
                assert sum(region.length for region in tile(view.size, layout.spans)) == view.size
    except NotThisFormat as refusal:
        _check_reason(refusal.reason)
    try:
        for name, value in format.values(view, no_sibling).items():
            assert isinstance(name, str) and (value is None or isinstance(value, str | int | float | bool))
            f"{name}{value}".encode()  # which a lone surrogate would not survive
    except NotThisFormat as refusal:
        _check_reason(refusal.reason)


def _scan_apart(data: bytes) -> None:
    for format in FORMATS:
        if format.name == "hdf5":
            _scan_view(format, _file("x.h5", data))


def _describe(data: bytes) -> None:
    name = NAMES[data[0] % len(NAMES)] if data else "x"
    view = _file(name, data[1:])
    with mock.patch.object(hdf5_module, "ask", lambda *_args: b'{"refused": "damaged"}'):
        description = describe(view, no_sibling)
        read_values(description.layout.format, view, no_sibling)
        describe_siblings(view, no_sibling)
    assert sum(region.length for region in tile(view.size, description.layout.spans)) == view.size
    if description.reason is not None:
        _check_reason(description.reason)


def _check_reason(reason: str) -> None:
    assert reason.isprintable() and len(reason) < 300, reason


# --- seeds -------------------------------------------------------------------------------------------------
SUFFIXES = {
    "safetensors": ".safetensors",
    "npy": ".npy",
    "npz": ".npz",
    "gguf": ".gguf",
    "keras": ".keras",
    "hdf5": ".h5",
    "tflite": ".tflite",
    "onnx": ".onnx",
    "pickle": ".pkl",
    "zip": ".zip",
    "torch": ".pt",
    "onnx-tensor": ".pb",
    "tf-graph": ".pb",
    "tf-index": ".index",
}
"""What a file of the format is called, where it matters."""

_STATE = {"model": {"w": tensor("0"), "b": tensor("0", (2,), (1,), 4)}, "epoch": 3, "name": "größe"}


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(6, dtype="<f4"), b=np.zeros((2, 2)))
    return buffer.getvalue()


def _hdf5_answers() -> list[bytes]:
    rows = [["a/b", "F32", 96, 24, [2, 3], None], ["v", "I8", 96, 4, [2, 2], [1, 2]]]
    values = [
        ["", "model_config", '{"a": [1, {"b": 2.5}]}', None],
        ["a", "list", None, 40],
        ["a", "x", 1, None],
    ]
    both = json.dumps({"tensors": rows, "values": values}).encode()
    return [both, b'{"refused": "depth"}', b'{"tensors": []}', b"[]"]


def _of_tf_index() -> bytes:
    header = message((1, 1))
    entry = message((1, 1), (2, message((2, message((1, 3))))), (5, 12))
    return leveldb_bytes([[(b"", header), (b"w", entry)], [(b"x", entry)]])


def _made() -> dict[str, list[bytes]]:
    saved = {"0": bytes(24)}
    graph = onnx_bytes((5, onnx_tensor("w", "F16", (2, 3), bytes(12))), (1, message((1, "x"), (4, "Add"))))
    weights = safetensors_bytes(TENSORS, {"format": "pt"})
    keras = zip_bytes(
        {"metadata.json": b'{"a": 1}', "config.json": b"{}", "model.weights.h5": SIGNATURE + bytes(200)}
    )
    return {
        "safetensors": [weights],
        "npy": [npy_bytes(np.arange(6, dtype="<f4").reshape(2, 3).T), npy_bytes(np.array([{}], object))],
        "npz": [_npz()],
        "gguf": [gguf_bytes(TENSORS, {"a": [1, 2], "b": "text", "c": 1.5, "d": [["x"], ["y"]]})],
        "keras": [keras + ANSWER + answer for answer in _hdf5_answers()],
        "hdf5": [SIGNATURE + bytes(200) + ANSWER + answer for answer in _hdf5_answers()],
        "tflite": [tflite_bytes({"w": ("F32", (2, 3), bytes(24))}, scales={"w": [0.5]}, description="d")],
        "onnx": [graph],
        "onnx-tensor": [onnx_tensor("w", "F16", (2, 3), bytes(12))],
        "tf-index": [_of_tf_index()],
        "tf-graph": [message((1, tf_constant("w", "F32", (2, 3), bytes(24)))), varint(1 << 40)],
        "pickle": [pickled(_STATE), *evil_pickles("true").values()],
        "torch": [torch_zip(_STATE, saved), torch_zip(_STATE, saved, byteorder="big", deflated=["data.pkl"])],
        "torch-legacy": [torch_legacy(_STATE, {"0": (6, bytes(24))})],
        "torch-tar": [torch_tar({}, pickled(0), pickled(0))],
        "zip": [zip_bytes({"a.safetensors": weights, "b.bin": b"x"}, comment=b"c", stream=True)],
    }


def _seeds(format: Format) -> list[bytes]:
    """What is made for the format and for those that resemble it."""
    made = _made()
    own = [data for name, listed in made.items() for data in listed if _is_of(format, name, data)]
    return [file_input(data) for data in own or [data for listed in made.values() for data in listed]]


def _is_of(format: Format, name: str, data: bytes) -> bool:
    plain = data.partition(ANSWER)[0]
    if format.name in ("hdf5", "keras"):
        return name == format.name
    return format.claims(f"x{SUFFIXES.get(name, '')}", plain[:HEAD_BYTES])


def _every_seed() -> list[bytes]:
    listed = [file_input(data) for made in _made().values() for data in made]
    return [bytes([number]) + data for number in range(len(NAMES)) for data in listed[number % 3 :: 3]]


def _hdf5_files() -> list[bytes]:
    try:
        import h5py
    except ImportError:
        return [file_input(SIGNATURE + bytes(200))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.h5"
        with h5py.File(path, "w") as file:
            file["a/b"] = np.arange(6, dtype="<f4")
            file.create_dataset("c", data=np.arange(64), chunks=(8,), compression="gzip")
            file.attrs["model_config"] = '{"a": 1}'
        return [file_input(path.read_bytes())]


def _real(claims: Callable[[str, bytes], bool], files: list[Path]) -> list[bytes]:
    """Heads of real files that the format claims; the rest of each is hollow."""
    found = []
    for path in files:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(MOST_SEED_BYTES if size > MOST_SEED_BYTES else size)
        if head and size - len(head) < 1 << 32 and claims(path.name, head[:HEAD_BYTES]):
            found.append(file_input(head, size))
    return sorted(found, key=len)[:32]


def _real_named(files: list[Path]) -> list[bytes]:
    suffixes = {Path(name).suffix: number for number, name in enumerate(NAMES)}
    return [bytes([suffixes.get(p.suffix, 0)]) + i for p in files for i in _real(lambda *_: True, [p])]


TARGETS = [
    *(
        Target(
            f"format:{f.name}",
            partial(_scan, f),
            partial(_seeds, f),
            partial(_real, f.claims),
            stands_for=_file_bytes,
        )
        for f in FORMATS
    ),
    Target("describe", _describe, _every_seed, _real_named, stands_for=lambda data: _file_bytes(data[1:])),
    Target("hdf5 apart", _scan_apart, _hdf5_files, stands_for=_file_bytes, is_slow=True),
]
