"""Pickles are read as data: what they mean is found, what they ask for is not done."""

from __future__ import annotations

import collections
import math
import pickle
import pickletools
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_files import BytesView, no_sibling, npy_bytes
from make_pickles import Made, Name, body, evil_pickles, pickled

from mvc.formats import FORMATS, NotThisFormat, describe, read_values
from mvc.formats.pickled.globals import unknown_globals
from mvc.formats.pickled.names import MAX_DEPTH, named_tensors, named_values
from mvc.formats.pickled.tensors import NOWHERE
from mvc.formats.wire import pickle_machine
from mvc.formats.wire.inert import Bytes, Call, Dict, Global, Unread
from mvc.formats.wire.pickle_opcodes import STOP, TABLE
from mvc.formats.wire.pickles import Pickle, read_pickle


def read(data: bytes, start: int = 0) -> Pickle:
    return read_pickle(BytesView("x.pkl", data), start)


def plain(value: object) -> object:
    """An inert value as Python's own."""
    if isinstance(value, Dict):
        return {plain(key): plain(item) for key, item in value.pairs}
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    if isinstance(value, Bytes):
        assert value.data is not None and len(value.data) == value.length
        return value.data
    assert value is None or type(value) in (bool, int, float, str), value
    return value


SIMPLE = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SIMPLE | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(SIMPLE, inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES, st.integers(0, 5), st.binary(max_size=3), st.binary(max_size=3))
@settings(deadline=None, max_examples=300)
def test_what_python_pickles_is_read(value: object, protocol: int, before: bytes, after: bytes) -> None:
    data = pickle.dumps(value, protocol)
    found = read(before + data + after, len(before))
    assert plain(found.value) == value
    assert found.end == len(before) + len(data)
    assert not unknown_globals(found.globals)


@given(VALUES)
@settings(deadline=None, max_examples=50)
def test_the_pickles_of_these_tests_are_pickles(value: object) -> None:
    assert pickle.loads(pickled(value)) == value


@pytest.mark.parametrize("protocol", range(6))
def test_containers_of_other_classes_are_plain_too(protocol: int) -> None:
    twice = ["a"]
    value = [
        collections.OrderedDict(a=1, b=twice),
        collections.defaultdict(list, x=[1]),
        collections.Counter("aab"),
        frozenset([7]),
        {8},
        twice,
        bytearray(b"\0\xffx"),
    ]
    found = plain(read(pickle.dumps(value, protocol)).value)
    assert found == [{"a": 1, "b": ["a"]}, {"x": [1]}, {"a": 2, "b": 1}, found[3], [8], ["a"], b"\0\xffx"]  # type: ignore[index]
    assert list(found[3]) == [7]  # type: ignore[index]


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 70_000, 3_000_000])
def test_bytes_are_known_by_their_place(protocol: int, size: int) -> None:
    raw = np.random.default_rng(1).bytes(size)
    data = pickle.dumps(["x" * 5000, raw, 7], protocol)
    items = read(data).value
    assert isinstance(items, list) and isinstance(items[1], Bytes)
    place = items[1]
    assert place.offset is not None
    assert data[place.offset : place.offset + place.length] == raw
    assert place.data == (raw if size <= 4096 else None)
    assert items[2] == 7


def test_every_opcode_of_the_specification_is_known_and_nothing_else() -> None:
    known = {ord(opcode.code) for opcode in pickletools.opcodes}
    unknown = TABLE[ord("~")]
    assert {code for code in range(256) if TABLE[code] != unknown} | {STOP} == known


def test_old_texts() -> None:
    assert plain(read(b"S'a\\x41\\n\\'\\\\b'\n.").value) == b"aA\n'\\b"
    assert plain(read(b'S"it\'s"\n.').value) == b"it's"
    assert plain(read(b"U\x02hi.").value) == b"hi"
    assert read(b"Vgr\\u00f6\xdfe\n.").value == "größe"
    assert read(b"X\x03\x00\x00\x00\xed\xa0\x80.").value == "\ud800"


def test_old_numbers() -> None:
    assert plain(read(b"(I00\nI01\nI-7\nL12345678901L\nF-1e3\nl.").value) == [
        False,
        True,
        -7,
        12345678901,
        -1e3,
    ]


# --- no harm -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", evil_pickles(""))
def test_no_pickle_runs_anything(way: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    data = evil_pickles(f"touch '{marker}'")[way]
    found = read(data)
    description = describe(BytesView("x.pkl", data), no_sibling)
    values = read_values("pickle", BytesView("x.pkl", data), no_sibling)
    assert not marker.exists()
    assert description.layout.format == "pickle"
    assert {"os.system", "posix.system"} & set(found.globals)
    assert "system" in str(values["#globals"])


def test_the_marker_of_that_test_would_appear(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    pickle.loads(evil_pickles(f"touch '{marker}'")["protocol 2"])
    assert marker.exists()


def test_unknown_objects_take_whatever_is_given_to_them() -> None:
    made = body(Name("my.code", "Config")) + b")\x81"
    data = b"\x80\x04" + made + b"K\x01a(K\x02K\x03eK\x04K\x05s(K\x06K\x07u}X\x01\x00\x00\x00aK\x08sb."
    call = read(data).value
    assert isinstance(call, Call) and isinstance(call.function, Global)
    assert call.function.path == "my.code.Config"
    assert (call.items, call.pairs) == ([1, 2, 3], [(4, 5), (6, 7)])
    values = named_values(read(data), NOWHERE)
    assert values == {"#globals": "my.code.Config", "a": 8, "0": 1, "1": 2, "2": 3, "4": 5, "6": 7}


MALFORMED = {
    "empty": (b"", "truncated"),
    "no end": (b"\x80\x02N", "truncated"),
    "nothing": (b".", "takes more from its stack"),
    "an unknown opcode": (b"\x80\x02~.", "unknown opcode"),
    "protocol 6": (b"\x80\x06N.", "unknown protocol 6"),
    "no mark": (b"t.", "takes more from its stack"),
    "a tuple of too few": (b"N\x86.", "takes more from its stack"),
    "append to nothing": (b"Na.", "takes more from its stack"),
    "object of nothing": (b"(o.", "takes more from its stack"),
    "a key without a value": (b"(Nd.", "a key without a value"),
    "keys without a value": (b"}(Nu.", "a key without a value"),
    "no such memory": (b"h\x07.", "not remembered"),
    "memory of a word": (b"gword\n.", "malformed number"),
    "memory of many digits": (b"g" + b"9" * 1000 + b"\n.", "malformed number"),
    "a word for a number": (b"Iword\n.", "malformed number"),
    "digits of other scripts": ("I٣\n.".encode(), "malformed number"),
    "a word for a float": (b"Fword\n.", "malformed number"),
    "no UTF-8": (b"X\x01\x00\x00\x00\xff.", "not UTF-8"),
    "no UTF-8 in a global": (b"c\xff\n\xff\n.", "not UTF-8"),
    "a broken escape": (b"V\\uZZZZ\n.", "malformed text"),
    "no quotes": (b"Sword\n.", "malformed text"),
    "half of quotes": (b"S'\n.", "malformed text"),
    "a global of numbers": (b"K\x01K\x02\x93.", "no text"),
    "a global of many characters": (b"c" + b"m" * 1000 + b"\nn\n.", "characters"),
    "text beyond the end": (b"X\xff\xff\xff\xffa.", "truncated"),
    "text far beyond the end": (b"\x8d" + b"\xff" * 8 + b"a.", "truncated"),
    "bytes beyond the end": (b"B\x05\x00\x00\x00abcd", "truncated"),
    "bytes far beyond the end": (b"\x8e" + b"\xff" * 8 + b"a.", "truncated"),
    "byte array far beyond the end": (b"\x96" + b"\xff" * 7 + b"\x7fa.", "truncated"),
    "a number beyond the end": (b"\x8b\xff\xff\xff\x7fa.", "truncated"),
    "a line without end": (b"c" + b"m" * (2 << 20), "does not end"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_pickles_are_refused_with_a_reason(what: str) -> None:
    data, reason = MALFORMED[what]
    with pytest.raises(NotThisFormat, match=reason):
        read(data)


def test_long_texts_and_numbers_are_passed_over() -> None:
    digits = b"9" * 900_000
    data = b"(L" + digits + b"L\nI" + digits[:30] + b"\n\x8b" + struct.pack("<I", 500_000) + bytes(500_000)
    data += b"X" + struct.pack("<I", 100_000) + b"x" * 100_000 + b"F" + digits + b"\nK\x05t."
    start = time.perf_counter()
    found = read(data).value
    assert time.perf_counter() - start < 2
    assert isinstance(found, tuple)
    assert [type(item) for item in found] == [Unread] * 5 + [int]
    assert named_values(read(data), NOWHERE) == {"5": 5}


COUNT = 300_000
BOMBS = {
    "marks": b"(" * 10 * COUNT,
    "lists": b"]" * 10 * COUNT,
    "dictionaries": b"}" * 10 * COUNT,
    "memory": b"N" + b"".join(b"r" + struct.pack("<I", number) for number in range(10 * COUNT)),
    "memory by count": b"N" + b"\x94" * 10 * COUNT,
    "tuples of one": b"N" + b"\x85" * 40 * COUNT,
    "nothing": b"N0" * 20 * COUNT,
    "text often": (b"X" + struct.pack("<I", 60_000) + b"x" * 60_000 + b"0") * 2000,
}
_LONG = b"](" + b"K\x00" * COUNT + b"e\x85q\x01"  # a tuple of one long list, remembered
_DOUBLES = b"](" + b"K\x00K\x00\x86" * COUNT + b"e\x85q\x01"
BOMBS |= {
    "copies of a list": _LONG + b"cbuiltins\nlist\nh\x01R0" * 1000,
    "copies of a dictionary": _DOUBLES + b"ccollections\nOrderedDict\nh\x01R0" * 1000,
    "copies of arguments": b"(" + b"K\x00" * COUNT + b"tq\x01" + b"ccopyreg\n__newobj__\nh\x01R0" * 1000,
    "copies with keywords": b"(" + b"K\x00" * COUNT + b"tq\x01" + b"Nh\x01}\x920" * 3000,
}


@pytest.mark.parametrize("what", BOMBS)
def test_bombs_exhaust_the_budget_and_not_the_machine(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_machine, "BUDGET", pickle_machine.BUDGET // 4)
    start = time.process_time()
    with pytest.raises(NotThisFormat, match="too much memory or time"):
        read(BOMBS[what] + b".")
    assert time.process_time() - start < 10


def laughs(levels: int, seed: bytes) -> bytes:
    """Tuples of the tuple before, twice."""
    return b"\x80\x02" + seed + b"2\x86" * levels + b"."


def test_a_billion_laughs_cost_what_they_are_long() -> None:
    found = read(laughs(2000, b"]"))
    start = time.perf_counter()
    assert named_tensors(found.value, NOWHERE) == ()
    assert named_values(found, NOWHERE) == {}
    assert time.perf_counter() - start < 2


def test_a_billion_laughs_at_a_tensor_are_refused() -> None:
    array = body(Made(Name("numpy.core.numeric", "_frombuffer"), (b"abcd", dtype("f4"), (1,), "C")))
    view = BytesView("x.pkl", laughs(60, array))
    start = time.perf_counter()
    assert "names of tensors" in str(describe(view, no_sibling).reason)
    assert time.perf_counter() - start < 20
    assert len(describe(BytesView("x.pkl", laughs(3, array)), no_sibling).layout.spans) == 8


def test_many_long_lists_with_one_tensor_are_refused() -> None:
    array = body(Made(Name("numpy.core.numeric", "_frombuffer"), (b"abcd", dtype("f4"), (1,), "C")))
    data = b"](" + array + b"K\x00" * 100_000 + b"eq\x01](" + b"h\x01" * 100_000 + b"e."
    assert "too often" in str(describe(BytesView("x.pkl", data), no_sibling).reason)


def test_cycles_are_cut_and_depth_is_bounded() -> None:
    cycle: list[object] = [1.5]
    cycle.append({"again": cycle, "more": [cycle]})
    assert named_values(read(pickle.dumps(cycle)), NOWHERE) == {"0": 1.5}
    deep = b"\x80\x02" + b"K\x01" + b"\x85" * 5000 + b"."
    assert named_values(read(deep), NOWHERE) == {}
    shallow = b"\x80\x02" + b"K\x01" + b"\x85" * MAX_DEPTH + b"."
    assert list(named_values(read(shallow), NOWHERE).values()) == [1]


NESTING = {
    "calls": b"h\x00h\x01\x85Rq\x010",
    "states": b"h\x00)Rh\x01bq\x010",
    "dictionaries": b"}h\x01h\x01sq\x010",
    "lists": b"](h\x01eq\x010",
    "identities": b"h\x01Qq\x010",
    "tuples": b"h\x01\x85q\x010",
}


@pytest.mark.parametrize("what", NESTING)
def test_deep_nesting_exhausts_no_stack(what: str) -> None:
    """Neither reading nor walking recurses into it, nor does what Python does when it is let go."""
    view = BytesView("x.pkl", b"ca\nb\nq\x000Nq\x010" + NESTING[what] * 100_000 + b"h\x01.")
    assert describe(view, no_sibling).layout.spans == ()
    assert read_values("pickle", view, no_sibling) == {"#globals": "a.b"}


def test_names_are_bounded_and_valid() -> None:
    keys = {"\ud800": 1, "x" * 2000: 2, ("a", 1): 3, 1.5: 4, None: 5, Name("torch", "float32"): 6}
    pairs = b"".join(body(key) + body(value) for key, value in keys.items())
    found = named_values(read(b"}(" + pairs + b"u."), NOWHERE)
    assert found == {"\\ud800": 1, "a,1": 3, "1.5": 4, "None": 5, "torch.float32": 6}


# --- numpy -------------------------------------------------------------------------------------------------


def dtype(code: str, order: str = "<") -> Made:
    state = (3, order, None, None, None, -1, -1, 0)
    return Made(Name("numpy", "dtype"), (code, False, True), state)


ARRAYS = {
    "matrix": np.arange(6, dtype="<f4").reshape(2, 3),
    "column": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(3, dtype=">i8"),
    "bytes": np.arange(5, dtype=np.uint8),
    "flags": np.array([True, False]),
    "scalar": np.array(2.5),
    "none": np.zeros((0, 3), np.float32),
}


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_arrays_in_pickles_are_named(protocol: int) -> None:
    data = pickle.dumps({"w": ARRAYS, "list": [ARRAYS["big"]]}, protocol)
    layout = describe(BytesView("w.pkl", data), no_sibling).layout
    assert layout.format == "pickle"
    found = {}
    for span in layout.spans:
        raw = data[span.offset : span.offset + span.length]
        width = {"F32": 4, "F64": 8, "I64:be": 8, "U8": 1, "BOOL": 1}[span.dtype]
        cells = np.frombuffer(raw, f"V{width}")
        strides = [width * step for step in span.strides] if span.strides else None
        found[span.name] = np.lib.stride_tricks.as_strided(cells, span.shape, strides).tobytes()
    expected = {f"w.{name}": array.tobytes() for name, array in ARRAYS.items()}
    assert found == expected | {"list.0": ARRAYS["big"].tobytes()}


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_arrays_that_are_spelt_as_text_are_not_named(protocol: int) -> None:
    data = pickle.dumps({"w": np.arange(300.0), "lr": np.float64(2.5), "n": np.int32(-3)}, protocol)
    view = BytesView("w.pkl", data)
    assert describe(view, no_sibling).layout.spans == ()
    assert read_values("pickle", view, no_sibling) == {"lr": 2.5, "n": -3}


def test_an_npy_file_of_objects_is_read_as_a_pickle() -> None:
    inner = np.empty((), dtype=object)
    inner[()] = {"conv": {"weights": np.arange(4, dtype="<f4")}, "epoch": 3}
    view = BytesView("det.npy", npy_bytes(inner))
    layout = describe(view, no_sibling).layout
    assert (layout.format, [span.name for span in layout.spans]) == ("pickle", ["conv.weights"])
    (span,) = layout.spans
    raw = view.data[span.offset : span.offset + span.length]
    assert raw == np.arange(4, dtype="<f4").tobytes()
    assert read_values("pickle", view, no_sibling) == {"epoch": 3}


def test_an_array_that_contradicts_its_bytes_is_refused() -> None:
    lie = Made(Name("numpy.core.numeric", "_frombuffer"), (b"abcd", dtype("f4"), (2,), "C"))
    assert "contradicts" in str(describe(BytesView("x.pkl", pickled(lie)), no_sibling).reason)


def test_what_stands_behind_a_pickle_is_not_guessed() -> None:
    assert "3 bytes behind" in str(describe(BytesView("x.pkl", pickled(1) + b"abc"), no_sibling).reason)


# --- any bytes ---------------------------------------------------------------------------------------------


@given(st.binary(max_size=400))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        found = read(data)
    except NotThisFormat as refusal:
        assert refusal.reason.isprintable() and len(refusal.reason) < 300
        return
    named_tensors(found.value, NOWHERE)
    for name, value in named_values(found, NOWHERE).items():
        name.encode()
        assert value is None or type(value) in (bool, int, float, str)


@given(st.lists(st.sampled_from([bytes([ord(o.code)]) for o in pickletools.opcodes]) | st.binary(max_size=3)))
@settings(deadline=None, max_examples=500)
def test_any_opcodes_are_read_or_refused(codes: list[bytes]) -> None:
    test_any_bytes_are_read_or_refused.hypothesis.inner_test(b"".join(codes) + b".")  # type: ignore[attr-defined]


def test_values_that_are_small_objects() -> None:
    value = {
        "device": Made(Name("torch", "device"), ("cuda", 1)),
        "path": Made(Name("pathlib", "PosixPath"), ("/", "data", "x")),
        "day": Made(Name("datetime", "date"), (bytes([7, 230, 5, 17]),)),
        "no day": Made(Name("datetime", "date"), (bytes([7, 230, 13, 17]),)),
        "kind": Made(Name("my", "Kind"), ("adam",)),
        "huge": 2**70,
        "nan": math.inf,
        "long": list(range(17)),
        "short": list(range(2)),
    }
    assert named_values(read(pickled(value)), NOWHERE) == {
        "#globals": "my.Kind",
        "device": "cuda:1",
        "path": "/data/x",
        "day": "2022-05-17",
        "kind": "adam",
        "nan": math.inf,
        "long.#": 17,
        "short.0": 0,
        "short.1": 1,
    }


def test_nothing_of_ours_imports_pickle() -> None:
    import mvc

    for path in Path(mvc.__file__).parent.rglob("*.py"):
        text = path.read_text()
        assert "import pickle\n" not in text and "from pickle " not in text, path
    assert "pickle" in {known.name for known in FORMATS}
