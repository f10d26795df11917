"""``mvc export``: what is brought out is the version, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from mvc.cli.sizes import parse_size
from mvc.errors import DamageError, StorageError, UsageError, UserError
from mvc.exporting.naming import joined_names
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objectid import CommitId
from mvc.objects import Timestamp
from mvc.odb.pack import pack_key
from mvc.ops.commit import Request, commit
from mvc.ops.export import to_archive, to_folder, to_safetensors, to_stream
from mvc.spans import Span
from tests.engine import ME, make_repository, open_repository, snapshot, tree, two_versions
from tests.faults import FaultIO
from tests.make_files import gguf_bytes, npy_bytes, safetensors_bytes
from tests.test_cli import Run, fails, ok, run, two  # noqa: F401  fixtures

SOME = {
    "b": ("F32", (2, 3), np.arange(6, dtype="<f4").tobytes()),
    "a": ("BF16", (4,), b"abcdefgh"),
    "empty": ("F64", (0, 2), b""),
    "scalar": ("I64", (), b"12345678"),
}


@pytest.fixture
def history(tmp_path) -> tuple[Path, CommitId, CommitId]:
    """Two versions; the work tree holds the second one."""
    work = tmp_path / "work"
    _repository, one, second = two_versions(work)
    return work, one, second


def reading(folder: Path):
    return open_repository(folder, FaultIO()).reading()


# --- folders ---------------------------------------------------------------------------------------------


def test_a_folder_is_the_version(history, tmp_path):
    work, _one, second = history
    with reading(work) as view:
        done = to_folder(FaultIO(), view, second.hex(), tmp_path / "deep" / "out", Monitor())
    assert tree(tmp_path / "deep" / "out") == tree(work)
    assert done.items == len(tree(work))
    assert done.plain_bytes == sum(len(data) for data, _mode in tree(work).values())
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["out"]


def test_parts_of_a_version(history, tmp_path):
    work, one, _second = history
    with reading(work) as view:
        to_folder(FaultIO(), view, f"{one.hex()}:gone", tmp_path / "folder", Monitor())
        to_folder(FaultIO(), view, f"{one.hex()}:gone/old.txt", tmp_path / "file", Monitor())
    assert tree(tmp_path / "folder") == tree(tmp_path / "file") == {"old.txt": (b"old\n", False)}


def test_a_folder_with_something_in_it_stays_as_it_is(history, tmp_path):
    work, one, _second = history
    out = tmp_path / "out"
    out.mkdir()
    with reading(work) as view:
        to_folder(FaultIO(), view, one.hex(), out, Monitor())  # empty: fine
        before = tree(out)
        with pytest.raises(UserError, match="not empty"):
            to_folder(FaultIO(), view, one.hex(), out, Monitor())
        with pytest.raises(UserError, match="not empty"):
            to_folder(FaultIO(), view, one.hex(), out / "kept.txt", Monitor())
    assert tree(out) == before


def test_a_disk_that_fails_at_any_step_leaves_no_half_folder(history, tmp_path):
    work, _one, second = history
    with reading(work) as view:
        counting = FaultIO(counted=("create", "write", "write_at", "make_folder", "replace", "sync"))
        to_folder(counting, view, second.hex(), tmp_path / "whole", Monitor())
        assert counting.steps > 10
        for number in range(1, counting.steps + 1):
            failing = FaultIO(
                fail_at=number, counted=("create", "write", "write_at", "make_folder", "replace", "sync")
            )
            with pytest.raises(StorageError):
                to_folder(failing, view, second.hex(), tmp_path / "out", Monitor())
            assert {entry.name for entry in tmp_path.iterdir()} == {"work", "whole"}


# --- archives --------------------------------------------------------------------------------------------


def archived(view, revision: str) -> bytes:
    out = io.BytesIO()
    to_stream(view, revision, out.write, Monitor())
    return out.getvalue()


def test_an_archive_is_the_version(history, tmp_path):
    work, _one, second = history
    with reading(work) as view:
        data = archived(view, second.hex())
        time = view.commit(second).time
        to_archive(FaultIO(), view, second.hex(), tmp_path / "it.tar", Monitor())
    assert (tmp_path / "it.tar").read_bytes() == data
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
        archive.extractall(tmp_path / "out", filter="data")
    assert tree(tmp_path / "out") == tree(work)
    assert [member.name for member in members] == sorted(tree(work))
    assert {member.mtime for member in members} == {time.microseconds // 1_000_000}
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {(0, 0, "", "")}
    assert {member.mode for member in members} == {0o644, 0o755}


def test_the_same_version_gives_the_same_archive_for_ever(tmp_path):
    """The bytes are frozen: who signs an archive relies on them."""
    repository = make_repository(tmp_path / "it")
    (tmp_path / "it" / ("long-" * 30)).mkdir()
    (tmp_path / "it" / ("long-" * 30) / "ünï.txt").write_text("text\n")
    (tmp_path / "it" / "a.bin").write_bytes(bytes(range(256)) * 5)
    (tmp_path / "it" / "mvc.toml").unlink(missing_ok=True)
    commit(repository, Request("it", ME, Timestamp(1_700_000_000_123_456, 60)))
    with repository.reading() as view:
        data = archived(view, "HEAD")
    assert hashlib.sha256(data).hexdigest() == ARCHIVE_SHA256


ARCHIVE_SHA256 = "e162c5f3d5c892b9000858c8fef1cc93ae37ca0cba2b33c292a59b5301af8e3b"


def test_an_archive_that_is_there_stays_unless_it_is_to_be_replaced(history, tmp_path):
    work, _one, second = history
    path = tmp_path / "it.tar"
    path.write_text("precious")
    with reading(work) as view:
        with pytest.raises(UserError, match="is there already"):
            to_archive(FaultIO(), view, second.hex(), path, Monitor())
        assert path.read_text() == "precious"
        to_archive(FaultIO(), view, second.hex(), path, Monitor(), replace=True)
    assert tarfile.is_tarfile(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"work", "it.tar"}


@pytest.mark.parametrize("way", ["folder", "archive", "safetensors"])
def test_damage_leaves_nothing_behind(history, tmp_path, way):
    work, _one, second = history
    with reading(work) as view:
        packs = {entry.pack for entry in view.index.entries() if entry.length > 1000}
    for pack in packs:
        path = work / ".mvc" / pack_key(pack)
        data = bytearray(path.read_bytes())
        for place in range(2000, len(data), 500):
            data[place] ^= 0x55
        path.chmod(0o644)
        path.write_bytes(data)
    with reading(work) as view, pytest.raises(DamageError):
        match way:
            case "folder":
                to_folder(FaultIO(), view, second.hex(), tmp_path / "out", Monitor())
            case "archive":
                to_archive(FaultIO(), view, second.hex(), tmp_path / "out", Monitor())
            case _:
                to_safetensors(FaultIO(), view, second.hex(), tmp_path / "out.safetensors", Monitor())
    assert [entry.name for entry in tmp_path.iterdir()] == ["work"]


# --- safetensors -----------------------------------------------------------------------------------------


def stored(tmp_path: Path, files: dict[str, bytes]) -> Path:
    work = tmp_path / "work"
    repository = make_repository(work)
    for name, data in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(data)
    snapshot(repository)
    return work


def exported(work: Path, path: Path, revision: str = "HEAD", **options):
    with reading(work) as view:
        return to_safetensors(FaultIO(), view, revision, path, Monitor(), **options)


def test_tensors_come_back_bit_for_bit(tmp_path):
    work = stored(tmp_path, {"m.safetensors": safetensors_bytes(SOME, {"trainer": "AdamW"})})
    out = tmp_path / "out.safetensors"
    done = exported(work, out, "HEAD:m.safetensors")
    assert (done.made, done.items, done.left_out) == ((out,), 4, ())
    data = out.read_bytes()
    head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert head.pop("__metadata__") == {"trainer": "AdamW"}
    start = 8 + int.from_bytes(data[:8], "little")
    for name, (dtype, shape, raw) in SOME.items():
        begin, end = head[name]["data_offsets"]
        assert (head[name]["dtype"], head[name]["shape"], data[start:][begin:end]) == (
            dtype,
            list(shape),
            raw,
        )
    assert out.read_bytes() == exported_twice(work, tmp_path)


def exported_twice(work: Path, tmp_path: Path) -> bytes:
    exported(work, tmp_path / "again.safetensors", "HEAD:m.safetensors")
    return (tmp_path / "again.safetensors").read_bytes()


def test_other_formats_orders_and_strides(tmp_path):
    array = np.arange(12, dtype="<f4").reshape(3, 4)
    work = stored(
        tmp_path,
        {
            "big.npy": npy_bytes(array.astype(">f4")),
            "fortran.npy": npy_bytes(np.asfortranarray(array)),
            "it.gguf": gguf_bytes({"w": ("F32", (3, 4), array.tobytes())}),
        },
    )
    for name in ("big.npy", "fortran.npy", "it.gguf"):
        exported(work, tmp_path / "out.safetensors", f"HEAD:{name}", replace=True)
        (found,) = safetensors.numpy.load_file(tmp_path / "out.safetensors").values()
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)


def test_shards_of_a_model_become_one_file_under_their_own_names(tmp_path):
    names = list(SOME)
    work = stored(
        tmp_path,
        {
            "m/1.safetensors": safetensors_bytes({name: SOME[name] for name in names[:2]}),
            "m/2.safetensors": safetensors_bytes({name: SOME[name] for name in names[2:]}),
            "readme.txt": b"no tensors\n",
        },
    )
    done = exported(work, tmp_path / "out.safetensors")
    assert "readme.txt" in done.left_out
    with safetensors.safe_open(tmp_path / "out.safetensors", "np") as found:
        assert set(found.keys()) == set(SOME)


def test_where_names_meet_the_path_stands_before_them(tmp_path):
    model = safetensors_bytes(SOME)
    work = stored(tmp_path, {"unet/model.safetensors": model, "vae.safetensors": model})
    exported(work, tmp_path / "out.safetensors")
    with safetensors.safe_open(tmp_path / "out.safetensors", "np") as found:
        assert set(found.keys()) == {f"{stem}.{name}" for stem in ("unet.model", "vae") for name in SOME}


def test_names_that_meet_all_the_same_are_refused():
    span = Span(0, 4, "w", "F32", (1,))
    with pytest.raises(UserError, match="both have a tensor"):
        joined_names({"a/b.npy": [span], "a.b.npy": [span]})
    assert joined_names({"a.npy": [span, span], "b.npy": []}) == {"a.npy": {span: "w"}}


def test_shards_and_their_index(tmp_path):
    work = stored(tmp_path, {"m.safetensors": safetensors_bytes(SOME)})
    done = exported(work, tmp_path / "out.safetensors", shard_bytes=10)
    names = [path.name for path in done.made]
    assert names == [f"out-0000{n}-of-00003.safetensors" for n in (1, 2, 3)] + ["out.safetensors.index.json"]
    index = json.loads((tmp_path / names[-1]).read_text())
    assert index["metadata"] == {"total_size": sum(len(raw) for _dtype, _shape, raw in SOME.values())}
    assert set(index["weight_map"]) == set(SOME)
    for name, place in index["weight_map"].items():
        with safetensors.safe_open(tmp_path / place, "np") as found:
            assert name in found.keys()  # noqa: SIM118  not a mapping
    assert {entry.name for entry in tmp_path.iterdir()} == {"work", *names}
    with pytest.raises(UserError, match="is there already"):
        exported(work, tmp_path / "out.safetensors", shard_bytes=10)


def test_what_safetensors_cannot_hold_is_refused_by_name(tmp_path):
    quantised = gguf_bytes({"ffn.w": ("Q8_0", (2, 32), bytes(68))})
    work = stored(tmp_path, {"it.gguf": quantised, "text.txt": b"words\n"})
    with pytest.raises(UserError, match=r"ffn\.w.*Q8_0"):
        exported(work, tmp_path / "out.safetensors")
    with pytest.raises(UserError, match="no tensors"):
        exported(work, tmp_path / "out.safetensors", "HEAD:text.txt")
    with pytest.raises(UsageError, match="does not end in"):
        exported(work, tmp_path / "out.bin")
    assert [entry.name for entry in tmp_path.iterdir()] == ["work"]


class Lying(FaultIO):
    """A disk that gives back another bit than it was given."""

    def read_at(self, fd: int, length: int, offset: int) -> bytes:
        data = bytearray(FileIO.read_at(self, fd, length, offset))
        if offset > 8 and data:
            data[-1] ^= 1
        return bytes(data)


def test_what_the_disk_gives_back_is_compared(tmp_path):
    work = stored(tmp_path, {"m.safetensors": safetensors_bytes(SOME)})
    with reading(work) as view, pytest.raises(DamageError, match=r"the disk|as it should be"):
        to_safetensors(Lying(), view, "HEAD", tmp_path / "out.safetensors", Monitor())
    assert [entry.name for entry in tmp_path.iterdir()] == ["work"]


# --- the command -----------------------------------------------------------------------------------------


def test_the_command(two: Run) -> None:  # noqa: F811
    assert "2 files" in ok(two("export", "v1", "out")).out
    assert sorted(path.name for path in Path("out").iterdir() if path.name != "mvc.toml") == [
        "config.json",
        "model.safetensors",
    ]
    ok(two("export", "--format", "tar", "it.tar"))
    streamed = two("export", "--format", "tar", "HEAD", "-")
    assert streamed.out.encode(errors="surrogateescape") == Path("it.tar").read_bytes()
    made = two("export", "--format", "safetensors", "HEAD:model.safetensors", "w.safetensors", "--json").data
    assert made["items"] == 3
    assert made["files"] == [str(Path.cwd() / "w.safetensors")]
    fails(two("export", "--format", "tar", "it.tar"), 3, "is there already", "--force")
    ok(two("export", "--format", "tar", "it.tar", "--force"))
    fails(two("export", "out"), 3, "not empty")
    fails(two("export", "nothing", "there"), 3)
    fails(two("export"), 2, "where to write")
    fails(two("export", "--format", "zip", "x"), 2)
    fails(two("export", "-"), 2, "only a tar archive")
    fails(two("export", "--shard-size", "5GB", "x"), 2)
    fails(
        two("export", "--format", "safetensors", "--shard-size", "many", "x.safetensors"), 2, "takes a size"
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [("5", 5), ("5GB", 5_000_000_000), ("1.5kb", 1500), ("2 MiB", 2 << 20), ("0.5KiB", 512), ("7B", 7)],
)
def test_sizes(text, size):
    assert parse_size("--shard-size", text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "-5GB", "5 apples", "1e9", "9999999999999999", "999999999999999TB"]
)
def test_what_is_no_size(text):
    with pytest.raises(UsageError, match="takes a size"):
        parse_size("--shard-size", text)
