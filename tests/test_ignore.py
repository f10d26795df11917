"""``.mvcignore``: the same answers as ``git check-ignore``, in bounded time."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mvc.ignore import IgnoreRules

GIT = shutil.which("git")
needs_git = pytest.mark.skipif(GIT is None, reason="git is the oracle of this test and is not installed")


def ignored_by_us(files: Mapping[str, str], path: str) -> bool:
    """Walk down to a file as a scan does; ``files`` maps folders to the text of their ignore file."""
    rules = IgnoreRules().pushed("", files.get("", ""))
    names = path.split("/")
    for depth in range(1, len(names)):
        folder = "/".join(names[:depth])
        if rules.ignored(folder, True):
            return True
        rules = rules.pushed(folder, files.get(folder, ""))
    return rules.ignored(path, False)


def ignored_by_git(work: Path, files: Mapping[str, str], paths: Sequence[str]) -> set[str]:
    """What ``git check-ignore`` says of files (folders are made, because Git asks the disk what is one)."""
    if GIT is None:
        raise RuntimeError("called without git")
    for entry in work.iterdir():
        if entry.name == ".git":
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    for path in paths:
        (work / path).parent.mkdir(parents=True, exist_ok=True)
    for folder, text in files.items():
        (work / folder).mkdir(parents=True, exist_ok=True)
        (work / folder / ".gitignore").write_bytes(text.encode())
    done = subprocess.run(
        [GIT, "-c", "core.excludesFile=/dev/null", "check-ignore", "--no-index", "-z", "--stdin"],
        cwd=work,
        input="\0".join(paths).encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return set(done.stdout.decode().split("\0")) - {""}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("oracle")
    if GIT is not None:
        subprocess.run([GIT, "init", "--quiet", folder], check=True)
        (folder / ".git" / "info" / "exclude").unlink(missing_ok=True)
    return folder


PATHS = [
    "a.log",
    "b.txt",
    "keep.log",
    "#x",
    "!x",
    "a b",
    "trail ",
    "tab\t",
    "build/out.o",
    "build/deep/out.o",
    "src/build/out.o",
    "src/a.log",
    "src/keep.log",
    "src/x/y/z.bin",
    "src/x/z.bin",
    "src/z.bin",
    "doc/a1.md",
    "doc/a-.md",
    "doc/a].md",
    "doc/ab.md",
    "doc/é.md",
    "doc/[x].md",
    "doc/star*.md",
    "foo/bar",
    "x/foo/bar",
    "foo/x/bar",
    "xfoo/bar",
    "logs/debug/log.1",
    "logs/1/debug/x",
    "Model.bin",
    "model.bin",
]

TABLE: dict[str, dict[str, str]] = {
    "suffix": {"": "*.log\n"},
    "negation": {"": "*.log\n!keep.log\n"},
    "later wins": {"": "!keep.log\n*.log\n"},
    "folder only": {"": "build/\n"},
    "anchored folder": {"": "/build/\n"},
    "anchored by an inner slash": {"": "src/build\n"},
    "below an excluded folder nothing comes back": {"": "build/\n!build/out.o\n!build/deep/\n"},
    "all but": {"": "*\n!*/\n!*.md\n"},
    "all but one folder's": {"": "/*\n!/doc\n/doc/*\n!/doc/ab.md\n"},
    "double star first": {"": "**/foo\n"},
    "double star last": {"": "src/**\n"},
    "double star last keeps the folder": {"": "src/**\n!src/x/\n!src/x/z.bin\n"},
    "double star between": {"": "src/**/z.bin\n"},
    "double star between two": {"": "logs/**/debug/**\n"},
    "double star alone": {"": "**\n!b.txt\n"},
    "double star slash": {"": "**/\n"},
    "slash double star": {"": "/**\n"},
    "a star stops at a slash": {"": "src/*.bin\nfoo*bar\n"},
    "question mark stops at a slash": {"": "foo?bar\n"},
    "bracket": {"": "doc/a[0-9-].md\n"},
    "bracket with bracket": {"": "doc/a[]].md\n"},
    "negated bracket stops at a slash": {"": "foo[!x]bar\ndoc/a[!0-9].md\n"},
    "caret bracket": {"": "doc/a[^0-9].md\n"},
    "class": {"": "doc/a[[:digit:]].md\n"},
    "unknown class": {"": "doc/a[[:nonsense:]].md\n"},
    "open bracket matches nothing": {"": "doc/a[\ndoc/[x].md\n"},
    "escapes": {"": "\\#x\n\\!x\ndoc/\\[x\\].md\ndoc/star\\*.md\n"},
    "trailing backslash matches nothing": {"": "b.txt\\\n"},
    "comment and blank lines": {"": "#x\n\n   \n# *.txt\n"},
    "trailing spaces": {"": "a b   \ntrail\\ \n"},
    "trailing tab stays": {"": "b.txt\t\ntab\t\n"},
    "crlf": {"": "*.log\r\nb.txt\r\n"},
    "no newline at the end": {"": "*.log"},
    "byte order mark": {"": "\ufeffb.txt\n"},
    "slash alone": {"": "/\n//\n"},
    "exclamation mark alone": {"": "!\n*.log\n!\n"},
    "case counts": {"": "model.bin\n"},
    "a name that is not ASCII": {"": "é.md\n"},
    "escaped slash": {"": "src\\/x\nfoo\\/\n"},
    "deeper wins": {"": "*.log\n", "src": "!a.log\n"},
    "deeper excludes": {"src": "*.bin\n", "src/x": "!z.bin\n"},
    "deeper anchors at its folder": {"src": "/z.bin\n/x/y\n"},
    "deeper inner slash": {"src": "x/z.bin\n", "": "!src/x/z.bin\n"},
    "deeper cannot come back from an excluded folder": {"": "build\n", "build": "!out.o\n"},
    "a folder's negation says nothing of what is in it": {"": "*.o\n", "src": "!build\n"},
    "two levels and the root": {"": "*.bin\n", "src": "!*.bin\n", "src/x": "y/*.bin\n"},
}


@needs_git
@pytest.mark.parametrize("files", TABLE.values(), ids=TABLE)
def test_tricky_patterns_as_git_takes_them(work: Path, files: dict[str, str]) -> None:
    expected = ignored_by_git(work, files, PATHS)
    assert {path for path in PATHS if ignored_by_us(files, path)} == expected


# Git before 2.41 misreads a `**` that does not fill its segment (undefined behaviour), so none is generated.
_LUMPS = ["a", "b", ".", "-", "#", " ", "\t", "!", "/", "*", "**", "**/", "/**", "?", "[", "]", "\\", "\\ "]
_LUMPS += ["[ab]", "[!a]", "[[:alpha:]]", "[^a-b]", "[b-a]", "[]-]", "[a\\]]", "[[:x]", "[a-"]
_PATTERNS = st.lists(st.sampled_from(_LUMPS), min_size=1, max_size=6).map(
    lambda lumps: re.sub(r"([^/])\*\*+", r"\1*", "".join(lumps))
)
_TEXTS = st.lists(_PATTERNS, min_size=1, max_size=4).map("\n".join)
_FOLDERS = ["d", "d/aba", "d/a.b", "d/]/b", "[", "- a"]
_GENERATED = ["a", "b", "ab", "a.b", ".a", "a b", "a ", "-", "]", "b]", "#", "!a", "aab", "abc"]
_GENERATED += [f"{folder}/{name}" for folder in _FOLDERS for name in ("a", "b", "ab", "-b")]


@needs_git
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(root=_TEXTS, folder=_TEXTS)
@example(root="*\n!*/\n", folder="!a\n")
def test_generated_patterns_as_git_takes_them(work: Path, root: str, folder: str) -> None:
    files = {"": root, "d": folder}
    expected = ignored_by_git(work, files, _GENERATED)
    assert {path for path in _GENERATED if ignored_by_us(files, path)} == expected


@pytest.mark.parametrize("name", [".mvc", ".git", ".hg", ".venv"])
def test_private_folders_are_ignored_at_any_depth_whatever_the_rules(name: str) -> None:
    rules = IgnoreRules().pushed("", f"!{name}\n!*\n")
    for path in (name, f"a/{name}", f"a/b/c/{name}"):
        assert rules.ignored(path, True)
        assert rules.ignored(path, False)
    assert not rules.ignored(f"{name}x", True)
    assert not rules.ignored(name.upper(), True)  # refused by mvc.paths, not silently left out


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 120 + "*b", "a" * 255),
        ("*[ab]" * 60 + "*c", "a" * 255),
        ("*?" * 120 + "b", "a" * 255),
        ("/" + "**/a/" * 1000 + "b", "a/" * 60 + "a"),
        ("/" + "*a*a*a*b/**/" * 20 + "b", "/".join(["a" * 255] * 15)),
    ],
)
def test_hostile_patterns_take_no_time(pattern: str, path: str) -> None:
    started = time.perf_counter()
    assert not IgnoreRules().pushed("", pattern).ignored(path, False)
    assert time.perf_counter() - started < 1


def test_rules_are_not_changed_by_pushing() -> None:
    outer = IgnoreRules().pushed("", "*.log\n")
    inner = outer.pushed("d", "!x.log\n")
    assert outer.ignored("d/x.log", False)
    assert not inner.ignored("d/x.log", False)
    assert outer.pushed("d", "# nothing\n") is outer
