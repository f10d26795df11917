"""What a commit from memory stores: a mapping of keys to values as files, data and metrics."""

from __future__ import annotations

import os
from collections.abc import ItemsView, Mapping
from pathlib import PurePosixPath
from typing import Any

from mvc.api.arrays import host_tensor
from mvc.api.params import check_name, plain_number
from mvc.api.state import Flattened
from mvc.errors import UsageError
from mvc.formats.safetensors import Described, emit_header
from mvc.memoryfile import MemoryFile, Stretch
from mvc.objects import Number
from mvc.ops.commit_given import Given
from mvc.paths import check_path, shown

ENDINGS = (".safetensors", ".json")


def given_of(state: Mapping[str, Any]) -> Given:
    """The files of a mapping from keys to values, ``KEY.safetensors`` and ``KEY.json`` (mvc.api.state).

    A key owns both paths: the one that is not written leaves the version. No tensor is copied yet.

    Raises:
        UsageError: not such a mapping.
        UserError: a value that no file can hold; InvalidPath: a key that is no path.
    """
    if not isinstance(state, Mapping) or not state:
        raise UsageError("there is nothing to commit", hint="commit({'model': model.state_dict()}, …)")
    _refuse_flat(state)
    files: dict[str, MemoryFile] = {}
    owned: list[str] = []
    for key, value in state.items():
        _check_key(key)
        owned += [key + ending for ending in ENDINGS]
        for path, file in _files(key, value).items():
            files[path] = file
    return Given(files, tuple(path for path in owned if path not in files))


def _refuse_flat(state: Mapping[str, Any]) -> None:
    """Refuse a state dict that lacks a key of its own: every tensor would become a file."""
    if len(state) > 1 and all(host_tensor(value, shown(str(key))) for key, value in state.items()):
        raise UsageError(
            "this is a mapping of tensors, and its keys would name files",
            hint="commit({'model': state_dict}, …)",
        )


def _check_key(key: Any) -> None:
    if not isinstance(key, str):
        raise UsageError(f"{key!r} is no key", hint="keys name files: {'model': …, 'optimizer': …}")
    if key.endswith(ENDINGS):
        without = shown(key.rpartition(".")[0])
        raise UsageError(f"the key {shown(key)} has a file's ending", hint=f"{without} will do")
    check_path(key + ENDINGS[0])


def _files(key: str, value: Any) -> dict[str, MemoryFile]:
    flattened = Flattened(key, value)
    files = {}
    name = PurePosixPath(key).name
    if flattened.tensors:
        tensors = flattened.tensors
        header, ordered = emit_header(
            Described(name, tensor.dtype, tensor.shape) for name, tensor in tensors.items()
        )
        data = [Stretch(tensors[row.name].length, tensors[row.name].give) for row in ordered]
        files[f"{key}.safetensors"] = MemoryFile(f"{name}.safetensors", [Stretch.of(header), *data])
    if flattened.structure is not None:
        files[f"{key}.json"] = MemoryFile(f"{name}.json", [Stretch.of(flattened.structure)])
    return files


# --- data and metrics ---------------------------------------------------------------------------------------
def places_of(data: Mapping[str, Any]) -> dict[str, str]:
    """Paths and addresses of data by name.

    Raises:
        UsageError: a name that is no text, or a value that is neither.
    """
    found = {}
    for name, place in _items("data", data):
        check_name(name, _DATA)
        text = os.fspath(place) if isinstance(place, os.PathLike) else place
        if not isinstance(text, str):
            raise UsageError(
                f"the data {name!r} is a {type(place).__name__}, not a path or address", hint=_DATA
            )
        found[name] = text
    return found


def metrics_of(metrics: Mapping[str, Any]) -> dict[str, Number]:
    """Measured numbers; those of numpy and torch as Python's.

    Raises:
        UsageError: a name that is no text, or a value that is no number.
    """
    found: dict[str, Number] = {}
    for name, value in _items("metrics", metrics):
        check_name(name, "for example metrics={'loss': 1.93}")
        plain = plain_number(name, value)
        if isinstance(plain, bool) or not isinstance(plain, int | float):
            raise UsageError(f"metric {name!r} is a {type(value).__name__}, not a number")
        found[name] = plain
    return found


_DATA = "for example data={'train': 'data/train.jsonl'}"


def _items(what: str, given: Any) -> ItemsView[Any, Any]:
    if not isinstance(given, Mapping):
        raise UsageError(f"{what} are a mapping of names to values, not a {type(given).__name__}")
    return given.items()
