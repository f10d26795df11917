"""What moves history, from end to end: what is printed, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lines import model
from tests.test_cli import Run, fails, ok, run

__all__ = ["run"]


@pytest.fixture
def forked(run: Run) -> Run:
    """``main`` and ``side``, which both changed tensor ``b`` and the file ``x``, and others alone."""
    ok(run("init"))
    Path("m.safetensors").write_bytes(model())
    Path("x").write_bytes(b"\0base")
    ok(run("commit", "-m", "base"))
    ok(run("switch", "-c", "side"))
    Path("m.safetensors").write_bytes(model(b=2.0, c=1.0))
    Path("x").write_bytes(b"\0theirs")
    Path("new").write_text("new\n")
    ok(run("commit", "-m", "theirs", "--metric", "loss=1.5"))
    ok(run("switch", "-"))
    Path("m.safetensors").write_bytes(model(a=1.0, b=1.0))
    Path("x").write_bytes(b"\0ours")
    ok(run("commit", "-m", "ours"))
    return run


def refused(result, code):
    """The JSON of an outcome that is no success."""
    assert result.code == code and result.err == "", result
    return json.loads(result.out)


def test_a_merge_in_conflict_lists_it_and_says_what_to_do(forked: Run) -> None:
    told = fails(
        forked("merge", "side"), 4, "2 files in conflict", "mvc restore --ours|--theirs PATH", "--abort"
    )
    assert told.out.splitlines()[0].split() == ["content", "m.safetensors", "b"]
    told = ok(forked("status"))
    assert "A merge of " in told.out and "(theirs) is under way" in told.out and "m.safetensors" in told.out
    state = forked("status", "--json").data
    assert state["pending"]["kind"] == "merge" and len(state["unresolved"]) == 2
    fails(forked("commit", "-m", "no"), 4, "in conflict")
    fails(forked("switch", "side"), 4, "under way", "mvc merge --continue")
    fails(forked("merge", "side"), 4, "under way")
    fails(forked("merge", "--continue"), 4, "in conflict")
    ok(forked("restore", "--theirs", "x"))
    ok(forked("merge", "--continue", "--strategy", "average", "--metric", "loss=1.2"))
    assert Path("x").read_bytes() == b"\0theirs"
    shown = forked("show", "--json").data
    assert shown["message"] == "Merge branch 'side'" and len(shown["parents"]) == 2
    assert shown["merge"]["strategy"] == "average" and shown["merge"]["weight"] == 0.5
    assert shown["merge"]["bases"] == [forked("log", "--json", "main~2").data[0]["id"]]
    assert "Merged with average, weight 0.5" in ok(forked("show")).out
    assert ok(forked("status", "--json")).data["pending"] is None


def test_merge_json_and_dry_run(forked: Run) -> None:
    told = refused(forked("merge", "side", "--dry-run", "--json"), 4)
    assert told["kind"] == "conflicts" and told["dry_run"]
    assert "would be in conflict" in forked("merge", "side", "--dry-run").out
    assert forked("status", "--json").data["clean"]
    done = refused(forked("merge", "side", "--json"), 4)
    assert done["conflicts"] == [
        {"path": "m.safetensors", "kind": "content", "details": ["b"], "ours": True, "theirs": True},
        {**done["conflicts"][1], "path": "x", "ours": True},
    ]
    back = ok(forked("merge", "--abort", "--json")).data
    assert (
        back["commit"] == forked("log", "--json").data[0]["id"] and forked("status", "--json").data["clean"]
    )
    done = ok(forked("merge", "--strategy", "ours", "--json", "side")).data
    assert done["kind"] == "merged" and done["branch"] == "main"
    assert {"path": "new", "kind": "added"} in done["changes"]
    assert ok(forked("merge", "side")).out == "already up to date\n"
    assert ok(forked("undo")).out.startswith("undone: merge --strategy ours side")
    assert Path("x").read_bytes() == b"\0ours" and not Path("new").exists()


def test_merge_usage(forked: Run) -> None:
    for words in ((), ("side", "--abort"), ("--continue", "--abort"), ("side", "--ff-only", "--no-ff")):
        fails(forked("merge", *words), 2)
    fails(forked("merge", "side", "--strategy", "magic"), 2, "magic")
    fails(forked("merge", "side", "--weight", "half", "--strategy", "average"), 2, "--weight is a number")
    fails(forked("merge", "side", "--ff-only"), 1, "not a fast-forward")
    fails(forked("merge", "nowhere"), 3)
    fails(forked("merge", "--continue", "--squash"), 2)
    fails(forked("merge", "side", "-m", " "), 2, "message is empty")
    fails(forked("merge", "--continue"), 3, "no merge is under way")
    ok(forked("switch", "--orphan", "other"))
    Path("o").write_text("o")
    ok(forked("commit", "-m", "other"))
    fails(forked("merge", "main"), 3, "no version in common", "--allow-unrelated-histories")


def test_pick_and_revert(forked: Run) -> None:
    told = fails(forked("cherry-pick", "side"), 4, "in conflict", "mvc cherry-pick --continue")
    assert "stopped at" in told.out
    assert "A cherry-pick of" in forked("status").out
    ok(forked("cherry-pick", "--abort"))
    done = ok(forked("cherry-pick", "-x", "--strategy", "theirs", "--json", "side")).data
    assert len(done["made"]) == 1 and done["stopped"] is None
    assert "(cherry picked from commit" in forked("log", "--json", "-n", "1").data[0]["message"]
    fails(forked("cherry-pick", "--strategy", "theirs", "side"), 1, "changes nothing", "--skip")
    ok(forked("cherry-pick", "--skip"))
    assert 'Revert "theirs"' in ok(forked("revert", "HEAD")).out
    assert not Path("new").exists()
    fails(forked("revert"), 2)
    fails(forked("revert", "HEAD", "--skip"), 2)
    fails(forked("revert", "--continue"), 3, "no revert is under way")
    told = refused(forked("cherry-pick", "side", "--json"), 4)
    assert told["stopped"] == forked("log", "--json", "side").data[0]["id"]
    state = forked("status", "--json").data
    assert state["pending"]["kind"] == "cherry-pick" and state["pending"]["rest"] == []
    ok(forked("restore", "--theirs", "."))
    ok(forked("commit"))
    assert forked("log", "--json", "-n", "1").data[0]["message"] == "theirs"


def test_reset_says_where_and_takes_no_paths(forked: Run) -> None:
    assert "main is now at" in ok(forked("reset", "HEAD~1")).out
    assert set(forked("status", "--json").data["modified"]) == {"m.safetensors", "x"}
    ok(forked("undo"))
    fails(forked("reset", "x"), 2, "no staging area", "mvc restore x")
    fails(forked("reset", "HEAD", "--", "x"), 2, "no staging area")
    fails(forked("reset", "--hard", "--soft"), 2)
    done = ok(forked("reset", "--hard", "side", "--json")).data
    assert done["mode"] == "hard" and done["written"] == 3 and Path("new").exists()


def test_switch_says_where(forked: Run) -> None:
    assert "on branch side" in ok(forked("switch", "side")).out
    assert ok(forked("switch", "-", "--json")).data["branch"] == "main"
    assert "on branch side" in ok(forked("checkout", "-")).out
    fails(forked("switch", "main~1"), 3, "no branch", "--detach")
    assert "on no branch" in ok(forked("switch", "--detach", "main~1")).out
    fails(forked("switch"), 2)
    fails(forked("switch", "-c", "a", "-C", "b"), 2)
    Path("x").write_bytes(b"mine")
    fails(forked("switch", "side"), 4, "uncommitted work")
    ok(forked("switch", "-f", "side"))
    assert Path("x").read_bytes() == b"\0theirs"
    assert ok(forked("switch", "-C", "side", "main", "--json")).data["branch"] == "side"
    assert ok(forked("switch", "--orphan", "empty", "--json")).data["commit"] is None


def test_restore_says_how_many(forked: Run) -> None:
    Path("x").write_bytes(b"mine")
    Path("m.safetensors").unlink()
    assert ok(forked("restore", ".")).out == "2 files written, 0 removed\n"
    done = ok(forked("restore", "--source", "side", "--json", "--", "x")).data
    assert done == {"written": 1, "removed": 0, "resolved": []} and Path("x").read_bytes() == b"\0theirs"
    fails(forked("restore"), 2)
    fails(forked("restore", "--ours", "--theirs", "x"), 2)
    fails(forked("restore", "nowhere"), 3, "nothing is called")
    fails(forked("restore", "--ours", "x"), 3, "nothing is in conflict")
