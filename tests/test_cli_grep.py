"""``mvc grep`` from end to end: what is found where, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.make_files import safetensors_bytes
from tests.test_cli import Run, fails, ok, run  # noqa: F401  run is a fixture


@pytest.fixture
def repository(run: Run) -> Run:  # noqa: F811
    """Two versions; the second adds a tensor ``head.bias``, a note, and changes a text."""
    ok(run("init"))
    model = {"body.weight": ("F32", (2,), bytes(8))}
    Path("m.safetensors").write_bytes(safetensors_bytes(model, metadata={"trainer": "AdamW"}))
    Path("readme.md").write_text("first line\nhidden_size: 12\n")
    ok(run("commit", "-m", "first\n\nwarm-up of 10", "--metric", "loss=2.5", "--param", "optimizer=AdamW"))
    model["head.bias"] = ("F32", (3,), bytes(12))
    Path("m.safetensors").write_bytes(safetensors_bytes(model, metadata={"trainer": "AdamW"}))
    Path("sub").mkdir()
    Path("sub/t.txt").write_text("head\n")
    ok(run("commit", "-m", "second"))
    return run


def lines(result) -> list[str]:
    return ok(result).out.splitlines()


def test_names_metadata_and_messages(repository: Run) -> None:
    assert lines(repository("grep", r"head\..*")) == ["m.safetensors#head.bias  F32 [3]"]
    assert lines(repository("grep", "adamw", "-i")) == ["m.safetensors: trainer = AdamW"]
    assert lines(repository("grep", "trainer", "--metadata")) == ["m.safetensors: trainer = AdamW"]
    first = repository("log", "--json").data[1]["id"][:12]
    assert lines(repository("grep", "AdamW", "HEAD~1")) == [
        "HEAD~1: param optimizer = AdamW",
        "HEAD~1:m.safetensors: trainer = AdamW",
    ]
    assert lines(repository("grep", "warm", first)) == [f"{first}: message warm-up of 10"]
    assert lines(repository("grep", "loss", "HEAD~1", "--metadata")) == ["HEAD~1: metric loss = 2.5"]


def test_scopes_leave_the_others_out(repository: Run) -> None:
    for scope, pattern in (("--names", "AdamW"), ("--metadata", "bias"), ("--messages", "bias")):
        assert repository("grep", scope, pattern).code == 1
    assert repository("grep", "hidden_size").code == 1
    assert lines(repository("grep", "--text", "hidden_size")) == ["readme.md:2: hidden_size: 12"]


def test_paths_leave_versions_out(repository: Run) -> None:
    assert repository("grep", "second", "--", "sub").code == 1
    assert lines(repository("grep", "--text", "head", "--", "sub")) == ["sub/t.txt:1: head"]
    assert lines(repository("-C", "sub", "grep", "--text", "head", "--", "t.txt")) == ["t.txt:1: head"]


def test_all_of_history_tells_what_each_version_brought_in(repository: Run) -> None:
    new, old = (row["id"][:12] for row in repository("log", "--json").data)
    assert lines(repository("grep", "--all", "--names", "weight")) == [
        f"{new}:m.safetensors#body.weight  F32 [2]",
        f"{old}:m.safetensors#body.weight  F32 [2]",
    ]
    assert lines(repository("grep", "--all", "--text", "first")) == [
        f"{old}: message first",
        f"{old}:readme.md:1: first line",
    ]
    found = lines(repository("grep", "weight", "HEAD~1..HEAD"))
    assert found == [f"{new}:m.safetensors#body.weight  F32 [2]"]


def test_lists_and_counts(repository: Run) -> None:
    assert lines(repository("grep", "-l", ".", "--names")) == ["m.safetensors"]
    assert lines(repository("grep", "-c", ".", "--names")) == ["m.safetensors: 2"]
    assert repository("grep", "-c", ".", "--names", "--json").data[0]["count"] == 2
    assert "count" not in repository("grep", "-l", ".", "--names", "--json").data[0]


def test_json_says_all_of_it(repository: Run) -> None:
    rows = repository("grep", "--json", "bias").data
    head = repository("log", "-n", "1", "--json").data[0]["id"]
    assert rows == [
        {
            "kind": "tensor",
            "commit": head,
            "path": "m.safetensors",
            "name": "head.bias",
            "text": None,
            "line": None,
            "dtype": "F32",
            "shape": [3],
        }
    ]
    nothing = repository("grep", "--json", "nosuch")
    assert nothing.code == 1 and nothing.data == []


def test_notes_are_searched(repository: Run) -> None:
    ok(repository("notes", "add", "HEAD~1", "-m", "diverged at night", "--metric", "bleu=0.3"))
    found = lines(repository("grep", "--all", "--messages", "night|bleu"))
    assert [line.partition(": ")[2] for line in found] == ["note diverged at night", "note bleu = 0.3"]


def test_texts_are_small_and_no_binaries(repository: Run) -> None:
    Path("large.txt").write_text("needle\n" + "x" * (1 << 20))
    Path("binary").write_bytes(b"\0needle\n")
    Path("long.txt").write_text("x" * 5000 + "needle\n")
    ok(repository("commit", "-m", "third"))
    assert repository("grep", "--text", "needle").code == 1


def test_foreign_text_stays_on_its_line(repository: Run) -> None:
    Path("evil.txt").write_text("needle \x1b[31m red\n")
    ok(repository("commit", "-m", "third"))
    assert lines(repository("grep", "--text", "needle")) == ["evil.txt:1: needle \\u001b[31m red"]


def test_what_makes_no_sense_is_refused(repository: Run) -> None:
    fails(repository("grep", "("), 2, "-F")
    assert lines(repository("grep", "-F", "head.b", "--names")) == ["m.safetensors#head.bias  F32 [3]"]
    assert repository("grep", "-F", "head.*").code == 1
    fails(repository("grep", "x", "nosuch"), 3)
    fails(repository("grep", "x", "HEAD:sub"), 3)
    fails(repository("grep"), 2)
