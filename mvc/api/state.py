"""Nested Python values as two files: tensors in ``KEY.safetensors``, everything else in ``KEY.json``.

A mapping of names to tensors needs the first file alone. In every other case ``KEY.json`` holds the
structure. Where JSON means the same as Python (``None``, booleans, integers, finite floats, text, lists,
mappings with text as keys) the value stands there as itself. Anything else is an object of exactly one key:

=================================  ====================================================================
``{"$tensor": NAME}``              the tensor of that name in ``KEY.safetensors``
``{"$dict": [[KEY, VALUE], …]}``   a mapping with other keys than text, or one that looks like a line of
                                   this table
``{"$tuple": [VALUE, …]}``         a tuple
``{"$float": TEXT}``               ``nan``, ``inf``, ``-inf``; of any other NaN its 16 hexadecimal digits
``{"$complex": [RE, IM]}``         a complex number
``{"$bytes": TEXT}``               bytes, in base64
``{"$numpy": [DTYPE, TEXT]}``      a numpy scalar: its bytes, little-endian, in hexadecimal digits
=================================  ====================================================================

A tensor's name is the way to it, keys and positions joined by dots; of a value that is a tensor itself, the
last component of KEY.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from mvc.api.arrays import HostTensor, host_tensor
from mvc.api.dtypes import name_of, numpy_type_of
from mvc.errors import UserError
from mvc.paths import shown

MAX_NESTING = 100
"""Levels of a value; deeper ones are nearly always circular."""

MAX_JSON_BYTES = 64 << 20
"""Of a structure."""

MAX_JSON_ITEMS = 4_000_000
"""Commas and brackets of a structure that is read: each may take a hundred bytes of memory."""

_MAX_WIDE_KEYS = 1000  # of more than 64 bits: any number of these may share a hash
_MAX_DIGITS = 4000  # of an integer; Python reads no more than 4,300 back
_SCALAR_KEYS = (str, int, float, bool, bytes, type(None))


class Flattened:
    """A value taken apart: ``tensors`` by name, and ``structure`` as JSON text; None where the names of the
    tensors say it all."""

    def __init__(self, key: str, value: Any) -> None:
        self.tensors: dict[str, HostTensor] = {}
        self._key = key
        tree = self._encode(value, (), 0)
        flat = isinstance(value, Mapping) and bool(value) and tree == _flat(self.tensors)
        self.structure = None if flat else _text(tree)
        if self.structure is None:
            return
        if len(self.structure) > MAX_JSON_BYTES or _items(self.structure) > MAX_JSON_ITEMS:
            raise UserError(
                f"{shown(key)} holds more than {MAX_JSON_BYTES >> 20} MiB or {MAX_JSON_ITEMS:,} values "
                "beside its tensors",
                hint="make large lists of numbers into arrays",
            )

    def _where(self, path: tuple[str, ...]) -> str:
        return shown(".".join((self._key, *path)))

    def _encode(self, value: Any, path: tuple[str, ...], depth: int) -> Any:
        if depth > MAX_NESTING:
            raise UserError(
                f"{self._where(path[:3])}… is nested deeper than {MAX_NESTING} levels",
                hint="does it hold itself?",
            )
        plain = self._scalar(value, path)
        if plain is not _NOT_PLAIN:
            return plain
        tensor = host_tensor(value, self._where(path))
        if tensor is not None:
            return {"$tensor": self._name(path, tensor)}
        if isinstance(value, Mapping):
            return self._mapping(value, path, depth)
        if isinstance(value, list | tuple):
            items = [self._encode(item, (*path, str(place)), depth + 1) for place, item in enumerate(value)]
            return items if isinstance(value, list) else {"$tuple": items}
        raise UserError(
            f"{self._where(path)} is a {type(value).__name__}, which cannot be stored",
            hint="tensors, mappings, lists, tuples, numbers, text, bytes and None can",
        )

    def _scalar(self, value: Any, path: tuple[str, ...]) -> Any:
        if value is None or type(value) is bool:
            return value
        if isinstance(value, np.generic):
            return self._numpy_scalar(value, path)
        if type(value) is int:
            if value.bit_length() > 3 * _MAX_DIGITS:
                raise UserError(f"{self._where(path)} is an integer of more than {_MAX_DIGITS} digits")
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"$float": _unusual(value)}
        if type(value) is str:
            return self._valid(value, path)
        if type(value) is bytes:
            return {"$bytes": base64.b64encode(value).decode()}
        if type(value) is complex:
            return {"$complex": [self._scalar(value.real, path), self._scalar(value.imag, path)]}
        return _NOT_PLAIN

    def _numpy_scalar(self, value: np.generic, path: tuple[str, ...]) -> Any:
        dtype = name_of(value.dtype)
        if dtype is None:
            raise UserError(f"{self._where(path)} is a numpy {value.dtype}, which cannot be stored")
        return {"$numpy": [dtype, np.asarray(value, value.dtype.newbyteorder("<")).tobytes().hex()]}

    def _mapping(self, value: Mapping[Any, Any], path: tuple[str, ...], depth: int) -> Any:
        items = []
        for key, item in value.items():
            if not isinstance(key, _SCALAR_KEYS) or type(key) not in _SCALAR_KEYS:
                raise UserError(
                    f"{self._where(path)} has a {type(key).__name__} among its keys, which cannot be stored",
                    hint="use text or numbers as keys",
                )
            items.append((key, self._encode(item, (*path, str(key)), depth + 1)))
        named = {self._valid(key, path): item for key, item in items if isinstance(key, str)}
        if len(named) == len(items) and not _looks_special(named):
            return named
        return {"$dict": [[self._scalar(key, path), item] for key, item in items]}

    def _name(self, path: tuple[str, ...], tensor: HostTensor) -> str:
        name = ".".join(path) if path else self._key.rpartition("/")[2]
        if name in self.tensors:
            raise UserError(
                f"two tensors of {shown(self._key)} would both be called {shown(name)}",
                hint="rename one of the keys on the way to them",
            )
        self.tensors[name] = tensor
        return name

    def _valid(self, text: str, path: tuple[str, ...]) -> str:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UserError(f"{self._where(path)} holds text that is not valid Unicode") from None
        return text


_NOT_PLAIN = object()


def _flat(tensors: Mapping[str, HostTensor]) -> Any:
    """What the structure of a mapping from names to tensors looks like."""
    return {name: {"$tensor": name} for name in tensors}


def _looks_special(named: Mapping[str, Any]) -> bool:
    return len(named) == 1 and next(iter(named)).startswith("$")


def _text(tree: Any) -> bytes:
    return json.dumps(tree, ensure_ascii=False, allow_nan=False, indent=1).encode() + b"\n"


def _items(text: bytes) -> int:
    """At least so many values does JSON text hold."""
    return sum(map(text.count, (b",", b"[", b"{")))


def _unusual(value: float) -> str:
    if not math.isnan(value):
        return "inf" if value > 0 else "-inf"
    bits = struct.pack(">d", value).hex()
    return "nan" if bits == "7ff8000000000000" else bits


# --- back --------------------------------------------------------------------------------------------------
class NotOurs(ValueError):
    """JSON that no commit of a mapping wrote; the message says why."""


def parse(data: bytes) -> Any:
    """JSON of a version's file.

    Raises:
        NotOurs: it is none, or beyond the budgets.
    """
    if _items(data) > MAX_JSON_ITEMS:
        raise NotOurs(f"it holds more than {MAX_JSON_ITEMS:,} values")
    try:
        return json.loads(data.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise NotOurs("it is nested too deeply") from None
    except ValueError as error:
        raise NotOurs(f"it is no JSON: {error}".splitlines()[0]) from None


def _refuse_constant(text: str) -> Any:
    raise NotOurs(f"it holds {text}")


def tensor_names(tree: Any) -> Iterator[str]:
    """Every tensor that a structure names."""
    stack = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if set(item) == {"$tensor"} and isinstance(item["$tensor"], str):
                yield item["$tensor"]
            else:
                stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def rebuild(tree: Any, tensors: Mapping[str, Any], depth: int = 0) -> Any:
    """The value that :class:`Flattened` took apart; ``tensors`` by name, in whatever form is wanted.

    Raises:
        NotOurs: the structure names a tensor that is not there, or is malformed.
    """
    if depth > 4 * MAX_NESTING:
        raise NotOurs("it is nested too deeply")
    if isinstance(tree, list):
        return [rebuild(item, tensors, depth + 1) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        (tag, inner), *_rest = tree.items()
        special = _SPECIAL.get(tag)
        if tag == "$tensor":
            if not isinstance(inner, str) or inner not in tensors:
                raise NotOurs(f"it names the tensor {shown(str(inner))}, which is not there")
            return tensors[inner]
        if special is not None:
            return special(rebuild(inner, tensors, depth + 1))
    return {key: rebuild(item, tensors, depth + 1) for key, item in tree.items()}


def _reading(what: str, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def checked(inner: Any) -> Any:
        try:
            return read(inner)
        except (TypeError, ValueError, IndexError, KeyError, struct.error) as error:
            if isinstance(error, NotOurs):
                raise
            raise NotOurs(f"a {what} in it is malformed") from None

    return checked


def _float_of(text: Any) -> float:
    if text in ("nan", "inf", "-inf"):
        return float(text)
    if len(text) != 16:
        raise ValueError
    (value,) = struct.unpack(">d", bytes.fromhex(text))
    return float(value)


def _numpy_of(inner: Any) -> Any:
    dtype, text = inner
    return np.frombuffer(bytes.fromhex(text), numpy_type_of(dtype).newbyteorder("<"))[0]


def _tuple_of(inner: Any) -> tuple[Any, ...]:
    if not isinstance(inner, list):
        raise ValueError
    return tuple(inner)


def _dict_of(inner: Any) -> dict[Any, Any]:
    if not isinstance(inner, list):
        raise ValueError
    keys = [key for key, _ in inner]
    wide = sum(type(key) is int and key.bit_length() > 64 for key in keys)
    if wide > _MAX_WIDE_KEYS or any(type(key) not in _SCALAR_KEYS for key in keys):
        raise ValueError
    return dict(inner)


def _complex_of(inner: Any) -> complex:
    real, imaginary = inner
    return complex(real, imaginary)


_SPECIAL: dict[str, Callable[[Any], Any]] = {
    "$dict": _reading("mapping", _dict_of),
    "$tuple": _reading("tuple", _tuple_of),
    "$float": _reading("number", _float_of),
    "$complex": _reading("complex number", _complex_of),
    "$bytes": _reading("byte string", lambda inner: base64.b64decode(inner, validate=True)),
    "$numpy": _reading("numpy scalar", _numpy_of),
}
