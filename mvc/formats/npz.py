"""npz: several numpy arrays, a zip archive of npy files.

Source: ``numpy/lib/_npyio_impl.py`` (``_savez``). ``numpy.savez`` stores its members, ``savez_compressed``
deflates them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mvc.formats.base import NotThisFormat, Sibling, Value, View
from mvc.formats.wire.npyheader import read_array, read_header
from mvc.formats.wire.zipdir import MAGIC, STORED, part_of, read_directory
from mvc.spans import Layout, Span

_SUFFIX = ".npy"
_FIXED_HEADER = 30  # bytes of a local zip header in front of the name
_NAME_LENGTH = slice(26, 28)


@dataclass(frozen=True, slots=True)
class Npz:
    """Scanner of ``.npz`` files."""

    name: str = "npz"

    def claims(self, name: str, head: bytes) -> bool:
        """By the file name, or as a zip archive whose first member is an npy file."""
        return name.lower().endswith(".npz") or (
            head.startswith(MAGIC) and _first_name(head).endswith(_SUFFIX.encode())
        )

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """A span for each member that is stored and no array of objects, named like it without ``.npy``."""
        return {view.name: Layout(self.name, tuple(_arrays(view)))}

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """None: arrays stand alone."""
        return {}


def _first_name(head: bytes) -> bytes:
    length = int.from_bytes(head[_NAME_LENGTH], "little")
    return head[_FIXED_HEADER : _FIXED_HEADER + length]


def _arrays(view: View) -> Iterator[Span]:
    members = read_directory(view)
    if members and not any(member.name.endswith(_SUFFIX) for member in members):
        raise NotThisFormat("a zip archive without npy files")
    for member in members:
        if member.name.endswith(_SUFFIX) and member.method == STORED:
            part = part_of(view, member)
            if not read_header(part).holds_objects:
                span = read_array(part, member.name.removesuffix(_SUFFIX))
                yield replace(span, offset=part.offset + span.offset)
