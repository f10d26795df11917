"""The history of a Git repository, with what git-lfs keeps outside of it."""

from __future__ import annotations

import posixpath
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from mvc.errors import InvalidName, UserError
from mvc.fileio import FileIO
from mvc.history.refnames import check_ref_name
from mvc.importing.contents import FileContent, GitBlob
from mvc.importing.version import Digest, Item, Listing, Name, TagText, Version
from mvc.lineage import Code
from mvc.origins.git import Git, GitRef
from mvc.origins.git_objects import FOLDER, LINK, MODULE, TreeItem, parse_commit, parse_tag, parse_tree
from mvc.origins.lfs import MAX_POINTER_BYTES, object_path, read_pointer
from mvc.paths import MAX_DEPTH, shown
from mvc.refs import BRANCHES

MAX_FILES = 1_000_000
"""Files and folders of one version: trees that share their folders can claim billions."""

MAX_LINKS = 40
"""Links that follow each other."""

_MAX_LINK_BYTES = 4096
_KEPT_TREES = 20_000
_MAX_TAGS = 16  # of tags of tags
_EXECUTABLE = 0o100


class Tip(NamedTuple):
    """A branch or tag, and the commit that it means."""

    ref: GitRef
    commit: str
    tag: TagText | None


class GitHistory:
    """All branches and tags of a repository, or one ``branch``; see :class:`mvc.importing.version.Origin`.

    Symbolic links count as the files that they end at, as in a work tree; submodules are left out.
    """

    kind = "git-lfs"
    line = None

    def __init__(
        self,
        io: FileIO,
        folder: Path,
        environment: Mapping[str, str],
        scratch: Callable[[], Path],
        branch: str | None = None,
    ) -> None:
        self.io = io
        self.passed_over = 0
        self._git = Git(folder, environment)
        self._store = self._git.common / "lfs" / "objects"
        self._scratch = scratch
        self._open = ExitStack()
        self.objects = self._open.enter_context(self._git.objects())
        self._trees: OrderedDict[str, list[TreeItem]] = OrderedDict()
        self._items: dict[str, tuple[FileContent | GitBlob, GitBlob | None]] = {}
        self._notes: list[str] = []
        try:
            self._tips = list(self._find_tips(branch))
            head = self._git.head()
        except BaseException:
            self.close()
            raise
        self.head = branch or _short(head)
        if not any(tip.ref.name == f"{BRANCHES}{self.head}" for tip in self._tips):
            self.head = next((_short(tip.ref.name) for tip in self._tips if _short(tip.ref.name)), None)

    def close(self) -> None:
        """End Git's processes."""
        self._open.close()

    def names(self) -> list[Name]:
        """Its branches and tags."""
        return [Name(tip.ref.name, tip.commit, tip.tag) for tip in self._tips]

    def notes(self) -> list[str]:
        """Names that cannot be taken."""
        return self._notes

    def versions(self, known: Collection[str]) -> Iterator[Version]:
        """Its commits, but those that are known."""
        self.passed_over = 0
        for identity, parents in self._git.history([tip.commit for tip in self._tips]):
            if identity in known:
                self.passed_over += 1
                continue
            commit = parse_commit(self.objects.read(identity, "commit"))
            yield Version(
                identity,
                parents,
                commit.author,
                commit.time,
                commit.message,
                self._lister(commit.tree),
                code=Code(identity, dirty=False),
            )

    def listing_of(self, name: str) -> Listing | None:
        """The files of a commit."""
        return self.listing(parse_commit(self.objects.read(name, "commit")).tree)

    def listing(self, tree: str) -> Listing:
        """The files of a commit's tree."""
        return self.listed(self.flat(tree))

    def listed(self, flat: Mapping[str, TreeItem]) -> Listing:
        """Files out of entries of trees by path: links resolved, pointers as what they point to."""
        found = Listing()
        for path, entry in flat.items():
            if entry.mode == MODULE:
                found.left_out.append((path, "is a submodule"))
                continue
            real = entry
            if entry.mode == LINK:
                target, why = self._resolve(path, flat)
                if target is None:
                    found.left_out.append((path, why))
                    continue
                real = target
            content, instead = self._content(real.id)
            found.files[path] = Item(content, bool(real.mode & _EXECUTABLE), instead)
        return found

    def flat(self, tree: str) -> dict[str, TreeItem]:
        """Every entry of a tree that is no folder, by path.

        Raises:
            UserError: there are more than a version may have.
        """
        found: dict[str, TreeItem] = {}
        waiting = [("", tree)]
        seen = 0
        while waiting:
            above, identity = waiting.pop()
            for entry in self._tree(identity):
                seen += 1
                if seen > MAX_FILES:
                    raise UserError(f"a commit of the Git repository has more than {MAX_FILES:,} files")
                path = above + entry.name
                if entry.mode == FOLDER:
                    if path.count("/") > MAX_DEPTH:
                        raise UserError(f"{shown(path)} is nested deeper than {MAX_DEPTH} levels")
                    waiting.append((f"{path}/", entry.id))
                else:
                    found[path] = entry
        return dict(sorted(found.items()))

    def _lister(self, tree: str) -> Callable[[], Listing]:
        return lambda: self.listing(tree)

    def _tree(self, identity: str) -> list[TreeItem]:
        entries = self._trees.get(identity)
        if entries is None:
            entries = parse_tree(self.objects.read(identity, "tree"), self._git.id_bytes)
            self._trees[identity] = entries
            if len(self._trees) > _KEPT_TREES:
                self._trees.popitem(last=False)
        else:
            self._trees.move_to_end(identity)
        return entries

    def _resolve(self, path: str, flat: Mapping[str, TreeItem]) -> tuple[TreeItem | None, str]:
        """The file that a link ends at, or None and why there is none."""
        entry = flat[path]
        for _step in range(MAX_LINKS):
            target = self.objects.read(entry.id, "blob", _MAX_LINK_BYTES).decode("utf-8", "surrogateescape")
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            if path.startswith(("/", "../")) or path == "..":
                return None, "is a link that leads out of the repository"
            found = flat.get(path)
            if found is None or found.mode == MODULE:
                return None, "is a link to a folder, or to nothing"
            if found.mode != LINK:
                return found, ""
            entry = found
        return None, "is a link that leads back to itself"

    def _content(self, identity: str) -> tuple[FileContent | GitBlob, GitBlob | None]:
        """A blob's content; behind a pointer that of the object, and the pointer to stand for it."""
        known = self._items.get(identity)
        if known is None:
            blob = GitBlob(self.io, self.objects, identity, self.objects.size(identity), self._scratch)
            known = blob, None
            if 0 < blob.size <= MAX_POINTER_BYTES:
                pointer = read_pointer(self.objects.read(identity, "blob", blob.size))
                if pointer is not None:
                    known = (
                        FileContent(
                            self.io,
                            self._store,
                            object_path(Path(), pointer.sha256).as_posix(),
                            pointer.size,
                            f"git-lfs object {pointer.sha256}",
                            ("lfs", pointer.sha256),
                            Digest("sha256", pointer.sha256),
                        ),
                        blob,
                    )
            self._items[identity] = known
        return known

    # --- names ---------------------------------------------------------------------------------------------
    def _find_tips(self, branch: str | None) -> Iterator[Tip]:
        refs = self._git.refs()
        if branch is not None:
            refs = [ref for ref in refs if ref.name == BRANCHES + branch]
            if not refs:
                raise UserError(
                    f"the Git repository has no branch {branch!r}", hint="'git branch' lists them there"
                )
        for ref in refs:
            try:
                check_ref_name(ref.name)
            except InvalidName as error:
                self._notes.append(f"{error.message}; it is left out")
                continue
            identity, kind, text = ref.id, ref.kind, None
            for _tag in range(_MAX_TAGS):
                if kind != "tag":
                    break
                tag = parse_tag(self.objects.read(identity, "tag"))
                text = text or TagText(tag.tagger, tag.time, tag.message)
                identity, kind = tag.target, tag.kind
            if kind == "commit":
                yield Tip(ref, identity, text)
            else:
                self._notes.append(f"{ref.name!r} names a {kind} and no commit; it is left out")


def _short(ref: str | None) -> str | None:
    return ref.removeprefix(BRANCHES) if ref is not None and ref.startswith(BRANCHES) else None
