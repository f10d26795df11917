"""pickle: a Python pickle with arrays of numpy in it, alone or as the object array of an npy file.

The bytes of an array stand in a pickle as they are from protocol 3 on, and in Python 2's pickles; the
protocols between spell them as text. ``numpy.save`` writes an array of objects as a pickle behind the usual
header.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mvc.formats.base import NotThisFormat, Sibling, Value, View
from mvc.formats.pickled.names import named_tensors, named_values
from mvc.formats.pickled.tensors import Places
from mvc.formats.wire import npyheader
from mvc.formats.wire.pickles import Pickle, read_pickle
from mvc.spans import Layout

SUFFIXES = (".pkl", ".pickle")
_OBJECTS = (b"'descr': '|O'", b'"descr": "|O"')


@dataclass(frozen=True, slots=True)
class PickleFile:
    """Scanner of pickles."""

    name: str = "pickle"

    def claims(self, name: str, head: bytes) -> bool:
        """By the file name; or an npy file of objects, by its header."""
        if head.startswith(npyheader.MAGIC):
            return any(text in head for text in _OBJECTS)
        return name.lower().endswith(SUFFIXES)

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """A span for every name of an array."""
        pickle, places = _read(view)
        return {view.name: Layout(self.name, named_tensors(pickle.value, places))}

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """The plain values of the pickle."""
        return named_values(*_read(view))


def _read(view: View) -> tuple[Pickle, Places]:
    start = 0
    if view.read(0, min(view.size, len(npyheader.MAGIC))) == npyheader.MAGIC:
        start = npyheader.read_header(view).start
    pickle = read_pickle(view, start)
    if pickle.end != view.size:
        raise NotThisFormat(f"{view.size - pickle.end} bytes behind the pickle")
    return pickle, Places(lambda _: None, base=0)
