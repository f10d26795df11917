"""A file that says nothing of itself is described by the one beside it, and nothing else is ever read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from engine import assert_sound, make_repository, open_repository, snapshot, switch_to, tree
from make_files import onnx_bytes, onnx_tensor, safetensors_bytes

from mvc import describing
from mvc.describing import Describer
from mvc.fileio import FileIO
from mvc.formats import Description
from mvc.history.reader import read_manifest
from mvc.ingest import measure_file
from mvc.monitor import Monitor
from mvc.objects import Manifest
from mvc.ops.diff import diff_versions, diff_worktree
from mvc.repo import Repository
from mvc.source import OpenFile
from mvc.workspace import files_of

RAW = np.random.default_rng(1).standard_normal(5000).astype("<f4").tobytes()


class Recorder(FileIO):
    """A disk that notes what is opened and listed."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.listed: list[str] = []
        self.handles: set[int] = set()

    def open_read(self, path: Path, *, follow: bool = True) -> int:
        fd = super().open_read(path, follow=follow)
        self.opened.append(os.path.basename(path))
        self.handles.add(fd)
        return fd

    def open_beneath(self, root: Path, path: str, *, folder: bool = False) -> int:
        fd = super().open_beneath(root, path, folder=folder)
        if not folder:
            self.opened.append(os.path.basename(path))
        self.handles.add(fd)
        return fd

    def close(self, fd: int) -> None:
        super().close(fd)
        self.handles.discard(fd)

    def scan_folder(self, path: Path | int) -> list[os.DirEntry[str]]:
        self.listed.append(os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else str(path))
        return super().scan_folder(path)


def model(*tensors: tuple[str, int, int], location: str = "model.data") -> bytes:
    """A model of vectors outside: name, offset, elements."""
    return onnx_bytes(
        *(
            (5, onnx_tensor(name, "F32", (count,), external={"location": location, "offset": str(offset)}))
            for name, offset, count in tensors
        )
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(model(("a", 0, 2000), ("b", 8064, 2900)))
    (tmp_path / "model.data").write_bytes(RAW)
    return tmp_path


def describe_file(describer: Describer, io: FileIO, root: Path, path: str) -> Description:
    fd = io.open_read(root / path)
    try:
        return describer.describe(path, OpenFile(io, fd, path.rpartition("/")[2]))
    finally:
        io.close(fd)


def described(root: Path, path: str) -> Description:
    io = FileIO()
    return describe_file(Describer(io, root), io, root, path)


def names(description: Description) -> list[str]:
    return [span.name for span in description.layout.spans]


def manifests(repository: Repository, revision: str | None = None) -> dict[str, Manifest]:
    with repository.reading() as view:
        files = files_of(view, view.head_commit())
        return {path: read_manifest(view.objects, entry.id) for path, entry in files.items()}


# --- the describer -----------------------------------------------------------------------------------------


def test_external_data_get_the_models_tensors(folder: Path) -> None:
    description = described(folder, "model.data")
    assert description.layout.format == "onnx-data" and description.reason is None
    assert [(s.name, s.offset, s.length) for s in description.layout.spans] == [
        ("a", 0, 8000),
        ("b", 8064, 11600),
    ]
    assert names(described(folder, "model.onnx")) == []


def test_folders_do_not_look_into_each_other(folder: Path) -> None:
    (folder / "sub").mkdir()
    shutil.copy(folder / "model.data", folder / "sub")
    assert described(folder, "sub/model.data").layout.format == "opaque"
    shutil.copy(folder / "model.onnx", folder / "sub")
    assert described(folder, "sub/model.data").layout.format == "onnx-data"


def test_what_a_file_says_of_itself_goes_first(folder: Path) -> None:
    own = safetensors_bytes({"own": ("F32", (2000,), RAW[:8000])})
    (folder / "model.data").write_bytes(own)
    assert names(described(folder, "model.data")) == ["own"]


def test_of_two_models_the_first_by_name_speaks(folder: Path) -> None:
    (folder / "a.onnx").write_bytes(model(("first", 0, 10)))
    (folder / "z.onnx").write_bytes(model(("last", 0, 10)))
    assert names(described(folder, "model.data")) == ["first"]
    (folder / "a.onnx").write_bytes(b"no model")
    assert names(described(folder, "model.data")) == ["a", "b"]


def test_a_model_that_does_not_fit_its_data_is_refused_with_the_reason(folder: Path) -> None:
    (folder / "model.data").write_bytes(RAW[:-400])
    description = described(folder, "model.data")
    assert description.layout.format == "opaque" and description.layout.spans == ()
    assert description.reason == "onnx-data: tensor 'b' leaves the file"


def test_a_models_data_may_be_in_many_files(folder: Path) -> None:
    tensors = [(5, onnx_tensor(f"t{n}", "F32", (4,), external={"location": f"t{n}"})) for n in range(5)]
    (folder / "many.onnx").write_bytes(onnx_bytes(*tensors))
    for n in range(5):
        (folder / f"t{n}").write_bytes(bytes(16))
    io = FileIO()
    describer = Describer(io, folder)
    for n in range(5):
        assert names(describe_file(describer, io, folder, f"t{n}")) == [f"t{n}"]


def test_folders_and_models_are_read_once(folder: Path) -> None:
    for n in range(20):
        (folder / f"note {n}.txt").write_text("text")
    io = Recorder()
    describer = Describer(io, folder)
    for n in range(20):
        assert describe_file(describer, io, folder, f"note {n}.txt").layout.format == "opaque"
    assert names(describe_file(describer, io, folder, "model.data")) == ["a", "b"]
    assert io.opened.count("model.onnx") == 1 and io.listed == [str(folder)]
    assert not io.handles


def test_folders_are_not_even_listed_for_files_that_speak_for_themselves(folder: Path) -> None:
    (folder / "w.safetensors").write_bytes(safetensors_bytes({}))
    io = Recorder()
    describe_file(Describer(io, folder), io, folder, "w.safetensors")
    assert io.listed == [] and io.opened == ["w.safetensors"]


@pytest.mark.parametrize("kind", ["link", "link inside", "fifo", "folder", "gone", "forbidden"])
def test_only_plain_files_speak(folder: Path, kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    speaker = folder / "model.onnx"
    aside = (tmp_path_factory.mktemp("outside") if kind == "link" else folder) / "elsewhere"
    speaker.rename(aside)
    if kind.startswith("link"):
        speaker.symlink_to(aside)
    elif kind == "fifo":
        os.mkfifo(speaker)
    elif kind == "folder":
        speaker.mkdir()
    elif kind == "forbidden":
        aside.rename(speaker)
        speaker.chmod(0)
        if os.access(speaker, os.R_OK):
            pytest.skip("this user may read everything")
    assert described(folder, "model.data").layout.format == "opaque"


def test_a_speaker_swapped_for_a_link_after_the_listing_is_not_read(folder: Path, tmp_path_factory) -> None:
    secret = tmp_path_factory.mktemp("outside") / "secret.onnx"
    secret.write_bytes(model(("secret", 0, 10)))

    class Swapping(Recorder):
        def scan_folder(self, path: Path | int) -> list[os.DirEntry[str]]:
            entries = super().scan_folder(path)
            (folder / "model.onnx").unlink()
            (folder / "model.onnx").symlink_to(secret)
            return entries

    io = Swapping()
    assert names(describe_file(Describer(io, folder), io, folder, "model.data")) == []
    assert "secret.onnx" not in io.opened and not io.handles


def test_no_location_leads_out(folder: Path) -> None:
    """Nothing that a model names is opened: only files of the folder that are committed anyway."""
    outside = folder.parent / "outside.data"
    outside.write_bytes(RAW)
    places = ["../outside.data", str(outside), "sub/model.data", "model.data\0", "..", "", "outside.data"]
    (folder / "outside.data").symlink_to(outside)
    (folder / "model.onnx").write_bytes(
        onnx_bytes(*((5, onnx_tensor("w", "F32", (2,), external={"location": p})) for p in places))
    )
    io = Recorder()
    describer = Describer(io, folder)
    describe_file(describer, io, folder, "model.onnx")
    assert describe_file(describer, io, folder, "model.data").layout.format == "opaque"
    assert set(io.opened) == {"model.onnx", "model.data"}


def test_what_is_remembered_of_a_folder_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describing, "MAX_SPANS", 1)
    assert described(folder, "model.data").layout.format == "opaque"
    monkeypatch.setattr(describing, "MAX_SPANS", 2)
    assert described(folder, "model.data").layout.format == "onnx-data"
    monkeypatch.setattr(describing, "MAX_DESCRIBING_BYTES", 10)
    assert described(folder, "model.data").layout.format == "opaque"


# --- through the engine ------------------------------------------------------------------------------------


def test_commit_measure_and_checkout_agree(folder: Path) -> None:
    repository = make_repository(folder)
    snapshot(repository)
    stored = manifests(repository)
    assert stored["model.data"].format == "onnx-data"
    assert [span.name for span in stored["model.data"].tensors] == ["a", "b"]
    io = FileIO()
    describer = Describer(io, folder)
    for path, manifest in stored.items():
        assert measure_file(io, folder / path, path, Monitor(), describer=describer) == manifest
    before = tree(folder)
    (folder / "model.data").unlink()
    switch_to(open_repository(folder), "HEAD", force=True)
    assert tree(folder) == before
    assert_sound(folder)


def test_data_are_described_by_a_model_that_has_not_changed(folder: Path) -> None:
    """The stat cache knows the model, so it is not ingested again; its word counts all the same."""
    repository = make_repository(folder)
    snapshot(repository)
    os.utime(folder / "model.onnx", ns=(10**18, 10**18))  # old enough for the cache to be certain
    snapshot(repository, allow_empty=True)
    changed = bytearray(RAW)
    changed[8064] ^= 1
    (folder / "model.data").write_bytes(changed)
    (change,) = diff_worktree(open_repository(folder), None)
    assert [(row.kind, row.name) for row in change.tensors] == [("changed", "b")]
    for options in ({"paths": ["model.data"]}, {"amend": True}):
        repository = open_repository(folder)
        snapshot(repository, **options)
        assert [span.name for span in manifests(repository)["model.data"].tensors] == ["a", "b"]
    repository = open_repository(folder)
    with repository.reading() as view:
        (change,) = diff_versions(repository, view, "HEAD~1", "HEAD")
    (row,) = change.tensors
    assert (row.kind, row.name, row.moved) == ("changed", "b", 1 / 2900)


def test_a_tensor_is_stored_once_inside_and_beside_a_model(folder: Path) -> None:
    values = np.random.default_rng(7).standard_normal(400_000).astype("<f4").tobytes()
    repository = make_repository(folder)
    (folder / "w.safetensors").write_bytes(safetensors_bytes({"w": ("F32", (400_000,), values)}))
    snapshot(repository)
    (folder / "inside.onnx").write_bytes(onnx_bytes((5, onnx_tensor("w", "F32", (400_000,), values))))
    (folder / "x.onnx").write_bytes(model(("w", 4096, 400_000), location="x.bin"))
    (folder / "x.bin").write_bytes(bytes(4096) + values)
    assert snapshot(open_repository(folder)).stored_bytes < 0.01 * len(values)


def test_content_saved_before_a_forced_checkout_is_described_too(folder: Path) -> None:
    repository = make_repository(folder)
    snapshot(repository)
    changed = RAW[::-1]
    (folder / "model.data").write_bytes(changed)
    switch_to(open_repository(folder), "HEAD", force=True)
    assert (folder / "model.data").read_bytes() == RAW
    assert_sound(folder)


def test_the_reference_package_s_external_data(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    arrays = {f"w{n}": np.full((30, 40), n, "f4") for n in range(3)}
    graph = onnx.helper.make_graph(
        [], "g", [], [], [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    )
    onnx.save_model(
        onnx.helper.make_model(graph),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    description = described(tmp_path, "weights.bin")
    assert names(description) == ["w0", "w1", "w2"]
    data = (tmp_path / "weights.bin").read_bytes()
    for span, array in zip(description.layout.spans, arrays.values(), strict=True):
        assert data[span.offset : span.offset + span.length] == array.tobytes()
