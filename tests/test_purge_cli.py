"""``mvc purge`` and what every other command says of what is gone."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvc.objectid import ID_BYTES
from mvc.purging.needles import Needles
from tests.make_files import safetensors_bytes
from tests.test_cli import Run, run

__all__ = ["run"]

SECRET = random.Random(3).randbytes(70_000)


@pytest.fixture
def leaked(run: Run) -> Run:
    """Two versions, both with a secret; it has left the folder since."""
    run("init")
    Path("secret.bin").write_bytes(SECRET)
    Path("a.txt").write_text("one\n")
    run("commit", "-m", "first")
    Path("a.txt").write_text("two\n")
    run("commit", "-m", "second")
    Path("secret.bin").unlink()
    return run


def test_nobody_to_ask_is_a_no(leaked):
    done = leaked("purge", "secret.bin")
    assert done.code == 2
    assert "--yes" in done.err
    assert leaked("cat", "HEAD:secret.bin").raw == SECRET


def test_a_dry_run_tells_and_does_nothing(leaked):
    told = leaked("purge", "secret.bin", "-n", "--json").data
    assert told["done"] is False
    assert [item["path"] for item in told["files"]] == ["secret.bin"]
    assert told["stored_bytes"] >= len(SECRET)
    assert leaked("cat", "HEAD:secret.bin").raw == SECRET


def test_it_tells_what_it_did_and_proves_it(leaked):
    done = leaked("purge", "secret.bin", "--yes", "--reason", "leaked", "--json").data
    assert done["done"]
    assert done["proof"]["clean"]
    assert done["proof"]["ids"] == done["objects"]
    assert done["waiting"] == {"who": [], "packs": 0, "bytes": 0}
    (row,) = leaked("purge", "--list", "--json").data
    assert (row["name"], row["what"], row["why"]) == (done["purge"], "secret.bin", "leaked")
    assert "nothing left" in leaked("purge", "--finish").out
    assert "nothing left" in leaked("purge", "secret.bin", "--yes").out


def test_ids_change_where_history_is_written_anew(leaked):
    old = leaked("rev-parse", "HEAD").out.strip()
    done = leaked("purge", "--rewrite", "secret.bin", "--yes", "--json").data
    assert done["rewritten"][old] == leaked("rev-parse", "HEAD").out.strip()
    assert leaked("ls").out.split()[-1] == "a.txt"
    assert leaked("status").code == 0
    assert leaked("fsck", "--full").code == 0


SAID = {
    ("cat", "HEAD:secret.bin"): 3,
    ("show", "HEAD:secret.bin"): 3,
    ("blame", "secret.bin"): 3,
    ("restore", "secret.bin"): 3,
    ("checkout", "HEAD~1", "--", "secret.bin"): 3,
    ("ls", "--tensors", "HEAD:secret.bin"): 0,
}
"""What needs its bytes says that it was purged; a list of its tensors is empty."""


@pytest.mark.parametrize("words", SAID, ids=" ".join)
def test_what_needs_it_says_so(leaked, words):
    leaked("purge", "secret.bin", "--yes", "--reason", "leaked")
    done = leaked(*words)
    assert done.code == SAID[words], done
    assert "missing" not in done.err
    if done.code:
        assert "was purged on" in done.err
        assert "leaked" in done.err


@pytest.mark.parametrize("words", [("status",), ("status", "--json"), ("diff",), ("commit", "-m", "2")])
@pytest.mark.parametrize("target", ["model.safetensors", "model.safetensors#b"])
def test_new_weights_beside_a_purged_file(run, words, target):
    """A new file is compared with the weights of those that left their places; one of them was purged."""
    run("init")
    chance = random.Random(7)

    def weights() -> bytes:
        return safetensors_bytes({name: ("U8", [9000], chance.randbytes(9000)) for name in "ab"})

    Path("model.safetensors").write_bytes(weights())
    Path("other.safetensors").write_bytes(weights())
    run("commit", "-m", "first")
    assert run("purge", target, "--yes").code == 0
    Path("model.safetensors").unlink()
    Path("other.safetensors").unlink()
    Path("new.safetensors").write_bytes(weights())
    assert run(*words).code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("log",),
        ("log", "--stat"),
        ("log", "secret.bin"),
        ("log", "a.txt"),
        ("show",),
        ("show", "HEAD~1"),
        ("ls",),
        ("ls", "--json"),
        ("diff", "HEAD~1", "HEAD"),
        ("diff",),
        ("status",),
        ("blame", "a.txt"),
        ("grep", "second"),
        ("stats",),
        ("fsck",),
        ("fsck", "--full"),
        ("fsck", "--sample", "50%"),
        ("gc",),
        ("gc", "--repack"),
        ("checkout", "HEAD~1"),
        ("oplog",),
        ("commit", "-m", "without it"),
        ("cat", "HEAD~1:a.txt"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("target", ["secret.bin", "HEAD~1:secret.bin"])
def test_everything_else_goes_on(leaked, words, target):
    leaked("purge", target, "--everywhere", "--yes", "--reason", "leaked")
    done = leaked(*words)
    assert done.code == 0, done


@pytest.mark.parametrize(
    "words",
    [
        ("log",),
        ("log", "--stat"),
        ("log", "--name-only", "--json"),
        ("log", "a.txt"),
        ("show",),
        ("show", "--json"),
        ("stats",),
        ("fsck", "--full"),
        ("gc",),
        ("status",),
        ("grep", "second"),
        ("oplog",),
    ],
    ids=" ".join,
)
def test_a_version_that_went_whole_is_in_nobodys_way(leaked, words):
    assert leaked("purge", "HEAD~1", "--yes").code == 0
    assert leaked(*words).code == 0
    assert leaked("checkout", "HEAD~1").code == 3


@pytest.mark.parametrize(
    "words",
    [(), ("x", "--finish"), ("--finish", "--list"), ("--wait", "-1", "x")],
    ids=lambda words: " ".join(words) or "nothing",
)
def test_what_makes_no_sense(leaked, words):
    assert leaked("purge", *words).code == 2


def test_a_commit_is_refused_until_it_is_forgiven(leaked):
    leaked("purge", "secret.bin", "--yes", "--reason", "leaked")
    Path("copy.bin").write_bytes(SECRET)
    refused = leaked("commit", "-m", "again")
    assert refused.code == 3
    assert "copy.bin" in refused.err
    name = leaked("purge", "--list", "--json").data[0]["name"]
    assert leaked("purge", "--forgive", name[:8]).code == 0
    assert leaked("purge", "--list", "--json").data[0]["lifted"]
    assert leaked("commit", "-m", "again").code == 0
    assert leaked("cat", "HEAD:copy.bin").raw == SECRET
    assert leaked("fsck", "--full").code == 0


def test_a_tensor_that_went(run):
    """The others of its file are read one by one; what needs the file says what is gone."""
    run("init")
    weights = {
        name: ("F32", (5000,), np.arange(start, start + 5000, dtype="<f4").tobytes())
        for start, name in enumerate("ab")
    }
    Path("model.safetensors").write_bytes(safetensors_bytes(weights))
    run("commit", "-m", "one")
    assert run("purge", "model.safetensors#a", "--yes", "--reason", "leaked").code == 0
    rows = run("ls", "--tensors", "--json").data
    assert {row["name"]: row["codecs"] == ["purged"] for row in rows} == {"a": True, "b": False}
    assert run("cat", "HEAD:model.safetensors#b").code == 0
    for words in (
        ("cat", "HEAD:model.safetensors#a"),
        ("cat", "HEAD:model.safetensors"),
        ("restore", "model.safetensors"),
        ("commit", "--rescan", "--allow-empty", "-m", "again"),
    ):
        done = run(*words)
        assert done.code == 3, (words, done)
        assert "was purged on" in done.err
    for words in (
        ("fsck", "--full"),
        ("gc", "--repack"),
        ("status",),
        ("log", "--stat"),
        ("show",),
        ("stats",),
    ):
        done = run(*words)
        assert done.code == 0, (words, done)


ID = st.integers(0, 255).map(lambda number: random.Random(number).randbytes(ID_BYTES))


@given(
    st.lists(ID, min_size=1, max_size=8, unique=True),
    st.lists(st.tuples(st.binary(max_size=9), st.integers(0, 7), st.booleans()), max_size=8),
)
def test_ids_are_found_wherever_they_lie(ids, pieces):
    data = bytearray()
    for filler, number, whole in pieces:
        data += filler
        needle = ids[number % len(ids)]
        data += needle if whole else needle[:-1]
    expected = [at for at in range(len(data)) if bytes(data[at : at + ID_BYTES]) in ids]
    assert list(Needles(ids).find(bytes(data))) == expected
