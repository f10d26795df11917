"""Reads a pickle as data: an interpreter of its opcodes that imports nothing and calls nothing.

Specification: the comments of Python's ``pickletools``, protocols 0 to 5. A pickle is a program for a small
stack machine; two of its steps name a function and call it, which is why loading a foreign one is dangerous.
Here both yield inert values (:mod:`mvc.formats.wire.inert`).

Every opcode costs a part of one budget, by the memory that it may take and at least by its time, so that
neither runs away; shared and cyclic references cost nothing here, and whoever walks the values counts again.
"""

from __future__ import annotations

from dataclasses import dataclass

from mvc.formats.base import NotThisFormat, View
from mvc.formats.wire import pickle_machine
from mvc.formats.wire.inert import Persistent
from mvc.formats.wire.pickle_machine import Machine, Reader
from mvc.formats.wire.pickle_opcodes import STOP, TABLE
from mvc.formats.wire.views import left_of, spend

_WORTH = 4  # of the machine's budget, against reading a byte


@dataclass(frozen=True, slots=True)
class Pickle:
    """One pickle: its value, the offset just behind it, the paths of all globals that it names, in the order
    of their first mention, and what it names by :class:`Persistent` identities."""

    value: object
    end: int
    globals: tuple[str, ...]
    persistent: tuple[Persistent, ...]


def read_pickle(view: View, start: int = 0) -> Pickle:
    """Read the pickle that starts at an offset.

    Raises:
        NotThisFormat: malformed, truncated, of an unknown protocol, or beyond the machine's budget.
    """
    budget = left_of(view, pickle_machine.BUDGET // _WORTH) * _WORTH
    machine = Machine(Reader(view, start), budget)
    byte = machine.reader.byte
    try:
        while (code := byte()) != STOP:
            operation, cost = TABLE[code]
            machine.budget -= cost  # machine.charge, without a call for each opcode
            if machine.budget < 0:
                machine.charge(0)
            operation(machine)
        value = machine.stack.pop()
    except IndexError:  # operations pop without looking; the lists look
        raise NotThisFormat("the pickle takes more from its stack than it put there") from None
    finally:
        spend(view, (budget - machine.budget) // _WORTH)
    return Pickle(value, machine.reader.position, tuple(machine.globals), tuple(machine.persistent))
