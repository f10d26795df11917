"""Every line of the tutorial and of README's five minutes runs, in order, and prints what the page says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from mvc.cli.table import COMMANDS, load
from tests.documents import Session, Step, difference, mistakes, steps
from tests.terminal import NEUTRAL

TOP = Path(__file__).parent.parent
HOME = "/home/ada"
"""Where the pages say that they are."""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "ada"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(tmp_path: Path, home: Path) -> dict[str, str]:
    """As a reader who has installed mvc: ``mvc`` and ``python`` are on the PATH, and Git knows a name."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, words in (("mvc", "-m mvc"), ("python", ""), ("python3", "")):
        (binaries / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n')
        (binaries / name).chmod(0o755)
    (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
    hidden = (*NEUTRAL, "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "MVC_AUTHOR_NAME", "MVC_AUTHOR_EMAIL")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    path = f"{binaries}:{os.environ['PATH']}"
    return kept | {"PATH": path, "HOME": str(home), "PYTHONPATH": str(TOP), "GIT_CONFIG_NOSYSTEM": "1"}


def test_the_tutorial_runs_and_prints_what_it_says(home: Path, environment: dict[str, str]) -> None:
    page = (TOP / "docs" / "tutorial.md").read_text().replace(HOME, str(home))
    with Session(home, environment) as session:
        wrong = mistakes(page, "docs/tutorial.md", session)
    assert not wrong, "\n".join(wrong)


SET_UP = ("make demo", "make test", "python3 -m venv ~/mvc", "export PATH=~/mvc/bin:$PATH")
"""Lines of README that install: they would install into the machine that tests."""


def test_the_five_minutes_of_the_readme_run(home: Path, environment: dict[str, str]) -> None:
    """What they print is not on that page; where it says that a model is trained, one is."""
    page = (TOP / "README.md").read_text().replace("/srv/models", f"{home}/models")
    found = steps(page, "Five minutes")
    shared = steps(page, "Share it")
    assert len(shared) == 5
    lines = [step.text for step in found]
    assert all(any(line.startswith(begin) for line in lines) for begin in SET_UP)
    makefile = (TOP / "Makefile").read_text()
    assert all(f"\n{line.split()[1]}:" in makefile for line in lines if line.startswith("make "))
    trained = 0
    with Session(home, environment) as session:

        def train() -> None:
            code = f"import numpy as np; np.save('weights.npy', np.arange(1000.0) + {trained})"
            assert session.run(Step(0, "console", f"python -c {shlex.quote(code)}", ())) == (0, "")

        train()
        for step in found + shared:
            if step.text.startswith(SET_UP):
                continue
            code, printed = session.run(step)
            assert code == 0, f"README.md:{step.line}: {step.text}\n{printed}"
            if any("train" in line for line in step.printed):
                trained += 1
                train()
    assert trained, "the page trains"


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "docs/sharing.md", "docs/howto.md"])
def test_commands_and_options_that_pages_name_exist(page: str) -> None:
    named = re.findall(r"^(?:\$ )?(mvc [a-z].*)$|`(mvc [a-z][^`…]*)`", (TOP / page).read_text(), re.MULTILINE)
    lines = [line or inline for line, inline in named]
    assert lines
    for line in lines:
        words = shlex.split(line.replace("'s", "s"), comments=True)
        name = words[1]
        if name in ("add", "rm", "mv", "help"):
            continue
        assert name in COMMANDS, f"{page}: {line}"
        known = {spelling for item in load(name).parameters for spelling in item.spellings} | {"--help", "-h"}
        given = [word.partition("=")[0] for word in words[2:] if word.startswith("--") and word != "--"]
        assert set(given) <= known, f"{page}: {line}"


# --- the runner itself -------------------------------------------------------------------------------------
PAGE = """\
# Page

```console
$ cd /
$ cat <<'END'
$ not a command
END
$ not a command
$ echo a \\
  b
a b
```

## Second

```python
value = 7
```

```python
print(value)
```

```text
7
```

```sh
ignored
```
"""


def test_steps_are_read() -> None:
    found = steps(PAGE)
    assert [step.text.splitlines() for step in found] == [
        ["cd /"],
        ["cat <<'END'", "$ not a command", "END"],
        ["not a command"],
        ["echo a \\", "  b"],
        ["value = 7"],
        ["print(value)"],
    ]
    assert [step.printed for step in found] == [(), (), (), ("a b",), (), ("7",)]
    assert [step.line for step in found][:2] == [4, 5]
    assert [step.language for step in steps(PAGE, "Second")] == ["python", "python"]


def test_a_session_keeps_its_folder_and_names(home: Path, environment: dict[str, str]) -> None:
    def ran(language: str, text: str) -> tuple[int, str]:
        return session.run(Step(0, language, text, ()))

    with Session(home, environment) as session:
        assert ran("console", "mkdir in && cd in && export X=1") == (0, "")
        assert ran("console", "echo $X; ls /nowhere >/dev/null 2>&1") == (2, "1\n")
        assert ran("python", "import os\nx = os.path.basename(os.getcwd())\n") == (0, "")
        assert ran("python", "print(x)\n") == (0, "in\n")
        code, printed = ran("python", "1 / 0\n")
        assert code == 1 and "ZeroDivisionError" in printed
        assert ran("console", "printf 'no end of line'") == (0, "no end of line")


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\nb", "a\nb", True),
        ("a", "a\nb", False),
        ("a\nb", "a", False),
        ("", "a", False),
        ("a\n…", "a", True),
        ("a\n…\nd", "a\nb\nc\nd", True),
        ("a\n…\nd", "a\nb", False),
        ("on … branch", "on a long branch", True),
        ("4 files, 2.0 MB read in 0.1 s", "4 files, 2.1 MB read in 12 s", True),
        ("4 files, 2.0 MB read", "4 files, 20.0 MB read", False),
        ("4 files, 2.0 MB read", "5 files, 2.0 MB read", False),
        ("stored (41.8 %)", "stored (39 %)", True),
        ("stored (41.8 %)", "stored (83.2 %)", False),
        ("[main eafbdb70089b] x", "[main 0123456789ab] x", True),
        ("[main eafbdb70089b] x", "[main nothing] x", False),
        ("a  b", "a      b", True),
        ("F32 [1000, 500]", "F32 [1000, 501]", False),
        ("Date: Sat Nov 21 00:05:12 2026 +0100", "Date: Sun Jan 4 10:15:12 2027 +0000", True),
    ],
)
def test_what_may_differ(expected: str, printed: str, same: bool) -> None:
    assert (difference(expected.splitlines(), printed.splitlines()) == "") is same
