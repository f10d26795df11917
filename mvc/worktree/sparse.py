"""Which of a version's files lie in the work tree: all, or those that patterns take (docs/format.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mvc.ignore import IgnoreRules

FILE_NAME = "sparse"
"""Of the list of patterns in a repository's store; without it all files lie in the work tree."""

_HEAD = (
    "# Files that lie in the work tree, by patterns as in .mvcignore; others come when they are asked for.\n"
)
_SPECIAL = re.compile(r"([\\*?\[])")


class Sparse:
    """The files that lie in a work tree. ``text`` is the list; None takes every file."""

    def __init__(self, text: str | None) -> None:
        self.text = text
        self._rules = None if text is None else IgnoreRules().pushed("", text)

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Sparse:
        """Those that some patterns take."""
        return cls(_HEAD + "".join(f"{pattern}\n" for pattern in patterns))

    def leaves_out(self, path: str) -> bool:
        """Whether a file that is not in the work tree need not be: a version has it all the same."""
        return self._rules is not None and not self._rules.takes(path)

    def with_paths(self, paths: Iterable[str]) -> Sparse:
        """Files and folders (an empty path: everything) taken too."""
        if self.text is None:
            return self
        added = dict.fromkeys(map(_pattern, paths))
        known = self.text.splitlines()
        return Sparse(self.text + "".join(f"{line}\n" for line in added if line not in known))


def _pattern(path: str) -> str:
    """The pattern that takes just this file, or folder with what lies in it."""
    if not path or path == ".":
        return "*"
    escaped = _SPECIAL.sub(r"\\\1", path)
    stripped = escaped.rstrip(" ")
    return "/" + stripped + "\\ " * (len(escaped) - len(stripped))
