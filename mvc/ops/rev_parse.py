"""What revisions name, for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mvc.errors import UsageError
from mvc.history.refnames import short_ref_name
from mvc.history.revisions import resolve
from mvc.history.selection import is_range, select
from mvc.objectid import ObjectId
from mvc.view import View

_LEAST_DIGITS = 4


class Parsed(NamedTuple):
    """What one word names. ``ref`` is the full name that it stands for, if it is one's; ``excluded`` tells
    that a range leaves out what this commit reaches."""

    revision: str
    id: ObjectId
    ref: str | None = None
    excluded: bool = False


def rev_parse(view: View, word: str) -> Iterator[Parsed]:
    """The objects that a word names: one, or for a range (``A..B``, ``A...B``, ``^A``, ``A^@``, ``A^!``) its
    ends, as ``git rev-parse`` lists them.

    Raises:
        RevisionNotFound: nothing has that name.
        AmbiguousRevision: a short id fits several objects.
        UsageError: it names a tensor, which has no id of its own.
    """
    if not is_range(word):
        found = resolve(word, view.objects, view)
        if found.tensor is not None:
            raise UsageError(f"{word} names a tensor, which has no id", hint="name its file")
        # A path below what a ref names is not what it stands for.
        ref = found.ref if found.path is None else None
        yield Parsed(word, found.object, view.head if ref == "HEAD" and isinstance(view.head, str) else ref)
        return
    selection = select([word], view.objects, view)
    # Of A..B and A...B Git prints the end first; what ^@ names are parents, in their order.
    starts = selection.starts if word.endswith("^@") else selection.starts[::-1]
    if not word.startswith("^"):
        yield from (Parsed(word, identity) for identity in starts)
    yield from (Parsed(word, identity, excluded=True) for identity in selection.hidden)


def abbreviated(view: View, identity: ObjectId, digits: int) -> str:
    """So many first digits of an id, or more where that is the start of other ids too.

    Raises:
        UsageError: fewer than four digits.
    """
    if digits < _LEAST_DIGITS:
        raise UsageError(f"an id is cut to {_LEAST_DIGITS} digits or more, not {digits}")
    whole = identity.hex()
    while digits < len(whole) and len(view.objects.find_prefix(whole[:digits])) > 1:
        digits += 1
    return whole[:digits]


def short_name(view: View, ref: str) -> str:
    """A ref's name as short as it can be without meaning another one."""
    short = short_ref_name(ref)
    prefixes = ("refs/", "refs/tags/", "refs/heads/", "refs/remotes/")
    known = [prefix for prefix in prefixes if view.get(prefix + short) is not None]
    return ref.removeprefix("refs/") if len(known) > 1 else short
