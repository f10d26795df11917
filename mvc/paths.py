"""The one path validator: what a path in a repository may be called.

Repository paths are relative, POSIX style (``/`` between components) and valid Unicode. The same rules hold
on every platform, so that a commit made on Linux can be checked out on Windows and macOS without leaving its
folder or writing into ``.mvc`` or ``.git``. The rules follow Git's ``verify_path`` with ``core.protectNTFS``
and ``core.protectHFS`` on, and the holes that made Git grow them.

A refused commit is a nuisance, an escaped checkout is a hole. So what could *escape or overwrite something
else* on any platform is refused (``..``; backslash; colon, which names drives and data streams; device
names; trailing dots and spaces, which Windows drops; every spelling of ``.mvc``, ``.git``, ``.hg`` and
``.venv``), and what *lies to the reader* of a listing is refused too (control characters, line separators,
characters that turn the direction of writing). ``< > " | ? *`` are allowed: Windows cannot create such a
file and says so, which harms nothing, and they do occur on Linux.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from mvc.errors import InvalidPath

MAX_NAME_BYTES = 255
"""What ext4, APFS and NTFS hold in one component."""
MAX_PATH_BYTES = 4096
MAX_DEPTH = 64

PRIVATE_NAMES = frozenset({".mvc", ".git", ".hg", ".venv"})
"""Folders that belong to a tool. A commit ignores them at any depth, so a tree that holds one, in any
spelling, was made to overwrite what the tool runs (hooks, configuration, programs)."""

_DEVICES = r"(?:con|prn|aux|nul|com[1-9]|lpt[1-9]|conin\$|conout\$)"

# Accepts ordinary ASCII paths at once: letters, digits, harmless signs, and dots or spaces inside a name.
# What it does not accept is looked at rule by rule. The classes are disjoint, so it never backtracks far.
_SIGNS = r"[a-z0-9_+=@%,&!#$'()\[\]{};^-]+"
_PLAIN_NAME = rf"(?!{_DEVICES} *(?:[./]|\Z)){_SIGNS}(?:[. ]+{_SIGNS})*"
_PLAIN_PATH = re.compile(rf"{_PLAIN_NAME}(?:/{_PLAIN_NAME})*", re.ASCII | re.IGNORECASE)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BIDI = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_DEVICE = re.compile(rf"{_DEVICES} *(?:\..*)?")
# NTFS gives `.mvc` the second name MVC~1 (or ~2 … if that is taken), and from the fifth on MV, four digits
# of a hash, ~1.
_SHORT_NAME = re.compile(r"(?:mvc|git|hg|venv|(?:mv|gi|hg|ve)[0-9a-f]{4})~[0-9]+")

# What HFS+ skips when it compares names, with the rest of Unicode's default ignorable characters.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

_SHOWN_CHARACTERS = 200


def check_name(name: str) -> None:
    """Accept one component of a path.

    Raises:
        InvalidPath: the name breaks a rule; the message has the name, escaped, and the rule.
    """
    fault = _name_fault(name)
    if fault:
        raise _invalid(name, fault)


def check_path(path: str) -> None:
    """Accept a whole repository path.

    Raises:
        InvalidPath: the path breaks a rule; the message has the path, escaped, and the rule.
    """
    fault = path_fault(path)
    if fault:
        raise _invalid(path, fault)


def _invalid(path: str, fault: str) -> InvalidPath:
    return InvalidPath(f"{shown(path)} {fault}", hint="rename it, or name it in .mvcignore")


def shown(path: str) -> str:
    """A path for messages: quoted, what does not print escaped, cut where it is absurdly long."""
    if len(path) > _SHOWN_CHARACTERS:
        return repr(path[:_SHOWN_CHARACTERS]) + "…"
    return repr(path)


def path_fault(path: str) -> str | None:
    """The rule that a path breaks, worded to follow the path (``is empty``); None if it breaks none."""
    # No component of a short path can be too long; MAX_NAME_BYTES is the least of the length limits.
    if len(path) <= MAX_NAME_BYTES and path.count("/") < MAX_DEPTH and _PLAIN_PATH.fullmatch(path):
        return None
    if not path:
        return "is empty"
    if path.startswith("/"):
        return "is absolute"
    # Characters count at least a byte each: a huge path is refused before anything is done with all of it.
    if len(path) > MAX_PATH_BYTES or len(path.encode(errors="surrogatepass")) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    names = path.split("/")
    if len(names) > MAX_DEPTH:
        return f"is nested deeper than {MAX_DEPTH} levels"
    for name in names:
        fault = _name_fault(name)
        if fault:
            return fault if name == path else f"has the component {shown(name)}, which {fault}"
    return None


def _name_fault(name: str) -> str | None:
    if not name:
        return "is empty"
    if len(name) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    if "/" not in name and _PLAIN_PATH.fullmatch(name):
        return None
    fault = _character_fault(name)
    if fault:
        return fault
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    if name in (".", ".."):
        return "stands for a folder, not for a name"
    if name[-1] in ". ":
        return "ends in a dot or a space, which Windows drops"
    return _spelling_fault(name)


def _character_fault(name: str) -> str | None:
    if _SURROGATE.search(name):
        return "is not valid UTF-8"
    if "/" in name:
        return "contains a slash"
    if "\\" in name:
        return "contains a backslash, which Windows takes for a slash"
    if ":" in name:
        return "contains a colon, which names a drive or a data stream on Windows"
    if _CONTROL.search(name):
        return "contains a control character"
    if _BIDI.search(name):
        return "contains a character that turns the direction of writing"
    return None


def _spelling_fault(name: str) -> str | None:
    """Refuse what some file system takes for another name than it looks."""
    folded = _fold_hard(name)
    bare = folded.rstrip(". ")
    if not bare:
        return "is nothing but dots, spaces or characters that file systems skip"
    if bare in PRIVATE_NAMES:
        return f"is a spelling of {bare}"
    if _SHORT_NAME.fullmatch(bare):
        return "is a short name that Windows may give to one of " + ", ".join(sorted(PRIVATE_NAMES))
    if _DEVICE.fullmatch(folded):
        return "is the name of a device on Windows"
    return None


def _fold_hard(name: str) -> str:
    """One spelling for all that a file system could take for the same name, and more.

    Ignorable characters go, compatibility forms become plain ones, and case is folded by way of upper case:
    some tables take a dotless i for an I.
    """
    if name.isascii():
        return name.lower()
    plain = unicodedata.normalize("NFKC", _IGNORABLE.sub("", name))
    return _IGNORABLE.sub("", unicodedata.normalize("NFKC", plain.upper().casefold()))


def _fold(path: str) -> str:
    """Canonical caseless form (Unicode D145): equal where a file system may keep only one of two names."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def collisions(paths: Iterable[str]) -> list[list[str]]:
    """Groups of paths that a caseless or normalising file system cannot hold side by side.

    Folders count: of ``A/x`` and ``a/y`` the group is ``["A", "a"]``. Paths that differ only in a folder that
    has its group (``A/x`` and ``a/x``) make none of their own. Groups and their members are sorted.
    """
    spellings: dict[str, str] = {}
    groups: dict[str, set[str]] = {}
    folders: set[str] = set()

    def note(path: str) -> None:
        first = spellings.setdefault(key := _fold(path), path)
        if first != path:
            groups.setdefault(key, {first}).add(path)

    for path in paths:
        note(path)
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            note(folder)
            folder = folder.rpartition("/")[0]
    return sorted(
        sorted(group) for group in groups.values() if len({path.rpartition("/")[2] for path in group}) > 1
    )


def is_below(path: str, place: str) -> bool:
    """Whether a path is a place or lies in it; a place may end in a slash, and "" and "." are the top."""
    return place in ("", ".") or path == place or path.startswith(place.rstrip("/") + "/")


def is_wanted(path: str, places: Sequence[str]) -> bool:
    """Whether a path is one of some places or lies in one; where none is named, all are wanted."""
    return not places or any(is_below(path, place) for place in places)
