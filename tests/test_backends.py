"""What every backend must hold, and what only a folder can get wrong."""

from __future__ import annotations

import errno
import os
import random
import threading
from pathlib import Path

import pytest
from faults import FaultIO, PowerCut, Recorder, fork, lay_out, run_killed, snapshot, was_killed
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.backends import BACKENDS, NotFound, check_key, folder
from mvc.backends.buckets import open_bucket
from mvc.backends.folder import FolderBackend
from mvc.backends.objectstore import ObjectStoreBackend
from mvc.errors import CorruptFile, InvalidName, RootMoved, StorageError
from mvc.fileio import FileIO, TemporaryNames
from mvc.sharing.addresses import parse_address

KEY = "packs/ab/abcd.pack"


def folder_backend(root, io=None):
    io = io or FileIO()
    return FolderBackend(io, root, TemporaryNames(io, root / "tmp"))


@pytest.fixture(params=[*BACKENDS, "s3"])
def backend(request, tmp_path):
    if request.param == "s3":
        return s3_backend(request.getfixturevalue("seaweed"))
    return BACKENDS[request.param](FileIO(), str(tmp_path))


def s3_backend(seaweed):
    bucket = parse_address(seaweed.address(), Path("/"))
    return open_bucket("s3", bucket.name, bucket.prefix, seaweed.environment(), lambda path: None)


def rounds(backend):
    """How often to race; the server's locks on an object that several write are polled once a second."""
    return 3 if isinstance(backend, ObjectStoreBackend) else 20


def race(count, work):
    """Run ``work(number)`` in threads that start together; returns the results."""
    barrier = threading.Barrier(count)
    results = [None] * count

    def run(number):
        barrier.wait()
        results[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# --- conformance -------------------------------------------------------------------------------------------


def test_what_is_put_comes_back(backend):
    assert backend.put(KEY, [b"head", memoryview(b"body"), bytearray(b"tail")])
    assert backend.get(KEY) == b"headbodytail"
    assert bytes(backend.view(KEY)) == b"headbodytail"
    assert backend.get_range(KEY, 4, 4) == b"body"
    assert backend.get_range(KEY, 0, 12) == b"headbodytail"
    assert backend.get_range(KEY, 12, 0) == b""


def test_what_comes_piece_by_piece_is_an_object_at_the_end(backend):
    incoming = backend.begin()
    for piece in (b"head", memoryview(b"body"), bytearray(b"tail")):
        incoming.add(piece)
        assert list(backend.list("")) == []
    assert incoming.finish(KEY)
    assert backend.get(KEY) == b"headbodytail"
    incoming.discard()
    assert backend.get(KEY) == b"headbodytail"
    again = backend.begin()
    again.add(b"other")
    assert not again.finish(KEY)
    assert backend.get(KEY) == b"headbodytail"


def test_what_is_discarded_never_was(backend):
    incoming = backend.begin()
    incoming.add(b"bytes")
    incoming.discard()
    incoming.discard()
    assert list(backend.list("")) == []
    refused = backend.begin()
    refused.add(b"bytes")
    with pytest.raises(InvalidName):
        refused.finish("../outside")
    assert list(backend.list("")) == []


def test_an_empty_object_is_an_object(backend):
    assert backend.put(KEY, [])
    assert backend.get(KEY) == bytes(backend.view(KEY)) == b""
    assert list(backend.list("")) == [(KEY, 0)]


def test_a_view_cannot_be_written_and_outlives_a_delete(backend):
    backend.put(KEY, [b"bytes"])
    view = memoryview(backend.view(KEY))
    backend.delete(KEY)
    assert view.readonly
    assert bytes(view) == b"bytes"


def test_put_creates_only(backend):
    assert backend.put(KEY, [b"first"])
    assert not backend.put(KEY, [b"second"])
    assert backend.get(KEY) == b"first"


def test_put_after_delete_creates_again(backend):
    backend.put(KEY, [b"first"])
    backend.delete(KEY)
    backend.delete(KEY)
    assert backend.put(KEY, [b"second"])
    assert backend.get(KEY) == b"second"


@pytest.mark.parametrize("key", [KEY, "packs", "packs/ab", f"{KEY}/deeper"])
def test_what_is_not_there_is_not_found(backend, key):
    if key != KEY:
        backend.put(KEY, [b"an object beside"])
    with pytest.raises(NotFound):
        backend.get(key)
    with pytest.raises(NotFound):
        backend.get_range(key, 0, 1)
    with pytest.raises(NotFound):
        backend.view(key)


@pytest.mark.parametrize(("offset", "length"), [(0, 6), (5, 1), (6, 0), (-1, 1), (0, -1), (0, 1 << 60)])
def test_a_range_that_leaves_the_object_is_damage(backend, offset, length):
    backend.put(KEY, [b"bytes"])
    with pytest.raises(CorruptFile):
        backend.get_range(KEY, offset, length)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        ".hidden",
        "a\\b",
        "a b",
        "é",
        "a\x00b",
        "a\n",
        "root.lock",
        "a" * 256,
        "a/" * 300 + "a",
    ],
)
def test_keys_that_are_none_are_refused_everywhere(backend, key):
    for touch in (
        lambda: backend.get(key),
        lambda: backend.get_range(key, 0, 0),
        lambda: backend.put(key, [b""]),
        lambda: backend.delete(key),
        lambda: backend.replace(key, None, b""),
        lambda: backend.view(key),
    ):
        with pytest.raises(InvalidName):
            touch()


@given(st.text(alphabet="ab./\\-_ \0é", max_size=12))
@settings(deadline=None, max_examples=200)
def test_a_key_that_passes_stays_inside(key):
    try:
        check_key(key)
    except InvalidName:
        return
    names = key.split("/")
    assert all(name and name not in (".", "..") and "\0" not in name and "\\" not in name for name in names)


def test_list_is_sorted_and_takes_any_prefix(backend):
    keys = [
        "root",
        "a",
        "a-b",
        "a.b/x",
        "packs/ab/1.pack",
        "packs/abc/2.pack",
        "packs/b.pack",
        "packs-2/x",
        "aa/y",
    ]
    for size, key in enumerate(keys):
        backend.put(key, [b"x" * size])
    everything = sorted((key, size) for size, key in enumerate(keys))
    for prefix in (
        "",
        "packs/",
        "packs",
        "packs/ab",
        "packs/ab/",
        "packs/ab/1",
        "a",
        "a.",
        "nothing/",
        "root",
    ):
        assert list(backend.list(prefix)) == [item for item in everything if item[0].startswith(prefix)]
    for prefix in ("../", "/", "a//"):
        with pytest.raises(InvalidName):
            list(backend.list(prefix))


@given(keys=st.sets(st.from_regex(r"[a-c]([.-][a-c])?(/[a-c]([.-][a-c])?){0,2}", fullmatch=True), max_size=8))
@settings(deadline=None, max_examples=50)
def test_folder_and_memory_list_alike(tmp_path_factory, keys):
    stores = [open_(FileIO(), str(tmp_path_factory.mktemp("store"))) for open_ in BACKENDS.values()]
    kept = []
    for key in sorted(keys):
        # in a folder a name is a file or a folder; keys of the format never ask for both
        if not any(key.startswith(f"{other}/") for other in kept):
            kept.append(key)
            assert all(store.put(key, [b"x"]) for store in stores)
    assert len({tuple(store.list("")) for store in stores}) == 1
    assert [key for key, _ in stores[0].list("")] == sorted(kept)


def test_any_key_but_some_is_found(backend):
    assert backend.some_key() is None
    backend.put("root", [b"x"])
    backend.put("probe/1", [b"x"])
    assert backend.some_key() in ("root", "probe/1")
    assert backend.some_key(but=["root"]) == "probe/1"
    assert backend.some_key(but=["probe/"]) == "root"
    assert backend.some_key(but=["probe/", "root"]) is None
    assert backend.some_key(but=["prob", "probe", "root"]) == "probe/1"


def test_several_parts_come_in_the_order_in_which_they_were_asked_for(backend):
    backend.put(KEY, [b"0123456789"])
    assert backend.get_ranges(KEY, [(8, 2), (0, 3), (8, 2), (2, 0), (1, 5)]) == [
        b"89",
        b"012",
        b"89",
        b"",
        b"12345",
    ]
    assert backend.get_ranges(KEY, []) == []
    with pytest.raises(CorruptFile):
        backend.get_ranges(KEY, [(0, 3), (8, 3)])


def test_replace_compares_all_bytes(backend):
    backend.replace("root", None, b"one")
    for wrong in (None, b"", b"on", b"one "):
        with pytest.raises(RootMoved):
            backend.replace("root", wrong, b"two")
    assert backend.get("root") == b"one"
    backend.replace("root", b"one", b"two")
    backend.replace("root", b"two", b"")
    backend.replace("root", b"", b"three")
    assert backend.get("root") == b"three"
    assert list(backend.list("")) == [("root", 5)]


def test_replace_of_what_is_not_there_is_refused(backend):
    with pytest.raises(RootMoved):
        backend.replace("root", b"one", b"two")
    with pytest.raises(NotFound):
        backend.get("root")


def test_of_threads_that_put_exactly_one_wins(backend):
    for turn in range(rounds(backend)):
        key = f"packs/{turn:02}/x.pack"
        results = race(6, lambda me, key=key: backend.put(key, [b"%d" % me] * 1000))
        assert results.count(True) == 1
        assert backend.get(key) == b"%d" % results.index(True) * 1000


def test_of_threads_that_replace_exactly_one_wins_each_round(backend):
    backend.replace("root", None, b"start")

    def work(me, expected):
        try:
            backend.replace("root", expected, b"%d of %s" % (me, expected))
        except RootMoved:
            return False
        return True

    for _ in range(rounds(backend)):
        expected = backend.get("root")[-100:]
        backend.replace("root", backend.get("root"), expected)
        results = race(6, lambda me, expected=expected: work(me, expected))
        assert results.count(True) == 1
        assert backend.get("root") == b"%d of %s" % (results.index(True), expected)


# --- the folder --------------------------------------------------------------------------------------------


def test_processes_that_count_together_lose_no_step(tmp_path):
    folder_backend(tmp_path).replace("root", None, b"0")
    children = [fork(lambda: count(tmp_path, 25)) for _ in range(4)]
    assert [was_killed(child) for child in children] == [False] * 4
    assert folder_backend(tmp_path).get("root") == b"100"


def count(root, times):
    backend = folder_backend(root, FaultIO())
    while times:
        now = backend.get("root")
        try:
            backend.replace("root", now, b"%d" % (int(now) + 1))
        except RootMoved:
            continue
        times -= 1


def test_the_folder_leaves_no_temporary_files(tmp_path):
    backend = folder_backend(tmp_path)
    backend.put(KEY, [b"one"])
    backend.put(KEY, [b"two"])
    backend.replace("root", None, b"x")
    assert [item.suffix for item in (tmp_path / "tmp").iterdir()] == [".lock"]


def test_local_files_and_links_are_not_listed(tmp_path):
    backend = folder_backend(tmp_path)
    backend.put("packs/ab/x.pack", [b"x"])
    backend.replace("root", None, b"x")
    (tmp_path / ".gitignore").write_text("*")
    (tmp_path / "tmp" / "leftover").write_text("x")
    (tmp_path / "packs" / "loop").symlink_to(tmp_path)
    (tmp_path / "packs" / "file").symlink_to(tmp_path / "root")
    assert [key for key, _ in backend.list("")] == ["packs/ab/x.pack", "root"]


def test_links_and_pipes_in_an_objects_place_are_not_read(tmp_path):
    backend = folder_backend(tmp_path)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / "pipe")
    for read in (backend.get, backend.view, lambda key: backend.get_range(key, 0, 1)):
        with pytest.raises(StorageError):
            read("link")
        with pytest.raises(NotFound):
            read("pipe")


def test_a_store_whose_folder_is_gone_says_so(tmp_path):
    backend = folder_backend(tmp_path / "gone")
    with pytest.raises(StorageError, match="cannot write packs/ab"):
        backend.put(KEY, [b"x"])


def put_whole(backend):
    backend.put(KEY, [b"new pack"])


def put_by_pieces(backend):
    incoming = backend.begin()
    try:
        for piece in (b"new", b" ", b"pack"):
            incoming.add(piece)
        incoming.finish(KEY)
    finally:
        incoming.discard()


WAYS = pytest.mark.parametrize("put", [put_whole, put_by_pieces])


@pytest.fixture(autouse=True)
def synced_often(monkeypatch):
    monkeypatch.setattr(folder, "SYNC_BYTES", 4)


def change(root, io, put=put_whole):
    """One commit in small: an object, then the swap that makes it count."""
    backend = folder_backend(root, io)
    put(backend)
    backend.replace("root", b"old", b"new")


def holds(root):
    """Which root a store has; whatever it names must be there, whole."""
    backend = folder_backend(root)
    state = backend.get("root")
    assert state in (b"old", b"new")
    if state == b"new":
        assert backend.get(KEY) == b"new pack"
    return state


def start(root):
    root.mkdir(parents=True)
    folder_backend(root).replace("root", None, b"old")
    return root


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("late", [False, True])
@WAYS
def test_an_error_at_any_step_is_a_storage_error_and_harms_nothing(tmp_path, error, late, put):
    step = 0
    while True:
        step += 1
        root = start(tmp_path / str(step))
        io = FaultIO(fail_at=step, error=error, late=late)
        try:
            change(root, io, put)
        except StorageError:
            holds(root)
        else:
            # giving up the names at the end is no part of the change
            if not io.failed:
                break
        if holds(root) == b"old":
            change(root, FaultIO())
        assert holds(root) == b"new", "the next try goes through"
    assert step > 15


@WAYS
def test_a_kill_at_any_step_harms_nothing(tmp_path, put):
    step, seen = 0, set()
    while True:
        step += 1
        root = start(tmp_path / str(step))
        if not run_killed(lambda io, root=root: change(root, io, put), step):
            break
        seen.add(holds(root))
        if holds(root) == b"old":
            change(root, FaultIO())
        assert holds(root) == b"new", "locks of the dead are free"
    assert seen == {b"old", b"new"}


def power_cut(tmp_path, put, forget=()):
    """How often a power cut left damage, or lost what was acknowledged."""
    root = start(tmp_path / "store")
    before, io = snapshot(root), Recorder()
    change(root, io, put)
    rng, damaged, lost, number = random.Random(5), 0, 0, 0
    model = PowerCut(root, before, io.trace, forget)
    for cut in range(len(io.trace) + 1):
        for state in model.states(cut, 6, rng):
            number += 1
            lay_out(state, tmp_path / f"cut{number}")
            try:
                lost += cut == len(io.trace) and holds(tmp_path / f"cut{number}") == b"old"
                holds(tmp_path / f"cut{number}")
            except (AssertionError, NotFound):
                damaged += 1
    return damaged, lost


@WAYS
def test_a_power_cut_harms_nothing(tmp_path, put):
    assert power_cut(tmp_path, put) == (0, 0)


@pytest.mark.parametrize("forget", ["sync", "sync_folder"])
@WAYS
def test_each_kind_of_sync_is_needed(tmp_path, forget, put):
    assert sum(power_cut(tmp_path, put, (forget,))) > 0


def test_an_object_that_was_there_is_durable_before_put_says_so(tmp_path):
    """The writer that was first may not have synced the name yet, and we are about to rely on it."""
    root = start(tmp_path / "store")
    before, io = snapshot(root), Recorder()
    real, io.sync_folder = io.sync_folder, lambda path: None
    folder_backend(root, io).put(KEY, [b"new pack"])
    io.sync_folder = real
    assert not folder_backend(root, io).put(KEY, [b"new pack"])
    for state in PowerCut(root, before, io.trace).states(len(io.trace), 30, random.Random(3)):
        assert state[KEY][0] == b"new pack"
