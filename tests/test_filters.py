"""Which pieces of a file a filter takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvc.errors import UsageError
from mvc.objectid import BlobId
from mvc.objects import Manifest, Part
from mvc.remotes.filters import EVERYTHING, Filter, parse_filter, pieces, takes_file
from mvc.spans import Span


def blob(number: int) -> BlobId:
    return BlobId(bytes([number]) * 32)


MANIFEST = Manifest(
    "safetensors",
    40,
    bytes(32),
    # a long header, w in two pieces, something between, b, and an end that stands in the manifest
    (
        Part(10, blob(1)),
        Part(6, blob(2)),
        Part(4, blob(3)),
        Part(5, blob(4)),
        Part(10, blob(5)),
        Part(5, None, b"12345"),
    ),
    (Span(10, 10, "lm_head.weight", "F32", (10,)), Span(25, 10, "lm_head.bias", "F32", (10,))),
)


@pytest.mark.parametrize(
    "patterns, path, taken",
    [
        (["*.safetensors"], "a/model.safetensors", True),
        (["*.safetensors"], "a/model.pt", False),
        (["/model.pt"], "a/model.pt", False),
        (["encoder/"], "encoder/deep/x.bin", True),
        (["encoder/"], "encoder", False),
        (["encoder/**/x.bin"], "encoder/deep/x.bin", True),
        (["*.bin", "!big.bin"], "big.bin", False),
        (["*.bin", "!big.bin"], "small.bin", True),
        (["deep"], "encoder/deep/x.bin", True),
    ],
)
def test_paths_are_matched_as_in_ignore_files(patterns: list[str], path: str, taken: bool) -> None:
    chosen = parse_filter(["path:" + pattern for pattern in patterns])
    assert takes_file(chosen, path) is taken
    assert list(pieces(chosen, path, MANIFEST)) == [blob(n) for n in range(1, 6) if taken]


def test_a_tensor_comes_with_what_lies_between_tensors() -> None:
    weight = parse_filter(["tensor:lm_head.weight"])
    assert list(pieces(weight, "m", MANIFEST)) == list(map(blob, (1, 2, 3, 4)))
    assert list(pieces(parse_filter(["tensor:*.bias"]), "m", MANIFEST)) == list(map(blob, (1, 4, 5)))
    assert list(pieces(parse_filter(["tensor:*"]), "m", MANIFEST)) == list(map(blob, range(1, 6)))


def test_nothing_of_a_file_without_such_a_tensor_comes() -> None:
    assert list(pieces(parse_filter(["tensor:embed.*"]), "m", MANIFEST)) == []


def test_either_of_paths_and_tensors_is_enough() -> None:
    chosen = parse_filter(["path:*.json", "tensor:*.bias"])
    assert list(pieces(chosen, "config.json", MANIFEST)) == list(map(blob, range(1, 6)))
    assert list(pieces(chosen, "model", MANIFEST)) == list(map(blob, (1, 4, 5)))


def test_a_piece_that_two_tensors_share_comes_with_either() -> None:
    view = Span(14, 4, "tied", "F32", (4,))
    manifest = replace(MANIFEST, tensors=(MANIFEST.tensors[0], view, MANIFEST.tensors[1]))
    assert list(pieces(parse_filter(["tensor:tied"]), "m", manifest)) == list(map(blob, (1, 2, 3, 4)))


def test_texts_are_what_is_typed() -> None:
    texts = ("path:*.json", "path:!x.json", "tensor:lm_head.*")
    assert parse_filter(texts, 3).texts() == texts
    assert parse_filter((), None) == EVERYTHING
    assert not EVERYTHING.is_partial
    assert Filter(depth=1).is_partial and not Filter(depth=1).leaves_pieces_out


@pytest.mark.parametrize("text", ["*.json", "path:", "tensor: ", "blob:none", "path:a\nb", ""])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no filter"):
        parse_filter([text])


def test_a_depth_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="takes nothing"):
        parse_filter((), 0)


@given(st.data())
def test_pieces_are_those_that_a_plain_comparison_finds(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=8))
    size = sum(lengths)
    spans = []
    for number in range(data.draw(st.integers(0, 5))):
        start = data.draw(st.integers(0, size))
        length = data.draw(st.integers(0, size - start))
        spans.append(Span(start, length, f"{data.draw(st.sampled_from('ab'))}{number}", "U8", (length,)))
    spans.sort(key=lambda span: (span.offset, span.name))
    parts = tuple(Part(length, blob(number)) for number, length in enumerate(lengths))
    manifest = Manifest("x", size, bytes(32), parts, tuple(spans))

    def bytes_of(chosen: list[Span]) -> set[int]:
        return {at for span in chosen for at in range(span.offset, span.offset + span.length)}

    wanted = [span for span in spans if span.name[0] == "a"]
    expected = []
    for offset, part in manifest.placed_parts():
        own = set(range(offset, offset + part.length))
        if wanted and (own & bytes_of(wanted) or not own & bytes_of(spans)):
            expected.append(part.blob)
    assert list(pieces(parse_filter(["tensor:a*"]), "m", manifest)) == expected
