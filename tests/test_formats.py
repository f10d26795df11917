"""Formats name sound spans for sound files, and refuse everything else with a reason."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_files import (
    BytesView,
    finetuned,
    from_bf16,
    no_sibling,
    npy_bytes,
    random_weights,
    safetensors_bytes,
    to_bf16,
)
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save as reference_save

from mvc import formats
from mvc.dtypes import DTYPES
from mvc.formats import FORMATS, Description, describe
from mvc.formats import safetensors as safetensors_module
from mvc.formats.wire import npyheader
from mvc.spans import Layout, Span, tile


def describe_bytes(name: str, data: bytes) -> Description:
    """Describe, and check what holds for any file: the spans tile it, and a reason is one short line."""
    description = describe(BytesView(name, data), no_sibling)
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


# --- safetensors -------------------------------------------------------------------------------------------

TENSORS = {
    "b.weight": ("BF16", (2, 3), bytes(range(12))),
    "a.weight": ("F32", (2,), bytes(range(8))),
    "empty": ("F32", (0, 7), b""),
    "scalar": ("I64", (), bytes(8)),
    "../../x": ("F8_E4M3FNUZ", (5,), b"12345"),
    "": ("BOOL", (1,), b"\x01"),
    "Gewicht-größe-重み": ("C64", (1,), bytes(8)),
}


def test_safetensors_spans_lie_where_the_bytes_are() -> None:
    data = safetensors_bytes(TENSORS, {"format": "pt", "note": "größer"})
    layout = describe_bytes("model.safetensors", data).layout
    assert layout.format == "safetensors"
    found = {s.name: (s.dtype, s.shape, data[s.offset : s.offset + s.length]) for s in layout.spans}
    assert found == TENSORS
    assert all(span.strides is None for span in layout.spans)


def test_safetensors_is_known_by_its_head_under_any_name() -> None:
    data = safetensors_bytes(TENSORS)
    assert describe_bytes("3f786850e387550f", data).layout == describe_bytes("m.safetensors", data).layout
    assert describe_bytes("3f786850e387550f", data).layout.format == "safetensors"


def test_safetensors_reads_what_the_reference_library_writes() -> None:
    arrays = {
        name: np.arange(6, dtype=name).reshape(2, 3) for name in ("float16", "float32", "int8", "uint64")
    }
    data = reference_save(arrays, {"format": "np"})
    layout = describe_bytes("model.safetensors", data).layout
    found = {s.name: data[s.offset : s.offset + s.length] for s in layout.spans}
    assert found == {name: array.tobytes() for name, array in arrays.items()}


def test_a_safetensors_file_without_tensors_is_understood() -> None:
    assert describe_bytes("m.safetensors", safetensors_bytes({})).layout == Layout("safetensors")


def raw_safetensors(header: str | bytes, data: bytes = b"") -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(text)) + text + data


def entry(
    dtype: object = "U8", shape: object = (2,), offsets: object = (0, 2), **more: object
) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


def one(*args: object, **more: object) -> bytes:
    """A file of two data bytes, with one tensor described as told."""
    return raw_safetensors(json.dumps({"a": entry(*args, **more)}), b"ab")


@dataclass(frozen=True)
class Bad:
    data: bytes = field(repr=False)
    reason: str
    reference_accepts: bool = False


TWICE = f'{{"a":{json.dumps(entry())},"a":{json.dumps(entry())}}}'
BAD_SAFETENSORS = {
    "empty file": Bad(b"", "truncated"),
    "seven bytes": Bad(b"\x02\0\0\0\0\0\0", "truncated"),
    "header leaves the file": Bad(struct.pack("<Q", 100) + b"{}", "truncated: the header"),
    "header length absurd": Bad(
        struct.pack("<Q", 2**64 - 1) + b"{}", "18446744073709551615 bytes, more than"
    ),
    "data cut short": Bad(safetensors_bytes(TENSORS)[:-1], "truncated: the tensors need 1 bytes more"),
    "bytes behind": Bad(safetensors_bytes(TENSORS) + b"x", "1 bytes behind the last tensor"),
    "bytes without tensors": Bad(raw_safetensors("{}", b"xyz"), "3 bytes behind"),
    "no JSON": Bad(raw_safetensors('{"a":'), "not JSON"),
    "single quotes": Bad(raw_safetensors("{'a':1}"), "not JSON"),
    "JSON twice": Bad(raw_safetensors("{}{}"), "not JSON"),
    "padded with zeros": Bad(raw_safetensors("{}\0\0"), "not JSON"),
    "raw control character": Bad(raw_safetensors('{"a\n":{}}'), "not JSON"),
    "an array": Bad(raw_safetensors("[]"), "brace"),
    "leading space": Bad(raw_safetensors(" {}"), "brace", reference_accepts=True),
    "byte order mark": Bad(raw_safetensors("\ufeff{}"), "brace"),
    "not UTF-8": Bad(raw_safetensors(b'{"__metadata__":{"a":"\xff"}}'), "not UTF-8"),
    "nested deeply": Bad(raw_safetensors('{"a":' + "[" * 200_000 + "]" * 200_000 + "}"), "nested too deeply"),
    "nested objects": Bad(raw_safetensors('{"a":' * 200_000 + "1" + "}" * 200_000), "nested too deeply"),
    "tensor twice": Bad(raw_safetensors(TWICE, b"ab"), "key 'a' occurs twice", reference_accepts=True),
    "field twice": Bad(raw_safetensors('{"a":{"dtype":"U8","dtype":"I8"}}'), "key 'dtype' occurs twice"),
    "metadata twice": Bad(
        raw_safetensors('{"__metadata__":{"k":"1","k":"2"}}'), "key 'k' occurs twice", reference_accepts=True
    ),
    "metadata a number": Bad(raw_safetensors('{"__metadata__":{"k":1}}'), "not a map of text to text"),
    "metadata a list": Bad(raw_safetensors('{"__metadata__":["k"]}'), "not a map of text to text"),
    "metadata a lone surrogate": Bad(
        raw_safetensors('{"__metadata__":{"k":"\\ud800"}}'), "not valid Unicode"
    ),
    "name a lone surrogate": Bad(
        raw_safetensors(json.dumps({"\ud800": entry()}), b"ab"), "'\\ud800' is not valid Unicode"
    ),
    "tensor a number": Bad(raw_safetensors('{"a":1}'), "is not described by"),
    "tensor null": Bad(raw_safetensors('{"a":null}'), "is not described by"),
    "field missing": Bad(raw_safetensors('{"a":{"dtype":"U8","shape":[2]}}', b"ab"), "is not described by"),
    "field unknown": Bad(one(strides=[1]), "is not described by", reference_accepts=True),
    "dtype unknown": Bad(one("Q9"), "unknown dtype 'Q9'"),
    "dtype of npy": Bad(one("I16:be", [1]), "unknown dtype 'I16:be'"),
    "dtype a list": Bad(one(["U8"]), "not text"),
    "dtype an object": Bad(one({"U8": {}}), "not text"),
    "less than a byte": Bad(one("F4", [4]), "less than a byte, F4", reference_accepts=True),
    "shape a number": Bad(one("U8", 2), "list of counts"),
    "shape true": Bad(one("U8", [True, 2]), "list of counts"),
    "shape text": Bad(one("U8", ["2"]), "list of counts"),
    "shape negative": Bad(one("U8", [-1, -2]), "the number '-1'"),
    "shape a float": Bad(one("U8", [2.0]), "the number '2.0'"),
    "shape not a number": Bad(one("U8", [float("nan")]), "the number 'NaN'"),
    "shape infinite": Bad(one("U8", [float("inf")]), "the number 'Infinity'"),
    "shape of a million digits": Bad(raw_safetensors('{"a":' + "9" * 1_000_000 + "}"), "the number '999"),
    "shape overflows to zero": Bad(one("U8", [2**32, 2**32]), "impossible shape"),
    "shape overflows to the length": Bad(one("U8", [2**63 + 1, 2]), "impossible shape"),
    "shape empty but impossible": Bad(one("U8", [2**62, 2**62, 0], [0, 0]), "behind the last tensor"),
    "too many dimensions": Bad(one("U8", [1] * 64 + [2]), "65 dimensions", reference_accepts=True),
    "length not that of the shape": Bad(one("U8", [3]), "contradicts"),
    "length of another dtype": Bad(one("U16", [2]), "contradicts"),
    "offsets three": Bad(one("U8", [2], [0, 1, 2]), "no [begin, end]"),
    "offsets reversed": Bad(one("U8", [2], [2, 0]), "no [begin, end]"),
    "offsets null": Bad(one("U8", [2], None), "no [begin, end]"),
    "offsets minus zero": Bad(
        raw_safetensors('{"a":{"dtype":"U8","shape":[2],"data_offsets":[-0,2]}}', b"ab"), "'-0'"
    ),
    "offsets behind the file": Bad(one("U8", [2], [2**62, 2**62 + 2]), "a hole of"),
    "hole at the start": Bad(
        raw_safetensors(json.dumps({"a": entry(offsets=(1, 3))}), b"xab"), "a hole of 1 bytes"
    ),
    "hole between": Bad(
        raw_safetensors(json.dumps({"a": entry(), "b": entry(offsets=(3, 5))}), b"abxab"),
        "a hole of 1 bytes before tensor 'b'",
    ),
    "overlap": Bad(
        raw_safetensors(json.dumps({"a": entry(), "b": entry(offsets=(1, 3))}), b"abc"), "overlaps"
    ),
    "alias": Bad(raw_safetensors(json.dumps({"a": entry(), "b": entry()}), b"ab"), "overlaps"),
    "empty tensor inside another": Bad(
        raw_safetensors(json.dumps({"a": entry(), "e": entry(shape=[0], offsets=(1, 1))}), b"ab"), "overlaps"
    ),
    "hostile name": Bad(raw_safetensors(json.dumps({"\n\u001b[2J" + "x" * 5000: 1})), "is not described by"),
}


@pytest.mark.parametrize("what", BAD_SAFETENSORS)
def test_malformed_safetensors_is_opaque_with_a_reason(what: str) -> None:
    bad = BAD_SAFETENSORS[what]
    description = describe_bytes("model.safetensors", bad.data)
    assert description.layout == Layout("opaque")
    assert description.reason is not None and description.reason.startswith("safetensors: ")
    assert bad.reason in description.reason


@pytest.mark.parametrize("what", BAD_SAFETENSORS)
def test_the_table_says_where_we_are_stricter_than_the_reference_library(what: str) -> None:
    bad = BAD_SAFETENSORS[what]
    if bad.reference_accepts:
        deserialize(bad.data)
    else:
        with pytest.raises(SafetensorError):
            deserialize(bad.data)


# --- npy ---------------------------------------------------------------------------------------------------

NPY_DTYPES = {
    "|b1": "BOOL",
    "|i1": "I8",
    "|u1": "U8",
    "<i2": "I16",
    "<u2": "U16",
    ">i4": "I32:be",
    "<u4": "U32",
    "<i8": "I64",
    ">u8": "U64:be",
    "<f2": "F16",
    "<f4": "F32",
    ">f4": "F32:be",
    "<f8": "F64",
    "<c8": "C64",
    ">c16": "C128:be",
}


@pytest.mark.parametrize("descr", NPY_DTYPES)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_dtypes(descr: str, version: tuple[int, int]) -> None:
    array = np.arange(6).reshape(2, 3).astype(descr)
    data = npy_bytes(array, version)
    layout = describe_bytes("w.npy", data).layout
    (span,) = layout.spans
    assert layout.format == "npy"
    assert (span.name, span.dtype, span.shape, span.strides) == ("array", NPY_DTYPES[descr], (2, 3), None)
    assert data[span.offset : span.offset + span.length] == array.tobytes()


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3, 4), (0, 3), (1, 1), (4, 1), (64,) + (1,) * 31])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_layouts_lead_numpy_to_the_same_array(shape: tuple[int, ...], order: str) -> None:
    array = np.asarray(np.random.default_rng(1).standard_normal(shape), dtype="<f4", order=order)  # type: ignore[call-overload]
    data = npy_bytes(array)
    (span,) = describe_bytes("w.npy", data).layout.spans
    raw = np.frombuffer(data, "<f4", count=span.length // 4, offset=span.offset)
    if span.strides is None:
        again = raw.reshape(span.shape)
    else:
        again = np.lib.stride_tricks.as_strided(raw, span.shape, [4 * stride for stride in span.strides])
    assert np.array_equal(again, array)
    assert (span.strides is not None) == (array.flags.fnc and array.size > 0)


def test_renaming_an_npy_file_changes_no_tensor() -> None:
    data = npy_bytes(np.zeros((2, 2), np.float32))
    assert describe_bytes("a.npy", data) == describe_bytes("b", data)


def raw_npy(header: str | bytes, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    text = header.encode("latin-1") if isinstance(header, str) else header
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + data


def npy_header(descr: str = "'<f4'", fortran: str = "False", shape: str = "(1,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


@pytest.mark.parametrize(
    "header",
    [
        npy_header(),
        npy_header().strip(),
        "{'shape':(1,),'fortran_order':False,'descr':'<f4'}",
        '{"descr": "<f4", "fortran_order": False, "shape": (1,)}',
        npy_header(shape="(1L,)"),
        npy_header(shape="( 1 , 1 )"),
        npy_header(shape="()"),
    ],
)
def test_npy_headers_of_other_writers_are_understood(header: str) -> None:
    data = raw_npy(header, b"abcd")
    (span,) = describe_bytes("w.npy", data).layout.spans
    assert (span.dtype, span.length, data[span.offset :]) == ("F32", 4, b"abcd")


def objects() -> bytes:
    return npy_bytes(np.array([None, {}], dtype=object))


BAD_NPY = {
    "empty file": (b"", "truncated"),
    "another file": (b"PK\x03\x04 and so on", "magic"),
    "no version": (b"\x93NUMPY", "truncated"),
    "version 4.0": (b"\x93NUMPY\x04\x00" + bytes(100), "unknown version 4.0"),
    "no header length": (b"\x93NUMPY\x02\x00\x10\x00", "truncated"),
    "header leaves the file": (b"\x93NUMPY\x01\x00\xff\xff{", "truncated: the header"),
    "header of four gigabytes": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "4294967295 bytes, more than"),
    "no dictionary": (raw_npy("'<f4'"), "not a dictionary"),
    "no header": (raw_npy(""), "not a dictionary"),
    "a call": (raw_npy(npy_header("__import__('os')")), "malformed"),
    "a comma missing": (raw_npy("{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}"), "malformed"),
    "key twice": (raw_npy("{'shape': (1,), 'shape': (1,)}"), "key 'shape' occurs twice"),
    "key missing": (raw_npy("{'descr': '<f4', 'shape': (1,)}", bytes(4)), "has not the keys"),
    "key more": (raw_npy(npy_header()[:-2] + "'more': 'x'}", bytes(4)), "has not the keys"),
    "descr true": (raw_npy(npy_header(descr="True"), bytes(4)), "malformed"),
    "descr escaped": (raw_npy(npy_header(descr=r"'\x3cf4'"), bytes(4)), "malformed"),
    "fortran a number": (raw_npy(npy_header(fortran="1"), bytes(4)), "malformed"),
    "fortran text": (raw_npy(npy_header(fortran="'True'"), bytes(4)), "malformed"),
    "shape a list": (raw_npy(npy_header(shape="[1]"), bytes(4)), "structured"),
    "shape a number": (raw_npy(npy_header(shape="(1)"), bytes(4)), "no tuple"),
    "shape negative": (raw_npy(npy_header(shape="(-1,)"), bytes(4)), "malformed"),
    "shape a float": (raw_npy(npy_header(shape="(1.0,)"), bytes(4)), "malformed"),
    "shape with a gap": (raw_npy(npy_header(shape="(1,,1)"), bytes(4)), "no tuple of counts"),
    "shape of digits": (raw_npy(npy_header(shape=f"({'9' * 60_000},)")), "no tuple of counts"),
    "shape absurd": (raw_npy(npy_header(shape="(9223372036854775807,) ")), "truncated"),
    "shape empty but absurd": (raw_npy(npy_header(shape="(0, 9999999999999999999)")), "impossible shape"),
    "too many dimensions": (raw_npy(npy_header(shape=f"({'1,' * 65})"), bytes(4)), "65 dimensions"),
    "thousands of dimensions": (raw_npy(npy_header(shape=f"({'9,' * 30_000})")), "30000 dimensions"),
    "parentheses": (raw_npy("{" + "(" * 60_000 + "}"), "malformed"),
    "signs": (raw_npy("{'shape': " + "-" * 60_000 + "1}"), "malformed"),
    "spaces": (raw_npy("{" + " " * 60_000 + "x}"), "malformed"),
    "data cut short": (npy_bytes(np.zeros(9))[:-1], "truncated: the shape needs more"),
    "bytes behind": (npy_bytes(np.zeros(9)) + b"x", "1 bytes behind"),
    "objects": (objects(), "Python objects"),
    "byte strings": (npy_bytes(np.array([b"abc"])), "byte strings"),
    "text": (npy_bytes(np.array(["abc"])), "text"),
    "dates": (npy_bytes(np.array(["2026-01-01"], "M8[D]")), "dates"),
    "time spans": (npy_bytes(np.array([1], "m8[s]")), "time spans"),
    "raw bytes": (npy_bytes(np.zeros(3, "V2")), "raw bytes"),
    "structured": (npy_bytes(np.zeros(3, [("x", "f4"), ("y", "f4")])), "structured"),
    "native order": (raw_npy(npy_header("'=f4'"), bytes(4)), "unknown dtype '=f4'"),
    "no order": (raw_npy(npy_header("'f4'"), bytes(4)), "unknown dtype 'f4'"),
    "no order for two bytes": (raw_npy(npy_header("'|f4'"), bytes(4)), "unknown dtype '|f4'"),
    "long double": (raw_npy(npy_header("'<f16'"), bytes(16)), "unknown dtype '<f16'"),
    "empty descr": (raw_npy(npy_header("''"), bytes(4)), "unknown dtype ''"),
    "hostile descr": (raw_npy(npy_header("'\x1b[2J" + "x" * 5000 + "'")), "unknown dtype '\\x1b[2J"),
}


@pytest.mark.parametrize("what", BAD_NPY)
def test_malformed_npy_is_opaque_with_a_reason(what: str) -> None:
    data, reason = BAD_NPY[what]
    description = describe_bytes("weights.npy", data)
    assert description.layout == Layout("opaque")
    assert description.reason is not None and description.reason.startswith("npy: ")
    assert reason in description.reason


# --- any format --------------------------------------------------------------------------------------------


def test_what_nobody_claims_is_opaque_without_a_reason() -> None:
    for name, data in [("config.json", b"{}"), ("empty", b""), ("weights.bin", bytes(1000))]:
        assert describe_bytes(name, data) == Description(Layout("opaque"), None)


def test_formats_have_names_of_their_own() -> None:
    names = [known.name for known in FORMATS]
    assert len(set(names)) == len(names) and "opaque" not in names


def test_a_file_that_shrinks_while_it_is_scanned_is_opaque() -> None:
    class Shrunk(BytesView):
        @property
        def size(self) -> int:
            return len(self.data) + 1000

    for name, data in [("m.safetensors", safetensors_bytes(TENSORS)[:50]), ("w.npy", b"\x93NUMPY\x01\x00")]:
        description = describe(Shrunk(name, data), no_sibling)
        assert description.layout == Layout("opaque") and "truncated" in str(description.reason)


def test_a_bug_in_a_scanner_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Buggy:
        name = "buggy"

        def claims(self, name: str, head: bytes) -> bool:
            return True

        def scan(self, view: formats.View, sibling: formats.Sibling) -> dict[str, Layout]:
            raise ZeroDivisionError

    monkeypatch.setattr(formats, "FORMATS", (Buggy(),))
    with pytest.raises(ZeroDivisionError):
        describe(BytesView("x", b""), no_sibling)


def test_the_first_format_that_succeeds_wins_and_unsound_spans_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @dataclass(frozen=True)
    class Says:
        name: str
        spans: tuple[Span, ...]

        def claims(self, name: str, head: bytes) -> bool:
            return head == b"0123"

        def scan(self, view: formats.View, sibling: formats.Sibling) -> dict[str, Layout]:
            return {view.name: Layout(self.name, self.spans)}

    liar = Says("liar", (Span(2, 3, "t", "U8", (3,)),))
    honest = Says("honest", (Span(2, 2, "b", "U8", (2,)), Span(2, 1, "a", "U8", (1,))))
    monkeypatch.setattr(formats, "FORMATS", (liar, honest, Says("late", ())))
    assert describe_bytes("x", b"0123") == Description(Layout("honest", honest.spans[::-1]), None)
    monkeypatch.setattr(formats, "FORMATS", (liar,))
    assert describe_bytes("x", b"0123").reason == "liar: tensor 't' leaves the file"


def test_budgets_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    many = safetensors_bytes({f"t{number}": ("U8", (1,), b"x") for number in range(1000)})
    assert len(describe_bytes("m.safetensors", many).layout.spans) == 1000
    for module, budget, reason in [
        (safetensors_module, "MAX_HEADER_BYTES", "more than 1000"),
        (safetensors_module, "MAX_HEADER_VALUES", "more than 1000 values"),
        (formats, "MAX_TABLE_BYTES", "tensor table"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(module, budget, 1000)
            assert reason in str(describe_bytes("m.safetensors", many).reason)
    assert npyheader.MAX_HEADER_BYTES == 65536


@pytest.mark.parametrize("filling", ["[],", "{},", '"",', "0,"])
def test_a_header_bomb_is_refused_before_it_is_parsed(filling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(raw: bytes) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(safetensors_module, "_parse", parse)
    bomb = raw_safetensors('{"a":[' + filling * safetensors_module.MAX_HEADER_VALUES + "0]}")
    assert "values" in str(describe_bytes("m.safetensors", bomb).reason)


VALID: list[tuple[str, bytes]] = [
    ("m.safetensors", safetensors_bytes(TENSORS, {"format": "pt"})),
    ("m.safetensors", safetensors_bytes({"a": ("F32", (2, 2), bytes(16)), "b": ("U8", (3,), b"abc")})),
    ("w.npy", npy_bytes(np.arange(12, dtype=">f4").reshape(3, 4))),
    ("w.npy", npy_bytes(np.asfortranarray(np.arange(12.0).reshape(3, 4)), (3, 0))),
]
HEADS = [b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x03\x00\x10\x00\x00\x00{", struct.pack("<Q", 20) + b'{"']


@given(st.sampled_from(["m.safetensors", "w.npy", "x"]), st.sampled_from(HEADS), st.binary(max_size=200))
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_described(name: str, head: bytes, tail: bytes) -> None:
    describe_bytes(name, head + tail)


@given(st.sampled_from(VALID), st.data())
@settings(deadline=None, max_examples=300)
def test_mutated_files_are_described(valid: tuple[str, bytes], data: st.DataObject) -> None:
    name, original = valid
    mutated = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated)))
        edit: Callable[[bytearray], None] = data.draw(
            st.sampled_from(
                [
                    lambda b, at=at: b.__delitem__(slice(at, at + 3)),
                    lambda b, at=at: b.__setitem__(slice(at, at + 1), b"\xff"),
                    lambda b, at=at: b.__setitem__(slice(at, at), b"9"),
                    lambda b, at=at: b.__setitem__(slice(at, at + 1), b'"'),
                    lambda b, at=at: b.__setitem__(slice(at, at + 1), b","),
                    lambda b, at=at: b.__delitem__(slice(at, None)),
                ]
            )
        )
        edit(mutated)
    description = describe_bytes(name, bytes(mutated))
    if description.layout.format == "safetensors":
        deserialize(bytes(mutated))  # whatever we understand, the reference library does too


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def nearly_sound_files(draw: st.DrawFn) -> tuple[bytes, bool]:
    """A file of small tensors in which at most one thing is wrong; and whether only a dtype can be."""
    header: dict[str, object] = {}
    if draw(st.booleans()):
        header["__metadata__"] = draw(st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2))
    position = 0
    for name in draw(st.lists(st.text(max_size=3), unique=True, max_size=4)):
        dtype = draw(st.sampled_from(sorted(DTYPES)))
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        end = position + math.prod(shape) * DTYPES[dtype].width
        header[name] = entry(dtype, shape, [position, end])
        position = end
    slip = draw(st.sampled_from(["none", "none", "none", "field", "shift", "entry", "size"]))
    if header and slip in ("field", "shift", "entry"):
        name = draw(st.sampled_from(sorted(header)))
        target = header[name]
        if slip == "entry" or not isinstance(target, dict) or "shape" not in target:
            header[name] = draw(JSON)
        elif slip == "field":
            target[draw(st.sampled_from(sorted(target)))] = draw(JSON)
        else:
            target["data_offsets"] = [offset + draw(st.integers(-1, 2)) for offset in target["data_offsets"]]
    items = draw(st.permutations(list(header.items())))  # the order of the header is not that of the data
    text = json.dumps(dict(items), indent=draw(st.sampled_from([None, 1])), ensure_ascii=draw(st.booleans()))
    size = max(0, position + (draw(st.integers(-2, 2)) if slip == "size" else 0))
    data = (bytes(range(256)) * 8)[:size]
    return raw_safetensors(text.encode() + b" " * draw(st.integers(0, 2)), data), slip == "none"


@given(nearly_sound_files())
@settings(deadline=None, max_examples=300)
def test_what_is_understood_is_what_the_reference_library_reads(file: tuple[bytes, bool]) -> None:
    raw, sound = file
    layout = describe_bytes("m.safetensors", raw).layout
    try:
        entries = deserialize(raw)
    except SafetensorError:
        assert layout.format == "opaque"
        return
    if sound:
        assert layout.format == "safetensors"
    if layout.format == "safetensors":
        theirs = {name: (info["dtype"], tuple(info["shape"]), bytes(info["data"])) for name, info in entries}
        ours = {s.name: (s.dtype, s.shape, raw[s.offset : s.offset + s.length]) for s in layout.spans}
        assert ours == theirs


# --- the makers of test data -------------------------------------------------------------------------------


def test_bf16_rounding_matches_ml_dtypes() -> None:
    values = np.random.default_rng(3).standard_normal(10_000).astype(np.float32)
    values[:3] = [1 + 2**-8, 1 + 3 * 2**-8, -0.0]  # two ties and a signed zero
    assert np.array_equal(to_bf16(values), values.astype(ml_dtypes.bfloat16).view(np.uint16))
    assert np.array_equal(to_bf16(from_bf16(to_bf16(values))), to_bf16(values))


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_made_weights_look_like_weights_and_their_fine_tune_like_one(dtype: str) -> None:
    rng = np.random.default_rng(7)
    weights = random_weights(rng, {"w": (64, 256), "norm": (256,), "scalar": (), "empty": (0, 4)}, dtype)
    moved = finetuned(weights, rng, 0.01)
    assert deserialize(safetensors_bytes(moved)) and moved.keys() == weights.keys()
    a, b = (np.frombuffer(files["w"][2], f"<u{DTYPES[dtype].width}") for files in (weights, moved))
    assert a.size == 64 * 256 and 0.2 < np.mean(a != b) <= 1
    same = finetuned(weights, rng, 0.0)
    assert same == weights
