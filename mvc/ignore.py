"""``.mvcignore``: which files a commit leaves out, by gitignore's rules (https://git-scm.com/docs/gitignore).

Why not pathspec: a rule file comes with a clone, so it may be hostile. pathspec 1.1 turns ``*a*a*a*a*b``
into a regular expression that takes 14 s for one name of 250 letters and minutes with one more star; it
reads ``[[:alpha:]]`` as something else, and lets ``[!a]`` match a slash, so that it leaves out files that
Git would take. Here every star is matched without backtracking, and the tests compare with ``git
check-ignore``.

The one known difference: ``?`` and ``[…]`` match a character, in Git a byte of UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mvc.paths import PRIVATE_NAMES

IGNORE_FILE = ".mvcignore"

_Matcher = Callable[[str], object]  # truthy for a name that matches

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t-\\r",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}
_SPECIAL = re.compile(r"[*?\[\\]")
_CLASS = re.compile(r"\[:([^\]]*):\]")


class _Rule(NamedTuple):
    """One line. ``segments`` is None for a pattern without a slash, which looks only at the last component.

    In ``segments`` None stands for ``**``.
    """

    negated: bool
    folder_only: bool
    name: _Matcher
    segments: tuple[_Matcher | None, ...] | None


class _Level(NamedTuple):
    """One file's rules, last one first. ``skip`` is the length of its folder's path with the slash."""

    skip: int
    rules: tuple[_Rule, ...]


class IgnoreRules:
    """The rules that hold in one folder: those of its own file and of the files above it.

    Immutable: a walk starts with ``IgnoreRules()`` and passes ``rules.pushed(folder, text)`` down.
    """

    def __init__(self, levels: Sequence[_Level] = ()) -> None:
        self._levels = tuple(levels)  # deepest first

    def pushed(self, folder: str, text: str) -> IgnoreRules:
        """These rules and, going before them, those in the text of ``folder``'s file (``""``: the root)."""
        rules = tuple(reversed([rule for line in _lines(text) if (rule := _parse(line))]))
        if not rules:
            return self
        return IgnoreRules((_Level(len(folder) + 1 if folder else 0, rules), *self._levels))

    def ignored(self, path: str, is_folder: bool) -> bool:
        """Whether a path in the folder of these rules, or below it where no file adds others, is left out.

        What lies in an ignored folder is never asked about: it cannot be taken back in.
        """
        name = path[path.rfind("/") + 1 :]
        if name in PRIVATE_NAMES:
            return True
        for skip, rules in self._levels:
            for rule in rules:
                if rule.folder_only and not is_folder:
                    continue
                if rule.segments is None:
                    if rule.name(name):
                        return not rule.negated
                # The last segment alone refuses most paths.
                elif rule.name(name) and _match_segments(rule.segments, path[skip:].split("/")):
                    return not rule.negated
        return False

    def takes(self, path: str) -> bool:
        """Whether a file is meant, itself or by a folder above it; for rules that say what to take."""
        if self.ignored(path, False):
            return True
        # as in Git, what lies in a folder that is meant cannot be taken out again
        folders = path.split("/")[:-1]
        return any(self.ignored("/".join(folders[:count]), True) for count in range(1, len(folders) + 1))


def _lines(text: str) -> list[str]:
    """Lines as Git takes them: only LF ends one, a CR before it goes, and so does a byte order mark."""
    return [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]


def _parse(line: str) -> _Rule | None:
    """One line's rule; None for comments, blank lines and patterns that can match nothing."""
    if line.startswith("#"):
        return None
    pattern = _strip_trailing_spaces(line)
    negated = pattern.startswith("!")
    pattern = pattern[negated:]
    folder_only = pattern.endswith("/")
    if folder_only:
        pattern = pattern[:-1]
    if not pattern:
        return None
    if "/" not in pattern:
        name = _compile_name(pattern)
        return _Rule(negated, folder_only, name, None) if name else None
    segments: list[_Matcher | None] = []
    for segment in _split(pattern.removeprefix("/")):
        if len(segment) > 1 and not segment.strip("*"):
            if not segments or segments[-1] is not None:
                segments.append(None)
            continue
        matcher = _compile_name(segment) if segment else None
        if matcher is None:
            return None
        segments.append(matcher)
    last = segments[-1]
    return _Rule(negated, folder_only, last or _anything, tuple(segments))


def _split(pattern: str) -> list[str]:
    """Cut at slashes, escaped or not, except inside brackets; a malformed bracket gives one empty part."""
    segments: list[str] = []
    start = position = 0
    while position < len(pattern):
        sign = pattern[position]
        if sign == "[":
            bracket = _translate_bracket(pattern, position + 1)
            if bracket is None:
                return [""]
            position = bracket[1]
        elif sign == "/" or pattern.startswith("\\/", position):
            segments.append(pattern[start:position])
            start = position = position + (1 if sign == "/" else 2)
        else:
            position += 2 if sign == "\\" else 1
    return [*segments, pattern[start:]]


def _strip_trailing_spaces(line: str) -> str:
    """Trailing spaces go, unless a backslash stands before them."""
    bare = line.rstrip(" ")
    if len(bare) < len(line) and (len(bare) - len(bare.rstrip("\\"))) % 2:
        return bare + " "
    return bare


def _anything(name: str) -> bool:
    return True


def _compile_name(glob: str) -> _Matcher | None:
    """A matcher of one component; None if the glob is malformed and so, as in Git, matches nothing."""
    if not _SPECIAL.search(glob):
        return glob.__eq__
    if glob[0] == "*" and not _SPECIAL.search(suffix := glob.lstrip("*")):
        return lambda name: name.endswith(suffix)
    pieces = _translate(glob)
    if pieces is None:
        return None
    # Between two stars stands something of fixed length, so the leftmost place where it fits is as good as
    # any and an atomic group (?>…) may forget the others: time grows with the product of the lengths.
    first, *inner = pieces
    expression = first
    if inner:
        last = inner.pop()
        expression += "".join(f"(?>.*?{piece})" for piece in inner) + f".*{last}"
    return re.compile(expression, re.DOTALL).fullmatch


def _translate(glob: str) -> list[str] | None:
    """The regular expressions of what stands between a glob's stars; None if the glob is malformed."""
    pieces = [""]
    position = 0
    while position < len(glob):
        sign = glob[position]
        position += 1
        if sign == "*":
            if pieces[-1] or len(pieces) == 1:
                pieces.append("")
            continue
        if sign == "?":
            pieces[-1] += "."
        elif sign == "[":
            bracket = _translate_bracket(glob, position)
            if bracket is None:
                return None
            expression, position = bracket
            pieces[-1] += expression
        else:
            if sign == "\\":
                if position == len(glob):
                    return None
                sign = glob[position]
                position += 1
            pieces[-1] += re.escape(sign)
    return pieces


def _translate_bracket(glob: str, position: int) -> tuple[str, int] | None:
    """The expression of a bracket whose inside begins at ``position``, and its end; None if malformed."""
    negated = glob[position : position + 1] in ("!", "^")
    position += negated
    members: list[str] = []
    start = position
    previous = ""  # what a hyphen would make a range from
    while True:
        sign = glob[position : position + 1]
        if not sign:
            return None
        if sign == "]" and position > start:
            break
        if sign == "[" and (found := _CLASS.match(glob, position)):
            if found[1] not in _CLASSES:
                return None
            members.append(_CLASSES[found[1]])
            previous, position = "", found.end()
            continue
        upper = glob[position + 1 : position + 2]
        if sign == "-" and previous and upper and upper != "]":
            position += 1
            literal = _literal(glob, position)
            if literal is None:
                return None
            upper, position = literal
            if previous <= upper:
                members.append(f"{re.escape(previous)}-{re.escape(upper)}")
            previous = ""
            continue
        literal = _literal(glob, position)
        if literal is None:
            return None
        previous, position = literal
        members.append(re.escape(previous))
    if not members:  # only ranges that run backwards: nothing, or anything but nothing
        return "." if negated else "(?!)", position + 1
    return f"[{'^' if negated else ''}{''.join(members)}]", position + 1


def _literal(glob: str, position: int) -> tuple[str, int] | None:
    """A character inside a bracket, perhaps behind a backslash, and the position behind it."""
    if glob[position] == "\\":
        position += 1
        if position == len(glob):
            return None
    return glob[position], position + 1


def _match_segments(segments: tuple[_Matcher | None, ...], names: list[str]) -> bool:
    """Match components against segments; ``**`` (None) stands for any number of them, last for at least one.

    As with a star inside a name, only the last ``**`` met has to be tried again: time grows with the
    product of the lengths.
    """
    s = n = 0
    retry_s = retry_n = -1
    if segments[-1] is None:  # `a/**` is what lies in a, not a itself
        segments = (*segments, _anything)
    while n < len(names):
        if s < len(segments):
            matcher = segments[s]
            if matcher is None:
                s += 1
                retry_s, retry_n = s, n
                continue
            if matcher(names[n]):
                s += 1
                n += 1
                continue
        if retry_s < 0:
            return False
        retry_n += 1
        s, n = retry_s, retry_n
    return s == len(segments)
