"""Weights ids: equal for equal weights, whatever holds them; remembered, and worked out again when lost."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from blake3 import blake3
from engine import make_repository, open_repository, snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from make_files import npy_bytes, random_weights, safetensors_bytes

from mvc.describing import Describer
from mvc.ops.diff import diff_versions, diff_worktree
from mvc.ops.ls import files
from mvc.ops.show import show
from mvc.ops.status import status
from mvc.same_weights import same_rows
from mvc.spans import Region, Span, row_major_strides
from mvc.weighing import Weigher
from mvc.weights import PassingDigests, TensorHash, digests, weights_id

SHAPES = {"a.weight": (300, 40), "b.bias": (40,), "c": (), "empty": (0, 3)}


def weights(seed=0):
    return random_weights(np.random.default_rng(seed), SHAPES, "F32")


def folder_id(repository, revision="HEAD"):
    with repository.reading() as view:
        commit = view.commit(view.head_commit())
        return Weigher(repository, view.objects).folder(commit.tree)


def reading(data):
    def read(offset, length):
        assert offset + length <= len(data)
        return data[offset : offset + length]

    return read


# --- the definition ----------------------------------------------------------------------------------------
def test_the_id_is_what_the_format_page_says() -> None:
    rows = [TensorHash("b", "F32", (2,), b"\x01" * 32), TensorHash("a", "U8", (), b"\x02" * 32)]
    packed = b"\x92" + b"\x94\xa1a\xa2U8\x90\xc4\x20" + b"\x02" * 32
    packed += b"\x94\xa1b\xa3F32\x91\x02\xc4\x20" + b"\x01" * 32
    expected = blake3(packed, derive_key_context="mvc 2026 weights 1").hexdigest()
    assert weights_id(rows) == f"w1:{expected}"
    assert weights_id([*rows, rows[0]]) == weights_id(reversed(rows)) == weights_id(rows)
    assert weights_id([]) is None


@pytest.mark.parametrize(
    "row",
    [
        Span(0, 8, "a", "NEW", (2,)),
        Span(0, 8, "a", "IQ4_XS:be", (256,)),
        Span(0, 8, "a", "F32:be", (1,)),
        Span(0, 6, "a", "F32:be", (2,)),
        Span(0, 8, "a", "F32", (2, 2), (1,)),
        Span(0, 8, "a", "F32", (1 << 63, 2), (0, 1)),
        Span(0, 8, "a", "Q8_0", (32,), (1,)),
    ],
)
def test_a_row_that_contradicts_itself_has_no_digest(row) -> None:
    """A stored table may say anything; the rows beside it are hashed all the same."""
    sound = Span(0, 8, "b", "F32", (2,))
    assert list(digests([row, sound], reading(bytes(8)))) == [None, blake3(bytes(8)).digest()]


@given(st.permutations([0, 1, 2]), st.lists(st.integers(1, 4), min_size=3, max_size=3), st.booleans())
@settings(deadline=None, max_examples=60)
def test_strides_and_byte_order_play_no_part(order, shape, big) -> None:
    array = np.arange(np.prod(shape), dtype="<u4").reshape(shape) * 0x01020304
    plain = Span(0, array.nbytes, "x", "U32", tuple(shape))
    physical = np.ascontiguousarray(array.transpose(order)).astype(">u4" if big else "<u4")
    inner = row_major_strides(physical.shape)
    strides = tuple(inner[order.index(axis)] for axis in range(3))
    other = Span(0, array.nbytes, "x", "U32:be" if big else "U32", tuple(shape), strides)
    expected = blake3(array.tobytes()).digest()
    assert list(digests([plain], reading(array.tobytes()))) == [expected]
    assert list(digests([other], reading(physical.tobytes()))) == [expected]


def test_a_complex_number_is_turned_round_part_by_part() -> None:
    array = np.array([1 + 2j, -3.5j], dtype="<c8")
    span = Span(0, 16, "x", "C64:be", (2,))
    found = list(digests([span], reading(array.astype(">c8").tobytes())))
    assert found == [blake3(array.tobytes()).digest()]


def test_a_view_that_claims_too_much_has_no_digest() -> None:
    expanded = Span(0, 1, "x", "U8", (1 << 20, 1 << 20), (0, 0))
    assert list(digests([expanded], reading(b"a"))) == [None]


def test_what_passes_by_is_hashed_once_and_the_rest_is_read_again() -> None:
    data = bytes(range(64))
    whole, view = Span(0, 32, "x", "U8", (32,)), Span(8, 8, "y", "U8", (8,))
    alias, big = Span(0, 32, "z", "U8", (32,)), Span(32, 32, "w", "U32:be", (8,))
    passing = PassingDigests()
    watcher = passing.watcher(Region(0, 32, whole))
    watcher.update(data[:20])
    watcher.update(data[20:32])
    assert passing.watcher(Region(32, 32, big)) is None
    assert passing.watcher(Region(0, 40, whole)) is None
    asked = []

    def read(offset, length):
        asked.append((offset, length))
        return data[offset : offset + length]

    found = passing.finish((whole, alias, view, big), read)
    assert asked == [(8, 8), (32, 32)]
    turned = np.frombuffer(data[32:], ">u4").astype("<u4").tobytes()
    assert found == tuple(blake3(part).digest() for part in (data[:32], data[:32], data[8:16], turned))


# --- in a repository ---------------------------------------------------------------------------------------
def test_order_metadata_and_shards_do_not_change_the_id_and_a_bit_does(tmp_path) -> None:
    tensors = weights()
    repository = make_repository(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    snapshot(repository)
    first = folder_id(repository)
    assert first.startswith("w1:") and len(first) == 67

    backwards = dict(reversed(tensors.items()))
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(backwards, {"step": "2"}))
    snapshot(repository)
    assert folder_id(repository) == first

    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "shards").mkdir()
    for number, name in enumerate(tensors):
        part = safetensors_bytes({name: tensors[name]})
        (tmp_path / "shards" / f"model-{number}.safetensors").write_bytes(part)
    snapshot(repository)
    assert folder_id(repository) == first

    dtype, shape, data = tensors["a.weight"]
    tensors["a.weight"] = (dtype, shape, bytes([data[0] ^ 1]) + data[1:])
    part = safetensors_bytes({"a.weight": tensors["a.weight"]})
    (tmp_path / "shards" / "model-0.safetensors").write_bytes(part)
    snapshot(repository)
    assert folder_id(repository) != first


def test_a_version_without_tensors_has_no_weights_id(tmp_path) -> None:
    repository = make_repository(tmp_path)
    (tmp_path / "readme.txt").write_text("hello")
    snapshot(repository)
    assert folder_id(repository) is None
    with repository.reading() as view:
        assert [row.weights for row in files(view, "HEAD", Weigher(repository, view.objects))] == [None]


@pytest.mark.parametrize("harm", ["lost", "torn", "wrong"])
def test_notes_that_are_lost_or_damaged_are_made_again(tmp_path, harm, monkeypatch) -> None:
    monkeypatch.setattr("mvc.weighing.NOTED_BYTES", 0)
    repository = make_repository(tmp_path)
    fortran = np.asfortranarray(np.arange(60, dtype=">f4").reshape(5, 12))
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(weights()))
    (tmp_path / "array.npy").write_bytes(npy_bytes(fortran))
    snapshot(repository)
    notes = tmp_path / ".mvc" / "weights"
    assert len(list(notes.iterdir())) == 2  # by the commit itself
    expected = folder_id(repository)
    if harm == "lost":
        shutil.rmtree(notes)
    for path in notes.iterdir() if notes.exists() else ():
        data = path.read_bytes()
        path.write_bytes(data[:-5] if harm == "torn" else bytes([data[0] ^ 1]) + data[1:])
    assert folder_id(open_repository(tmp_path)) == expected
    assert len(list(notes.iterdir())) == 3  # both files and the folder


def test_small_files_take_no_note(tmp_path) -> None:
    repository = make_repository(tmp_path)
    (tmp_path / "small.safetensors").write_bytes(safetensors_bytes(weights()))
    large = {"x": ("U8", (1 << 20,), bytes(1 << 20))}
    (tmp_path / "large.safetensors").write_bytes(safetensors_bytes(large))
    snapshot(repository)
    assert len(list((tmp_path / ".mvc" / "weights").iterdir())) == 1


# --- same weights, other bytes -----------------------------------------------------------------------------
def test_status_and_diff_tell_same_weights_in_other_bytes(tmp_path) -> None:
    repository = make_repository(tmp_path)
    tensors = weights()
    for name in ("same.safetensors", "other.safetensors"):
        (tmp_path / name).write_bytes(safetensors_bytes(tensors))
    one = snapshot(repository).id
    (tmp_path / "same.safetensors").write_bytes(safetensors_bytes(tensors, {"saved": "again"}))
    (tmp_path / "other.safetensors").write_bytes(safetensors_bytes(weights(1)))
    found = status(repository)
    assert sorted(found.state.modified) == ["other.safetensors", "same.safetensors"]
    assert found.same_weights == {"same.safetensors": "same.safetensors"}
    worked = {change.path: change.same_weights for change in diff_worktree(repository, None)}
    two = snapshot(repository).id
    with repository.reading() as view:
        changes = diff_versions(repository, view, one.hex(), two.hex())
        stored = {change.path: change.same_weights for change in changes}
    assert worked == stored == {"same.safetensors": "same.safetensors", "other.safetensors": None}


def test_a_file_that_was_converted_is_told_with_the_one_it_came_from(tmp_path) -> None:
    repository = make_repository(tmp_path)
    array = np.arange(600, dtype="<f4").reshape(20, 30)
    (tmp_path / "a.npy").write_bytes(npy_bytes(array))
    (tmp_path / "b.npy").write_bytes(npy_bytes(array + 1))
    one = snapshot(repository).id
    (tmp_path / "a.npy").unlink()
    (tmp_path / "b.npy").unlink()
    converted = safetensors_bytes({"array": ("F32", (20, 30), array.tobytes())})
    (tmp_path / "c.safetensors").write_bytes(converted)
    assert status(repository).same_weights == {"c.safetensors": "a.npy"}
    worked = {change.path: change.same_weights for change in diff_worktree(repository, None)}
    two = snapshot(repository).id
    with repository.reading() as view:
        changes = diff_versions(repository, view, one.hex(), two.hex())
        stored = {change.path: change.same_weights for change in changes}
    assert worked == stored == {"a.npy": None, "b.npy": None, "c.safetensors": "a.npy"}


def test_a_comparison_ends_at_the_first_tensor_that_differs() -> None:
    rows = [Span(0, 4, name, "F32", (1,)) for name in "abc"]
    taken: list[str] = []

    def one_by_one(side, found):
        for row, digest in zip(rows, found, strict=True):
            taken.append(side + row.name)
            yield digest

    assert not same_rows(rows, one_by_one("old ", b"123"), rows, one_by_one("new ", b"1x3"))
    assert sorted(taken) == ["new a", "new b", "old a", "old b"]
    backwards = rows[::-1]
    assert same_rows(rows, iter(b"123"), backwards, iter(b"321"))
    assert not same_rows(rows, iter(b"123"), backwards, iter(b"322"))
    assert not same_rows(rows, iter([1, None, 3]), rows, iter([1, None, 3]))


def test_a_moved_file_is_renamed_and_no_other_bytes(tmp_path) -> None:
    repository = make_repository(tmp_path)
    data = safetensors_bytes(weights())
    (tmp_path / "a.safetensors").write_bytes(data)
    snapshot(repository)
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.safetensors").rename(tmp_path / "sub" / "a.safetensors")
    found = status(repository)
    assert found.renamed == {"sub/a.safetensors": "a.safetensors"} and not found.same_weights
    (change,) = diff_worktree(repository, None)
    assert (change.kind, change.path, change.old_path) == ("renamed", "sub/a.safetensors", "a.safetensors")
    assert change.tensors == () and change.same_weights is None


def test_shards_hold_the_weights_together(tmp_path) -> None:
    repository = make_repository(tmp_path)
    tensors = weights()
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    snapshot(repository)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "index.json").write_text("{}")
    for number, name in enumerate(tensors):
        part = safetensors_bytes({name: tensors[name]})
        (tmp_path / f"model-{number}.safetensors").write_bytes(part)
    found = status(repository)
    assert found.same_weights_together == tuple(
        f"model-{number}.safetensors" for number in range(len(tensors))
    )
    snapshot(repository)
    with repository.reading() as view:
        assert show(repository, view).keeps_weights
    dtype, shape, content = tensors["c"]
    part = safetensors_bytes({"c": (dtype, shape, bytes(len(content)))})
    for path in tmp_path.glob("model-*"):
        if b'"c"' in path.read_bytes()[:100]:
            path.write_bytes(part)
    snapshot(repository)
    with repository.reading() as view:
        assert not show(repository, view).keeps_weights


def test_a_file_is_described_once_however_many_were_deleted(tmp_path, monkeypatch) -> None:
    repository = make_repository(tmp_path)
    for number in range(6):
        (tmp_path / f"old-{number}.safetensors").write_bytes(safetensors_bytes(weights(number)))
    snapshot(repository)
    for number in range(6):
        (tmp_path / f"old-{number}.safetensors").unlink()
        again = safetensors_bytes(weights(number), {"saved": "again"})
        (tmp_path / f"new-{number}.safetensors").write_bytes(again)
    asked = []
    describe = Describer.describe

    def counting(self, path, view):
        asked.append(path)
        return describe(self, path, view)

    monkeypatch.setattr(Describer, "describe", counting)
    expected = {f"new-{number}.safetensors": f"old-{number}.safetensors" for number in range(6)}
    assert status(repository).same_weights == expected
    assert len(asked) == 6


def test_damage_leaves_a_version_without_its_weights_id(tmp_path) -> None:
    repository = make_repository(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(weights()))
    snapshot(repository)
    (pack,) = (tmp_path / ".mvc" / "packs").rglob("*.pack")
    data = bytearray(pack.read_bytes())
    data[200] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    repository = open_repository(tmp_path)
    with repository.reading() as view:
        shown = show(repository, view)
        assert shown.weights is None and not shown.keeps_weights
    assert repository.monitor.damage


def test_a_folder_of_equal_files_has_the_rows_of_one(tmp_path, monkeypatch) -> None:
    repository = make_repository(tmp_path)
    for number in range(3):
        (tmp_path / f"{number}.safetensors").write_bytes(safetensors_bytes(weights()))
    snapshot(repository, "equal")
    expected = folder_id(repository)
    monkeypatch.setattr("mvc.weighing.MOST_ROWS", 2 * len(SHAPES) - 1)
    shutil.rmtree(repository.store / "weights")
    assert folder_id(repository) == expected is not None
    (tmp_path / "0.safetensors").write_bytes(safetensors_bytes(weights(1)))
    snapshot(repository, "different")
    assert folder_id(repository) is None


def test_a_note_longer_than_any_is_not_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("mvc.weighing.NOTED_BYTES", 0)
    repository = make_repository(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(safetensors_bytes(weights()))
    snapshot(repository, "one")
    expected = folder_id(repository)
    for note in (repository.store / "weights").iterdir():
        body = b"\xdd" + (1 << 20).to_bytes(4, "big") + b"\x93\x90\x90\x90" * (1 << 20)
        note.write_bytes(body + blake3(body).digest())
    read = repository.io.read_at
    most = 0

    def watched(fd, length, offset):
        nonlocal most
        most = max(most, length)
        return read(fd, length, offset)

    repository.io.read_at = watched
    assert folder_id(repository) == expected
    assert most < 1 << 20
