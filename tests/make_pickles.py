"""Pickles and torch files of our own making, opcode by opcode. Shares no code with the scanners, needs no
torch, and can say what no honest writer would."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class Name:
    """A global."""

    module: str
    name: str


@dataclass(frozen=True)
class Made:
    """A call, and the state given to its result."""

    function: object
    args: tuple[object, ...]
    state: object = None


@dataclass(frozen=True)
class Pid:
    """A persistent identity."""

    identity: object


def body(value: object) -> bytes:
    """The opcodes of protocol 2 or 3 that push a value."""
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(raw)]) + raw
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(raw)) + raw
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    if isinstance(value, tuple):
        return b"(" + b"".join(map(body, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(body, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(body(k) + body(v) for k, v in value.items()) + b"u"
    if isinstance(value, Name):
        return f"c{value.module}\n{value.name}\n".encode()
    if isinstance(value, Pid):
        return body(value.identity) + b"Q"
    if isinstance(value, Made):
        made = body(value.function) + body(value.args) + b"R"
        return made if value.state is None else made + body(value.state) + b"b"
    raise TypeError(type(value))


def pickled(value: object) -> bytes:
    """A whole pickle."""
    return b"\x80\x02" + body(value) + b"."


def storage(key: str, cls: str = "FloatStorage", count: int = 6, *more: object) -> Pid:
    """A storage of torch."""
    return Pid(("storage", Name("torch", cls), key, "cpu", count, *more))


def tensor(
    key: object,
    shape: object = (2, 3),
    strides: object = (3, 1),
    offset: object = 0,
    cls: str = "FloatStorage",
    *more: object,
) -> Made:
    """A tensor of torch; ``key`` is a storage's, or what stands for it."""
    owner = storage(key, cls) if isinstance(key, str) else key
    args = (owner, offset, shape, strides, False, Made(Name("collections", "OrderedDict"), ()), *more)
    return Made(Name("torch._utils", "_rebuild_tensor_v2"), args)


def zip_bytes(
    members: Mapping[str, bytes], deflated: Collection[str] = (), comment: bytes = b"", stream: bool = False
) -> bytes:
    """A zip archive; ``stream`` writes it as to a pipe, with sizes behind the data."""
    buffer = io.BytesIO()

    class Pipe(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            return buffer.write(data)  # type: ignore[arg-type]

    with zipfile.ZipFile(Pipe() if stream else buffer, "w") as archive:
        for name, data in members.items():
            method = zipfile.ZIP_DEFLATED if name in deflated else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name), data, method)
        archive.comment = comment
    return buffer.getvalue()


def torch_zip(
    saved: object,
    storages: Mapping[str, bytes],
    *,
    folder: str = "archive",
    byteorder: str | None = None,
    deflated: Collection[str] = (),
    more: Mapping[str, bytes] | None = None,
) -> bytes:
    """What ``torch.save`` writes."""
    members = {"data.pkl": pickled(saved), **{f"data/{key}": data for key, data in storages.items()}}
    if byteorder is not None:
        members["byteorder"] = byteorder.encode()
    members |= more or {}
    return zip_bytes(
        {f"{folder}/{name}": data for name, data in members.items()},
        [f"{folder}/{name}" for name in deflated],
    )


def torch_legacy(saved: object, storages: Mapping[str, tuple[int, bytes]], *, protocol: int = 1001) -> bytes:
    """What ``torch.save`` wrote before version 1.6: key to count of elements and bytes."""
    machine = {"protocol_version": protocol, "little_endian": True, "type_sizes": {"int": 4}}
    heads = [LEGACY_MAGIC, protocol, machine, saved, list(storages)]
    tails = [struct.pack("<q", count) + data for count, data in storages.values()]
    return b"".join(map(pickled, heads)) + b"".join(tails)


def torch_tar(saved: object, storages: bytes, tensors: bytes) -> bytes:
    """What ``torch.save`` wrote before version 0.1.10."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        members = {
            "sys_info": pickled({}),
            "pickle": pickled(saved),
            "storages": storages,
            "tensors": tensors,
        }
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mtime = 0.5 if name == "storages" else 0  # which takes a pax header
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Evil:
    """Pickles as a call of ``os.system``."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        import os

        return os.system, (self.command,)


def evil_pickles(command: str) -> dict[str, bytes]:
    """Pickles that would run a command, by each of the ways that there are."""
    text = command.encode()
    short = b"\x8c" + bytes([len(text)]) + text
    named = b"\x8c\x02os\x8c\x06system\x93"
    found = {f"protocol {number}": pickle.dumps(Evil(command), number) for number in range(6)}
    found |= {
        "instance": b"(" + b"X" + struct.pack("<I", len(text)) + text + b"ios\nsystem\n.",
        "object": b"(" + named + short + b"o.",
        "new object": b"\x80\x04" + named + short + b"\x85\x81.",
        "new object with keywords": b"\x80\x04" + named + short + b"\x85}\x92.",
        "build": b"\x80\x04" + named + b")R" + short + b"b.",
        "nested": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x08builtins\x8c\x07getattr\x93"
        + named
        + short
        + b"\x86R\x85R.",
        "persistent": b"\x80\x04" + named + short + b"\x85RQ.",
        "key": b"\x80\x04}" + named + short + b"\x85RNs.",
    }
    return found
