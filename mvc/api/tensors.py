"""The tensors of one file as a mapping from names to arrays, each decoded when it is asked for, alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvc.api.dtypes import is_big_endian, is_block_type, numpy_type_of
from mvc.api.missing import NotThere
from mvc.api.session import Session
from mvc.dtypes import DTYPES
from mvc.errors import CorruptObject, UnsupportedFeature, UsageError, UserError
from mvc.history.gather import Wanted, gather
from mvc.history.reader import PartTable
from mvc.objects import Manifest
from mvc.paths import shown
from mvc.spans import NotTileable, Span, check_span, element_count

Array = NDArray[Any]


class TensorInfo(NamedTuple):
    """What is known of a tensor without reading it.

    ``dtype`` is the file's name of the element type (``BF16``), ``shape`` in elements, ``length`` in bytes of
    the file; ``strides`` in elements, None where the tensor is contiguous in row-major order.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    length: int
    strides: tuple[int, ...] | None


class Tensors(Mapping[str, Array]):
    """Name → array. ``tensors["x"]`` reads the pieces of that tensor alone, and what they are built on.

    Arrays belong to the caller: of this machine's byte order, writable and row-major (but for a strided
    tensor that repeats elements, which comes as a read-only view). Where two tensors of a file share a name,
    the first counts.
    """

    def __init__(self, session: Session, path: str, manifest: Manifest) -> None:
        self._session = session
        self._path = path
        self._manifest = manifest
        self._parts = PartTable(manifest)
        self._spans: dict[str, Span] = {}
        for span in manifest.tensors:
            self._spans.setdefault(span.name, span)

    # --- a mapping ----------------------------------------------------------------------------------------
    def __getitem__(self, name: str) -> Array:
        return self.get_array(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __contains__(self, name: object) -> bool:
        return name in self._spans

    def __repr__(self) -> str:
        return f"<{len(self)} tensors of {shown(self._path)}>"

    # --- one tensor ---------------------------------------------------------------------------------------
    def info(self, name: str) -> TensorInfo:
        """Element type, shape and size of a tensor; reads nothing.

        Raises:
            KeyError: there is none of that name.
        """
        span = self._span(name)
        return TensorInfo(span.name, span.dtype, span.shape, span.length, span.strides)

    def get_array(self, name: str, *, as_bits: bool = False) -> Array:
        """One tensor. With ``as_bits`` a type that numpy lacks (bf16, fp8) comes as unsigned integers, and a
        quantised one as its blocks: bytes, those of a row in the last extent.

        Raises:
            KeyError: there is none of that name.
            UnsupportedFeature: numpy has no such element type, or ml_dtypes is needed and not installed; with
                ``as_bits`` neither is raised.
            DamageError: stored bytes are missing or wrong.
        """
        return self.load([name], as_bits=as_bits, threads=None)[name]

    def raw(self, name: str) -> NDArray[np.uint8]:
        """The bytes of a tensor as they stand in the file; of quantised types their blocks, end to end.

        Raises:
            KeyError: there is none of that name.
        """
        span = self._span(name)
        target = _empty(span.length, name)
        self._fill([(span, target)], None)
        return target

    # --- many ---------------------------------------------------------------------------------------------
    def load(
        self,
        names: Iterable[str] | None = None,
        out: Mapping[str, Array] | Array | None = None,
        *,
        threads: int | None = None,
        as_bits: bool = False,
    ) -> dict[str, Array]:
        """Tensors by name, decoded by several threads; all of them, or those in ``names``.

        ``out`` provides the memory: a mapping from each name to an array of the tensor's dtype and shape
        (an unsigned integer of its width will do, but not for blocks), C-contiguous and writable; or one such
        array, if one name is given. Values are decoded straight into it. Names that it lacks come as new
        arrays. After an error the arrays hold anything.

        Raises:
            KeyError: there is no tensor of a name.
            UsageError: an array of ``out`` does not fit.
            UnsupportedFeature, DamageError: as :meth:`get_array`.
        """
        wanted = list(self._spans) if names is None else list(dict.fromkeys(names))
        given = _given(wanted, out)
        plans = {name: _Plan(self._checked(name), given.get(name), as_bits) for name in wanted}
        _check_apart({name: given[name] for name in wanted if name in given})
        self._fill([(plan.span, plan.target) for plan in plans.values()], threads)
        return {name: plan.finish() for name, plan in plans.items()}

    def _fill(self, jobs: list[tuple[Span, NDArray[np.uint8]]], threads: int | None) -> None:
        with self._session.reading() as view:
            wanted = [Wanted(self._parts, span.offset, target.data) for span, target in jobs]
            gather(view.objects, wanted, threads=threads, keep=self._session.keep)

    def _span(self, name: str) -> Span:
        span = self._spans.get(name)
        if span is None:
            raise NotThere.of(f"{shown(self._path)} has no tensor", name, self._spans)
        return span

    def _checked(self, name: str) -> Span:
        """A tensor's place, sound and of a known type."""
        span = self._span(name)
        if span.dtype not in DTYPES:
            raise UnsupportedFeature(
                f"tensor {shown(name)} has the unknown type {shown(span.dtype)}", hint="upgrade mvc"
            )
        try:
            check_span(self._manifest.size, span)
        except NotTileable as error:
            raise CorruptObject(f"manifest of {shown(self._path)}: {error}") from None
        return span


def _given(names: list[str], out: Mapping[str, Array] | Array | None) -> Mapping[str, Array]:
    if out is None:
        return {}
    if isinstance(out, Mapping):
        return out
    if len(names) != 1:
        raise UsageError(f"one array for {len(names)} tensors", hint="out={name: array, …}")
    return {names[0]: out}


class _Plan:
    """How one tensor becomes an array: ``target`` takes the bytes as they stand in the file."""

    def __init__(self, span: Span, out: Array | None, as_bits: bool) -> None:
        if out is not None:
            _check_out(span, out)
            out = np.asarray(out)  # of a subclass, the array itself
        self.span = span
        self._out = out
        self._dtype = numpy_type_of(span.dtype, bits=as_bits) if out is None else out.dtype
        # straight into place, unless elements must be put in order first
        self._direct = out is not None and span.strides is None
        if self._direct and out is not None:
            self.target = out.reshape(-1).view(np.uint8)
        else:
            self.target = _empty(span.length, span.name)

    def finish(self) -> Array:
        """The array, once the bytes are there."""
        span = self.span
        if is_big_endian(span.dtype):
            _turn(self.target, span.dtype)
        if self._direct and self._out is not None:
            return self._out
        if is_block_type(span.dtype):
            return self.target.reshape(_byte_shape(span))
        if span.strides is None:
            return self.target.view(self._dtype).reshape(span.shape)
        array = self._strided()
        if self._out is not None:
            np.copyto(self._out.view(_opaque(span)), array.view(_opaque(span)))
            return self._out
        if element_count(span.shape) * self._dtype.itemsize <= span.length:
            return np.ascontiguousarray(array).reshape(span.shape)
        array.flags.writeable = False  # elements are repeated, and their number may be anything
        return array

    def _strided(self) -> Array:
        span, width = self.span, self._dtype.itemsize
        # along an extent of 1 a stride means nothing, and may be more than numpy takes
        axes = zip(span.shape, span.strides or (), strict=True)
        strides = [stride * width if extent > 1 else 0 for extent, stride in axes]
        try:
            # checks the strides against the buffer; as_strided would read past its end
            return np.ndarray(span.shape, self._dtype, self.target.data, strides=strides)
        except ValueError as error:
            raise CorruptObject(f"tensor {shown(span.name)} has an impossible shape: {error}") from error


def _opaque(span: Span) -> str:
    """Elements as plain integers, so that copying them cannot change a bit."""
    width = DTYPES[span.dtype].width
    return f"u{width}" if width <= 8 else f"V{width}"


def _byte_shape(span: Span) -> tuple[int, ...]:
    """The shape of a tensor of blocks as bytes: each row's bytes in the last extent, where rows are whole."""
    rows = element_count(span.shape[:-1])
    whole = rows > 0 and span.length % rows == 0
    return (*span.shape[:-1], span.length // rows) if whole else (span.length,)


def _turn(target: NDArray[np.uint8], dtype: str) -> None:
    """Turn the bytes of each element round, in place; those of a complex number's halves."""
    width = DTYPES[dtype].width // (2 if dtype.startswith("C") else 1)
    target.view(f"u{width}").byteswap(inplace=True)


def _check_out(span: Span, out: Array) -> None:
    if not isinstance(out, np.ndarray):
        raise UsageError(f"out for {shown(span.name)} is a {type(out).__name__}, not a numpy array")
    width = DTYPES[span.dtype].width
    fits = width <= 8 and not is_block_type(span.dtype) and out.dtype == np.dtype(f"u{width}")
    if not fits and out.dtype != numpy_type_of(span.dtype):
        raise UsageError(f"out for {shown(span.name)} has dtype {out.dtype}, the tensor {span.dtype}")
    if out.shape != span.shape:
        raise UsageError(f"out for {shown(span.name)} has shape {out.shape}, the tensor {span.shape}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        why = "writable" if out.flags.c_contiguous else "contiguous"
        raise UsageError(f"out for {shown(span.name)} is not {why}", hint="numpy.empty(shape, dtype) is")


def _check_apart(given: Mapping[str, Array]) -> None:
    """Refuse arrays that share memory: each would hold a mixture."""
    end, last = 0, ""
    for name, out in sorted(given.items(), key=lambda item: item[1].__array_interface__["data"][0]):
        start = out.__array_interface__["data"][0]
        if out.nbytes and start < end:
            raise UsageError(
                f"out for {shown(name)} shares memory with that for {shown(last)}",
                hint="give each tensor an array of its own",
            )
        if start + out.nbytes > end:
            end, last = start + out.nbytes, name


def _empty(length: int, name: str) -> NDArray[np.uint8]:
    try:
        return np.empty(length, np.uint8)
    except MemoryError:
        raise UserError(f"tensor {shown(name)} of {length:,} bytes does not fit into memory") from None
