"""``mvc import`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from engine import weights_versions
from git_oracle import needs_git
from import_sources import GitSource, line

from mvc.cli.main import main


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two checkpoints in ``run``; outside of any repository."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MVC_AUTHOR_NAME", "Ada")
    monkeypatch.setenv("MVC_AUTHOR_EMAIL", "ada@example.org")
    monkeypatch.chdir(tmp_path)
    for number, data in enumerate(weights_versions(2)):
        (tmp_path / "run" / f"checkpoint-{number + 1}").mkdir(parents=True)
        (tmp_path / "run" / f"checkpoint-{number + 1}" / "model.safetensors").write_bytes(data)
    return tmp_path


def run(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capfd.readouterr()
    code = main(list(words))
    return code, *capfd.readouterr()


def test_into_a_new_repository_and_again(work, capfd) -> None:
    code, out, err = run(capfd, "import", "run", "model")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("imported 2 versions from folder: ") and "% " not in lines[0][:30]
    assert lines[1].startswith("branch main is at ")
    assert lines[2] == f"made a repository in {work / 'model' / '.mvc'}"
    assert run(capfd, "import", "run", "model") == (0, "nothing new in folder; 2 here already\n", "")


def test_into_the_current_repository(work, capfd, monkeypatch) -> None:
    code, _out, err = run(capfd, "import", "run")
    assert code == 3 and "hint: mvc import SOURCE DIR makes one in DIR" in err
    assert run(capfd, "init", "model")[0] == 0
    monkeypatch.chdir(work / "model")
    assert run(capfd, "import", "../run", "-b", "bert")[0] == 0
    assert [one.author.name for one in line(work / "model", "refs/heads/bert")] == ["Ada", "Ada"]


def test_a_dry_run_needs_no_repository_and_makes_none(work, capfd) -> None:
    code, out, _err = run(capfd, "import", "-n", "run")
    assert code == 0 and out.startswith("folder: 2 new versions with 2 files, ")
    assert run(capfd, "import", "-n", "run", "model")[0] == 0
    assert not (work / "model").exists()


def test_json_has_what_help_says(work, capfd) -> None:
    code, out, err = run(capfd, "import", "run", "model", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert list(found) == [
        "kind",
        "dry_run",
        "new",
        "known",
        "unchanged",
        "files",
        "size",
        "missing",
        "missing_count",
        "left_out",
        "left_out_count",
        "notes",
        "read_bytes",
        "stored_bytes",
        "refs",
        "written",
        "removed",
        "repository",
        "seconds",
    ]
    assert (found["kind"], found["new"], found["written"]) == ("folder", 2, 1)
    assert [(one["name"], one["outcome"]) for one in found["refs"]] == [("refs/heads/main", "new")]
    assert found["repository"] == str(work / "model")


@needs_git
def test_what_is_missing_is_the_answer_of_a_dry_run_and_refused_otherwise(work, capfd) -> None:
    source = GitSource(work / "source")
    source.lfs("gone.bin", b"x" * 500, stored=False)
    source.commit("one")
    code, _out, err = run(capfd, "import", "-n", "source")
    assert code == 1 and "missing: git-lfs object" in err
    code, _out, err = run(capfd, "import", "source", "model")
    assert code == 3 and err.startswith("error: the source lacks git-lfs object") and "--skip-missing" in err
    assert not (work / "model").exists()
    code, out, err = run(capfd, "import", "source", "model", "--skip-missing")
    assert code == 0 and "imported 1 version from git-lfs" in out and "missing: git-lfs object" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("https://example.org/model",), "uses no network"),
        (("run", "--from", "tape"), "tape"),
        (("run", "--date-from", "moon"), "moon"),
    ],
)
def test_what_makes_no_sense_is_told(work, capfd, words, told) -> None:
    code, _out, err = run(capfd, "import", *words)
    assert code == 2 and told in err


def test_an_import_is_taken_back_and_found_again(work, capfd, monkeypatch) -> None:
    run(capfd, "import", "run", "model")
    monkeypatch.chdir(work / "model")
    assert run(capfd, "undo")[0] == 0
    assert not (work / "model" / "model.safetensors").exists()
    code, out, _err = run(capfd, "import", "../run")
    assert code == 0 and "branch main is at" in out
    assert (work / "model" / "model.safetensors").exists()
