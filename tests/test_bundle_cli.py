"""Bundles as people use them: made, carried, looked at, cloned, fetched and pulled from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import mvc
from mvc.backends.buckets import open_bucket
from mvc.backends.memory import MemoryBackend
from mvc.errors import CorruptFile
from mvc.monitor import Monitor
from mvc.sharing.addresses import parse_address
from mvc.sharing.bundle import BundleStore
from tests.test_cli import Run, fails, ok, run, two, write_model  # noqa: F401  fixtures


def work_on(run: Run, folder: str, seed: int) -> str:  # noqa: F811
    """One more version there; its id."""
    write_model(Path(folder) / "model.safetensors", seed=1, moved=seed)
    ok(run("-C", folder, "commit", "-m", f"moved {seed}"))
    return run("-C", folder, "rev-parse", "HEAD").out.strip()


@pytest.fixture
def pair(two: Run) -> Run:  # noqa: F811
    """Two versions here, and a copy of them made from ``first.bundle`` in ``../copy``."""
    ok(two("bundle", "create", "../first.bundle", "main", "v1"))
    ok(two("clone", "../first.bundle", "../copy"))
    ok(two("-C", "../copy", "config", "user.name", "Bob"))
    ok(two("-C", "../copy", "config", "user.email", "bob@example.org"))
    return two


def test_a_bundle_is_made_and_told_of(two: Run) -> None:  # noqa: F811
    head = two("rev-parse", "HEAD").out.strip()
    made = two("bundle", "create", "../it.bundle", "main", "v1", "--json").data
    assert made["path"] == "../it.bundle"
    assert made["bytes"] == Path("../it.bundle").stat().st_size
    assert {row["name"] for row in made["refs"]} == {"refs/heads/main", "refs/tags/v1"}
    assert (made["commits"], made["needs"]) == (2, [])
    listed = two("bundle", "list", "../it.bundle", "--json").data
    assert listed["refs"] == made["refs"]
    assert (listed["branch"], listed["lacking"], listed["commits"]) == ("main", [], 2)
    assert head[:12] in ok(two("bundle", "list", "../it.bundle")).out
    assert "is whole" in ok(two("bundle", "verify", "../it.bundle")).out
    fails(two("bundle", "create", "../it.bundle"), 3, "is there already", "--force")
    ok(two("bundle", "create", "../it.bundle", "--force"))
    Path("../elsewhere").mkdir()
    assert two("-C", "../elsewhere", "bundle", "verify", "../it.bundle", "--json").data["lacking"] is None


def test_what_makes_no_sense(two: Run) -> None:  # noqa: F811
    fails(two("bundle"), 2)
    fails(two("bundle", "create"), 2)
    fails(two("bundle", "burn", "it"), 2)
    fails(two("bundle", "list", "it", "main"), 2)
    fails(two("bundle", "verify", "it", "--since", "v1"), 2)
    fails(two("bundle", "create", "it", "main", "--all"), 2)
    fails(two("bundle", "create", "it", "HEAD~1"), 3, "mvc tag")
    fails(two("bundle", "create", "it", "nothing"), 3)
    fails(two("bundle", "create", "it", "--since", "HEAD"), 1, "nothing to bundle")
    fails(two("bundle", "list", "model.safetensors"), 3, "is no bundle")
    fails(two("bundle", "verify", "missing.bundle"), 3)
    assert not Path("it").exists()


def test_a_clone_of_a_bundle_is_the_repository(pair: Run) -> None:
    assert Path("../copy/model.safetensors").read_bytes() == Path("model.safetensors").read_bytes()
    assert pair("-C", "../copy", "rev-parse", "HEAD", "v1").out == pair("rev-parse", "HEAD", "v1").out
    assert ok(pair("-C", "../copy", "status")).code == 0
    assert pair("-C", "../copy", "fsck", "--full").code == 0


def test_a_bundle_with_what_is_new_is_pulled(pair: Run) -> None:
    new = work_on(pair, ".", 7)
    ok(pair("bundle", "create", "../second.bundle", "--since", "HEAD~1"))
    assert Path("../second.bundle").stat().st_size < Path("../first.bundle").stat().st_size
    ok(pair("-C", "../copy", "bundle", "verify", "../second.bundle"))
    ok(pair("-C", "../copy", "pull", "../second.bundle", "main"))
    assert pair("-C", "../copy", "rev-parse", "HEAD").out.strip() == new
    assert Path("../copy/model.safetensors").read_bytes() == Path("model.safetensors").read_bytes()
    assert pair("-C", "../copy", "fsck", "--full").code == 0


def test_a_bundle_that_is_a_remote_is_fetched_anew(pair: Run) -> None:
    """The stick that goes to and fro has one name, and another content each time."""
    ok(pair("-C", "../copy", "remote", "add", "stick", "../first.bundle"))
    new = work_on(pair, ".", 5)
    ok(pair("bundle", "create", "../first.bundle", "--all", "--force"))
    ok(pair("-C", "../copy", "fetch", "stick"))
    assert pair("-C", "../copy", "rev-parse", "stick/main").out.strip() == new
    fails(pair("-C", "../copy", "push", "stick", "main:other"), 3, "bundle cannot be changed")


def test_what_it_builds_on_must_be_here(pair: Run) -> None:
    first = work_on(pair, ".", 3)
    work_on(pair, ".", 4)
    ok(pair("bundle", "create", "../third.bundle", "--since", "HEAD~1"))
    fails(pair("-C", "../copy", "pull", "../third.bundle", "main"), 3, first[:12], "moved 3")
    fails(pair("clone", "../third.bundle", "../other"), 3, first[:12])
    assert not Path("../other").exists()
    told = pair("-C", "../copy", "bundle", "verify", "../third.bundle")
    fails(told, 1, "is whole, but a version that it builds on is not here")
    assert json.loads(pair("-C", "../copy", "bundle", "verify", "../third.bundle", "--json").out)[
        "lacking"
    ] == [{"commit": first, "subject": "moved 3"}]


def test_a_damaged_one_is_refused_by_name(pair: Run) -> None:
    work_on(pair, ".", 7)
    ok(pair("bundle", "create", "../second.bundle", "--since", "HEAD~1"))
    data = bytearray(Path("../second.bundle").read_bytes())
    data[len(data) // 3] ^= 1
    Path("../second.bundle").write_bytes(data)
    for words in (("pull", "../second.bundle", "main"), ("bundle", "verify", "../second.bundle")):
        fails(pair("-C", "../copy", *words), 5, "second.bundle", "damaged")
    Path("../second.bundle").write_bytes(data[: len(data) // 2])
    fails(pair("-C", "../copy", "pull", "../second.bundle", "main"), 5, "second.bundle")


def test_a_clone_begins_with_a_bundle(pair: Run) -> None:
    """The bulk comes from a file, the rest from where everybody pushes to."""
    ok(pair("remote", "add", "origin", "../shared"))
    new = work_on(pair, ".", 9)
    ok(pair("push", "origin", "main"))
    ok(pair("clone", "--bundle", "../first.bundle", "../shared", "../begun"))
    assert pair("-C", "../begun", "rev-parse", "HEAD", "origin/main").out.split() == [new, new]
    log = ok(pair("-C", "../begun", "oplog")).out
    assert "first.bundle" in log
    assert pair("-C", "../begun", "fsck", "--full").code == 0


def test_python_reads_it_where_it_lies(pair: Run) -> None:
    with mvc.Repo.open(f"file://{Path('../first.bundle').absolute()}") as repo:
        version = repo["v1"]
        assert "config.json" in version
        loaded = version["model.safetensors"].tensors["w"]
    ok(pair("checkout", "v1"))
    expected = safetensors.numpy.load_file("model.safetensors")["w"]
    assert np.array_equal(loaded, expected)


class Counted(MemoryBackend):
    """A bucket that counts what is read."""

    request_bytes = 128 << 10
    read_bytes = 0

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        self.read_bytes += length
        return super().get_range(key, offset, length)


def test_a_bundle_in_a_bucket_is_read_where_it_lies(two: Run) -> None:  # noqa: F811
    Path("noise.bin").write_bytes(bytes(range(256)) * 800)
    ok(two("commit", "-m", "with noise"))
    ok(two("bundle", "create", "../it.bundle"))
    data = Path("../it.bundle").read_bytes()
    bucket = Counted()
    bucket.put("archive/it.bundle", [data])
    bucket.put("archive/it.bundle.txt", [b"beside it"])
    store = BundleStore.open_object(bucket, "archive/it.bundle", "s3://b/archive/it.bundle", Monitor())
    assert store is not None
    assert bucket.read_bytes < 2000
    with store.reading() as view:
        head = view.refs.get("refs/heads/main")
        assert view.commit(head).message == "with noise"
    assert BundleStore.open_object(bucket, "archive/it.bundle.txt", "it", Monitor()) is None
    assert BundleStore.open_object(bucket, "archive/it", "it", Monitor()) is None
    bucket.put("archive/torn.bundle", [data[:-1]])
    with pytest.raises(CorruptFile, match=r"s3://b/archive/torn\.bundle"):
        BundleStore.open_object(bucket, "archive/torn.bundle", "s3://b/archive/torn.bundle", Monitor())


def test_a_clone_begins_with_a_bundle_that_lies_in_a_bucket(pair: Run, seaweed, monkeypatch) -> None:
    """Both in one real bucket: the file that somebody put there, and the store that all push to."""
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    address, archive = seaweed.address(), seaweed.address()
    named = parse_address(archive, Path("/"))
    bucket = open_bucket("s3", named.name, named.prefix, seaweed.environment(), lambda _path: None)
    bucket.put("first.bundle", [Path("../first.bundle").read_bytes()])
    ok(pair("remote", "add", "origin", address))
    new = work_on(pair, ".", 9)
    ok(pair("push", "origin", "main"))
    ok(pair("clone", "--bundle", f"{archive}/first.bundle", address, "../begun"))
    assert pair("-C", "../begun", "rev-parse", "HEAD").out.strip() == new
    assert pair("-C", "../begun", "fsck", "--full").code == 0
    ok(pair("clone", f"{archive}/first.bundle", "../old"))
    assert pair("-C", "../old", "rev-parse", "v1").out == pair("rev-parse", "v1").out
    fails(pair("clone", f"{archive}/second.bundle", "../none"), 3, "no store")
