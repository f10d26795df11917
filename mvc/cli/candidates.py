"""What a repository and its work tree offer where a command line wants a revision, a path or a tensor.

Everything is looked for in small bounded steps: a shell waits for the answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from mvc.cli.shells import Candidate
from mvc.cli.versions import values_text
from mvc.history.graph import walk
from mvc.history.reader import read_manifest, read_tree
from mvc.history.revisions import lookup_path, resolve_commit
from mvc.objectid import CommitId, ManifestId, TreeId
from mvc.objects import FOLDER
from mvc.refs import BRANCHES, TAGS
from mvc.registry.notes import Notes
from mvc.repo import STORE
from mvc.sharing.settings import REMOTES
from mvc.spans import Span
from mvc.view import View

NEWEST = 48
"""Commits whose ids are looked at; without a beginning only a few are offered."""
FEW = 8
MOST = 1000
"""Candidates of one kind, and names of a folder."""
MANY_TENSORS = 40
"""Tensors that are offered at once; more are offered segment by segment."""
_HEX = frozenset("0123456789abcdefABCDEF")
_SUFFIX = frozenset("~^@")


# --- revisions ---------------------------------------------------------------------------------------------
def branches(view: View, begin: str = "") -> Iterator[Candidate]:
    """Branches that begin so."""
    for name in islice(view.names(BRANCHES + begin), MOST):
        yield Candidate(name.removeprefix(BRANCHES), "branch")


def tags(view: View, begin: str = "") -> Iterator[Candidate]:
    """Tags that begin so."""
    for name in islice(view.names(TAGS + begin), MOST):
        yield Candidate(name.removeprefix(TAGS), "tag")


def followed(view: View, begin: str = "") -> Iterator[Candidate]:
    """Branches of remotes that begin so, as ``origin/main``."""
    for name in islice(view.names(REMOTES + begin), MOST):
        yield Candidate(name.removeprefix(REMOTES), "branch of a remote")


def revisions(view: View, begin: str = "") -> Iterator[Candidate]:
    """HEAD, branches, tags, and the newest commits that begin so; ``A..`` before it stays."""
    range_start, dots, begin = begin.rpartition("..")
    for item in _single_revisions(view, begin):
        yield item._replace(text=range_start + dots + item.text)


def _single_revisions(view: View, begin: str) -> Iterator[Candidate]:
    if _SUFFIX & set(begin):
        return  # HEAD~3 is complete as it is
    head = view.head_commit()
    if head is not None and "HEAD".startswith(begin):
        yield Candidate("HEAD", view.commit(head).subject)
    yield from branches(view, begin)
    yield from tags(view, begin)
    yield from followed(view, begin)
    if head is not None and _HEX.issuperset(begin):
        yield from _newest(view, head, begin.lower())


def _newest(view: View, head: CommitId, begin: str) -> Iterator[Candidate]:
    for identity, commit in islice(walk(view.objects, [head]), NEWEST if begin else FEW):
        name = identity.short if len(begin) <= len(identity.short) else identity.hex()
        if name.startswith(begin):
            yield Candidate(name, commit.subject)


# --- what is in a version ----------------------------------------------------------------------------------
def inside_version(view: View, begin: str, here: str) -> Iterator[Candidate]:
    """``REV:PATH`` and ``REV:PATH#TENSOR`` that begin so; ``here`` is the current folder from the top.

    Raises:
        RevisionNotFound: there is no such version.
    """
    revision, _, place = begin.partition(":")
    root = view.commit(resolve_commit(revision or "HEAD", view.objects, view)).tree
    sharp = place.rfind("#")
    while sharp >= 0:
        entry = lookup_path(view.objects, root, _from_top(place[:sharp], here))
        if entry is not None and isinstance(entry.id, ManifestId):
            spans = read_manifest(view.objects, entry.id).tensors
            for item in tensors(spans, place[sharp + 1 :]):
                yield item._replace(text=f"{revision}:{place[: sharp + 1]}{item.text}")
            return
        sharp = place.rfind("#", 0, sharp)
    yield from _paths_of(view, root, revision, place, here)


def _paths_of(view: View, root: TreeId, revision: str, place: str, here: str) -> Iterator[Candidate]:
    above, slash, begin = place.rpartition("/")
    found = list(version_names(view, root, _from_top(above, here), begin))
    for name, identity in found:
        text = f"{revision}:{above}{slash}{name}"
        if isinstance(identity, TreeId):
            yield Candidate(f"{text}/", more=True)
        else:
            # behind the only one that is left, '#' may follow
            alone = len(found) == 1 and bool(read_manifest(view.objects, ManifestId(identity)).tensors)
            yield Candidate(text, more=alone)


def _from_top(path: str, here: str) -> str:
    """A path behind ``REV:``, of which ``./`` and ``../`` start in the current folder, as in Git."""
    if path in (".", "..") or path.startswith(("./", "../")):
        path = os.path.normpath(os.path.join(here, path))
    return "" if path == "." else path.rstrip("/")


def version_names(view: View, root: TreeId, folder: str, begin: str) -> Iterator[tuple[str, bytes]]:
    """Files and folders right below a folder of a version."""
    entry = lookup_path(view.objects, root, folder)
    if entry is None or entry.mode != FOLDER:
        return
    entries = read_tree(view.objects, TreeId(entry.id)).entries
    for item in islice((item for item in entries if item.name.startswith(begin)), MOST):
        yield item.name, item.id


def tensors(spans: Iterable[Span], begin: str) -> list[Candidate]:
    """Tensors whose names begin so; where they are many, up to their next dot."""
    found = {span.name: f"{span.dtype} {list(span.shape)}" for span in spans if span.name.startswith(begin)}
    if len(found) <= MANY_TENSORS:
        return [Candidate(name, told) for name, told in found.items()]
    common = _common(min(found), max(found))
    groups: dict[str, Candidate] = {}
    for name, told in found.items():
        dot = name.find(".", len(common))
        cut = name if dot < 0 else name[: dot + 1]
        groups.setdefault(cut, Candidate(cut, told if dot < 0 else "", more=dot >= 0))
    return list(islice(groups.values(), MOST))


def _common(first: str, last: str) -> str:
    """What two texts, and so all that are sorted between them, begin with."""
    pairs = zip(first, last, strict=False)
    return first[: next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(first), len(last)))]


# --- paths of the command line -----------------------------------------------------------------------------
def paths(begin: str, cwd: Path, *, folders_only: bool = False) -> Iterator[Candidate]:
    """Files and folders on disk that begin so, as a shell offers them."""
    above, slash, name = begin.rpartition("/")
    try:
        # joined as text: Path would lose what '..' means behind a link
        with os.scandir(os.path.join(cwd, above + slash)) as entries:
            listed = sorted(islice(entries, 10 * MOST), key=lambda entry: entry.name)
            fitting = [entry for entry in listed if _is_offered(entry.name, name)]
            for entry in fitting[:MOST]:
                is_folder = entry.is_dir()
                if is_folder or not folders_only:
                    yield Candidate(above + slash + entry.name + "/" * is_folder, more=is_folder)
    except OSError:
        return  # no such folder, so nothing is in it


def _is_offered(name: str, begin: str) -> bool:
    return name.startswith(begin) and name != STORE and (begin.startswith(".") or not name.startswith("."))


def paths_of_version(view: View, revision: str, begin: str, here: str) -> Iterator[Candidate]:
    """Files and folders of a version as they are called from the current folder.

    Raises:
        RevisionNotFound: there is no such version.
    """
    above, slash, name = begin.rpartition("/")
    folder = os.path.normpath(os.path.join(here, above or "."))
    if folder.startswith((".." + "/", "/")) or folder == "..":
        return
    root = view.commit(resolve_commit(revision, view.objects, view)).tree
    for found, identity in version_names(view, root, "" if folder == "." else folder, name):
        is_folder = isinstance(identity, TreeId)
        yield Candidate(above + slash + found + "/" * is_folder, more=is_folder)


# --- the operation log -------------------------------------------------------------------------------------
def operation_ids(view: View, begin: str) -> Iterator[Candidate]:
    """The newest operations, with what they did."""
    for operation in islice(view.operations(), NEWEST):
        if operation.id.short.startswith(begin):
            yield Candidate(operation.id.short, operation.command)


def note_ids(view: View, revision: str, begin: str) -> Iterator[Candidate]:
    """A version's notes, with what they say.

    Raises:
        RevisionNotFound: there is no such version.
    """
    for note in Notes(view.objects, view).of(resolve_commit(revision, view.objects, view)):
        if note.id.startswith(begin):
            yield Candidate(note.id, note.message or values_text(note.metrics))
