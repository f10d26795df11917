"""The stack machine that a pickle is a program for: its input, its state, its budget.

What an opcode does to it stands in :mod:`mvc.formats.wire.pickle_opcodes`.
"""

from __future__ import annotations

from collections.abc import Callable

from mvc.formats.base import NotThisFormat, View
from mvc.formats.wire.inert import Bytes, Call, Dict, Global, Persistent, Unread, path_of, text_of

BUDGET = 128 << 20
"""Estimated bytes of memory that the values of one pickle may take."""

MAX_KEPT_BYTES = 1 << 12
"""Longer bytes are known by their place alone."""

_MAX_LINE = 1 << 20
_MAX_PATH = 512
_PAIR_COST = 64
_FIRST_WINDOW, _LAST_WINDOW = 1 << 12, 1 << 20


class Reader:
    """Reads a view in order, through a window that grows."""

    __slots__ = ("_at", "_base", "_next", "_view", "_window")

    def __init__(self, view: View, start: int) -> None:
        self._view = view
        self._base = start
        self._window = b""
        self._at = 0
        self._next = _FIRST_WINDOW

    @property
    def position(self) -> int:
        """Offset of the next byte in the view."""
        return self._base + self._at

    def byte(self) -> int:
        """The next byte."""
        try:
            value = self._window[self._at]
        except IndexError:  # cheaper than to look first, once for each opcode
            self._fill(1)
            value = self._window[0]
        self._at += 1
        return value

    def take(self, length: int) -> bytes:
        """The next bytes, of a length that the caller has bounded."""
        end = self._at + length
        if end > len(self._window):
            self._fill(length)
            end = length
        piece = self._window[self._at : end]
        self._at = end
        return piece

    def number(self, length: int) -> int:
        """A little-endian number of so many bytes."""
        return int.from_bytes(self.take(length), "little")

    def skip(self, length: int) -> None:
        """Pass over bytes that the view must have."""
        end = self.position + length
        if end > self._view.size:
            raise NotThisFormat("truncated: the pickle leaves the file")
        if self._at + length <= len(self._window):
            self._at += length
        else:
            self._base, self._window, self._at = end, b"", 0
            self._next = _FIRST_WINDOW  # after large bytes comes little, and then large ones again

    def line(self) -> bytes:
        """What stands in front of the next line feed."""
        end = self._window.find(b"\n", self._at)
        if end < 0:
            self._fill(min(_MAX_LINE, self._view.size - self.position))
            end = self._window.find(b"\n")
        if end < 0:
            raise NotThisFormat(f"a line of the pickle that does not end within {_MAX_LINE} bytes")
        piece = self._window[self._at : end]
        self._at = end + 1
        return piece

    def _fill(self, length: int) -> None:
        position = self.position
        left = self._view.size - position
        if length > left:
            raise NotThisFormat("truncated: the pickle leaves the file")
        self._window = self._view.read(position, min(left, max(length, self._next)))
        self._base, self._at = position, 0
        self._next = min(2 * self._next, _LAST_WINDOW)


class Machine:
    """The stack machine. ``stack`` is what was pushed since the last mark, ``marked`` the stacks below it."""

    __slots__ = ("budget", "globals", "marked", "memo", "persistent", "reader", "stack")

    def __init__(self, reader: Reader, budget: int = BUDGET) -> None:
        self.reader = reader
        self.stack: list[object] = []
        self.marked: list[list[object]] = []
        self.memo: dict[int, object] = {}
        self.globals: dict[str, None] = {}
        self.persistent: list[Persistent] = []
        self.budget = budget

    def charge(self, cost: int) -> None:
        """Take from the budget."""
        self.budget -= cost
        if self.budget < 0:
            raise NotThisFormat("a pickle that would take too much memory or time to read")

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop_mark(self) -> list[object]:
        """Take what was pushed since the last mark, and the mark."""
        items = self.stack
        self.stack = self.marked.pop()
        return items

    def call(self, function: object, args: object) -> None:
        """Push what a call would have made."""
        self.push(_called(path_of(function), function, args, self.charge))

    def name_global(self, module: str, name: str) -> None:
        """Push a global."""
        path = f"{module}.{name}"
        if len(path) > _MAX_PATH:
            raise NotThisFormat(f"the pickle names a global of {len(path)} characters")
        self.globals[path] = None
        self.push(Global(path))

    def name_persistent(self, identity: object) -> None:
        """Push what the pickle's writer keeps outside of it."""
        value = Persistent(identity)
        self.persistent.append(value)
        self.push(value)


_BUILTINS = ("builtins", "__builtin__")
_COPYREG = ("copyreg", "copy_reg")
_DICTS = {f"collections.{name}" for name in ("OrderedDict", "defaultdict", "Counter")}
_DICTS |= {f"{module}.dict" for module in _BUILTINS}
_LISTS = {f"{module}.{name}" for module in _BUILTINS for name in ("list", "set")}
_TUPLES = {f"{module}.{name}" for module in _BUILTINS for name in ("tuple", "frozenset")}
_BYTES = {f"{module}.{name}" for module in _BUILTINS for name in ("bytes", "bytearray")}
_NEW_OBJECTS = {f"{module}.__newobj__" for module in _COPYREG}
_RECONSTRUCTORS = {f"{module}._reconstructor" for module in _COPYREG}


def _called(path: str, function: object, args: object, charge: Callable[[int], None]) -> object:
    """What a call makes, if that is a plain container or bytes; else the call itself.

    What is copied is charged for again: an opcode may name the same long list any number of times.
    """
    if not isinstance(args, tuple):
        return Call(function, args)
    first = args[0] if args else None
    sequence = first if isinstance(first, (list, tuple)) else ()
    if path in _DICTS:
        source = first.pairs if isinstance(first, Dict) else sequence
        charge(_PAIR_COST * len(source))
        return Dict([(p[0], p[1]) for p in source if isinstance(p, (list, tuple)) and len(p) == 2])
    if path in _LISTS or path in _TUPLES:
        charge(8 * len(sequence))
        return list(sequence) if path in _LISTS else tuple(sequence)
    if path == "_codecs.encode" or path in _BYTES:
        return first if isinstance(first, Bytes) else _encoded(args, charge)
    if path in _NEW_OBJECTS and args:
        charge(8 * len(args))
        return Call(first, args[1:])
    if path in _RECONSTRUCTORS and args:
        return Call(first, ())
    return Call(function, args)


def _encoded(args: tuple[object, ...], charge: Callable[[int], None]) -> object:
    """Bytes that were written as text, as protocols below 3 do: they do not stand in the file as they are."""
    if not args:
        return Bytes(None, 0, b"")
    text, encoding = args[0], text_of(args[-1])
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        return Unread("bytes")
    charge(len(text))
    try:
        data = text.encode("latin-1")
    except UnicodeEncodeError:
        return Unread("bytes")
    return Bytes(None, len(data), data if len(data) <= MAX_KEPT_BYTES else None)
