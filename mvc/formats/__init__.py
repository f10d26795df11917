"""File formats: which tensors lie where in a file.

A new format is one module here and its line in :data:`FORMATS`. Formats only describe; parts written end to
end give a file back, so a format that is wrong costs compression and never a byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mvc.formats.base import HEAD_BYTES, Format, NotThisFormat, Sibling, Value, View
from mvc.formats.npy import Npy
from mvc.formats.npz import Npz
from mvc.formats.pickle_file import PickleFile
from mvc.formats.safetensors import Safetensors
from mvc.formats.torch_legacy import TorchLegacy
from mvc.formats.torch_tar import TorchTar
from mvc.formats.torch_zip import Torch
from mvc.formats.zipped import Zip
from mvc.spans import Layout, NotTileable, Span, tile

__all__ = [
    "FORMATS",
    "OPAQUE",
    "Description",
    "Format",
    "NotThisFormat",
    "Sibling",
    "Value",
    "View",
    "describe",
    "read_values",
]

_SINGLE: tuple[Format, ...] = (
    Safetensors(),
    PickleFile(),  # before npy, for what numpy pickles
    Npy(),
    Npz(),
    TorchLegacy(),
    TorchTar(),
    Torch(),  # behind its ancestors, because it claims their names too
)

FORMATS: tuple[Format, ...] = (*_SINGLE, Zip(_SINGLE))
"""Every known format, asked in this order: what a file's head proves before what its name suggests, and
archives of files last."""

OPAQUE = "opaque"
"""The format of a file that no scanner understands."""

MAX_TABLE_BYTES = 8 << 20
"""Estimated encoded size of a tensor table: it stands in the manifest, whose record holds at most 48 MiB."""


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of a file.

    ``reason`` says in one line why an opaque file was refused; None if no format claimed it.
    """

    layout: Layout
    reason: str | None = None


def describe(view: View, sibling: Sibling) -> Description:
    """Describe a file by the first format that claims it, scans it and names spans that tile it.

    Spans come ordered by offset, then name. Never raises because of what the file holds: a file that is
    claimed and refused is opaque, with the reason of the first refusal.
    """
    reason: str | None = None
    try:
        head = view.read(0, min(HEAD_BYTES, view.size))
    except NotThisFormat as refusal:
        return Description(Layout(OPAQUE), refusal.reason)
    for candidate in FORMATS:
        if not candidate.claims(view.name, head):
            continue
        try:
            layout = candidate.scan(view, sibling)[view.name]
            tile(view.size, layout.spans)
            _check_table(layout)
        except NotThisFormat as refusal:
            reason = reason or f"{candidate.name}: {refusal.reason}"
        except NotTileable as refusal:
            reason = reason or f"{candidate.name}: {refusal}"
        else:
            ordered = sorted(layout.spans, key=lambda span: (span.offset, span.name))
            return Description(replace(layout, spans=tuple(ordered)))
    return Description(Layout(OPAQUE), reason)


def read_values(name: str, view: View, sibling: Sibling) -> Mapping[str, Value]:
    """What a file of the format ``name`` says beside its tensors; nothing for an opaque or unknown one, or
    where the bytes are not of that format after all."""
    for candidate in FORMATS:
        if candidate.name == name:
            try:
                return candidate.values(view, sibling)
            except NotThisFormat:
                return {}
    return {}


def _check_table(layout: Layout) -> None:
    if sum(map(_row_bytes, layout.spans)) > MAX_TABLE_BYTES:
        raise NotThisFormat(f"the tensor table would take more than {MAX_TABLE_BYTES >> 20} MiB")


def _row_bytes(span: Span) -> int:
    # At most: 9 bytes per integer, a few for the heads of arrays and strings.
    numbers = 2 + len(span.shape) + len(span.strides or ())
    return len(span.name.encode()) + len(span.dtype) + 9 * numbers + 16
