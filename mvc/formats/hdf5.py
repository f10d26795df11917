"""HDF5 files, and Keras archives, whose weights are one.

Specification: HDF5 File Format Specification 3.0 (https://support.hdfgroup.org/documentation/), and Keras'
``saving_lib`` for ``.keras``: a zip of ``metadata.json``, ``config.json`` and ``model.weights.h5``. The HDF5
library reads the metadata in a process of its own (:mod:`mvc.formats.wire.apart`); without the extra
``hdf5``, or where that process fails in any way, a file is refused, and so stored as opaque bytes.

A tensor is called by its path in the HDF5 file. Datasets that lie in one piece are named: contiguous ones,
and chunked ones without filters whose chunks happen to lie end to end. Everything else is glue: deflated or
scattered chunks, compact and external and virtual datasets, texts and records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from mvc.formats.base import NotThisFormat, Sibling, Value, View
from mvc.formats.wire import jsontext
from mvc.formats.wire.apart import DEFAULT_LIMITS, Limits, ask, command_of
from mvc.formats.wire.zipdir import MAGIC as ZIP_MAGIC
from mvc.formats.wire.zipdir import Part, part_of, read_directory, read_member
from mvc.spans import Layout, Span

REFUSALS = {
    "missing": "h5py is not installed: pip install h5py",
    "unusable": "h5py is installed and cannot be imported",
    "objects": "more than 100000 links",
    "depth": "groups nested deeper than 64",
    "path": "a path of more than 4096 bytes",
    "memory": "its metadata takes too much memory",
    "damaged": "the HDF5 library cannot read it",
}
"""Why the reader refuses a file, in words of ours: what it says itself may come from the file."""

MAX_ANSWER_ITEMS = 1_500_000
"""Bounds what parsing an answer may allocate: a tensor takes about nine."""

MAX_JSON_BYTES = 4 << 20
"""Of a Keras configuration."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_USER_BLOCK = 512  # the signature stands at the file's start, or here or at a doubling of this
_NAMES = (".h5", ".hdf5")
_JSON_ATTRIBUTES = ("model_config", "training_config")
_KERAS_WEIGHTS = "model.weights.h5"
_KERAS_JSON = ("metadata.json", "config.json")
_NAME_IN_ZIP = 30  # where a zip archive has the name of its first member


@dataclass(frozen=True, slots=True)
class Reader:
    """The process that reads, and what it may cost."""

    script: Path = Path(__file__).parent / "wire" / "hdf5_reader.py"
    limits: Limits = DEFAULT_LIMITS

    def rows(self, view: View, mode: str) -> list[Any]:
        """Rows of the answer in one mode (see the script), of any shape.

        Raises:
            NotThisFormat: the reader refuses the file, fails, or answers something else.
        """
        data = ask(view, command_of(self.script, str(view.size), mode), self.limits)
        answer = jsontext.parse(data, MAX_ANSWER_ITEMS)
        if not isinstance(answer, dict):
            _refuse_answer()
        refusal, rows = answer.get("refused"), answer.get(mode)
        if isinstance(refusal, str) and refusal in REFUSALS:
            raise NotThisFormat(REFUSALS[refusal])
        if not isinstance(rows, list):
            _refuse_answer()
        return rows


@dataclass(frozen=True, slots=True)
class Hdf5:
    """Scanner of ``.h5`` and ``.hdf5`` files."""

    name: str = "hdf5"
    reader: Reader = Reader()

    def claims(self, name: str, head: bytes) -> bool:
        """By the signature, or by the file name (a user block hides the signature)."""
        return head.startswith(_SIGNATURE) or name.lower().endswith(_NAMES)

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """One span for each path of a dataset that lies in one piece."""
        return {view.name: Layout(self.name, _spans(self.reader, _body(view)))}

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """Attributes of groups; Keras' configurations among them are taken apart."""
        rows = self.reader.rows(_body(view), "values")
        return jsontext.bounded(pair for row in rows for pair in _attribute(row))


@dataclass(frozen=True, slots=True)
class Keras:
    """Scanner of ``.keras`` archives."""

    name: str = "keras"
    reader: Reader = Reader()

    def claims(self, name: str, head: bytes) -> bool:
        """By the file name, or by the first member of an archive."""
        first = head[_NAME_IN_ZIP:]
        return name.lower().endswith(".keras") or (
            head.startswith(ZIP_MAGIC) and first.startswith(tuple(name.encode() for name in _KERAS_JSON))
        )

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """The spans of the HDF5 file in the archive, if it is stored as it is."""
        for member in read_directory(view):
            if member.name == _KERAS_WEIGHTS:
                weights = part_of(view, member)
                spans = _spans(self.reader, _body(weights))
                return {view.name: Layout(self.name, _moved(spans, weights.offset))}
        raise NotThisFormat(f"a zip archive without {_KERAS_WEIGHTS}")

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """The scalars of ``metadata.json`` and ``config.json``, below ``metadata`` and ``config``."""
        found = {member.name: member for member in read_directory(view)}
        documents = {
            name: jsontext.parse(read_member(view, found[name], MAX_JSON_BYTES))
            for name in _KERAS_JSON
            if name in found
        }
        return jsontext.bounded(
            pair
            for name, document in documents.items()
            for pair in jsontext.flatten(name.removesuffix(".json"), document)
        )


def _body(view: View) -> Part:
    """The file from its signature on, which follows a block of the user's own."""
    offset = 0
    while offset + len(_SIGNATURE) <= view.size:
        if view.read(offset, len(_SIGNATURE)) == _SIGNATURE:
            return Part(view, offset, view.size - offset, view.name)
        offset = 2 * offset or _USER_BLOCK
    raise NotThisFormat("the signature is missing")


def _spans(reader: Reader, body: Part) -> tuple[Span, ...]:
    spans = tuple(_span(row) for row in reader.rows(body, "tensors"))
    return _moved(spans, body.offset)


def _moved(spans: tuple[Span, ...], offset: int) -> tuple[Span, ...]:
    """The spans of a part of a file, as spans of the file."""
    return tuple(replace(span, offset=span.offset + offset) for span in spans) if offset else spans


def _span(row: Any) -> Span:
    """One row of an answer; whether its numbers make sense is checked where spans are tiled."""
    if not isinstance(row, list) or len(row) != 6:
        _refuse_answer()
    name, dtype, offset, length, shape, strides = row
    if not isinstance(name, str) or not isinstance(dtype, str):
        _refuse_answer()
    if not _are_integers([offset, length]) or not _are_integers(shape):
        _refuse_answer()
    if strides is not None and not _are_integers(strides):
        _refuse_answer()
    return Span(offset, length, name, dtype, tuple(shape), None if strides is None else tuple(strides))


def _are_integers(value: Any) -> bool:
    # type() and not isinstance(): true and false are no integers.
    return isinstance(value, list) and all(type(item) is int for item in value)


def _attribute(row: Any) -> Iterator[tuple[str, Value]]:
    """The values in one row of an answer: path of the group, attribute, value, length of a list left out."""
    if not isinstance(row, list) or len(row) != 4:
        _refuse_answer()
    path, name, value, length = row
    if not isinstance(path, str) or not isinstance(name, str):
        _refuse_answer()
    full = f"{path.replace('/', '.')}.{name}" if path else name
    if type(length) is int:
        yield f"{full}.#", length
    elif name in _JSON_ATTRIBUTES and isinstance(value, str):
        yield from jsontext.flatten(full, _document(value))
    else:
        yield from jsontext.flatten(full, value)


def _document(text: str) -> Any:
    """Keras' JSON in an attribute, parsed; any other text as it is."""
    try:
        return jsontext.parse(text.encode(errors="surrogatepass"))
    except NotThisFormat:
        return text


def _refuse_answer() -> NoReturn:
    raise NotThisFormat("its reader talks nonsense")
