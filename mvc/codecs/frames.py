"""Zstandard frames with a bounded cost: what the codecs share.

Frames are written with their content size and without a checksum (records have one). A reader that knows how
many bytes to expect refuses every frame that declares anything else before the library allocates for it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import zstandard

from mvc.errors import CorruptObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_MIN_WINDOW = 1024  # the least window that a frame header can declare

_local = threading.local()  # contexts are not thread-safe and cost more to make than a small frame to code


def compress(data: Buffer, level: int, dictionary: Buffer | None = None) -> bytes:
    """One frame at a zstd level, with ``dictionary`` as raw preceding content."""
    if dictionary is not None:
        return zstandard.ZstdCompressor(level, dict_data=_raw_dictionary(dictionary)).compress(
            memoryview(data)
        )
    contexts: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("levels", {})
    context = contexts.get(level)
    if context is None:
        context = contexts[level] = zstandard.ZstdCompressor(level)
    return context.compress(memoryview(data))


def compress_literals(data: Buffer, window_log: int) -> bytes:
    """One frame that spends its time on Huffman coding and hardly any on matches.

    Byte planes of weights have a skewed distribution and next to no repeats. Small windows give small blocks,
    each with a Huffman table of its own, which follows a distribution that changes along the plane. (zstd's
    negative levels search as little but switch Huffman coding off.)
    """
    contexts: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("windows", {})
    context = contexts.get(window_log)
    if context is None:
        parameters = zstandard.ZstdCompressionParameters(
            strategy=zstandard.STRATEGY_FAST,
            window_log=window_log,
            hash_log=6,
            chain_log=6,
            search_log=1,
            min_match=7,
            target_length=0,
            write_content_size=True,
            write_checksum=False,
        )
        context = contexts[window_log] = zstandard.ZstdCompressor(compression_params=parameters)
    return context.compress(memoryview(data))


def decompress(frame: Buffer, length: int, dictionary: Buffer | None = None) -> bytes:
    """The ``length`` bytes of exactly one frame.

    Raises:
        CorruptObject: not one whole frame, or one of another length, or one that asks for more memory than
        that.
    """
    raw = memoryview(frame)
    try:
        header = zstandard.get_frame_parameters(raw)
        # decompress() believes the frame about its size, whatever limit it is given: check first
        if header.content_size != length:
            raise CorruptObject(f"zstd frame declares {header.content_size} bytes where {length} belong")
        if header.window_size > max(length, _MIN_WINDOW):
            raise CorruptObject(f"zstd frame of {length} bytes asks for a window of {header.window_size}")
        plain = _decompressor(dictionary).decompress(raw, max_output_size=length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptObject(f"zstd frame cannot be decoded: {error}") from error
    if len(plain) != length:
        raise CorruptObject(f"zstd frame holds {len(plain)} bytes where {length} belong")
    return plain


def _decompressor(dictionary: Buffer | None) -> zstandard.ZstdDecompressor:
    if dictionary is not None:
        return zstandard.ZstdDecompressor(dict_data=_raw_dictionary(dictionary))
    context: zstandard.ZstdDecompressor | None = _local.__dict__.get("decompressor")
    if context is None:
        context = _local.decompressor = zstandard.ZstdDecompressor()
    return context


def _raw_dictionary(content: Buffer) -> zstandard.ZstdCompressionDict:
    # raw content even if the bytes begin with the magic number of a trained dictionary
    return zstandard.ZstdCompressionDict(memoryview(content), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
