"""What the names of tensors say of where they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mvc.dtypes import DTYPES
from mvc.odb.database import ObjectDatabase
from mvc.predictors.floats import FLOATS
from mvc.predictors.linear import MAX_OPERANDS
from mvc.recipes.cast import CASTS, Cast
from mvc.recipes.known import KnownFile, KnownTensor
from mvc.recipes.linear import Combined
from mvc.recipes.moved import Moved
from mvc.recipes.quantise import SOURCES, Scales
from mvc.recipes.recipe import TensorRecipe
from mvc.recipes.rows import Grown
from mvc.spans import Span

_SCALES = ("_scale", ".scale", "_scales", ".scales", "_scale_inv")
"""How names of scales go on behind the name of the tensor that they belong to."""


def same_tensor(file: KnownFile, span: Span) -> KnownTensor | None:
    """The tensor of a file that has a span's name, dtype, shape and strides."""
    known = file.named(span.name)
    if known is None:
        return None
    other = known.span
    same = (other.dtype, other.shape, other.strides) == (span.dtype, span.shape, span.strides)
    return known if same else None


def combined(span: Span, files: Sequence[KnownFile]) -> Iterator[TensorRecipe]:
    """The combination of the tensors of that name in some files."""
    operands = [known for known in (same_tensor(file, span) for file in files) if known is not None]
    complete = 1 < len(operands) == len(files) <= MAX_OPERANDS
    if complete and span.strides is None and span.dtype in FLOATS:
        yield Combined(operands, span.dtype)


def by_name(
    span: Span,
    relatives: Sequence[KnownFile],
    read: Callable[[int, int], bytes],
    database: ObjectDatabase,
) -> Iterator[TensorRecipe]:
    """What the same name stands for in relatives."""
    for file in relatives:
        known = same_tensor(file, span)
        if known is not None:
            yield Moved(known)
            return
    for file in relatives:
        known = file.named(span.name)
        if known is None or known.span.strides is not None or span.strides is not None:
            continue
        if known.span.shape == span.shape and {known.span.dtype, span.dtype} <= CASTS:
            yield Cast(known, span.dtype)
            return
        if known.span.dtype == span.dtype and len(span.shape) > 1 and known.span.shape[1:] == span.shape[1:]:
            yield Grown(known, span, read, database)
            return
    for file in relatives:
        suffix = next((suffix for suffix in _SCALES if span.name.endswith(suffix)), None)
        source = None if suffix is None else file.named(span.name.removesuffix(suffix))
        if source is not None and _are_scales(source.span, span):
            yield Scales(source, span)  # of each, for casts of one tensor have other scales


def _are_scales(source: Span, span: Span) -> bool:
    """Whether a tensor may hold the scales of another's rows, or of parts of them."""
    if (
        source.dtype not in SOURCES
        or span.dtype not in SOURCES
        or source.strides
        or span.strides
        or not span.length
    ):
        return False
    scales = span.length // DTYPES[span.dtype].width
    elements = source.length // DTYPES[source.dtype].width
    return 1 < scales < elements and elements % scales == 0
