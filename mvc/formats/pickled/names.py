"""Names what a pickle holds: walks its values and joins keys, indices and attributes by dots.

A value that is reached on two ways has two names. Cycles are cut, and what leads to no tensor is walked once,
so that references of references (a "billion laughs") cost their own size; what leads to tensors is bounded by
the names that it makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from mvc.formats.base import (
    MAX_LISTED,
    MAX_VALUE_CHARACTERS,
    MAX_VALUES,
    MAX_VALUES_CHARACTERS,
    NotThisFormat,
    Value,
    characters,
)
from mvc.formats.pickled.arrays import Array, array_of
from mvc.formats.pickled.globals import unknown_globals
from mvc.formats.pickled.plain import NotPlain, plain, valid
from mvc.formats.pickled.tensors import Places
from mvc.formats.wire.inert import Call, Dict, Global, path_of, text_of
from mvc.formats.wire.pickles import Pickle
from mvc.spans import Span

ROOT_TENSOR = "tensor"
"""The name of a tensor that is all that a pickle holds."""

ROOT_VALUE = "value"
"""The name of a plain value that is."""

GLOBALS = "#globals"
"""The key under which :func:`named_values` gives the globals that are not known here."""

MAX_DEPTH = 100
"""What is nested deeper has no name."""

MAX_STEPS = 2_000_000
MAX_NAME_CHARACTERS = 1 << 10
"""What has a longer name has none."""

MAX_NAMES_BYTES = 8 << 20
"""Of all names together: as much as a manifest may hold."""

_CHARACTERS_PER_STEP = 64
_PAIR_STEPS = 8  # a pair of a dictionary is looked up by its key
_MAX_TUPLE_KEY = 128  # characters: the parts of such a key may be shared, its text is not
_MAX_TUPLE_PARTS = 4
_SPAN_BYTES = 96  # of a tensor beside its name
_SCALARS = frozenset({int, str, float, bool, type(None), Global})
_MODULE_KEYS = frozenset({"_parameters", "_buffers", "_modules"})
_SIZE = "torch.Size"
_WRAPPERS = ("torch.jit._pickle.", _SIZE, "collections.deque")  # of their first argument
_REBUILDERS = "torch._utils._rebuild_"  # whose arguments are no values of the user's
_SPARSE = frozenset({"torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_sparse_csr_tensor"})
_SPARSE_PARTS = {2: ("indices", "values"), 3: ("compressed_indices", "plain_indices", "values")}


def named_tensors(root: object, places: Places, prefix: str = "") -> tuple[Span, ...]:
    """The tensors of a pickle, each under every name that it has; names start with ``prefix``.

    Raises:
        NotThisFormat: a tensor contradicts its storage, or the walk would be too long.
    """
    walk = _TensorWalk(places)
    walk.visit(root, prefix, 0)
    return tuple(walk.found.values())


def named_values(pickle: Pickle, places: Places) -> dict[str, Value]:
    """The plain values of a pickle, by name, at most :data:`mvc.formats.base.MAX_VALUES`; lists longer than
    :data:`mvc.formats.base.MAX_LISTED` by their length. Under :data:`GLOBALS` the globals, separated by
    spaces, that are not known here; only if there are some."""
    found: dict[str, Value] = {}
    unknown = " ".join(valid(path) for path in unknown_globals(pickle.globals))
    if unknown:
        found[GLOBALS] = unknown[:MAX_VALUE_CHARACTERS]
    _ValueWalk(places, found).visit(pickle.value, "", 0)
    return found


@dataclass(slots=True)
class _TensorWalk:
    places: Places
    found: dict[str, Span] = field(default_factory=dict)
    steps: int = 0
    names_bytes: int = 0
    taken: dict[str, int] = field(default_factory=dict)  # the last number behind a name that occurs again
    open: set[int] = field(default_factory=set)  # what the walk is inside of, by identity
    barren: set[int] = field(default_factory=set)  # what leads to no tensor

    def visit(self, value: object, name: str, depth: int) -> None:
        identity = id(value)
        if identity in self.open or identity in self.barren or depth > MAX_DEPTH:
            return
        place = self.places.find(value)
        if place is not None:
            if isinstance(place, Span):
                self._add(name or ROOT_TENSOR, place)
            return
        before = len(self.found)
        self.open.add(identity)
        self.steps += _size(value)
        if self.steps > MAX_STEPS:
            raise NotThisFormat("a pickle of too many values, or whose values refer to each other too often")
        # lists are often long, and of numbers alone
        inside = _of_items(value, _SCALARS) if isinstance(value, (list, tuple)) else children(value)
        for key, child in inside:
            if type(child) not in _SCALARS:
                inner = joined(name, key)
                if len(inner) <= MAX_NAME_CHARACTERS:
                    self.steps += len(inner) // _CHARACTERS_PER_STEP
                    self.visit(child, inner, depth + 1)
        self.open.discard(identity)
        if len(self.found) == before:
            self.barren.add(identity)

    def _add(self, name: str, place: Span) -> None:
        name = valid(name)
        unique = name
        while unique in self.found:  # {"a.b": …, "a": {"b": …}}
            self.taken[name] = self.taken.get(name, 1) + 1
            unique = f"{name}#{self.taken[name]}"
        self.names_bytes += len(unique) + _SPAN_BYTES
        if self.names_bytes > MAX_NAMES_BYTES:
            raise NotThisFormat(f"names of tensors that would take more than {MAX_NAMES_BYTES >> 20} MiB")
        self.found[unique] = replace(place, name=unique)


@dataclass(slots=True)
class _ValueWalk:
    places: Places
    found: dict[str, Value]
    steps: int = 0
    left: int = MAX_VALUES_CHARACTERS
    open: set[int] = field(default_factory=set)
    barren: set[int] = field(default_factory=set)

    def visit(self, value: object, name: str, depth: int) -> None:
        identity = id(value)
        if identity in self.open or identity in self.barren or depth > MAX_DEPTH:
            return
        if self._is_full():
            return
        simple = plain(value)
        if not isinstance(simple, NotPlain):
            self._add(name or ROOT_VALUE, simple)
            return
        if isinstance(value, (list, tuple)) and len(value) > MAX_LISTED:
            self._add(joined(name, "#"), len(value))
            return
        if self.places.find(value) is not None or _is_rebuilt(value):
            return
        before = len(self.found)
        self.open.add(identity)
        self.steps += _size(value)
        if self.steps > MAX_STEPS:
            return
        for key, child in children(value):
            inner = joined(name, key)
            if len(inner) <= MAX_NAME_CHARACTERS:
                self.visit(child, inner, depth + 1)
            if self._is_full():
                break
        self.open.discard(identity)
        if len(self.found) == before:
            self.barren.add(identity)

    def _is_full(self) -> bool:
        return len(self.found) >= MAX_VALUES or self.left < 0 or self.steps > MAX_STEPS

    def _add(self, name: str, value: Value) -> None:
        """Note a value. What has a name that is taken costs as much: it was decoded all the same."""
        self.left -= characters(name, value)
        if self.left >= 0:
            self.found.setdefault(valid(name), value)


def _is_rebuilt(value: object) -> bool:
    return isinstance(value, Call) and path_of(value.function).startswith(_REBUILDERS)


def joined(name: str, key: str) -> str:
    """A name and one more step, either of which may be empty."""
    return f"{name}.{key}" if name and key else name or key


def children(value: object) -> Iterator[tuple[str, object]]:
    """What a value holds directly, each with its step in the name; the step is empty where it has none.

    Everything that is given is part of the value and lives as long: its identity tells it apart.
    """
    if isinstance(value, Dict):
        yield from _of_pairs(value.pairs)
    elif isinstance(value, (list, tuple)):
        yield from _of_items(value)
    elif isinstance(value, Call):
        yield from _of_call(value)


def _size(value: object) -> int:
    """What :func:`children` takes for a value, in steps: about one for an element of a list."""
    if isinstance(value, Dict):
        return 1 + _PAIR_STEPS * len(value.pairs)
    if isinstance(value, (list, tuple)):
        return 1 + len(value)
    if not isinstance(value, Call):
        return 1
    parts = [value.args, value.items, value.state]
    if isinstance(value.state, tuple) and len(value.state) <= MAX_LISTED:
        parts.extend(value.state)
    elements = sum(_size(part) for part in parts if isinstance(part, (Dict, list, tuple)))
    return 1 + elements + _PAIR_STEPS * len(value.pairs or ())


def _of_items(
    items: list[object] | tuple[object, ...], without: frozenset[object] = frozenset()
) -> Iterator[tuple[str, object]]:
    return ((str(index), item) for index, item in enumerate(items) if type(item) not in without)


def _of_pairs(pairs: list[tuple[object, object]]) -> Iterator[tuple[str, object]]:
    # Of equal keys the later one holds; ones that only look alike (0 and "0") are told apart by their type.
    last = {(type(key), step): value for key, value in pairs if (step := _step(key)) is not None}
    return ((step, value) for (_, step), value in last.items())


def _step(key: object, most: int = MAX_NAME_CHARACTERS) -> str | None:
    """A key as a step of a name; None for one that has no short text."""
    if isinstance(key, tuple):
        if len(key) > _MAX_TUPLE_PARTS:
            return None
        parts = [_step(part, _MAX_TUPLE_KEY) if not isinstance(part, tuple) else None for part in key]
        text = ",".join(part for part in parts if part is not None)
        return text if None not in parts and len(text) <= _MAX_TUPLE_KEY else None
    simple = key if type(key) is str else plain(key, most)
    if isinstance(simple, NotPlain):
        return None
    text = str(simple)
    return valid(text) if len(text) <= most else None


def _of_call(call: Call) -> Iterator[tuple[str, object]]:
    array = array_of(call)
    if array is not None:
        return _of_array(array)
    if path_of(call.function) in _SPARSE and isinstance(call.args, tuple) and len(call.args) == 2:
        return _of_sparse(call.args[1])
    return _of_object(call)


def _of_sparse(parts: object) -> Iterator[tuple[str, object]]:
    """The tensors of a sparse one: coordinates and values, or those of a compressed layout. The shape, and
    what else there is, comes behind them."""
    inner = parts if isinstance(parts, tuple) else ()
    tensors = [part for part in inner if isinstance(part, Call) and path_of(part.function) != _SIZE]
    return iter(zip(_SPARSE_PARTS.get(len(tensors), ()), tensors, strict=False))


def _of_array(array: Array) -> Iterator[tuple[str, object]]:
    """The elements of an array of objects; the only one of an array without dimensions is the array."""
    if not isinstance(array.data, list):
        return iter(())
    return _of_items(array.data) if array.shape else (("", item) for item in array.data)


def _of_object(call: Call) -> Iterator[tuple[str, object]]:
    """What an object was made from, its attributes, its elements. A state in two halves is attributes and
    slots."""
    if path_of(call.function).startswith(_WRAPPERS) and isinstance(call.args, tuple) and call.args:
        yield ("", call.args[0])
    elif isinstance(call.args, (tuple, list)):
        yield from _of_items(call.args)
    halves = call.state if isinstance(call.state, tuple) and len(call.state) == 2 else (call.state,)
    for half in halves:
        if isinstance(half, Dict):
            yield from _of_attributes(half)
        elif half is not None:
            yield ("state", half)
    yield from _of_items(call.items or [])
    yield from _of_pairs(call.pairs or [])


def _of_attributes(state: Dict) -> Iterator[tuple[str, object]]:
    """Attributes by their names; a module's parameters, buffers and children as its ``state_dict`` names
    them."""
    names = {text_of(key) for key, _ in state.pairs}
    is_module = names >= _MODULE_KEYS
    for step, value in _of_pairs(state.pairs):
        yield ("" if is_module and step in _MODULE_KEYS else step, value)
