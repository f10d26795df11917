"""From a revision to what it names: ``HEAD~2``, ``v1.0^{commit}``, ``main^2``, ``main:dir/file#tensor``.

The grammar and its precedence are Git's (``git help revisions``), with two differences: there is no staging
area, so ``:PATH`` means ``HEAD:PATH``; and ``#NAME`` behind a file names a tensor in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from mvc.errors import AmbiguousRevision, RevisionNotFound
from mvc.history.names import COMMITTISH, NAMEABLE, TREEISH, Kinds, Refs, Resolved, find_named, nearest, peel
from mvc.history.reader import ObjectReader, read_commit, read_manifest, read_tree
from mvc.history.refnames import check_ref_name
from mvc.objectid import CommitId, ManifestId, ObjectId, TreeId
from mvc.objects import FOLDER, TreeEntry

__all__ = ["Refs", "Resolved", "check_ref_name", "lookup_path", "resolve", "resolve_commit"]

_SUFFIX_START = re.compile(r"[~^]")
_SUFFIX = re.compile(r"~(?P<back>[0-9]{0,9})|\^\{(?P<kind>[^{}]*)\}|\^(?P<parent>[0-9]{0,9})")


def resolve(text: str, reader: ObjectReader, refs: Refs) -> Resolved:
    """Find what a revision names; a path or a tensor in it is known to exist.

    Raises:
        RevisionNotFound: nothing has that name; the hint offers the nearest ones.
        AmbiguousRevision: a short id fits several objects.
    """
    return _resolve(text, reader, refs, NAMEABLE)


def resolve_commit(text: str, reader: ObjectReader, refs: Refs) -> CommitId:
    """Find the commit that a revision names, through a tag if need be.

    Raises:
        RevisionNotFound: nothing has that name, or it is no commit.
        AmbiguousRevision: a short id fits several commits.
    """
    found = _resolve(text, reader, refs, COMMITTISH)
    with _quoting(text):
        return _commit_of(found.object, reader)


def lookup_path(reader: ObjectReader, tree: TreeId, path: str) -> TreeEntry | None:
    """The file or folder at a path below a tree, components joined by ``/``; None if there is none.

    The empty path is the tree itself, as an entry without a name.
    """
    entry = TreeEntry("", FOLDER, tree)
    for component in path.split("/") if path else ():
        if not isinstance(entry.id, TreeId):
            return None
        matches = [item for item in read_tree(reader, entry.id).entries if item.name == component]
        if not matches:
            return None
        entry = matches[0]
    return entry


@contextmanager
def _quoting(text: str) -> Iterator[None]:
    """Put the whole revision before a message about a part of it."""
    try:
        yield
    except (RevisionNotFound, AmbiguousRevision) as error:
        if repr(text) in error.message:
            raise
        raise type(error)(f"{text!r}: {error.message}", hint=error.hint) from None


def _resolve(text: str, reader: ObjectReader, refs: Refs, wanted: Kinds) -> Resolved:
    with _quoting(text):
        colon = _find_colon(text)
        if colon is None:
            return _resolve_object(text, reader, refs, wanted)
        found = _resolve_object(text[:colon] or "HEAD", reader, refs, TREEISH)
        return _enter(found, text[colon + 1 :], reader)


def _find_colon(text: str) -> int | None:
    """Where the path begins: the first colon outside of braces."""
    depth = 0
    for position, character in enumerate(text):
        if character == "{":
            depth += 1
        elif character == "}" and depth:
            depth -= 1
        elif character == ":" and not depth:
            return position
    return None


# --- before the colon --------------------------------------------------------------------------------------
def _resolve_object(revision: str, reader: ObjectReader, refs: Refs, wanted: Kinds) -> Resolved:
    name = _SUFFIX_START.split(revision, maxsplit=1)[0]
    suffixes = list(_split_suffixes(revision, len(name)))
    if suffixes:
        wanted = {"": NAMEABLE, "tree": TREEISH}.get(suffixes[0]["kind"], COMMITTISH)
    found = find_named(name, reader, refs, wanted)
    for suffix in suffixes:
        found = _follow(found, suffix, reader)
    return found


def _split_suffixes(revision: str, position: int) -> Iterator[re.Match[str]]:
    while position < len(revision):
        suffix = _SUFFIX.match(revision, position)
        if suffix is None:
            raise RevisionNotFound(
                f"{revision[position:]!r} means nothing here", hint="after a name come ~N, ^N or ^{commit}"
            )
        yield suffix
        position = suffix.end()


def _follow(found: Resolved, suffix: re.Match[str], reader: ObjectReader) -> Resolved:
    """Go where one suffix leads."""
    kind = suffix["kind"]
    if kind == "":
        return replace(found, object=peel(found.object, reader), tag=None, ref=None)
    if kind == "tree":
        tree = _tree_of(found.object, reader)
        return Resolved(tree, found.commit, path="", shadowed=found.shadowed)
    if kind not in (None, "commit"):
        raise RevisionNotFound(f"{suffix.group()!r} means nothing here", hint="use ^{commit}, ^{tree} or ^{}")
    commit = _commit_of(found.object, reader)
    if suffix["back"] is not None:
        for _ in range(int(suffix["back"] or 1)):
            commit = _nth_parent(commit, 1, reader)
    elif suffix["parent"] is not None:
        number = int(suffix["parent"] or 1)
        commit = _nth_parent(commit, number, reader) if number else commit
    return Resolved(commit, commit, shadowed=found.shadowed)


def _nth_parent(commit: CommitId, number: int, reader: ObjectReader) -> CommitId:
    parents = read_commit(reader, commit).parents
    if not parents:
        raise RevisionNotFound(f"{commit.short} is a first commit: nothing came before it")
    if number > len(parents):
        raise RevisionNotFound(f"{commit.short} has no parent number {number}, only {len(parents)}")
    return parents[number - 1]


def _commit_of(identity: ObjectId, reader: ObjectReader) -> CommitId:
    peeled = peel(identity, reader)
    if not isinstance(peeled, CommitId):
        raise RevisionNotFound(
            f"{identity.short} is a {identity.word}, not a commit", hint="name a branch, a tag or a commit"
        )
    return peeled


def _tree_of(identity: ObjectId, reader: ObjectReader) -> TreeId:
    if isinstance(identity, TreeId):
        return identity
    return read_commit(reader, _commit_of(identity, reader)).tree


# --- behind the colon --------------------------------------------------------------------------------------
def _enter(found: Resolved, place: str, reader: ObjectReader) -> Resolved:
    """Resolve ``PATH`` or ``PATH#tensor``; where file names have ``#`` in them, the longest one wins."""
    root = _tree_of(found.object, reader)
    path = place.removesuffix("/")
    entry = lookup_path(reader, root, path)
    if entry is not None and (entry.mode == FOLDER or path == place):
        return replace(found, object=entry.id, path=path)
    cut = place.rfind("#")
    while cut >= 0:
        path, tensor = place[:cut], place[cut + 1 :]
        entry = lookup_path(reader, root, path)
        if entry is not None and isinstance(entry.id, ManifestId):
            _check_tensor(entry.id, tensor, reader)
            return replace(found, object=entry.id, path=path, tensor=tensor)
        cut = place.rfind("#", 0, cut)
    if entry is not None and entry.mode == FOLDER:
        raise RevisionNotFound(f"{path!r} is a folder; tensors lie in files")
    raise _path_not_found(root, path if "#" in place else place, reader)


def _check_tensor(file: ManifestId, tensor: str, reader: ObjectReader) -> None:
    names = [span.name for span in read_manifest(reader, file).tensors]
    if tensor not in names:
        hint = nearest(tensor, names) if names else "mvc knows of no tensors in it"
        raise RevisionNotFound(f"the file has no tensor {tensor!r}", hint=hint)


def _path_not_found(root: TreeId, path: str, reader: ObjectReader) -> RevisionNotFound:
    """Name the first component that is missing, and what lies nearest to it."""
    folder, above = root, ""
    for component in path.split("/"):
        entries = read_tree(reader, folder).entries
        inner = next((item.id for item in entries if item.name == component), None)
        if not isinstance(inner, TreeId):
            break
        folder, above = inner, f"{above}{component}/"
    hint = nearest(above + component, (above + item.name for item in entries))
    return RevisionNotFound(f"there is no {path!r} in that version", hint=hint)
