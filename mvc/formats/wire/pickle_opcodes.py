"""What each opcode of a pickle does to the machine, and what it costs.

Specification: the comments of Python's ``pickletools``, protocols 0 to 5.
"""

from __future__ import annotations

from mvc.formats.base import NotThisFormat
from mvc.formats.wire.inert import Call, Dict, Unread, text_of
from mvc.formats.wire.pickle_machine import Machine
from mvc.formats.wire.pickle_scalars import (
    Operation,
    binfloat,
    byte_string,
    constant,
    decimal,
    float_line,
    int_line,
    integer,
    long1,
    long4,
    long_line,
    string_line,
    text,
    text_line,
)

MAX_PROTOCOL = 5


def _mark(machine: Machine) -> None:
    machine.marked.append(machine.stack)
    machine.stack = []


def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()


def _pop_mark(machine: Machine) -> None:
    machine.pop_mark()


def _dup(machine: Machine) -> None:
    machine.push(machine.stack[-1])


def _tuple(machine: Machine) -> None:
    items = tuple(machine.pop_mark())
    machine.push(items)


def _small_tuple(length: int) -> Operation:
    def operation(machine: Machine) -> None:
        stack = machine.stack
        if len(stack) < length:
            raise IndexError
        stack[-length:] = [tuple(stack[-length:])]

    return operation


def _empty_list(machine: Machine) -> None:
    machine.push([])


def _list(machine: Machine) -> None:
    items = machine.pop_mark()
    machine.push(items)


def _empty_dict(machine: Machine) -> None:
    machine.push(Dict())


def _dict(machine: Machine) -> None:
    items = machine.pop_mark()
    machine.push(Dict(_paired(items)))


def _paired(items: list[object]) -> list[tuple[object, object]]:
    if len(items) % 2:
        raise NotThisFormat("the pickle gives a dictionary a key without a value")
    return list(zip(items[::2], items[1::2], strict=True))


def _append(machine: Machine) -> None:
    item = machine.stack.pop()
    _extend(machine.stack[-1], [item])


def _appends(machine: Machine) -> None:
    items = machine.pop_mark()
    _extend(machine.stack[-1], items)


def _extend(target: object, items: list[object]) -> None:
    """Anything else takes elements too, and does nothing with them."""
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, Call):
        if target.items is None:
            target.items = []
        target.items.extend(items)


def _set_item(machine: Machine) -> None:
    value = machine.stack.pop()
    key = machine.stack.pop()
    _assign(machine.stack[-1], [(key, value)])


def _set_items(machine: Machine) -> None:
    items = machine.pop_mark()
    _assign(machine.stack[-1], _paired(items))


def _assign(target: object, pairs: list[tuple[object, object]]) -> None:
    if isinstance(target, Dict):
        target.pairs.extend(pairs)
    elif isinstance(target, Call):
        if target.pairs is None:
            target.pairs = []
        target.pairs.extend(pairs)


def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if isinstance(target, Call):
        target.state = state


def _reduce(machine: Machine) -> None:
    args = machine.stack.pop()
    machine.call(machine.stack.pop(), args)


def _new_with_keywords(machine: Machine) -> None:
    keywords = machine.stack.pop()
    args = machine.stack.pop()
    cls = machine.stack.pop()
    if isinstance(args, tuple):
        machine.charge(8 * len(args))
        args = (*args, keywords)
    machine.call(cls, args)


def _instance(machine: Machine) -> None:
    args = tuple(machine.pop_mark())
    _global(machine)
    machine.call(machine.stack.pop(), args)


def _object(machine: Machine) -> None:
    cls, *args = machine.pop_mark() or _raise_empty()
    machine.call(cls, tuple(args))


def _raise_empty() -> list[object]:
    raise IndexError


def _global(machine: Machine) -> None:
    module, name = machine.reader.line(), machine.reader.line()
    try:
        machine.name_global(module.decode(), name.decode())
    except UnicodeDecodeError:
        raise NotThisFormat("the pickle names a global that is not UTF-8") from None


def _stack_global(machine: Machine) -> None:
    name, module = text_of(machine.stack.pop()), text_of(machine.stack.pop())
    if name is None or module is None:
        raise NotThisFormat("the pickle names a global by something that is no text")
    machine.name_global(module, name)


def _extension(width: int) -> Operation:
    def operation(machine: Machine) -> None:
        machine.name_global("copyreg", f"extension_{machine.reader.number(width)}")

    return operation


def _persistent_line(machine: Machine) -> None:
    machine.name_persistent(machine.reader.line().decode("latin-1"))


def _persistent(machine: Machine) -> None:
    machine.name_persistent(machine.stack.pop())


def _get(index: int, machine: Machine) -> None:
    try:
        machine.push(machine.memo[index])
    except KeyError:
        raise NotThisFormat("the pickle refers to a value that it has not remembered") from None


def _line_index(machine: Machine) -> int:
    index = decimal(machine.reader.line())
    if not isinstance(index, int):
        raise NotThisFormat("the pickle holds a malformed number")
    return index


def _get_line(machine: Machine) -> None:
    _get(_line_index(machine), machine)


def _get1(machine: Machine) -> None:
    _get(machine.reader.byte(), machine)


def _get4(machine: Machine) -> None:
    _get(machine.reader.number(4), machine)


def _put_line(machine: Machine) -> None:
    machine.memo[_line_index(machine)] = machine.stack[-1]


def _put1(machine: Machine) -> None:
    machine.memo[machine.reader.byte()] = machine.stack[-1]


def _put4(machine: Machine) -> None:
    machine.memo[machine.reader.number(4)] = machine.stack[-1]


def _memoize(machine: Machine) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _protocol(machine: Machine) -> None:
    protocol = machine.reader.byte()
    if protocol > MAX_PROTOCOL:
        raise NotThisFormat(f"a pickle of the unknown protocol {protocol}")


def _frame(machine: Machine) -> None:
    machine.reader.take(8)  # a hint for readers of streams


def _nothing(machine: Machine) -> None:
    pass


def _unknown(machine: Machine) -> None:
    raise NotThisFormat("no pickle: an unknown opcode")


# Costs: a cell on the stack with a number in it, a list or dictionary, a call or a global. Even what takes no
# memory takes time.
_TINY, _SMALL, _LARGE, _OBJECT, _HUGE = 64, 80, 128, 224, 640

STOP = ord(".")
"""The opcode that ends a pickle."""

_OPERATIONS: dict[bytes, tuple[Operation, int]] = {
    b"(": (_mark, _LARGE),  # MARK
    b"0": (_pop, _TINY),  # POP
    b"1": (_pop_mark, _TINY),  # POP_MARK
    b"2": (_dup, _TINY),  # DUP
    b"F": (float_line, _SMALL),  # FLOAT
    b"I": (int_line, _SMALL),  # INT
    b"J": (integer(4, signed=True), _SMALL),  # BININT
    b"K": (integer(1), _TINY),  # BININT1
    b"L": (long_line, _SMALL),  # LONG
    b"M": (integer(2), _SMALL),  # BININT2
    b"N": (constant(None), _TINY),  # NONE
    b"P": (_persistent_line, _LARGE),  # PERSID
    b"Q": (_persistent, _OBJECT),  # BINPERSID
    b"R": (_reduce, _OBJECT),  # REDUCE
    b"S": (string_line, _LARGE),  # STRING
    b"T": (byte_string(4, is_text=True), _LARGE),  # BINSTRING
    b"U": (byte_string(1, is_text=True), _LARGE),  # SHORT_BINSTRING
    b"V": (text_line, _LARGE),  # UNICODE
    b"X": (text(4), _LARGE),  # BINUNICODE
    b"a": (_append, _SMALL),  # APPEND
    b"b": (_build, _SMALL),  # BUILD
    b"c": (_global, _HUGE),  # GLOBAL
    b"d": (_dict, _LARGE),  # DICT
    b"}": (_empty_dict, _OBJECT),  # EMPTY_DICT
    b"e": (_appends, _LARGE),  # APPENDS
    b"g": (_get_line, _TINY),  # GET
    b"h": (_get1, _TINY),  # BINGET
    b"i": (_instance, _HUGE),  # INST
    b"j": (_get4, _TINY),  # LONG_BINGET
    b"l": (_list, _LARGE),  # LIST
    b"]": (_empty_list, _LARGE),  # EMPTY_LIST
    b"o": (_object, _LARGE),  # OBJ
    b"p": (_put_line, _LARGE),  # PUT
    b"q": (_put1, _TINY),  # BINPUT
    b"r": (_put4, _LARGE),  # LONG_BINPUT
    b"s": (_set_item, _LARGE),  # SETITEM
    b"t": (_tuple, _LARGE),  # TUPLE
    b")": (constant(()), _TINY),  # EMPTY_TUPLE
    b"u": (_set_items, _LARGE),  # SETITEMS
    b"G": (binfloat, _SMALL),  # BINFLOAT
    b"\x80": (_protocol, _TINY),  # PROTO
    b"\x81": (_reduce, _OBJECT),  # NEWOBJ
    b"\x82": (_extension(1), _HUGE),  # EXT1
    b"\x83": (_extension(2), _HUGE),  # EXT2
    b"\x84": (_extension(4), _HUGE),  # EXT4
    b"\x85": (_small_tuple(1), _LARGE),  # TUPLE1
    b"\x86": (_small_tuple(2), _LARGE),  # TUPLE2
    b"\x87": (_small_tuple(3), _LARGE),  # TUPLE3
    b"\x88": (constant(True), _TINY),  # NEWTRUE
    b"\x89": (constant(False), _TINY),  # NEWFALSE
    b"\x8a": (long1, _SMALL),  # LONG1
    b"\x8b": (long4, _SMALL),  # LONG4
    b"B": (byte_string(4), _LARGE),  # BINBYTES
    b"C": (byte_string(1), _LARGE),  # SHORT_BINBYTES
    b"\x8c": (text(1), _LARGE),  # SHORT_BINUNICODE
    b"\x8d": (text(8), _LARGE),  # BINUNICODE8
    b"\x8e": (byte_string(8), _LARGE),  # BINBYTES8
    b"\x8f": (_empty_list, _LARGE),  # EMPTY_SET
    b"\x90": (_appends, _LARGE),  # ADDITEMS
    b"\x91": (_tuple, _LARGE),  # FROZENSET
    b"\x92": (_new_with_keywords, _LARGE),  # NEWOBJ_EX
    b"\x93": (_stack_global, _HUGE),  # STACK_GLOBAL
    b"\x94": (_memoize, _LARGE),  # MEMOIZE
    b"\x95": (_frame, _TINY),  # FRAME
    b"\x96": (byte_string(8), _LARGE),  # BYTEARRAY8
    b"\x97": (constant(Unread("buffer")), _TINY),  # NEXT_BUFFER
    b"\x98": (_nothing, _TINY),  # READONLY_BUFFER
}

TABLE: tuple[tuple[Operation, int], ...] = tuple(
    _OPERATIONS.get(bytes([code]), (_unknown, _TINY)) for code in range(256)
)
"""Operation and cost of every opcode, by its byte."""
