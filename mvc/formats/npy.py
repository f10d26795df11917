"""npy: one numpy array; :mod:`mvc.formats.wire.npyheader` says how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mvc.formats.base import Sibling, Value, View
from mvc.formats.wire.npyheader import MAGIC, read_array
from mvc.spans import Layout

TENSOR_NAME = "array"
"""The one tensor's name: never the file's, so that renaming a file leaves its tensors equal."""


@dataclass(frozen=True, slots=True)
class Npy:
    """Scanner of ``.npy`` files."""

    name: str = "npy"

    def claims(self, name: str, head: bytes) -> bool:
        """By the magic bytes, or by the file name."""
        return head.startswith(MAGIC) or name.lower().endswith(".npy")

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """One span, of the name :data:`TENSOR_NAME`."""
        return {view.name: Layout(self.name, (read_array(view, TENSOR_NAME),))}

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """None: an array stands alone."""
        return {}
