"""Reversible steps between plain and stored bytes, one file each, and the table that lists them.

A record names its steps by ``(name, version)`` and keeps their parameters, so a codec's decoder is for ever:
what it once could read it must always read. A better way to code is a new version or a new name, never a
change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

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


class CodecTable(MutableMapping[tuple[str, int], Codec]):
    """Codecs by name and version; a module of its own is imported when its codec is first asked for.

    Commits and trees are coded with ``zstd`` or not at all, so commands that read nothing else never pay for
    importing numpy, which the tensor codecs need.
    """

    def __init__(self, modules: Mapping[tuple[str, int], str]) -> None:
        self._modules = dict(modules)
        self._loaded: dict[tuple[str, int], Codec] = {}

    def __getitem__(self, key: tuple[str, int]) -> Codec:
        codec = self._loaded.get(key)
        if codec is None:
            # deferred: numpy takes longer to import than `mvc log` may run
            codec = self._loaded[key] = import_module(self._modules[key]).CODEC
        return codec

    def __setitem__(self, key: tuple[str, int], codec: Codec) -> None:
        self._loaded[key] = codec
        self._modules[key] = type(codec).__module__

    def __delitem__(self, key: tuple[str, int]) -> None:
        del self._modules[key]
        self._loaded.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


CODECS = CodecTable(
    {
        ("zstd", 1): "mvc.codecs.zstd",
        ("rot", 1): "mvc.codecs.rot",
        ("ig", 1): "mvc.codecs.ig",
        ("planes", 1): "mvc.codecs.planes",
        ("tokens", 1): "mvc.codecs.tokens",
        ("buckets", 1): "mvc.codecs.buckets",
    }
)
"""Every codec, by name and version; each module offers ``CODEC``."""
