"""Which names a branch, a tag or another ref may have: ``git check-ref-format``, and a few rules more."""

from __future__ import annotations

import re
import unicodedata

from mvc.errors import InvalidName

MAX_REF_NAME_BYTES = 255

# What revisions use for something else, what shells expand, and the backslash.
_FORBIDDEN = re.compile(r"[ ~^:?*\[\\]")
_FULL_ID = re.compile(r"[0-9a-fA-F]{64}")
# Controls, invisible format marks, surrogates, separators, exotic spaces: what looks equal must be equal.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})


def check_ref_name(name: str) -> None:
    """Accept a short name (``feature/x``) or a full one (``refs/heads/feature/x``), or say what is wrong.

    What no name may be (``HEAD``, ``@``, 64 hexadecimal digits, something with a leading ``-``) is forbidden
    behind ``refs/heads/`` and ``refs/tags/`` as well.

    Raises:
        InvalidName: with the rule that the name breaks and a hint.
    """
    broken = _broken_rule(name)
    if broken is not None:
        rule, hint = broken
        shown = name if len(name) <= 80 else name[:80] + "…"
        raise InvalidName(f"the name {shown!r} {rule}", hint=hint)


def short_ref_name(name: str) -> str:
    """A ref's name as people type it: ``refs/heads/main`` is ``main``."""
    for prefix in ("refs/heads/", "refs/tags/", "refs/remotes/", "refs/"):
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def _broken_rule(name: str) -> tuple[str, str] | None:
    """The first rule that a name breaks, and a hint."""
    # Characters first: the other rules may then rely on text that has a UTF-8 form.
    if any(unicodedata.category(character) in _UNSEEN for character in name if character != " "):
        return "has a control or invisible character in it", "type it anew with visible characters only"
    if len(name.encode()) > MAX_REF_NAME_BYTES:
        return f"is longer than {MAX_REF_NAME_BYTES} bytes", "choose a shorter one"
    if not unicodedata.is_normalized("NFC", name):
        return "is not in Unicode's composed form (NFC)", f"write {unicodedata.normalize('NFC', name)!r}"
    if found := _FORBIDDEN.search(name):
        return f"has {found.group()!r} in it", "use letters, digits, '-', '_', '.' and '/'"
    if ".." in name:
        return "has '..' in it", "that stands for a range of commits"
    if "@{" in name:
        return "has '@{' in it", "that stands for an earlier value of a ref"
    return _broken_as_a_whole(name) or _broken_component(name)


def _broken_as_a_whole(name: str) -> tuple[str, str] | None:
    short = name
    for prefix in ("refs/heads/", "refs/tags/"):
        if name.startswith(prefix):
            short = name[len(prefix) :]
    if not short:
        return "is empty", "give it at least one character"
    if short.startswith("-"):
        return "starts with '-'", "it would be taken for an option"
    if short in ("HEAD", "@"):
        return "stands for the current commit", "choose another one"
    if _FULL_ID.fullmatch(short):
        return "looks like an id", "choose one that is not 64 hexadecimal digits"
    if short.endswith("."):
        return "ends in '.'", "leave it out"
    return None


def _broken_component(name: str) -> tuple[str, str] | None:
    for component in name.split("/"):
        if not component:
            return "starts or ends with '/', or has '//' in it", "leave the extra '/' out"
        if component.startswith("."):
            return "has a part that starts with '.'", "leave that '.' out"
        if component.endswith(".lock"):
            return "has a part that ends in '.lock'", "choose another ending"
    return None
