"""The bytes of a bundle: what is written comes back, and nothing damaged or hostile is believed."""

from __future__ import annotations

from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from mvc import canonical
from mvc.backends import NotFound
from mvc.backends.bundle import (
    KINDS,
    MAGIC,
    MAX_OBJECT_BYTES,
    MAX_ROWS,
    ROW,
    TRAILER,
    BundleBackend,
    Need,
    read_directory,
)
from mvc.backends.bundling import BundleWriter
from mvc.errors import CorruptFile, InvalidName, MvcError, StorageError, UnsupportedFeature, UserError
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objectid import CommitId
from mvc.sharing.bundle import BundleStore, is_bundle
from tests.faults import FaultIO

NEEDS = (Need(CommitId(bytes(range(32))), "the version before"),)
SMALL = (b"a pack", b"", b"another pack, a little longer")


def key_of(kind: int, data: bytes) -> str:
    return KINDS[kind].key(blake3(data).hexdigest())


def write(path: Path, objects=SMALL, needs=NEEDS, io: FileIO | None = None, **options) -> Path:
    with BundleWriter(io or FaultIO(), path, **options) as writer:
        for number, data in enumerate(objects):
            assert writer.put(key_of(number % 3, data), [data[:3], memoryview(data)[3:]])
        writer.replace("root", None, b"what root says")
        writer.finish(needs)
    return path


def opened(data: bytes) -> BundleBackend:
    def read(offset: int, length: int) -> bytes:
        assert length == 8 or length <= len(data), "more was asked for than the file has"
        return data[offset : offset + length]

    return BundleBackend(read, read_directory(read, len(data)))


def believed(data: bytes) -> BundleBackend:
    backend = opened(data)
    backend.verify(lambda _count: None)
    return backend


def sealed(rows: list[tuple[bytes, int, int, bytes]], content: bytes, *, root: bytes = b"r", needs=b"\x90"):
    """A file whose hashes are right, whatever it claims."""
    directory = b"".join(ROW.pack(*row) for row in rows) + needs
    directory += TRAILER.pack(len(rows), len(root), len(needs), b"", b"")[:-64]
    body = MAGIC + content + root + directory + blake3(directory).digest()
    return body + blake3(body).digest()


# --- what is written comes back ----------------------------------------------------------------------------


def test_what_is_written_comes_back(tmp_path):
    backend = believed(write(tmp_path / "it.bundle").read_bytes())
    assert backend.directory.needs == NEEDS
    assert backend.get("root") == b"what root says"
    for number, data in enumerate(SMALL):
        key = key_of(number, data)
        assert backend.get(key) == bytes(backend.view(key)) == data
        assert (
            backend.get_range(key, len(data) // 2, len(data) // 3) == data[len(data) // 2 :][: len(data) // 3]
        )
    assert [key for key, _size in backend.list("packs/")] == [key_of(0, SMALL[0])]
    assert dict(backend.list("")) == {
        "root": 14,
        **{key_of(number, data): len(data) for number, data in enumerate(SMALL)},
    }


@given(st.lists(st.binary(max_size=300), max_size=12, unique=True), st.binary(min_size=1, max_size=99))
def test_whatever_it_holds(tmp_path_factory, objects, root):
    path = tmp_path_factory.mktemp("any") / "it"
    with BundleWriter(FaultIO(), path) as writer:
        for data in objects:
            writer.put(key_of(0, data), [data])
            assert writer.get(key_of(0, data)) == data
        writer.replace("root", None, root)
        assert writer.finish(()) == path.stat().st_size
    backend = believed(path.read_bytes())
    assert {backend.get(key) for key, _size in backend.list("packs/")} == set(objects)
    assert backend.get("root") == root


def test_a_writer_is_a_store_of_what_it_has(tmp_path):
    with BundleWriter(FaultIO(), tmp_path / "it") as writer:
        key = key_of(1, b"data")
        assert writer.put(key, [b"data"])
        assert not writer.put(key, [b"data"])
        assert writer.get_range(key, 1, 2) == b"at"
        assert list(writer.list("")) == [(key, 4)]
        with pytest.raises(NotFound):
            writer.get("root")
        with pytest.raises(NotFound):
            writer.get(key_of(1, b"other"))
        with pytest.raises(CorruptFile):
            writer.get_range(key, 1, 4)
        with pytest.raises(StorageError, match="nothing leaves it"):
            writer.delete(key)
        with pytest.raises(StorageError, match="cannot hold"):
            writer.put("config", [b"secret"])
        with pytest.raises(StorageError, match="cannot hold"):
            writer.put("packs/00/" + "11" * 32 + ".pack", [b""])


def test_what_is_not_finished_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), BundleWriter(FaultIO(), tmp_path / "it") as writer:
        writer.put(key_of(0, b"data"), [b"data"])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays_unless_it_is_to_be_replaced(tmp_path):
    path = tmp_path / "it"
    path.write_text("precious")
    with pytest.raises(UserError, match="is there already"):
        write(path)
    assert path.read_text() == "precious"
    write(path, replace=True)
    believed(path.read_bytes())
    assert [entry.name for entry in tmp_path.iterdir()] == ["it"]


def test_a_file_that_comes_meanwhile_stays(tmp_path):
    path = tmp_path / "it"
    with BundleWriter(FaultIO(), path) as writer:
        writer.replace("root", None, b"root")
        path.write_text("precious")
        with pytest.raises(UserError, match="is there already"):
            writer.finish(())
    assert path.read_text() == "precious"
    assert [entry.name for entry in tmp_path.iterdir()] == ["it"]


def test_every_step_may_fail(tmp_path):
    counting = FaultIO()
    write(tmp_path / "whole", io=counting)
    assert counting.steps > 10
    refused = 0
    for number in range(1, counting.steps + 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            write(folder / "it", io=FaultIO(fail_at=number))
        except StorageError:
            refused += 1
            left = {entry.name for entry in folder.iterdir()}
            if "it" in left:
                believed((folder / "it").read_bytes())
        else:
            believed((folder / "it").read_bytes())
    assert refused > counting.steps // 2


@pytest.mark.parametrize("change", ["put", "begin", "delete", "replace"])
def test_nothing_changes_a_bundle(tmp_path, change):
    backend = believed(write(tmp_path / "it").read_bytes())
    words = {"put": ("root", [b""]), "begin": (), "delete": ("root",), "replace": ("root", None, b"")}
    with pytest.raises(StorageError, match="cannot be changed"):
        getattr(backend, change)(*words[change])


def test_what_is_not_there_is_not_found(tmp_path):
    backend = believed(write(tmp_path / "it").read_bytes())
    for key in ("config", "packs", key_of(0, b"other")):
        with pytest.raises(NotFound):
            backend.get(key)
    for key in ("../root", "/root", "packs//x"):
        with pytest.raises(InvalidName):
            backend.get(key)
    with pytest.raises(CorruptFile):
        backend.get_range("root", 10, 5)


# --- damage ------------------------------------------------------------------------------------------------


def test_every_byte_counts(tmp_path):
    path = write(tmp_path / "it.bundle")
    whole = path.read_bytes()
    for place in range(len(whole)):
        for flip in (0x01, 0x80):
            torn = bytearray(whole)
            torn[place] ^= flip
            path.write_bytes(torn)
            with pytest.raises(MvcError) as caught:
                BundleStore.open_file(FileIO(), path, Monitor())
            assert caught.value.exit_code in (3, 5)
            assert str(path) in caught.value.message


def test_every_length_but_the_whole_is_refused(tmp_path):
    whole = write(tmp_path / "it.bundle").read_bytes()
    for length in range(len(whole)):
        with pytest.raises(CorruptFile):
            believed(whole[:length])
    for more in (b"\0", whole[-80:], whole):
        with pytest.raises(CorruptFile):
            believed(whole + more)


def test_damage_is_told_by_what_it_is_in(tmp_path):
    whole = bytearray(write(tmp_path / "it").read_bytes())
    whole[10] ^= 1
    with pytest.raises(CorruptFile, match=key_of(0, SMALL[0])):
        believed(bytes(whole))


def test_what_is_no_bundle_is_none(tmp_path):
    path = tmp_path / "it"
    assert not is_bundle(FileIO(), path)
    assert not is_bundle(FileIO(), tmp_path)
    for data in (b"", b"mvcBNDL", b"mvcPACK1" + bytes(100)):
        path.write_bytes(data)
        assert not is_bundle(FileIO(), path)
    write(path, replace=True)
    assert is_bundle(FileIO(), path)


def test_a_later_version_is_not_guessed_at(tmp_path):
    path = write(tmp_path / "it")
    path.write_bytes(b"mvcBNDL2" + path.read_bytes()[8:])
    assert is_bundle(FileIO(), path)
    with pytest.raises(UnsupportedFeature, match="newer mvc"):
        BundleStore.open_file(FileIO(), path, Monitor())


# --- hostile: every hash is right ---------------------------------------------------------------------------

NAME = bytes(32)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (sealed([(NAME, 5, 0, bytes(3))], b"1234"), CorruptFile),  # longer than what is there
        (sealed([(NAME, 3, 0, bytes(3))], b"1234"), CorruptFile),  # a byte that belongs to nothing
        (sealed([(NAME, 2, 0, bytes(3))] * 2, b"1234"), CorruptFile),  # twice
        (sealed([(NAME, 0, 0, bytes(3)), (b"1" * 32, 1 << 31, 0, bytes(3))], b"1234"), CorruptFile),
        (sealed([(NAME, MAX_OBJECT_BYTES + 1, 0, bytes(3))], b""), CorruptFile),
        (sealed([(NAME, 4, 3, bytes(3))], b"1234"), UnsupportedFeature),
        (sealed([(NAME, 4, 255, bytes(3))], b"1234"), UnsupportedFeature),
        (sealed([(NAME, 4, 0, b"\0\0\1")], b"1234"), UnsupportedFeature),
        (sealed([], b"", needs=b""), CorruptFile),
        (sealed([], b"", needs=b"\x91\x90"), CorruptFile),
        (sealed([], b"", needs=b"\x91" * 40 + b"\x90"), CorruptFile),
        (sealed([], b"", needs=canonical.pack([[b"short", "subject"]])), CorruptFile),
        (sealed([], b"", needs=canonical.pack([[NAME, "s" * 201]])), CorruptFile),
        (sealed([], b"", needs=canonical.pack({"a": 1})), CorruptFile),
        (sealed([], b"", needs=b"\xdc\x00\x00"), CorruptFile),  # not the shortest form
    ],
)
def test_what_lies_is_refused(data, error):
    with pytest.raises(error):
        opened(data)


def test_a_right_name_is_asked_of_every_object():
    good, bad = blake3(b"1234").digest(), NAME
    believed(sealed([(good, 4, 0, bytes(3))], b"1234"))
    with pytest.raises(CorruptFile, match="does not hash to its name"):
        believed(sealed([(bad, 4, 0, bytes(3))], b"1234"))


@pytest.mark.parametrize(
    "counts", [(1 << 63, 1, 1), (MAX_ROWS + 1, 1, 1), (MAX_ROWS, 1, 1), (0, 1 << 31, 1), (0, 1, 1 << 31)]
)
def test_counts_are_not_believed(counts):
    """``opened`` asserts that nobody asks for more bytes than there are."""
    data = bytearray(sealed([], b""))
    data[-TRAILER.size :] = TRAILER.pack(*counts, bytes(32), bytes(32))
    with pytest.raises(CorruptFile):
        opened(bytes(data))
