"""State dicts out of a version: what was committed from one, a file's tensors, those of a sharded model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvc.api.dtypes import torch_type_of
from mvc.api.file import File
from mvc.api.missing import NotThere
from mvc.api.state import MAX_JSON_BYTES, NotOurs, parse, rebuild, tensor_names
from mvc.errors import UnsupportedFeature, UsageError, UserError
from mvc.paths import shown

FRAMEWORKS = ("numpy", "torch")

_INDEX = re.compile(r"(?P<key>.+?)(?:\.safetensors|\.bin|\.pt|\.pth)?\.index\.json")
_MOST_REPEATED_BYTES = 1 << 30  # of a tensor that repeats its elements, when it must be written out

Files = Mapping[str, File]
Load = Callable[[File, "list[str] | None"], dict[str, Any]]


def load_state(files: Files, path: str | None, *, framework: str, device: Any, threads: int | None) -> Any:
    """What :meth:`mvc.Repo.load_state_dict` gives, out of a version's files."""
    load = _loader(framework, device, threads)
    if path is not None:
        return _one(files, path, load)
    state: dict[str, Any] = {}
    for key, value in _all(files, load):
        if key in state:
            raise UserError(
                f"that version has several files that are called {shown(key)}",
                hint="load_state_dict(REV, PATH) takes one of them",
            )
        state[key] = value
    if not state:
        raise UserError("that version holds nothing that was committed from memory", hint=_candidates(files))
    return state


def _candidates(files: Files) -> str:
    found = [path for path, file in files.items() if file.tensors]
    if not found:
        return "mvc knows of no tensors in its files"
    others = f"; {len(found) - 1} more files hold tensors" if len(found) > 1 else ""
    return f"load_state_dict(REV, path={found[0]!r}) gives the tensors of that file{others}"


def _all(files: Files, load: Load) -> Iterator[tuple[str, Any]]:
    """Every key of a version with its value."""
    shards: set[str] = set()
    for path in files:
        match = _INDEX.fullmatch(path)
        weights = _weight_map(files, path) if match else None
        if match and weights is not None:
            shards.update(weights.values(), [path])
            yield match["key"], _sharded(files, path, weights, load)
    for path in files:
        key, dot, ending = path.rpartition(".")
        if path in shards or not dot:
            continue
        if ending == "safetensors" or (ending == "json" and f"{key}.safetensors" not in files):
            yield key, _key(files, key, load)


def _one(files: Files, path: str, load: Load) -> Any:
    """The value of a key, the tensors of a file, or those of an index's shards."""
    if path in files:
        weights = _weight_map(files, path) if path.endswith(".json") else None
        if weights is not None:
            return _sharded(files, path, weights, load)
        if path.endswith(".json"):
            return _key(files, path.removesuffix(".json"), load)
        file = files[path]
        if not file.tensors:
            why = f": {file.reason}" if file.reason else ""
            raise UserError(f"mvc knows of no tensors in {shown(path)}{why}")
        return load(file, None)
    if f"{path}.safetensors" in files or f"{path}.json" in files:
        return _key(files, path, load)
    prefix = "" if path in ("", ".") else path.removesuffix("/") + "/"
    inside = [name for name in files if name.startswith(prefix) and "/" not in name[len(prefix) :]]
    indexes = [name for name in inside if _weight_map(files, name) is not None]
    indexes += [f"{path}{ending}" for ending in _ENDINGS if f"{path}{ending}" in files]
    choice = indexes or [name for name in inside if files[name].tensors]
    if len(choice) == 1:
        return _one(files, choice[0], load)
    if choice:
        listed = ", ".join(map(shown, choice[:5]))
        raise UserError(f"{shown(path)} holds several files of tensors: {listed}", hint="name one of them")
    keys = [name.rpartition(".")[0] for name in files if name.endswith((".safetensors", ".json"))]
    raise NotThere.of("that version has no file, folder or key", path, [*keys, *files])


_ENDINGS = (".safetensors.index.json", ".bin.index.json", ".index.json")


# --- a key -------------------------------------------------------------------------------------------------
def _key(files: Files, key: str, load: Load) -> Any:
    """What was committed under a key."""
    json_path, tensors_path = f"{key}.json", f"{key}.safetensors"
    try:
        tree = _json(files[json_path]) if json_path in files else None
        if tensors_path not in files:
            return rebuild(tree, {})
        if json_path not in files:
            return load(files[tensors_path], None)
        file = files[tensors_path]
        if set(tensor_names(tree)) != set(file.tensors):
            raise NotOurs(f"it does not belong to {shown(tensors_path)}")
        return rebuild(tree, load(file, None))
    except NotOurs as error:
        hint = f"load_state_dict(REV, {tensors_path!r})" if tensors_path in files else "REV[PATH].read()"
        raise UserError(f"{shown(json_path)} was not committed from memory: {error}", hint=hint) from None


def _json(file: File) -> Any:
    if file.size > MAX_JSON_BYTES:
        raise NotOurs(f"it is larger than {MAX_JSON_BYTES >> 20} MiB")
    return parse(file.read())


# --- shards ------------------------------------------------------------------------------------------------
def _weight_map(files: Files, path: str) -> dict[str, str] | None:
    """An index's tensors with the paths of their shards; None if the file is no index."""
    if not path.endswith(".index.json"):
        return None
    try:
        tree = _json(files[path])
    except NotOurs:
        return None
    weights = tree.get("weight_map") if isinstance(tree, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights.values()):
        return None
    folder = path.rpartition("/")[0]
    return {name: f"{folder}/{shard}" if folder else shard for name, shard in weights.items()}


def _sharded(files: Files, path: str, weights: Mapping[str, str], load: Load) -> dict[str, Any]:
    by_shard: dict[str, list[str]] = {}
    for name, shard in weights.items():
        if shard not in files:  # a look-up in the version's own list: no path is followed
            raise UserError(f"{shown(path)} names the shard {shown(shard)}, which the version lacks")
        by_shard.setdefault(shard, []).append(name)
    found: dict[str, Any] = {}
    for shard, names in by_shard.items():
        found.update(load(files[shard], names))
    return {name: found[name] for name in weights}


# --- frameworks --------------------------------------------------------------------------------------------
def _loader(framework: str, device: Any, threads: int | None) -> Load:
    if framework not in FRAMEWORKS:
        raise UsageError(f"unknown framework {framework!r}", hint=f"one of {', '.join(FRAMEWORKS)}")
    if framework == "numpy":
        if device is not None:
            raise UsageError("numpy arrays lie on no device", hint="framework='torch' has devices")
        return lambda file, names: file.tensors.load(names, threads=threads)
    try:
        torch = import_module("torch")  # asked for by name
    except ImportError:
        raise UnsupportedFeature("torch is not installed", hint="pip install torch") from None

    def load(file: File, names: list[str] | None) -> dict[str, Any]:
        arrays = file.tensors.load(names, threads=threads, as_bits=True)
        return {
            name: _torch_tensor(torch, array, file.tensors.info(name).dtype, device)
            for name, array in arrays.items()
        }

    return load


def _torch_tensor(torch: Any, array: NDArray[Any], dtype: str, device: Any) -> Any:
    """A tensor over the array's own memory, moved where a device is given."""
    kind = getattr(torch, torch_type_of(dtype) or "", None)
    if kind is None:
        raise UnsupportedFeature(
            f"this torch has no elements of type {dtype}",
            hint="REV[PATH].tensors.raw(NAME) gives their bytes",
        )
    if not array.flags.writeable:
        if array.nbytes > _MOST_REPEATED_BYTES:
            raise UnsupportedFeature(f"a tensor that repeats its elements would take {array.nbytes:,} bytes")
        array = array.copy()
    if array.size == 0:
        tensor = torch.empty(array.shape, dtype=kind)
    else:
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        tensor = torch.from_numpy(flat).view(kind).reshape(array.shape)
    return tensor if device is None else tensor.to(device)
