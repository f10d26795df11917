"""What a scanner says of bytes, checked for what holds of any file."""

from __future__ import annotations

from make_files import BytesView, no_sibling

from mvc.formats import Description, Sibling, describe
from mvc.spans import tile


def described(name: str, data: bytes, sibling: Sibling = no_sibling) -> Description:
    """Describe a file: its spans tile it, they are in order, and a reason is one short line."""
    description = describe(BytesView(name, data), sibling)
    layout = description.layout
    assert sum(region.length for region in tile(len(data), layout.spans)) == len(data)
    assert list(layout.spans) == sorted(layout.spans, key=lambda span: (span.offset, span.name))
    if layout.format == "opaque":
        assert layout.spans == ()
    else:
        assert description.reason is None
    if description.reason is not None:
        assert description.reason.isprintable() and len(description.reason) < 300
    return description


def tensors_in(name: str, data: bytes, format_name: str) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """The contiguous tensors of a file that is understood as ``format_name``: dtype, shape, bytes."""
    description = described(name, data)
    assert description.layout.format == format_name, description.reason
    assert all(span.strides is None for span in description.layout.spans)
    found = {
        s.name: (s.dtype, s.shape, data[s.offset : s.offset + s.length]) for s in description.layout.spans
    }
    assert len(found) == len(description.layout.spans)
    return found
