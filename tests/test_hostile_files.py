"""Files that are small to send and were dear to look at: each one cost minutes or gigabytes once."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from make_files import BytesView, no_sibling, onnx_bytes, safetensors_bytes
from make_pickles import Made, Name, body, tensor, zip_bytes
from scan_files import described

from mvc.formats import describe, read_values
from mvc.formats.base import MAX_VALUES_CHARACTERS
from mvc.formats.wire import jsontext
from mvc.formats.wire.protobuf import MAX_FIELDS
from mvc.registry.card.documents import flatten
from mvc.spans import Span
from mvc.weights import MOST_TIMES_HASHED, digests


@contextmanager
def at_most(seconds: float, megabytes: float | None = None) -> Iterator[None]:
    """A block that takes so much time, and memory if that is told (which takes time to watch)."""
    start = time.monotonic()
    if megabytes is not None:
        tracemalloc.start()
    try:
        yield
        if megabytes is not None:
            assert tracemalloc.get_traced_memory()[1] < megabytes * 1e6
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < seconds


def put(number: int) -> bytes:
    return b"r" + number.to_bytes(4, "little")


def get(number: int) -> bytes:
    return b"j" + number.to_bytes(4, "little")


@pytest.fixture
def values_of() -> Callable[[str, str, bytes], dict[str, object]]:
    return lambda kind, name, data: dict(read_values(kind, BytesView(name, data), no_sibling))


# --- pickles -----------------------------------------------------------------------------------------------
def pickle_of(opcodes: bytes, storages: dict[str, bytes] | None = None) -> bytes:
    members = {"a/data.pkl": b"\x80\x02" + opcodes + b"."}
    return zip_bytes(members | {f"a/data/{key}": data for key, data in (storages or {}).items()})


def test_many_ways_to_one_name_cost_no_square_of_their_number() -> None:
    # dictionaries that refer to each other: "a" and "a.a" of one lead to the same names
    ways = body(tensor("0")) + put(0)
    for level in range(1, 17):
        ways += b"}" + put(level) + b"("
        ways += b"".join(body(".".join("a" * step)) + get(level - step) for step in range(1, level + 1))
        ways += b"u"
    with at_most(30):
        spans = described("x.pt", pickle_of(ways, {"0": bytes(24)})).layout.spans
    assert len({span.name for span in spans}) == len(spans) == 1 << 15


def test_a_long_text_many_times_over_is_not_joined(values_of) -> None:
    shared = body("x" * 65_000) + put(0) + b"0"
    path = body(Name("pathlib", "PosixPath")) + b"(" + b"h\0" * 20_000 + b"tR"
    with at_most(20, megabytes=50):
        found = values_of("torch", "x.pt", pickle_of(shared + b"}(" + body("path") + path + b"u"))
    assert "path" not in found


def test_all_values_together_are_bounded(values_of) -> None:
    text = "\N{GRINNING FACE}" * 16_000
    shared = body(text) + put(0) + b"0}("
    pairs = b"".join(body(f"key {number}") + b"h\0" for number in range(5_000))
    with at_most(20, megabytes=60):
        found = values_of("torch", "x.pt", pickle_of(shared + pairs + b"u"))
    assert found["key 0"] == text
    assert sum(len(str(value)) for value in found.values()) <= MAX_VALUES_CHARACTERS
    metadata = {f"key {number}": text for number in range(100)}
    found = values_of("safetensors", "x.safetensors", safetensors_bytes({}, metadata))
    assert 0 < sum(len(str(value)) for value in found.values()) <= MAX_VALUES_CHARACTERS


@pytest.mark.parametrize(
    "key",
    [
        body(Made(Name("x", "y"), ("é" * 30_000,))),
        body(("é" * 1_000,) * 16),
        b"S'" + b"a" * 60_000 + b"'\n",
    ],
    ids=["object", "tuple", "old text"],
)
def test_keys_that_are_no_names_cost_little(key: bytes) -> None:
    with at_most(20):
        described("x.pt", pickle_of(key + put(0) + b"0}(" + b"h\0K\1" * 240_000 + b"u"))


def test_metadata_that_tensors_share_is_not_read_for_each() -> None:
    shared = b"}(" + b"".join(body(number) + b"N" for number in range(40_000)) + b"u" + put(0) + b"0"
    one = body(tensor("0"))[: -len(b"tR")] + b"h\0tR"
    tensors = b"".join(body(f"t{number}") + one for number in range(40_000))
    with at_most(20):
        described("x.pt", pickle_of(shared + b"}(" + tensors + b"u", {"0": bytes(24)}))


# --- archives ----------------------------------------------------------------------------------------------
def test_a_long_name_of_a_member_is_not_repeated_without_end() -> None:
    inner = safetensors_bytes({f"t{number}": ("U8", (0,), b"") for number in range(20_000)})
    with at_most(30, megabytes=100):
        description = described("x.zip", zip_bytes({"n" * 65_000 + ".safetensors": inner}))
    assert description.reason == "zip: names of tensors that would take more than 8 MiB"


def test_looking_into_members_has_one_budget() -> None:
    header = b"{" + b" " * 3_000_000 + b"}"
    member = len(header).to_bytes(8, "little") + header + b"!"
    archive = zip_bytes({f"{number}.safetensors": member for number in range(32)})
    read = 0

    class Counted(BytesView):
        def read(self, offset: int, length: int) -> bytes:
            nonlocal read
            read += length
            return super().read(offset, length)

    assert describe(Counted("x.zip", archive), no_sibling).layout.format == "opaque"
    assert read < 40 << 20


# --- messages and documents --------------------------------------------------------------------------------
def test_fields_that_are_gathered_are_bounded() -> None:
    attributes = b"\x2a\x00" * MAX_FIELDS  # of one node: 3 MB, and 120 bytes of memory each
    reason = described("x.onnx", onnx_bytes((1, attributes))).reason
    assert reason == "onnx: more fields than are read of one file"


def test_names_in_a_document_are_made_one_at_a_time() -> None:
    document = {"k" * 500_000: {str(number): 1 for number in range(20_000)}, "a": {"b": [1, {"c": 2}]}}
    with at_most(20, megabytes=60):
        found = dict(jsontext.flatten("top", jsontext.parse(json.dumps(document).encode(), 100_000)))
    assert found == {"top.a.b.0": 1, "top.a.b.1.c": 2}


def test_names_in_a_state_beside_weights_are_short() -> None:
    document = {
        "k" * 500_000: {str(number): 1 for number in range(20_000)},
        "a": {"$dict": [[["x"], 1], [2, 3]]},
    }
    with at_most(20, megabytes=60):
        assert flatten(document) == {"a.2": 3}


# --- weights ids -------------------------------------------------------------------------------------------
def test_views_of_one_storage_are_not_all_hashed() -> None:
    size = 1 << 22
    read = 0

    def reading(_offset: int, length: int) -> bytes:
        nonlocal read
        read += length
        return bytes(length)

    views = [Span(number, size - number, f"v{number}", "U8", (size - number,)) for number in range(1_000)]
    found = list(digests(views, reading))
    assert None not in found[:MOST_TIMES_HASHED] and found[-1] is None
    assert read <= MOST_TIMES_HASHED * size + (128 << 20)
    repeated = [Span(0, 4, f"r{number}", "F32", (1 << 24, 1), (0, number)) for number in range(1_000)]
    assert list(digests(repeated, reading)).count(None) >= 998


def test_strides_that_mean_nothing_may_be_anything() -> None:
    data = bytes(range(16))
    plain = Span(0, 16, "x", "F32", (2, 2), (1, 2))
    wild = Span(0, 16, "x", "F32", (2, 2, 1), (1, 2, 1 << 62))
    expected, found = digests([plain, wild], lambda offset, length: data[offset : offset + length])
    assert found == expected is not None
