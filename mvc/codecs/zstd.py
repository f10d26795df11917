"""``zstd`` version 1: one zstd frame, for bytes that are no tensor.

Stored bytes: one frame that declares its content size, and nothing behind it. Parameters: none, or
``{"dictionary": true}``: the prediction stands before the data as raw content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mvc.codecs import frames
from mvc.errors import CorruptObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

LEVEL = 6
DICTIONARY_LEVEL = 9


class Zstd:
    """The codec ``zstd``; imports no numpy, because commits and trees are read through it.

    The levels, without and with a dictionary, steer the encoder only.
    """

    name = "zstd"
    version = 1
    needs_prediction = False

    def __init__(self, level: int = LEVEL, dictionary_level: int = DICTIONARY_LEVEL) -> None:
        self._level = level
        self._dictionary_level = dictionary_level

    def encode(self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None) -> bytes:
        """One frame; of any prediction when the parameters say so."""
        dictionary = _dictionary(params, prediction)
        return frames.compress(
            data, self._level if dictionary is None else self._dictionary_level, dictionary
        )

    def decode(
        self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None, length: int
    ) -> bytes:
        """The frame's content."""
        return frames.decompress(data, length, _dictionary(params, prediction))


def _dictionary(params: Mapping[str, Any], prediction: Buffer | None) -> Buffer | None:
    if not params:
        return None
    if params.keys() != {"dictionary"} or params["dictionary"] is not True:
        raise CorruptObject("zstd: unknown parameters")
    if prediction is None:
        raise CorruptObject("zstd: the dictionary is missing")
    return prediction


CODEC = Zstd()
