"""The walk over the work tree: what counts, what is refused, what is left out, and that nothing blocks."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from mvc.errors import StorageError
from mvc.fileio import FileIO
from mvc.worktree.scan import MAX_IGNORE_FILE_BYTES, ScanResult, scan


class WatchedIO(FileIO):
    """Notes what is touched, and denies what it is told to deny."""

    def __init__(self, denied: set[Path] | None = None) -> None:
        self.denied = denied or set()
        self.opened: list[Path] = []
        self.listed: list[Path] = []
        self.statted: list[Path] = []

    def _check(self, path: Path) -> None:
        if path in self.denied:
            raise PermissionError(13, "Permission denied", str(path))

    def open_read(self, path: Path, *, follow: bool = True) -> int:
        self.opened.append(path)
        self._check(path)
        return super().open_read(path, follow=follow)

    def open_beneath(self, root: Path, path: str, *, folder: bool = False) -> int:
        if not folder:
            self.opened.append(root / path)
        self._check(root / path if path else root)
        return super().open_beneath(root, path, folder=folder)

    def scan_folder(self, path: Path | int) -> list[os.DirEntry[str]]:
        place = place_of(path)
        self.listed.append(place)
        self._check(place)
        return super().scan_folder(path)

    def stat(self, path: Path) -> os.stat_result:
        self.statted.append(path)
        return super().stat(path)


def place_of(path: Path | int) -> Path:
    """The folder that is listed, which may be given by its handle."""
    return Path(os.readlink(f"/proc/self/fd/{path}")) if isinstance(path, int) else path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def make(root: Path, *paths: str, text: str = "x") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def names(result: ScanResult) -> list[str]:
    return list(result.files)


def test_files_come_in_the_order_of_their_paths(root: Path) -> None:
    make(root, "b", "a/x", "a-b", "a.c", "a/b/c", "Z", "é", "a0/q")
    (root / "empty").mkdir()
    result = scan(FileIO(), root)
    assert names(result) == sorted(["b", "a/x", "a-b", "a.c", "a/b/c", "Z", "é", "a0/q"])
    assert (result.refused, result.skipped, result.collisions) == ([], [], [])


def test_a_file_is_described_as_it_lies_there(root: Path) -> None:
    make(root, "run.sh", "weights.bin", text="12345")
    (root / "run.sh").chmod(0o755)
    files = scan(FileIO(), root).files
    assert files["run.sh"].executable
    assert not files["weights.bin"].executable
    assert files["weights.bin"].link_target is None
    assert files["weights.bin"].path == "weights.bin"
    real = os.stat(root / "weights.bin")
    seen = files["weights.bin"].stat
    assert (seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_dev) == (
        5,
        real.st_mtime_ns,
        real.st_ctime_ns,
        real.st_ino,
        real.st_dev,
    )


def test_an_empty_folder_has_no_files(root: Path) -> None:
    assert scan(FileIO(), root) == ScanResult()


def test_a_plain_tree_costs_one_listing_per_folder_and_no_opening(root: Path) -> None:
    make(root, *(f"d{i % 3}/f{i}" for i in range(30)))
    io = WatchedIO()
    assert len(scan(io, root).files) == 30
    assert sorted(io.listed) == [root, root / "d0", root / "d1", root / "d2"]
    assert io.opened == []
    assert io.statted == []


def test_ignored_files_are_left_out_without_a_word(root: Path) -> None:
    make(
        root,
        "a.log",
        "keep.log",
        "sub/b.log",
        "sub/c.bin",
        "out/x",
        ".mvc/root",
        ".git/config",
        "d/.venv/p",
        ".hg",
    )
    make(root, ".mvcignore", text="*.log\n!keep.log\nout/\n")
    make(root, "sub/.mvcignore", text="*.bin\n!b.log\n")
    result = scan(FileIO(), root)
    assert names(result) == [".mvcignore", "keep.log", "sub/.mvcignore", "sub/b.log"]
    assert (result.refused, result.skipped) == ([], [])


def test_an_ignored_folder_is_not_even_listed(root: Path) -> None:
    make(root, ".mvc/root", "cache/x", "a")
    make(root, ".mvcignore", text="cache\n")
    io = WatchedIO(denied={root / ".mvc", root / "cache"})
    assert names(scan(io, root)) == [".mvcignore", "a"]
    assert io.listed == [root]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("NUL.txt", "device"),
        ("a:b", "colon"),
        ("a\\b", "backslash"),
        ("line\nfeed", "control character"),
        ("trailing.", "dot or a space"),
        (".MVC", "spelling of .mvc"),
        (".Git", "spelling of .git"),
    ],
)
def test_bad_names_are_refused_by_name(root: Path, name: str, reason: str) -> None:
    make(root, name, f"sub/{name}/inner", "good")
    result = scan(FileIO(), root)
    assert names(result) == ["good"]
    assert sorted(path for path, _ in result.refused) == sorted([name, f"sub/{name}"])
    assert all(reason in why for _, why in result.refused)


def test_names_that_are_not_utf8_are_refused(root: Path) -> None:
    raw = os.fsencode(root) + b"/bad\xff"
    try:
        with open(raw, "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    make(root, "good")
    result = scan(FileIO(), root)
    assert names(result) == ["good"]
    assert result.refused == [("bad\udcff", "is not valid UTF-8")]
    (root / ".mvcignore").write_bytes(b"bad\xff\n")
    assert scan(FileIO(), root).refused == []


def test_a_bad_name_that_is_ignored_is_no_trouble(root: Path) -> None:
    make(root, "a:b", "good")
    make(root, ".mvcignore", text="*:*\n")
    assert scan(FileIO(), root).refused == []


def test_a_folder_too_deep_is_refused_once(root: Path) -> None:
    deep = "/".join(["d"] * 65)
    make(root, f"{deep}/x", f"{deep}/y")
    result = scan(FileIO(), root)
    assert names(result) == []
    assert result.refused == [(deep, "is nested deeper than 64 levels")]


def test_a_link_to_a_file_of_the_tree_counts_as_that_file(root: Path) -> None:
    make(root, "sub/real.bin", text="12345678")
    (root / "sub/real.bin").chmod(0o700)
    (root / "link").symlink_to("sub/real.bin")
    (root / "absolute").symlink_to(root / "sub/real.bin")
    (root / "sub/over").symlink_to("../link")
    (root / "folder").symlink_to("sub")
    make(root, ".mvcignore", text="/folder\n")
    (root / "through").symlink_to("folder/real.bin")
    result = scan(FileIO(), root)
    assert result.refused == []
    for name in ("link", "absolute", "sub/over", "through"):
        assert result.files[name].link_target == "sub/real.bin"
        assert result.files[name].stat.st_ino == os.stat(root / "sub/real.bin").st_ino
        assert result.files[name].stat.st_size == 8
        assert result.files[name].executable


def test_links_are_found_where_the_root_itself_is_reached_by_a_link(root: Path) -> None:
    make(root, "real")
    (root / "link").symlink_to("real")
    (root.parent / "alias").symlink_to(root)
    result = scan(FileIO(), root.parent / "alias")
    assert result.refused == []
    assert result.files["link"].link_target == "real"


def test_links_that_lead_elsewhere_are_refused(root: Path) -> None:
    make(root.parent, "outside", "work-2/near")
    make(root, "folder/x", "ignored/deep/x", "x.tmp", ".mvc/root", "sub/secret", "bad:name")
    make(root, ".mvcignore", text="ignored\n*.tmp\nbad:name\n")
    make(root, "sub/.mvcignore", text="secret\n")
    targets = {
        "l-absolute": "/etc/hostname",
        "l-dangling": "nowhere",
        "l-dangling-file": "folder/x/y",
        "l-device": "/dev/null",
        "l-folder": "folder",
        "l-ignored": "x.tmp",
        "l-ignored-folder": "ignored/deep/x",
        "l-ignored-nested": "sub/secret",
        "l-loop": "l-loop",
        "l-loop2": "l-loop3",
        "l-loop3": "l-loop2",
        "l-neighbour": "../work-2/near",
        "l-outside": "../outside",
        "l-root": ".",
        "l-store": ".mvc/root",
    }
    for link, target in targets.items():
        (root / link).symlink_to(target)
    io = WatchedIO()
    result = scan(io, root)
    reasons = dict(result.refused)
    assert set(reasons) == set(targets)
    assert len(result.refused) == len(targets)
    for link, word in {
        "l-absolute": "out of the work tree",
        "l-dangling": "nothing",
        "l-dangling-file": "nothing",
        "l-device": "out of the work tree",
        "l-folder": "folder",
        "l-ignored": "ignored",
        "l-ignored-folder": "ignored",
        "l-ignored-nested": "ignored",
        "l-loop": "itself",
        "l-loop2": "itself",
        "l-neighbour": "out of the work tree",
        "l-outside": "out of the work tree",
        "l-root": "folder",
        "l-store": "ignored",
    }.items():
        assert word in reasons[link], link
    assert names(result) == [".mvcignore", "folder/x", "sub/.mvcignore"]
    assert {path.name for path in io.opened} == {".mvcignore"}


def test_an_ignored_link_is_no_trouble(root: Path) -> None:
    (root / "latest").symlink_to("nowhere")
    make(root, ".mvcignore", text="latest\n")
    assert scan(FileIO(), root).refused == []


def test_odd_files_are_skipped_and_never_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(root, "good")
    os.mkfifo(root / "pipe", 0o600)
    (root / "to-pipe").symlink_to("pipe")
    monkeypatch.chdir(root)  # a socket's whole path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
        io = WatchedIO()
        result = scan(io, root)
    assert names(result) == ["good"]
    assert result.refused == []
    assert result.skipped == [
        ("pipe", "is a named pipe"),
        ("sock", "is a socket"),
        ("to-pipe", "is a link to 'pipe', which is a named pipe"),
    ]
    assert io.opened == []


def test_unreadable_files_and_folders_are_skipped(root: Path) -> None:
    make(root, "good", "private", "shut/x", "sub/also", "mine")
    (root / "link").symlink_to("private")
    for name in ("private", "mine", "sub/also"):
        (root / name).chmod(0o600)
    io = WatchedIO(denied={root / "private", root / "shut"})
    result = scan(io, root)
    assert names(result) == ["good", "mine", "sub/also"]
    assert [path for path, _ in result.skipped] == ["link", "private", "shut"]
    assert all("permission denied" in why for _, why in result.skipped)


def test_a_vanished_file_or_folder_counts_as_absent(root: Path) -> None:
    make(root, "a", "b", "gone/x")

    class Vanishing(FileIO):
        def scan_folder(self, path: Path | int) -> list[os.DirEntry[str]]:
            entries = super().scan_folder(path)
            if place_of(path) == root:
                (root / "a").unlink()
                (root / "gone/x").unlink()
                (root / "gone").rmdir()
            return entries

    result = scan(Vanishing(), root)
    assert names(result) == ["b"]
    assert (result.refused, result.skipped) == ([], [])


@pytest.mark.parametrize("kind", ["link", "folder", "large", "pipe"])
def test_an_ignore_file_that_cannot_be_followed_is_refused(root: Path, kind: str) -> None:
    make(root, "secret", "a/x")
    path = root / "a/.mvcignore"
    if kind == "link":
        make(root, "rules", text="x\n")
        path.symlink_to("../rules")
    elif kind == "folder":
        make(root, "a/.mvcignore/x")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("#" * (MAX_IGNORE_FILE_BYTES + 1))
    (root / "0-link").symlink_to("a/x")  # asks for the rules before the walk gets there
    result = scan(FileIO(), root)
    assert [refused for refused, _ in result.refused] == ["a/.mvcignore"]
    assert "a/.mvcignore" not in result.files


def test_an_ignore_file_that_cannot_be_read_stops_the_walk(root: Path) -> None:
    make(root, "secret", ".mvcignore", text="secret\n")
    with pytest.raises(StorageError, match="Permission denied"):
        scan(WatchedIO(denied={root / ".mvcignore"}), root)


def test_a_root_that_is_missing_or_shut_is_an_error(root: Path) -> None:
    with pytest.raises(StorageError):
        scan(FileIO(), root / "nowhere")
    with pytest.raises(StorageError):
        scan(WatchedIO(denied={root}), root)


def test_a_failing_disk_is_an_error_and_not_a_skipped_file(root: Path) -> None:
    make(root, "sub/x")

    class Failing(FileIO):
        def scan_folder(self, path: Path | int) -> list[os.DirEntry[str]]:
            if place_of(path) == root / "sub":
                raise OSError(5, "Input/output error", str(path))
            return super().scan_folder(path)

    with pytest.raises(StorageError, match="Input/output error"):
        scan(Failing(), root)


def test_only_restricts_the_walk(root: Path) -> None:
    make(root, "a/b/x", "a/b/y", "a/c", "a.txt", "d/e", "d/bad:name", "a/skip.log")
    make(root, "a/.mvcignore", text="*.log\n")
    os.mkfifo(root / "pipe")

    def found(*only: str) -> list[str]:
        result = scan(FileIO(), root, only=only)
        assert (result.refused, result.skipped) == ([], [])
        return names(result)

    assert found("a/b") == ["a/b/x", "a/b/y"]
    assert found("a/b/x", "d/e") == ["a/b/x", "d/e"]
    assert found("a", "a/c") == ["a/.mvcignore", "a/b/x", "a/b/y", "a/c"]
    assert found("a.txt", "nowhere", "d/nowhere/x") == ["a.txt"]
    assert found("a/skip.log") == []
    assert [path for path, _ in scan(FileIO(), root, only=["d"]).refused] == ["d/bad:name"]
    assert [path for path, _ in scan(FileIO(), root, only=[""]).skipped] == ["pipe"]


def test_only_lists_no_more_folders_than_needed(root: Path) -> None:
    make(root, "a/b/x", "a/c/y", "d/e")
    io = WatchedIO()
    assert names(scan(io, root, only=["a/b/x"])) == ["a/b/x"]
    assert io.listed == [root, root / "a", root / "a/b"]


def test_names_that_differ_only_in_case_or_normal_form_are_reported(root: Path) -> None:
    make(root, "Model.bin", "model.bin", "caf\u00e9/x", "cafe\u0301/x")
    if len(os.listdir(root)) < 4:
        pytest.skip("this file system cannot hold such names side by side")
    result = scan(FileIO(), root)
    assert len(result.files) == 4
    assert result.refused == []
    assert result.collisions == [["Model.bin", "model.bin"], ["cafe\u0301", "caf\u00e9"]]


def test_the_walk_changes_nothing(root: Path) -> None:
    make(root, "a/x", "b")
    before = {path: os.lstat(path) for path in sorted(root.rglob("*"))}
    scan(FileIO(), root)
    after = {path: os.lstat(path) for path in sorted(root.rglob("*"))}
    assert [(p, s.st_mtime_ns, stat.S_IMODE(s.st_mode)) for p, s in before.items()] == [
        (p, s.st_mtime_ns, stat.S_IMODE(s.st_mode)) for p, s in after.items()
    ]
