"""Any sequence of commands, against a model of dicts of bytes (:mod:`tests.model`).

Each step is a verb of the library on a small repository, or an edit of its work tree. The model says
beforehand what must come of it, or that it must be refused; after it the work tree, HEAD, refs, the operation
log, the order of ``log`` and what ``status`` says are compared, and at intervals every version that anything
leads to is read, bit for bit, and ``fsck --full`` finds nothing. What merges make of weights and texts is not
in the model: it takes over what mvc made where that depends on more than which side changed a file, and holds
mvc to it from there on.

``make model`` plays thousands of longer ones.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mvc.errors import AnswerIsNo, Busy, DamageError, MvcError, ObjectPurged, WouldOverwrite
from mvc.fileio import FileIO
from mvc.history.reader import read_manifest, read_tag
from mvc.history.refnames import short_ref_name
from mvc.monitor import Monitor
from mvc.objectid import CommitId, TagId
from mvc.objects import EXECUTABLE, Timestamp
from mvc.ops import (
    branch,
    checkout,
    commit,
    gc,
    log,
    merge,
    notes,
    oplog,
    pick,
    purge,
    repair,
    reset,
    restore,
    status,
    tag,
    undo,
)
from mvc.ops import switch as switching
from mvc.ops.fsck import fsck
from mvc.ops.init import init
from mvc.refs import decode_target, peeled_target
from mvc.repo import Repository
from mvc.restore import file_pieces
from mvc.underway.pending import parse_pending
from mvc.view import View
from mvc.workspace import files_of_tree
from tests import model as plain
from tests.engine import ME, tree
from tests.faults import FaultIO, run_killed
from tests.model import NOTES, PENDING, Model, NoteBook, Outcome, Refused, Target, UnderWay, Version
from tests.model_files import KINDS, PATHS, average, content, is_plain

DAY = 86_400_000_000
BEGAN = 1_700_000_000_000_000
BRANCH_NAMES = ("main", "side", "other", "más")
TAG_NAMES = ("v1", "v2")
FAST = Path("/dev/shm")

NUMBER = st.integers(0, 11)
PATH = st.sampled_from(PATHS)
BRANCH = st.sampled_from(BRANCH_NAMES)
TAG = st.sampled_from(TAG_NAMES)
WHICH = st.integers(0, 15)
"""A revision, by its place among those that there are."""


class Interrupted(Monitor):
    """Something else happens when a commit begins to read."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile: Callable[[], None] | None = meanwhile

    def start(self, task: str, total_bytes: int | None = None) -> None:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()


class Commands(RuleBasedStateMachine):
    """A repository that two processes have open, and the model beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="model", dir=FAST if FAST.is_dir() else None))
        self.model = Model()
        self.steps = 0
        self.moment = BEGAN
        self.held = ExitStack()
        self.secrets: set[bytes] = set()
        self.readers: list[tuple[View, dict[str, Version]]] = []
        init(FileIO(), self.folder, Monitor())
        self.repositories = [self.open(), self.open()]

    def open(self, monitor: Monitor | None = None) -> Repository:
        return Repository.open(FileIO(), self.folder, monitor or Monitor())

    @property
    def repository(self) -> Repository:
        """One of two that are open, in turn."""
        return self.repositories[self.steps % 2]

    def now(self) -> Timestamp:
        """A day later than before."""
        self.moment += DAY
        return Timestamp(self.moment, 0)

    def request(self, message: str | None = "message", **options: Any) -> commit.Request:
        return commit.Request(message, ME, self.now(), **options)

    def named(self) -> list[str]:
        """``HEAD``, branches, tags, and versions, the newest first."""
        names = sorted(
            short_ref_name(ref) for ref in self.model.refs if ref.startswith((plain.BRANCHES, plain.TAGS))
        )
        versions = sorted(self.model.versions, key=lambda one: -self.model.versions[one].time)
        return ["HEAD", *names, *versions]

    def revision(self, which: int) -> str:
        named = self.named()
        return named[which % len(named)]

    # --- the two side by side ----------------------------------------------------------------------------
    def both(self, expected: Callable[[], Outcome], real: Callable[[], Any]) -> Any:
        """mvc does what the model says, or refuses where that does. Gives what mvc gave, or None."""
        try:
            outcome = expected()
        except Refused as refused:
            with pytest.raises(MvcError) as error:
                real()
            assert error.value.exit_code in (1, 2, 3, 4), (refused, error.value)
            return None
        result = real()
        new = result.id.hex() if outcome.made is not None else None
        self.model.apply(outcome, self.moment, new)
        if new is not None:
            self.check_versions([new])
        return result

    # --- edits -------------------------------------------------------------------------------------------
    def put(self, path: str, data: bytes, executable: bool = False) -> None:
        """Write a file, whatever stands in its way."""
        place, work = self.folder / path, self.model.work
        for above in reversed(place.relative_to(self.folder).parents):
            if (self.folder / above).is_file():
                (self.folder / above).unlink()
        if place.is_dir():
            shutil.rmtree(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        place.chmod(0o755 if executable else 0o644)
        self.model.work = plain.overlay(work, {path: (data, executable)})

    @rule(path=PATH, kind=st.sampled_from(KINDS), number=NUMBER, executable=st.booleans())
    def write(self, path: str, kind: str, number: int, executable: bool) -> None:
        self.put(path, content(kind, number), executable)

    @precondition(lambda self: self.model.work)
    @rule(which=NUMBER, number=NUMBER)
    def train(self, which: int, number: int) -> None:
        """A file becomes another version of itself."""
        path = sorted(self.model.work)[which % len(self.model.work)]
        data, executable = self.model.work[path]
        kind = next((one for one in KINDS[:-1] if any(content(one, n) == data for n in range(12))), "weights")
        self.put(path, content(kind, number), executable)

    @precondition(lambda self: self.model.work)
    @rule(which=NUMBER)
    def delete(self, which: int) -> None:
        path = sorted(self.model.work)[which % len(self.model.work)]
        (self.folder / path).unlink()
        del self.model.work[path]

    @precondition(lambda self: self.model.work)
    @rule(which=NUMBER, other=PATH)
    def duplicate(self, which: int, other: str) -> None:
        """Equal files at two paths."""
        data, executable = self.model.work[sorted(self.model.work)[which % len(self.model.work)]]
        self.put(other, data, executable)

    # --- versions ----------------------------------------------------------------------------------------
    @initialize(kinds=st.lists(st.sampled_from(KINDS), min_size=0, max_size=5), apart=st.integers(0, 3))
    def plant(self, kinds: list[str], apart: int) -> None:
        """A version of some files, perhaps two branches that went apart from there."""
        for number, kind in enumerate(kinds):
            self.put(PATHS[number], content(kind, number))
        if kinds:
            self.commit()
            self.alike()
            for number in range(apart):
                self.diverge(0, kinds[0], number + 6)

    @rule(which=NUMBER, kind=st.sampled_from(KINDS), number=NUMBER)
    def diverge(self, which: int, kind: str, number: int) -> None:
        """A commit on this branch, and one on another that begins where this one was."""
        if self.model.commit is None or not self.model.clean or self.model.pending is not None:
            return
        name = BRANCH_NAMES[which % len(BRANCH_NAMES)]
        if plain.BRANCHES + name in self.model.refs:
            name = "side"
        self.checkout_new(which=0, name=name, reset=self.model.head != plain.Branch(plain.BRANCHES + name))
        self.alike()
        self.put(PATHS[which % 5], content(kind, number))
        self.commit()
        self.alike()
        if names := sorted(ref for ref in self.model.refs if ref.startswith(plain.BRANCHES)):
            back = names[number % len(names)].removeprefix(plain.BRANCHES)
            self.switch(name=back, force=False)
            self.alike()
            self.put(PATHS[number % 5], content(kind, number + 1))
            self.commit()

    def commit(self, **options: Any) -> None:
        request = self.request(**options)
        paths, amend, empty = request.paths, request.amend, request.allow_empty
        self.both(
            lambda: self.model.snapshot(self.moment, paths=paths, amend=amend, empty=empty),
            lambda: commit.commit(self.repository, request),
        )

    @rule(fast=st.booleans())
    def commit_all(self, fast: bool) -> None:
        self.commit(fast=fast)

    @rule(path=PATH, kind=st.sampled_from(KINDS), number=NUMBER)
    def commit_change(self, path: str, kind: str, number: int) -> None:
        self.put(path, content(kind, number))
        self.commit()

    @rule(paths=st.lists(st.sampled_from([*PATHS, "d/deep", "copy"]), min_size=1, max_size=2))
    def commit_paths(self, paths: list[str]) -> None:
        files = {*self.model.files(self.model.commit), *self.model.work}
        if plain.clashes(files):
            return  # a folder that took a file's place goes only together with it
        self.commit(paths=tuple(paths))

    @rule()
    def commit_nothing(self) -> None:
        self.commit(allow_empty=True)

    @rule()
    def amend(self) -> None:
        self.commit(amend=True, message=None)

    @precondition(lambda self: self.model.pending is None)
    @rule(what=st.sampled_from(["branch", "tag", "note", "commit", "gc", "gc now"]), which=WHICH)
    def commit_while(self, what: str, which: int) -> None:
        """Another process is faster."""
        began = self.model.commit
        first = self.request("first")

        def meanwhile() -> None:
            match what:
                case "branch":
                    self.make_branch(name="other", which=which, force=True)
                case "tag":
                    self.make_tag(name="v2", which=which, annotated=True, force=True)
                case "note":
                    self.add_note(which=which)
                case "commit":
                    self.commit(message="faster")
                case "gc":
                    self.collect(days=None, repack=True, trash=99)
                case "gc now":
                    self.collect(days=0, repack=False, trash=0)

        slow = self.open(Interrupted(meanwhile))
        try:
            made = commit.commit(slow, first)
        except Busy:
            # what it relied on was moved; it says that it is to be run again
            assert what.startswith("gc")
            self.commit()
            return
        except MvcError as error:
            assert error.exit_code in (1, 4)
            with pytest.raises(Refused):
                self.model.joined(began, first.time.microseconds)
            return
        self.model.apply(
            self.model.joined(began, first.time.microseconds), first.time.microseconds, made.id.hex()
        )
        self.check_versions([made.id.hex()])

    # --- names -------------------------------------------------------------------------------------------
    @rule(name=BRANCH, which=WHICH, force=st.booleans())
    def make_branch(self, name: str, which: int, force: bool) -> None:
        revision, now = self.revision(which), self.now()
        self.both(
            lambda: self.model.branch(name, revision, force=force),
            lambda: branch.create(self.repository, name, revision, ME, now, force=force),
        )

    @rule(name=BRANCH, force=st.booleans())
    def delete_branch(self, name: str, force: bool) -> None:
        now = self.now()
        self.both(
            lambda: self.model.delete_branch(name, force=force),
            lambda: branch.delete(self.repository, name, ME, now, force=force),
        )

    @rule(old=BRANCH, new=BRANCH)
    def rename_branch(self, old: str, new: str) -> None:
        now = self.now()
        self.both(
            lambda: self.model.rename_branch(old, new),
            lambda: branch.rename(self.repository, old, new, ME, now),
        )

    @rule(name=TAG, which=WHICH, annotated=st.booleans(), force=st.booleans())
    def make_tag(self, name: str, which: int, annotated: bool, force: bool) -> None:
        revision, now = self.revision(which), self.now()
        message = f"since {self.moment}" if annotated else None
        self.both(
            lambda: self.model.tag(name, revision, message, force=force),
            lambda: tag.create(self.repository, name, revision, ME, now, message=message, force=force),
        )

    @rule(name=TAG)
    def delete_tag(self, name: str) -> None:
        now = self.now()
        self.both(lambda: self.model.delete_tag(name), lambda: tag.delete(self.repository, name, ME, now))

    @rule(which=WHICH)
    def add_note(self, which: int) -> None:
        revision, now = self.revision(which), self.now()
        words = f"noted at {self.moment}"
        self.both(
            lambda: self.model.note(revision, words, self.moment),
            lambda: notes.add(self.repository, revision, notes.Wording({}, {}, words), ME, now),
        )

    @rule(which=WHICH)
    def remove_notes(self, which: int) -> None:
        revision, now = self.revision(which), self.now()
        self.both(
            lambda: self.model.forget_notes(revision, self.moment),
            lambda: notes.remove(self.repository, revision, ME, now),
        )

    # --- the work tree -----------------------------------------------------------------------------------
    @rule(which=WHICH, force=st.booleans())
    def checkout(self, which: int, force: bool) -> None:
        revision, now = self.revision(which), self.now()
        self.both(
            lambda: self.model.switch(revision, force=force),
            lambda: checkout.checkout(self.repository, revision, ME, now, force=force),
        )

    @rule(which=WHICH, name=BRANCH, reset=st.booleans())
    def checkout_new(self, which: int, name: str, reset: bool) -> None:
        revision, now = self.revision(which), self.now()
        self.both(
            lambda: self.model.switch(revision, create=name, reset=reset),
            lambda: switching.switch(self.repository, revision, ME, now, create=name, reset=reset),
        )

    @rule(name=BRANCH, force=st.booleans())
    def switch(self, name: str, force: bool) -> None:
        now = self.now()
        self.both(
            lambda: self.model.switch(name, branches_only=True, force=force),
            lambda: switching.switch(self.repository, name, ME, now, force=force),
        )

    @rule(which=WHICH)
    def detach(self, which: int) -> None:
        revision, now = self.revision(which), self.now()
        self.both(
            lambda: self.model.switch(revision, detach=True),
            lambda: switching.switch(self.repository, revision, ME, now, detach=True),
        )

    @rule(name=BRANCH, force=st.booleans())
    def orphan(self, name: str, force: bool) -> None:
        now = self.now()
        self.both(
            lambda: self.model.orphan(name, force=force),
            lambda: switching.switch_orphan(self.repository, name, ME, now, force=force),
        )

    @rule(which=WHICH, path=st.sampled_from([*PATHS, "."]), force=st.booleans())
    def checkout_path(self, which: int, path: str, force: bool) -> None:
        revision, now = self.revision(which), self.now()
        self.both(
            lambda: self.model.checkout_paths(revision, [path], force=force),
            lambda: checkout.checkout_paths(self.repository, revision, [path], ME, now, force=force),
        )

    @rule(which=WHICH, path=st.sampled_from([*PATHS, "."]), given_source=st.booleans())
    def restore(self, which: int, path: str, given_source: bool) -> None:
        source, now = self.revision(which) if given_source else None, self.now()
        self.both(
            lambda: self.model.restore([path], source),
            lambda: restore.restore(self.repository, [path], ME, now, source=source),
        )

    @rule(which=WHICH, mode=st.sampled_from(["soft", "mixed", "hard", "hard"]))
    def reset(self, which: int, mode: Any) -> None:
        revision, now = self.revision(which), self.now()
        self.both(
            lambda: self.model.reset(revision, mode),
            lambda: reset.reset(self.repository, revision, ME, now, mode=mode),
        )

    # --- bringing together -------------------------------------------------------------------------------
    @rule(
        which=WHICH,
        strategy=st.sampled_from([None, "ours", "theirs", "average"]),
        forward=st.sampled_from(["yes", "yes", "no", "only"]),
        conclude=st.sampled_from([True, True, True, False]),
    )
    def merge(self, which: int, strategy: str | None, forward: Any, conclude: bool) -> None:
        revision, request, model = self.revision(which), self.request(None), self.model
        choice = merge.Choice(strategy)
        asked = merge.MergeRequest(revision, request, choice, forward, conclude, unrelated=True)

        def real() -> merge.MergeResult:
            return merge.merge(self.repository, asked)

        ours = model.commit
        try:
            model.refuse_pending()
            theirs = model.resolve(revision)
        except Refused:
            with pytest.raises(MvcError):
                real()
            return
        bases = set() if ours is None else model.merge_bases(ours, theirs)
        if theirs in bases:
            assert real().kind == "up-to-date"
        elif ours is None or (ours in bases and forward != "no"):
            result = self.both(lambda: model.forward(theirs), real)
            assert result is None or result.kind == "fast-forward"
        elif forward == "only":
            with pytest.raises(AnswerIsNo):
                real()
        else:
            base = model.files(next(iter(bases))) if bases else {}
            settle = None if strategy is None else lambda *sides: settled(strategy, *sides)
            foretold = (
                plain.three_way(base, model.files(ours), model.files(theirs), settle)
                if len(bases) < 2
                else None
            )
            made = Version((ours, theirs), {}, self.moment)
            if conclude:
                self.brought(foretold, made, real)
            else:
                self.brought(foretold, None, real)

    @rule(kind=st.sampled_from(["cherry-pick", "revert"]), which=WHICH)
    def pick(self, kind: Any, which: int) -> None:
        revision, request, model = self.revision(which), self.request(None), self.model
        try:
            model.refuse_pending()
            picked = model.resolve(revision)
            if model.commit is None:
                raise Refused("no version")
        except Refused:
            with pytest.raises(MvcError):
                pick.pick(self.repository, [revision], pick.Picking(kind), request)
            return
        parents = model.versions[picked].parents
        picking = pick.Picking(kind, mainline=1 if len(parents) > 1 else None)
        before, after = model.files(parents[0] if parents else None), model.files(picked)
        base, theirs = (before, after) if kind == "cherry-pick" else (after, before)
        ours = model.files(model.commit)
        foretold = plain.three_way(base, ours, theirs)
        if kind == "revert" and foretold == ours:
            with pytest.raises(AnswerIsNo):
                pick.pick(self.repository, [revision], picking, request)
            return
        made = None if foretold == ours else Version((model.commit,), {}, self.moment)
        self.brought(foretold, made, lambda: pick.pick(self.repository, [revision], picking, request))

    def brought(self, foretold: plain.Files | None, made: Version | None, real: Callable[[], Any]) -> None:
        """Both sides' files come together in the work tree. Where the model cannot tell how, it takes what
        mvc says that it made, and holds it to that."""
        model, dirty = self.model, self.model.work != self.model.files(self.model.commit)
        try:
            result = real()
        except AnswerIsNo:
            assert foretold is None  # a pick turned out to change nothing
            return
        except WouldOverwrite:
            assert dirty
            if foretold is not None:
                with pytest.raises(Refused):
                    model.brought(foretold, (), {}, made)
            return
        new = None
        with self.repository.reading() as view:
            raw = view.refs.value(PENDING)
            if raw is None:
                new = view.head_commit()
                merged = self.files_at(view, view.commit(new).tree)
            else:
                waits = self.under_way(view, raw)
                merged = dict(waits.files)
        if foretold is not None:
            assert merged == foretold
        if raw is None:
            assert made is not None
            assert not result.conflicts
            outcome = model.brought(merged, (), {}, made._replace(files=merged))
            model.apply(outcome, self.moment, new.hex())
        else:
            assert foretold is None or made is None
            model.apply(model.brought(merged, waits.conflicts, {PENDING: waits}, None), self.moment)

    @rule(
        which=NUMBER,
        kind=st.sampled_from(KINDS),
        number=NUMBER,
        verb=st.sampled_from(["merge", "merge", "merge", "cherry-pick", "revert"]),
        strategy=st.sampled_from([None, "ours", "theirs", "average"]),
    )
    def part_and_meet(self, which: int, kind: str, number: int, verb: str, strategy: str | None) -> None:
        """Two branches go apart, and what one did comes to the other."""
        if self.model.commit is None or not self.model.clean or self.model.pending is not None:
            return
        self.diverge(which, kind, number)
        self.alike()
        branches = sorted(ref for ref in self.model.refs if ref.startswith(plain.BRANCHES))
        other = next((ref for ref in branches if plain.Branch(ref) != self.model.head), branches[0])
        at = self.named().index(short_ref_name(other))
        if verb == "merge":
            self.merge(at, strategy, "yes", conclude=True)
        else:
            self.pick(verb, at)

    @precondition(lambda self: self.model.pending is not None)
    @rule()
    def abort(self) -> None:
        kind, now = self.model.pending.kind, self.now()
        if kind == "merge":
            self.both(self.model.abort, lambda: merge.abort(self.repository, ME, now))
        else:
            self.both(self.model.abort, lambda: pick.abort(self.repository, kind, ME, now))

    @precondition(lambda self: self.model.pending is not None)
    @rule()
    def conclude(self) -> None:
        """Every conflict is resolved by a file of its own, and all of it committed."""
        for number, path in enumerate(self.model.pending.conflicts):
            self.put(path, b"resolved at %d, %d\n" % (self.moment, number))
        self.commit(message=None)

    # --- taking back -------------------------------------------------------------------------------------
    @rule(force=st.booleans())
    def undo(self, force: bool) -> None:
        now = self.now()
        self.both(
            lambda: self.model.undo(force=force),
            lambda: undo.undo(self.repository, ME, now, force=force),
        )

    @precondition(lambda self: self.model.log)
    @rule(back=NUMBER, force=st.booleans())
    def undo_operation(self, back: int, force: bool) -> None:
        at, now = back % len(self.model.log), self.now()
        named = self.operation(at)
        self.both(
            lambda: self.model.undo(self.model.log[-1 - at], force=force),
            lambda: undo.undo(self.repository, ME, now, operation=named, force=force),
        )

    @precondition(lambda self: self.model.log)
    @rule(back=NUMBER, force=st.booleans())
    def restore_operation(self, back: int, force: bool) -> None:
        at, now = back % len(self.model.log), self.now()
        named = self.operation(at)
        self.both(
            lambda: self.model.go_back(len(self.model.log) - 1 - at, force=force),
            lambda: oplog.restore(self.repository, named, ME, now, force=force),
        )

    def operation(self, back: int) -> str:
        """The id of the operation so many before the newest."""
        with self.repository.reading() as view:
            return [one.id.hex() for one in oplog.operations(view)][back]

    # --- care --------------------------------------------------------------------------------------------
    @rule(days=st.sampled_from([None, 0, 1, 3, 10]), repack=st.booleans(), trash=st.sampled_from([0, 2, 99]))
    def collect(self, days: int | None, repack: bool, trash: int) -> None:
        everything = repack and self.steps % 3 == 0
        asked = gc.Request(self.now(), days, repack=repack, all_refs=everything, trash_days=trash)
        gc.gc(self.repository, asked)
        gone = self.model.collect(self.moment, asked.since, self.moment - trash * DAY, keep=trash > 0)
        with self.open().reading() as view:
            for one in gone:
                assert CommitId.fromhex(one) not in view.objects, "what nothing leads to is there still"
        self.check_versions(self.model.versions)

    @rule()
    def bring_back(self) -> None:
        """``gc --undo``: versions that nothing leads to can be read again, and older operations be undone."""
        try:
            thrown = self.model.bring_back()
        except Refused:
            with suppress(AnswerIsNo):  # at most there are objects of no version
                assert gc.undo_gc(self.repository).operations == 0
            return
        while True:
            back = gc.undo_gc(self.repository)
            assert back.time is not None and back.time >= thrown.time
            assert (back.lost, back.lost_operations) == (0, 0)
            if back.time == thrown.time:
                break
            assert back.operations == 0  # objects of no version: of commands that were refused
        assert back.operations == len(thrown.operations)
        self.check_versions(self.model.versions)

    @rule()
    def empty_trash(self) -> None:
        gc.empty_trash(self.repository)
        self.model.trash.clear()
        with pytest.raises(AnswerIsNo):
            gc.undo_gc(self.repository)

    @rule(days=st.sampled_from([None, 0, 3]))
    def look_at_garbage(self, days: int | None) -> None:
        before = stored(self.folder)
        gc.gc(self.repository, gc.Request(self.now(), days, dry_run=True))
        assert stored(self.folder) == before

    @rule(pack=NUMBER, part=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def rot(self, pack: int, part: float, bit: int) -> None:
        """A bit of a pack turns: versions come back right or not at all, and fsck tells. It turns back."""
        with self.open().reading() as view:
            named = {pack for row in view.index.rows for pack in view.index.segment(row.name).packs}
            alive = {pack.hex() for pack in named - view.index.dead_packs}
        # a pack of a command that was killed is nobody's
        packs = [
            path for path in sorted((self.folder / ".mvc" / "packs").rglob("*.pack")) if path.stem in alive
        ]
        if not packs:
            return
        path = packs[pack % len(packs)]
        with turned(path, int(part * path.stat().st_size), bit):
            for version in sorted(self.model.needed()):
                self.check_damaged(version)
            assert fsck(self.open(), full=True).damage
        assert fsck(self.open(), full=True).damage == []

    @contextmanager
    def copy(self) -> Iterator[Path]:
        """The whole folder once more, for what is not done to the one that goes on."""
        with tempfile.TemporaryDirectory(prefix="copy", dir=FAST if FAST.is_dir() else None) as place:
            folder = Path(place) / "repo"
            shutil.copytree(self.folder, folder)
            yield folder

    @rule(
        hurts=st.lists(
            st.tuples(WHICH, st.sampled_from(["flip", "cut", "empty", "gone"])), min_size=1, max_size=4
        )
    )
    def repair(self, hurts: list[tuple[int, str]]) -> None:
        """In a copy: whatever packs, index segments and pieces are damaged, it comes back from this one."""
        with self.copy() as folder:
            files = sorted(
                path
                for place in ("packs", "segments", "pieces")
                for path in (folder / ".mvc" / place).rglob("*")
                if path.is_file()
            )
            if not files:
                return
            for which, how in hurts:
                path = files[which * 7 % len(files)]
                if path.exists():
                    hurt(path, how)
            opened = Repository.open(FileIO(), folder, Monitor())
            done = repair.repair(opened, repair.Request(ME, self.now(), (self.folder,)))
            assert done.sound, done
            assert fsck(Repository.open(FileIO(), folder, Monitor()), full=True).damage == []
            self.check_versions(self.model.needed(), folder)
            with Repository.open(FileIO(), folder, Monitor()).reading() as view:
                assert self.refs(view) == self.model.refs

    @rule(path=st.sampled_from(["secret.bin", "d/deep/secret.bin"]), size=st.integers(600, 6000))
    def leak(self, path: str, size: int) -> None:
        """Bytes like no others come into a version."""
        if self.model.pending is None and not plain.clashes({*self.model.work, path}):
            self.put(path, random.Random(self.moment).randbytes(size))
            self.secrets.add(self.model.work[path][0])
            self.commit()

    @precondition(lambda self: self.model.pending is None)
    @rule(anew=st.booleans())
    def purge(self, anew: bool) -> None:
        """In a copy: of the secrets that versions have nothing is left, anywhere in the store, and they
        cannot come back; all else is as it was."""
        model = self.model
        if not self.secrets:
            self.leak("secret.bin", 2000)
            self.alike()
        named = {value.commit for value in model.refs.values() if isinstance(value, Target)}
        kept = model.ancestors(named | ({model.commit} if model.commit else set()))
        targets = {
            path
            for one in model.needed()
            for path, (data, _executable) in model.versions[one].files.items()
            if data in self.secrets
        }
        gone = {
            data
            for one in model.needed()
            for path, (data, _executable) in model.versions[one].files.items()
            if path in targets
        }
        if not targets or not gone <= self.secrets:
            return  # what was a secret's place holds what others have too
        with self.copy() as folder:
            now = self.now()
            words = tuple(f"./{path}" for path in sorted(targets))
            asked = purge.Request(words, ME, now, "leaked", rewrite=anew, everywhere=True)
            done = purge.purge(Repository.open(FileIO(), folder, Monitor()), asked)
            assert done.ended.proof.clean
            for path in (folder / ".mvc").rglob("*"):
                if path.is_file():
                    data = path.read_bytes()
                    assert not any(secret[100:148] in data for secret in gone), path
            opened = Repository.open(FileIO(), folder, Monitor())
            assert fsck(opened, full=True).damage == []
            if not anew:
                with opened.reading() as view:
                    for one in kept:
                        self.check_purged(view, one, gone)
            place = folder / "again.bin"
            place.write_bytes(next(iter(gone)))
            with pytest.raises(MvcError) as refusal:
                commit.commit(opened, commit.Request("again", ME, now, paths=("again.bin",)))
            assert refusal.value.exit_code == 3
            gc.gc(opened, gc.Request(now, None, repack=True))
            assert fsck(Repository.open(FileIO(), folder, Monitor()), full=True).damage == []

    def check_purged(self, view: View, version: str, gone: set[bytes]) -> None:
        """All files of a version are as they were, but for those that are gone."""
        wanted = self.model.versions[version].files
        entries = files_of_tree(view, view.commit(CommitId.fromhex(version)).tree)
        assert entries.keys() == wanted.keys()
        for path, entry in entries.items():
            if wanted[path][0] in gone:
                with pytest.raises(ObjectPurged):
                    view.objects.get(entry.id)
            else:
                manifest = read_manifest(view.objects, entry.id)
                assert b"".join(file_pieces(view.objects, manifest, verify=True)) == wanted[path][0]

    # --- others ------------------------------------------------------------------------------------------
    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        """One of the processes ends, and another one begins."""
        self.repositories[which] = self.open()

    @precondition(lambda self: len(self.readers) < 2)
    @rule()
    def begin_reading(self) -> None:
        view = self.held.enter_context(self.open().reading())
        self.readers.append((view, {one: self.model.versions[one] for one in self.model.needed()}))

    @precondition(lambda self: self.readers)
    @rule()
    def end_reading(self) -> None:
        """Whatever was thrown away meanwhile, who reads has what was there when it began."""
        for view, versions in self.readers:
            for one, version in versions.items():
                assert self.files_at(view, view.commit(CommitId.fromhex(one)).tree) == version.files
        self.readers.clear()
        self.held.close()

    @rule(
        verb=st.sampled_from(["commit", "amend", "checkout", "reset", "undo", "oplog restore", "gc"]),
        which=WHICH,
        at=st.integers(1, 120),
    )
    def killed(self, verb: str, which: int, at: int) -> None:
        """A process is killed in the middle: what it began has happened or has not."""
        model, revision, now = self.model, self.revision(which), self.now()
        request = commit.Request("killed", ME, now, amend=verb == "amend")
        back = which % max(len(model.log), 1)
        if verb == "oplog restore" and not model.log:
            return
        named = self.operation(back) if verb == "oplog restore" else ""
        cases: dict[str, tuple[Callable[[], Outcome], Callable[[Repository], object]]] = {
            "commit": (lambda: model.snapshot(self.moment), lambda it: commit.commit(it, request)),
            "amend": (lambda: model.snapshot(self.moment, amend=True), lambda it: commit.commit(it, request)),
            "checkout": (
                lambda: model.switch(revision, force=True),
                lambda it: checkout.checkout(it, revision, ME, now, force=True),
            ),
            "reset": (
                lambda: model.reset(revision, "hard"),
                lambda it: reset.reset(it, revision, ME, now, mode="hard"),
            ),
            "undo": (lambda: model.undo(force=True), lambda it: undo.undo(it, ME, now, force=True)),
            "oplog restore": (
                lambda: model.go_back(len(model.log) - 1 - back, force=True),
                lambda it: oplog.restore(it, named, ME, now, force=True),
            ),
            "gc": (Outcome, lambda it: gc.gc(it, gc.Request(now, 3, repack=which % 2 == 0))),
        }
        expected, real = cases[verb]
        try:
            outcome = expected()
        except Refused:
            return

        def work(faulty: FaultIO) -> None:
            real(Repository.open(faulty, self.folder, Monitor()))

        died = run_killed(work, at)
        status.status(self.open())  # any command settles what was begun
        with self.open().reading() as view:
            logged, head = len(list(view.operations())), view.head_commit()
        if verb == "gc":
            since = gc.Request(now, 3).since
            if logged != len(model.log) or not died:
                model.expire(since)
            model.forget()  # what nothing leads to may have gone
            gc.empty_trash(self.open())
            model.trash.clear()
        elif logged != len(model.log):
            made = head.hex() if outcome.made is not None and head is not None else None
            model.apply(outcome, self.moment, made)
        else:
            assert died, "a command that came to its end did nothing"
        self.check_versions(model.needed())

    # --- comparing ---------------------------------------------------------------------------------------
    @invariant()
    def alike(self) -> None:
        self.steps += 1
        model, repository = self.model, self.repository
        assert tree(self.folder) == dict(sorted(model.work.items()))
        with repository.reading() as view:
            head = view.head
            assert (plain.Branch(head) if isinstance(head, str) else head.hex()) == model.head
            assert self.refs(view) == model.refs
            assert [entry.id.hex() for entry in (log.log(view) if model.commit else ())] == model.listed()
            self.check_log(view, len(model.log) if self.steps % 8 == 0 else 1)
        seen = status.status(repository)
        files = model.files(model.commit)
        assert set(seen.state.added) == model.work.keys() - files.keys()
        assert set(seen.state.deleted) == files.keys() - model.work.keys()
        assert set(seen.state.modified) == {
            path for path in files.keys() & model.work.keys() if files[path] != model.work[path]
        }
        assert (seen.pending is None) == (model.pending is None)
        assert {conflict.path for conflict in seen.unresolved} == model.unresolved
        if self.steps % 6 == 0:
            self.check_versions(model.needed())
        if self.steps % 15 == 0:
            assert fsck(self.open(), full=True).damage == []

    def refs(self, view: View) -> dict[str, Any]:
        """All refs as the model has them."""
        found: dict[str, Any] = {}
        for name, value in view.refs.values():
            identity = decode_target(value)
            if name == PENDING:
                found[name] = self.under_way(view, value)
            elif name == NOTES:
                book = view.commit(CommitId(identity))
                noted = notes.annotated(view)
                rows = frozenset((one.id.hex(), note.message) for one in noted for note in one.notes)
                found[name] = NoteBook(book.time.microseconds, rows)
            else:
                message = read_tag(view.objects, identity).message if isinstance(identity, TagId) else None
                target = peeled_target(value)
                assert target is not None
                found[name] = Target(target.hex(), message)
        return found

    def under_way(self, view: View, value: bytes) -> UnderWay:
        pending = parse_pending(view.objects, CommitId(decode_target(value)))
        return UnderWay(
            value,
            pending.kind,
            pending.ours.hex(),
            pending.theirs and pending.theirs.hex(),
            pending.start and pending.start.hex(),
            tuple(sorted(self.files_at(view, pending.tree).items())),
            tuple(sorted(conflict.path for conflict in pending.conflicts)),
        )

    def check_log(self, view: View, count: int) -> None:
        """The newest operations are the model's."""
        real = list(view.operations())
        assert len(real) == len(self.model.log)
        numbers = {one.id: wanted.number for one, wanted in zip(real, reversed(self.model.log), strict=True)}
        for one, wanted in list(zip(real, reversed(self.model.log), strict=True))[:count]:
            assert one.time.microseconds == wanted.time
            assert {change.name for change in one.changes} == wanted.changes.keys()
            assert (one.worktree is None) == (wanted.worktree is None)
            if one.worktree is not None and wanted.worktree is not None:
                for tree_id, files in zip(one.worktree, wanted.worktree, strict=True):
                    assert self.files_at(view, tree_id) == files
            if one.undoes is None:
                assert wanted.undoes is None
            else:
                assert numbers.get(one.undoes, wanted.undoes) == wanted.undoes

    def files_at(self, view: View, tree_id: Any) -> dict[str, tuple[bytes, bool]]:
        """A tree's files, each read and hashed anew."""
        return {
            path: (
                b"".join(file_pieces(view.objects, read_manifest(view.objects, entry.id), verify=True)),
                entry.mode == EXECUTABLE,
            )
            for path, entry in files_of_tree(view, tree_id).items()
        }

    def check_versions(self, versions: Any, folder: Path | None = None) -> None:
        """These are read by a process that knows nothing yet, and are what they were."""
        with Repository.open(FileIO(), folder or self.folder, Monitor()).reading() as view:
            known: dict[Any, bytes] = {}
            for one in versions:
                wanted = self.model.versions[one]
                found = view.commit(CommitId.fromhex(one))
                assert tuple(parent.hex() for parent in found.parents) == wanted.parents
                assert found.time.microseconds == wanted.time
                entries = files_of_tree(view, found.tree)
                assert entries.keys() == wanted.files.keys()
                for path, entry in entries.items():
                    if entry.id not in known:
                        manifest = read_manifest(view.objects, entry.id)
                        known[entry.id] = b"".join(file_pieces(view.objects, manifest, verify=True))
                    assert (known[entry.id], entry.mode == EXECUTABLE) == wanted.files[path], path

    def check_damaged(self, version: str) -> None:
        """It can be read right, or says that it cannot."""
        with self.open().reading() as view:
            try:
                entries = files_of_tree(view, view.commit(CommitId.fromhex(version)).tree)
            except DamageError:
                return
            wanted = self.model.versions[version].files
            assert entries.keys() == wanted.keys()
            for path, entry in entries.items():
                try:
                    manifest = read_manifest(view.objects, entry.id)
                    data = b"".join(file_pieces(view.objects, manifest))
                except DamageError:
                    continue
                assert data == wanted[path][0]

    def teardown(self) -> None:
        try:
            if self.readers:
                self.end_reading()
            self.check_versions(self.model.needed())
            report = fsck(self.open(), full=True)
            assert report.damage == []
        finally:
            self.held.close()
            shutil.rmtree(self.folder)


def settled(strategy: str, base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """What a strategy makes of a file that both sides changed, where that needs no look into it."""
    if strategy == "average":
        return None if average(base, base) is None else average(ours, theirs)
    if all(is_plain(side) for side in (base, ours, theirs)):
        return ours if strategy == "ours" else theirs
    return None


def stored(folder: Path) -> dict[str, bytes]:
    """What gc may throw away or make anew."""
    return {
        str(path): path.read_bytes()
        for place in ("packs", "segments", "pieces", "locators", "root")
        for path in [folder / ".mvc" / place, *(folder / ".mvc" / place).rglob("*")]
        if path.is_file()
    }


def hurt(path: Path, how: str) -> None:
    """A file goes bad."""
    path.chmod(0o644)
    data = path.read_bytes()
    match how:
        case "flip":
            middle = len(data) // 2
            path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :] if data else b"")
        case "cut":
            path.write_bytes(data[: len(data) // 2])
        case "empty":
            path.write_bytes(b"")
        case "gone":
            path.unlink()


@contextmanager
def turned(path: Path, offset: int, bit: int) -> Iterator[None]:
    """One bit of a file is another one meanwhile."""

    def turn() -> None:
        descriptor = os.open(path, os.O_RDWR)
        try:
            byte = os.pread(descriptor, 1, offset)[0]
            os.pwrite(descriptor, bytes([byte ^ 1 << bit]), offset)
        finally:
            os.close(descriptor)

    path.chmod(0o644)
    turn()
    try:
        yield
    finally:
        turn()


SHORT = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)

TestCommands = Commands.TestCase
TestCommands.settings = SHORT
