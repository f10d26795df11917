"""What a repository must be, in plain Python: dicts of bytes, and nothing of mvc.

:class:`Model` has a method for each verb. It says what the verb must do to refs, HEAD and the work tree as an
:class:`Outcome`, or raises :class:`Refused` where the verb must refuse; :meth:`Model.apply` makes it so. The
versions' ids are those that mvc gave.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Files = Mapping[str, tuple[bytes, bool]]
"""A folder's files: content and executable bit."""

Id = str
"""A version's id, in hexadecimal."""

PENDING = "refs/worktree/pending"
NOTES = "refs/notes/commits"
BRANCHES = "refs/heads/"
TAGS = "refs/tags/"
NEW = "the version that this makes"
MARKER = b"<<<<<<< "


class Refused(Exception):
    """The verb must say no, and change nothing."""


class Version(NamedTuple):
    """A commit."""

    parents: tuple[Id, ...]
    files: Files
    time: int


class Target(NamedTuple):
    """What a branch or tag means; ``annotated`` tells one annotated tag from another."""

    commit: Id
    annotated: str | None = None


class NoteBook(NamedTuple):
    """All notes, and when they were last written."""

    time: int
    notes: frozenset[tuple[Id, str]]


class UnderWay(NamedTuple):
    """A merge, pick or revert that waits: what was made of the two versions, and what is in conflict."""

    raw: bytes
    kind: str
    ours: Id
    theirs: Id | None
    start: Id | None
    files: tuple[tuple[str, tuple[bytes, bool]], ...]
    conflicts: tuple[str, ...]


class Branch(NamedTuple):
    """HEAD on a branch, by its full name."""

    ref: str


MAIN = Branch(BRANCHES + "main")
Head = Branch | Id
Change = tuple[Any, Any]


@dataclass
class Operation:
    """An entry of the operation log: ``changes`` of refs and HEAD, and the work tree's files before and
    after."""

    number: int
    time: int
    changes: dict[str, Change]
    worktree: tuple[Files, Files] | None = None
    undoes: int | None = None


class Thrown(NamedTuple):
    """What one collection threw away, and what was before the log then."""

    time: int
    operations: tuple[Operation, ...]
    versions: Mapping[Id, Version]
    began: tuple[Head, dict[str, Any]]


@dataclass
class Outcome:
    """What a verb does. ``refs`` and ``head`` may name :data:`NEW`; ``work`` None leaves the work tree as it
    is, and so does ``nothing`` everything."""

    refs: dict[str, Any] = field(default_factory=dict)
    head: Head | None = None
    work: Files | None = None
    worktree: tuple[Files, Files] | None = None
    undoes: int | None = None
    made: Version | None = None
    nothing: bool = False


def below(path: str, place: str) -> bool:
    return place in ("", ".") or path == place or path.startswith(place + "/")


def folders_of(paths: Iterable[str]) -> set[str]:
    """All folders that these files lie in."""
    return {path[:at] for path in paths for at, letter in enumerate(path) if letter == "/"}


def clashes(paths: Collection[str]) -> bool:
    """Whether one of the files is a folder of another."""
    return not folders_of(paths).isdisjoint(paths)


def overlay(files: Files, over: Files) -> dict[str, tuple[bytes, bool]]:
    """``files`` with ``over`` laid upon them; a file takes a folder's place, and the reverse."""
    folders = folders_of(over)
    kept = {
        path: file
        for path, file in files.items()
        if path not in folders and not folders_of([path]) & over.keys()
    }
    return {**kept, **over}


def changed(files: Files, edits: Mapping[str, tuple[bytes, bool] | None]) -> dict[str, tuple[bytes, bool]]:
    kept = {path: file for path, file in files.items() if path not in edits}
    return overlay(kept, {path: file for path, file in edits.items() if file is not None})


def transition(
    work: Files,
    current: Files,
    target: Files,
    *,
    force: bool = False,
    everything: bool = False,
    partial: bool = False,
    clean: Collection[str] = (),
) -> tuple[Files, tuple[Files, Files] | None]:
    """From the work tree, made from ``current``, to ``target``: the files then, and what the log keeps.

    What is equal in both stays as the user left it, unless ``everything`` is wanted. What was never committed
    is overwritten by ``force`` only.

    Raises:
        Refused: uncommitted work is in the way.
    """
    dirty = {path for path in work if work[path] != current.get(path)}
    write: dict[str, tuple[bytes, bool]] = {}
    remove: set[str] = set()
    lost: set[str] = set()
    for path in target if partial else {*current, *target}:
        there, old, new = work.get(path), current.get(path), target.get(path)
        if there == new or (old == new and not partial and not everything):
            continue
        if there is not None and path in dirty:
            lost.add(path)
        if new is None:
            remove.add(path)
        else:
            write[path] = new
    for path in dirty.difference(current, write, remove):
        if path in folders_of(write) or folders_of([path]) & write.keys():
            remove.add(path)
            lost.add(path)
    if not force and (lost or dirty.intersection(clean)):
        raise Refused(f"uncommitted work: {sorted(lost)}")
    after_work = {path: file for path, file in {**work, **write}.items() if path not in remove}
    if clashes(after_work):
        raise Refused("a folder and a file at one place")
    touched = {path for path in {*current, *target} if current.get(path) != target.get(path)}
    if partial:
        touched &= target.keys()
    touched |= write.keys() | remove

    def present(path: str) -> tuple[bytes, bool] | None:
        if path in lost or path not in work:
            return work.get(path)
        return target.get(path) if path in dirty else current.get(path)

    before = changed(current, {path: present(path) for path in touched})
    after = changed(current, {path: target.get(path) for path in touched})
    if before == after and not write and not remove:
        return work, None
    return after_work, (before, after)


@dataclass
class Model:
    """A repository and its work tree."""

    refs: dict[str, Any] = field(default_factory=dict)
    head: Head = field(default_factory=lambda: MAIN)
    work: dict[str, tuple[bytes, bool]] = field(default_factory=dict)
    versions: dict[Id, Version] = field(default_factory=dict)
    log: list[Operation] = field(default_factory=list)
    number: int = 0
    began: tuple[Head, dict[str, Any]] = field(default_factory=lambda: (MAIN, {}))
    """HEAD and refs before the oldest operation of the log."""
    trash: list[Thrown] = field(default_factory=list)

    # --- what is asked -----------------------------------------------------------------------------------
    @property
    def commit(self) -> Id | None:
        """HEAD's version."""
        return self.meant(self.head, self.refs)

    @staticmethod
    def meant(head: Head, refs: Mapping[str, Any]) -> Id | None:
        if not isinstance(head, Branch):
            return head
        target = refs.get(head.ref)
        return None if target is None else target.commit

    def files(self, commit: Id | None) -> Files:
        return {} if commit is None else self.versions[commit].files

    @property
    def pending(self) -> UnderWay | None:
        return self.refs.get(PENDING)

    @property
    def tracked(self) -> Files:
        """What the work tree was made from."""
        made = () if self.pending is None else self.pending.files
        return {**self.files(self.commit), **dict(made)}

    @property
    def clean(self) -> bool:
        return self.work == self.tracked

    @property
    def unresolved(self) -> set[str]:
        """Conflicts whose files are as the merge left them, or have its markers still."""
        if self.pending is None:
            return set()
        left = dict(self.pending.files)
        return {
            path
            for path in self.pending.conflicts
            if self.work.get(path) == left.get(path)
            or (
                path in self.work
                and path in left
                and MARKER in self.work[path][0]
                and MARKER in left[path][0]
            )
        }

    def resolve(self, revision: str) -> Id:
        if revision == "HEAD":
            commit = self.commit
        else:
            target = self.refs.get(BRANCHES + revision) or self.refs.get(TAGS + revision)
            commit = revision if target is None else target.commit
        if commit not in self.versions:
            raise Refused(f"no revision {revision}")
        return commit

    def ancestors(self, starts: Iterable[Id]) -> set[Id]:
        """Versions and all that they come from."""
        found, stack = set(), list(starts)
        while stack:
            commit = stack.pop()
            if commit not in found:
                found.add(commit)
                stack += self.versions[commit].parents
        return found

    def merge_bases(self, one: Id, other: Id) -> set[Id]:
        common = self.ancestors([one]) & self.ancestors([other])
        older = self.ancestors(parent for commit in common for parent in self.versions[commit].parents)
        return common - older

    def listed(self) -> list[Id]:
        """The versions that HEAD reaches, in the order of ``git log``."""
        seen = {self.commit} if self.commit else set()
        heap = [(-self.versions[commit].time, commit) for commit in seen]
        found = []
        while heap:
            _time, commit = heapq.heappop(heap)
            found.append(commit)
            for parent in self.versions[commit].parents:
                if parent not in seen:
                    seen.add(parent)
                    heapq.heappush(heap, (-self.versions[parent].time, parent))
        return found

    def needed(self) -> set[Id]:
        """Versions that must be readable: what refs, HEAD and the operation log lead to."""
        starts: set[Id] = set()
        values = [*self.refs.values(), self.head]
        for operation in self.log:
            for change in operation.changes.values():
                values += change
        for value in values:
            match value:
                case Target(commit, _):
                    starts.add(commit)
                case UnderWay():
                    starts.update(one for one in (value.ours, value.theirs, value.start) if one is not None)
                case str():
                    starts.add(value)
        return self.ancestors(starts)

    # --- making it so ------------------------------------------------------------------------------------
    def apply(self, outcome: Outcome, time: int, new: Id | None = None) -> None:
        """Do what a verb does."""
        if outcome.made is not None:
            assert new is not None
            self.versions.setdefault(new, outcome.made)
        if outcome.work is not None:
            self.work = dict(outcome.work)
        if outcome.nothing:
            return

        def real(value: Any) -> Any:
            if value == NEW:
                return new
            return value._replace(commit=new) if isinstance(value, Target) and value.commit == NEW else value

        changes: dict[str, Change] = {}
        for name, value in outcome.refs.items():
            if self.refs.get(name) != real(value):
                changes[name] = (self.refs.get(name), real(value))
        if outcome.head is not None and self.head != real(outcome.head):
            changes["HEAD"] = (self.head, real(outcome.head))
        self._do(changes)
        self.number += 1
        self.log.append(Operation(self.number, time, changes, outcome.worktree, outcome.undoes))

    def _do(self, changes: Mapping[str, Change]) -> None:
        for name, (_before, after) in changes.items():
            if name == "HEAD":
                self.head = after
            elif after is None:
                del self.refs[name]
            else:
                self.refs[name] = after

    def to(self, commit: Id, **more: Any) -> Outcome:
        """HEAD's branch, or a detached HEAD, moves."""
        refs = more.pop("refs", {})
        if isinstance(self.head, Branch):
            return Outcome(refs={**refs, self.head.ref: Target(commit)}, **more)
        return Outcome(refs=refs, head=commit, **more)

    def refuse_pending(self) -> None:
        if self.pending is not None:
            raise Refused("something is under way")

    # --- versions ----------------------------------------------------------------------------------------
    def snapshot(
        self, time: int, *, paths: Sequence[str] = (), amend: bool = False, empty: bool = False
    ) -> Outcome:
        """``commit``."""
        head, pending = self.commit, self.pending
        if pending is not None:
            if paths or amend or pending.theirs is None:
                raise Refused("something is under way")
            return self._concluded(pending, time, empty=empty)
        before = self.files(head)
        files = dict(self.work)
        if paths:
            for wanted in paths:
                if not any(below(path, wanted) for path in (*before, *self.work)):
                    raise Refused(f"no file {wanted}")
            outside = {p: f for p, f in before.items() if not any(below(p, one) for one in paths)}
            files = overlay(outside, {p: f for p, f in files.items() if any(below(p, one) for one in paths)})
        if amend and head is None:
            raise Refused("nothing to amend")
        if not empty and not amend and files == before:
            raise Refused("nothing to commit")
        parents = self.versions[head].parents if amend and head else () if head is None else (head,)
        return self.to(NEW, made=Version(parents, files, time))

    def _concluded(self, pending: UnderWay, time: int, *, empty: bool) -> Outcome:
        if self.unresolved or self.commit != pending.ours:
            raise Refused("in conflict, or HEAD was moved since")
        files, merge = dict(self.work), pending.kind == "merge"
        if not merge and not empty and files == self.files(pending.ours):
            raise Refused("the pick changes nothing")
        parents = (pending.ours, *((pending.theirs,) if merge and pending.theirs else ()))
        return self.to(NEW, made=Version(parents, files, time), refs={PENDING: None})

    def joined(self, began: Id | None, time: int) -> Outcome:
        """``commit`` of the work tree that began at another HEAD than it ends."""
        self.refuse_pending()
        head = self.commit
        if head == began:
            return self.snapshot(time)
        base, theirs = self.files(began), self.files(head)
        kept = {path: file for path, file in theirs.items() if self.work.get(path) == base.get(path)}
        ours = {path: file for path, file in self.work.items() if file != base.get(path)}
        parents = () if head is None else (head,)
        return self.to(NEW, made=Version(parents, overlay(kept, ours), time))

    # --- names -------------------------------------------------------------------------------------------
    def branch(self, name: str, revision: str, *, force: bool = False) -> Outcome:
        commit, ref = self.resolve(revision), BRANCHES + name
        if self.refs.get(ref) == Target(commit) and self.head != Branch(ref):
            return Outcome(nothing=True)
        if ref in self.refs and (not force or self.head == Branch(ref)):
            raise Refused("there is one, or it is the current one")
        return Outcome(refs={ref: Target(commit)})

    def delete_branch(self, name: str, *, force: bool = False) -> Outcome:
        ref = BRANCHES + name
        if ref not in self.refs or self.head == Branch(ref):
            raise Refused("there is none, or it is the current one")
        head = self.commit
        if not force and (head is None or self.refs[ref].commit not in self.ancestors([head])):
            raise Refused("it holds what HEAD does not reach")
        return Outcome(refs={ref: None})

    def rename_branch(self, old: str, new: str) -> Outcome:
        old, new = BRANCHES + old, BRANCHES + new
        value, current = self.refs.get(old), self.head == Branch(old)
        if (value is None and not current) or new in self.refs:
            raise Refused("there is none, or there is one")
        return Outcome(
            refs={} if value is None else {old: None, new: value}, head=Branch(new) if current else None
        )

    def tag(self, name: str, revision: str, annotated: str | None, *, force: bool = False) -> Outcome:
        commit, ref = self.resolve(revision), TAGS + name
        if self.refs.get(ref) == Target(commit, annotated):
            return Outcome(nothing=True)
        if ref in self.refs and not force:
            raise Refused("there is one")
        return Outcome(refs={ref: Target(commit, annotated)})

    def delete_tag(self, name: str) -> Outcome:
        if TAGS + name not in self.refs:
            raise Refused("there is none")
        return Outcome(refs={TAGS + name: None})

    def note(self, revision: str, words: str, time: int) -> Outcome:
        commit = self.resolve(revision)
        book = self.refs.get(NOTES) or NoteBook(0, frozenset())
        return Outcome(refs={NOTES: NoteBook(time, book.notes | {(commit, words)})})

    def forget_notes(self, revision: str, time: int) -> Outcome:
        commit = self.resolve(revision)
        book = self.refs.get(NOTES) or NoteBook(0, frozenset())
        left = frozenset(note for note in book.notes if note[0] != commit)
        if left == book.notes:
            raise Refused("it has no notes")
        return Outcome(refs={NOTES: NoteBook(time, left)})

    # --- the work tree -----------------------------------------------------------------------------------
    def switch(
        self,
        revision: str,
        *,
        create: str | None = None,
        reset: bool = False,
        detach: bool = False,
        force: bool = False,
        branches_only: bool = False,
    ) -> Outcome:
        """``checkout REV`` and ``switch``."""
        self.refuse_pending()
        if create is not None and BRANCHES + create in self.refs and not reset:
            raise Refused("there is such a branch")
        if create is not None and revision == "HEAD" and self.commit is None:
            return Outcome(head=Branch(BRANCHES + create))
        target = self.resolve(revision)
        refs: dict[str, Any] = {}
        head: Head = target
        if create is not None:
            head = Branch(BRANCHES + create)
            refs = {head.ref: Target(target)}
        elif not detach:
            if BRANCHES + revision in self.refs:
                head = Branch(BRANCHES + revision)
            elif revision == "HEAD":
                head = self.head
            if branches_only and not isinstance(head, Branch):
                raise Refused("no branch")
        work, worktree = transition(
            self.work, self.files(self.commit), self.files(target), force=force, everything=force
        )
        return Outcome(refs, head, work, worktree)

    def orphan(self, name: str, *, force: bool = False) -> Outcome:
        """``switch --orphan``."""
        self.refuse_pending()
        if BRANCHES + name in self.refs:
            raise Refused("there is such a branch")
        work, worktree = transition(self.work, self.files(self.commit), {}, force=force, everything=force)
        return Outcome({}, Branch(BRANCHES + name), work, worktree)

    def checkout_paths(self, revision: str, paths: Sequence[str], *, force: bool = False) -> Outcome:
        files = self.files(self.resolve(revision))
        wanted = {path: file for path, file in files.items() if any(below(path, one) for one in paths)}
        for one in paths:
            if not any(below(path, one) for path in wanted):
                raise Refused(f"no file {one}")
        work, worktree = transition(self.work, self.files(self.commit), wanted, force=force, partial=True)
        return Outcome(work=work, worktree=worktree)

    def restore(self, paths: Sequence[str], source: str | None) -> Outcome:
        tracked = self.tracked
        if source is None and self.pending is not None:
            origin: Files = dict(self.pending.files)
        else:
            origin = self.files(self.resolve(source or "HEAD"))
        for one in paths:
            if not any(below(path, one) for path in (*tracked, *origin)):
                raise Refused(f"no file {one}")

        def part(files: Files) -> Files:
            return {path: file for path, file in files.items() if any(below(path, one) for one in paths)}

        work, worktree = transition(self.work, part(tracked), part(origin), force=True, everything=True)
        return Outcome(work=work, worktree=worktree)

    def reset(self, revision: str, mode: str) -> Outcome:
        target = self.resolve(revision)
        if mode == "soft":
            self.refuse_pending()
        refs = {} if self.pending is None else {PENDING: None}
        if mode != "hard":
            return self.to(target, refs=refs)
        work, worktree = transition(self.work, self.tracked, self.files(target), force=True, everything=True)
        return self.to(target, refs=refs, work=work, worktree=worktree)

    # --- bringing together -------------------------------------------------------------------------------
    def brought(
        self, merged: Files, conflicts: Collection[str], refs: dict[str, Any], made: Version | None
    ) -> Outcome:
        """HEAD's files become merged ones, and a version of them is made; or it waits."""
        work, worktree = transition(self.work, self.files(self.commit), merged, clean=conflicts)
        if made is None:
            return Outcome(refs, None, work, worktree)
        return self.to(NEW, refs=refs, work=work, worktree=worktree, made=made)

    def forward(self, target: Id) -> Outcome:
        """A merge that only moves HEAD."""
        work, worktree = transition(self.work, self.files(self.commit), self.files(target))
        return self.to(target, work=work, worktree=worktree)

    def abort(self) -> Outcome:
        """``--abort``, of whatever is under way."""
        pending = self.pending
        if pending is None:
            raise Refused("nothing is under way")
        here = self.commit
        start = (pending.start or pending.ours) if here == pending.ours else here
        target = self.files(start)
        version = {
            path: file for path, file in pending.files if path not in pending.conflicts or path not in target
        }
        work, worktree = transition(self.work, version, target, force=True)
        if start is None or start == here:
            return Outcome({PENDING: None}, None, work, worktree)
        return self.to(start, refs={PENDING: None}, work=work, worktree=worktree)

    # --- taking back -------------------------------------------------------------------------------------
    def newest(self) -> Operation:
        """What ``undo`` takes back."""
        undone: set[int] = set()
        for operation in reversed(self.log):
            if operation.number in undone:
                continue
            if operation.undoes is None:
                return operation
            undone.add(operation.undoes)
        raise Refused("nothing to undo")

    def undo(self, operation: Operation | None = None, *, force: bool = False) -> Outcome:
        found = operation or self.newest()
        refs: dict[str, Any] = {}
        head: Head | None = None
        for name, (before, after) in found.changes.items():
            if (self.head if name == "HEAD" else self.refs.get(name)) != after:
                raise Refused(f"{name} has changed since")
            if name == "HEAD":
                head = before
            else:
                refs[name] = before
        if found.worktree is None:
            return Outcome(refs, head, undoes=found.number)
        before, after = found.worktree
        work, worktree = transition(self.work, after, before, force=force)
        return Outcome(refs, head, work, worktree, undoes=found.number)

    def known(self, upto: int) -> tuple[Head, dict[str, Any], Files | None]:
        """HEAD, refs and the files that mvc knew of after so many operations of the log."""
        head, refs = self.began
        refs = dict(refs)
        commit = self.meant(head, refs)
        known: Files | None = self.files(commit) or None
        for operation in self.log[:upto]:
            for name, (_before, after) in operation.changes.items():
                if name == "HEAD":
                    head = after
                elif after is None:
                    refs.pop(name, None)
                else:
                    refs[name] = after
            moved = "HEAD" in operation.changes or (
                isinstance(head, Branch) and head.ref in operation.changes
            )
            if operation.worktree is not None:
                before, after = operation.worktree
                edits = {
                    path: after.get(path) for path in {*before, *after} if before.get(path) != after.get(path)
                }
                if edits or known is not None:
                    known = changed(known or {}, edits)
            elif operation.undoes is None and moved:
                commit = self.meant(head, refs)
                if commit is not None and self.versions[commit].time == operation.time:
                    known = self.files(commit)
        return head, refs, known

    def go_back(self, at: int, *, force: bool = False) -> Outcome:
        """``oplog restore`` of the operation at a place in the log."""
        head, then, files = self.known(at + 1)
        present = self.known(len(self.log))[2]
        if present is None:
            present = self.files(self.commit)
        target = present if files is None else files
        names = {*self.refs, *then}
        refs = {name: then.get(name) for name in names if self.refs.get(name) != then.get(name)}
        if not refs and head == self.head and target == present and not force:
            raise Refused("all is so")
        work, worktree = transition(self.work, present, target, force=force, everything=force)
        return Outcome(refs, head, work, worktree)

    # --- what goes ---------------------------------------------------------------------------------------
    def expire(self, since: int | None) -> None:
        """Operations from before leave the log, but none between such as stay."""
        if since is None:
            return
        first = next((at for at, one in enumerate(self.log) if one.time >= since), len(self.log))
        head, refs, _files = self.known(first)
        self.began = (head, refs)
        self.log = self.log[first:]

    def garbage(self) -> set[Id]:
        """Versions that a collection throws away."""
        return set(self.versions) - self.needed()

    def forget(self) -> None:
        """What nothing leads to is not there any more."""
        for commit in self.garbage():
            del self.versions[commit]

    def collect(self, time: int, since: int | None, oldest: int, *, keep: bool) -> set[Id]:
        """``gc``: what goes comes into the trash, unless ``keep`` is False, and what lies there from before
        ``oldest`` is gone for good. Gives the versions that went."""
        log, began = self.log, self.began
        self.expire(since)
        garbage = self.garbage()
        operations = tuple(log[: len(log) - len(self.log)])
        versions = {commit: self.versions[commit] for commit in garbage}
        self.trash = [thrown for thrown in self.trash if thrown.time >= oldest]
        if keep and (operations or versions):
            self.trash.append(Thrown(time, operations, versions, began))
        self.forget()
        return garbage

    def bring_back(self) -> Thrown:
        """``gc --undo``."""
        if not self.trash:
            raise Refused("nothing in the trash")
        thrown = self.trash.pop()
        self.versions.update(thrown.versions)
        if thrown.operations:
            self.log = [*thrown.operations, *self.log]
            self.began = thrown.began
        return thrown


def three_way(
    base: Files, ours: Files, theirs: Files, settle: Any = None
) -> dict[str, tuple[bytes, bool]] | None:
    """The files of a merge, where it is beyond doubt; None where it depends on what files are.

    ``settle`` says what becomes of content that both sides changed, or None.
    """
    for side in (ours, theirs):
        if base.keys() - side.keys() and side.keys() - base.keys():
            return None  # perhaps a file was moved
    merged: dict[str, tuple[bytes, bool]] = {}
    for path in {*base, *ours, *theirs}:
        old, one, other = base.get(path), ours.get(path), theirs.get(path)
        if one == other or other == old:
            result = one
        elif one == old:
            result = other
        elif settle is not None and old and one and other and one[1] == other[1] == old[1]:
            content = settle(old[0], one[0], other[0])
            if content is None:
                return None
            result = (content, one[1])
        else:
            return None
        if result is not None:
            merged[path] = result
    return None if clashes(merged) or clashes({*base, *ours, *theirs}) else merged
