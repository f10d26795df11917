"""Reversible steps between plain and stored bytes, one file each, and the table that lists them.

A record names its steps by ``(name, version)`` and keeps their parameters, so a codec's decoder is for ever:
what it once could read it must always read. A better way to code is a new version or a new name, never a
change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mvc.lazytable import LazyTable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class Step(NamedTuple):
    """One step of a record's chain, as the record keeps it; ``output_length`` bytes came out of encoding."""

    name: str
    version: int
    params: Mapping[str, Any]
    output_length: int


class Codec(Protocol):
    """One reversible step.

    Safe to call from several threads. What either method returns is the caller's own: never a view of a
    buffer that a later call reuses (it may be a view of ``data``). ``needs_prediction``: neither direction
    works without one.
    """

    @property
    def name(self) -> str:
        """How records call it."""

    @property
    def version(self) -> int:
        """Which form of the stored bytes it reads and writes."""

    @property
    def needs_prediction(self) -> bool:
        """Whether a record that uses it must have bases."""

    def encode(self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None) -> Buffer:
        """Code ``data``; every bit pattern and every length is allowed.

        Raises:
            CorruptObject: parameters out of range, or a prediction that does not fit.
        """

    def decode(
        self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None, length: int
    ) -> Buffer:
        """Undo :meth:`encode`: exactly ``length`` bytes.

        Trusts nothing: allocates no more than a small multiple of ``length``, whatever ``data`` says.

        Raises:
            CorruptObject: ``data``, ``params`` or ``prediction`` cannot give ``length`` bytes.
        """


CODECS: LazyTable[Codec] = LazyTable(
    {
        ("zstd", 1): "mvc.codecs.zstd",
        ("rot", 1): "mvc.codecs.rot",
        ("ig", 1): "mvc.codecs.ig",
        ("planes", 1): "mvc.codecs.planes",
        ("tokens", 1): "mvc.codecs.tokens",
        ("buckets", 1): "mvc.codecs.buckets",
    },
    "CODEC",
)
"""Every codec, by name and version; each module offers ``CODEC``."""
