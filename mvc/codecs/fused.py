"""A transform with ``planes`` behind it, coded and decoded in one pass of the native kernel.

``rot`` or ``ig`` and then ``planes`` is how most tensors are stored. One after the other, each writes all
bytes for the next one to read again; together they read the plain bytes once. What is stored is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mvc.codecs import Codec, ig, native, planes, rot
from mvc.codecs.native import RESIDUAL, ROTATE, Bytes, Step
from mvc.codecs.planes import Layout, Planes
from mvc.elements import U8, octets, scratch, view
from mvc.errors import CorruptObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

Applied = tuple[Codec, Mapping[str, Any]]
"""A codec with the parameters of one step."""


def encode(first: Applied, second: Applied, data: Buffer, prediction: Buffer | None) -> bytes | None:
    """What ``first`` and then ``second`` store; None if the kernel cannot do both at once.

    What stands between the two is as long as ``data``.

    Raises:
        CorruptObject: as the codecs do.
    """
    codec, params = second
    if native.KERNEL is None or not isinstance(codec, Planes):
        return None
    cut = planes.layout(params)
    step = _step(first, cut)
    if step is None:
        return None
    target, tail = view(data, cut.width)
    base = octets(ig.base_of(prediction, cut.width, target, tail)) if step.kind == RESIDUAL else None
    apart = scratch("planes.all", target.nbytes, U8)
    room = scratch("fused.block", min(cut.block, target.nbytes), U8)
    native.KERNEL.split(step, cut.elements, octets(target), base, room, apart)
    return codec.encode_split(apart, cut, tail)


def decode(
    first: Applied, second: Applied, data: Buffer, prediction: Buffer | None, length: int
) -> bytes | None:
    """The ``length`` bytes of which :func:`encode` made ``data``; None if the kernel cannot do both at once.

    Raises:
        CorruptObject: as the codecs do.
    """
    plain, out = native.new_bytes(length)
    return plain if decode_into(first, second, data, prediction, out) else None


def decode_into(first: Applied, second: Applied, data: Buffer, prediction: Buffer | None, out: Bytes) -> bool:
    """The same, into ``out``; False, and nothing written, if the kernel cannot do both at once."""
    length = out.size
    codec, params = second
    if native.KERNEL is None or not isinstance(codec, Planes):
        return False
    cut = planes.layout(params)
    step = _step(first, cut)
    if step is None:
        return False
    base = None
    if step.kind == RESIDUAL:
        if prediction is None or memoryview(prediction).nbytes != length:
            raise CorruptObject(f"ig: no prediction of {length} bytes")
        base = octets(view(prediction, 1)[0])
    room = scratch("fused.block", min(cut.block, length), U8) if step.bits else planes.NOTHING
    for place, apart in planes.decode_blocks(data, cut, out):
        native.KERNEL.join(step, apart, None if base is None else base[place], room, out[place])
    return True


def _step(applied: Applied, cut: Layout) -> Step | None:
    """The transform as the kernel does it in front of planes of this layout; None if it cannot."""
    codec, params = applied
    if isinstance(codec, rot.Rot):
        width = rot.width_of(params)
        return Step(ROTATE, width) if width == cut.width else None
    if isinstance(codec, ig.Ig):
        layout = ig.layout(params)
        if layout.width == cut.width and (layout.bits == 0 or layout.block == cut.block):
            return Step(RESIDUAL, layout.width, layout.shift, layout.bits)
    return None
