"""The examples of docs/api.md run, one after the other."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "api.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *, with_torch: bool) -> int:
    """Run the page's examples in a folder; returns how many ran."""
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    text = PAGE.read_text()
    done = 0
    for match in EXAMPLE.finditer(text):
        code = match.group(1)
        if "torch" in code and not with_torch:
            continue
        line = text[: match.start(1)].count("\n")
        exec(compile("\n" * line + code, str(PAGE), "exec"), names)  # so that a failure names the page's line
        done += 1
    return done


def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, monkeypatch, with_torch=False) >= 9


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_examples_with_torch_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, monkeypatch, with_torch=True) >= 10


def test_every_public_method_is_on_the_page_or_in_a_docstring() -> None:
    import mvc

    for cls in (mvc.Repo, mvc.Revision, mvc.File, mvc.Tensors, mvc.Log, mvc.Diff, mvc.WorkStatus):
        for name in dir(cls):
            member = getattr(cls, name)
            if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                assert (member.__doc__ or "").strip(), f"{cls.__name__}.{name}"
