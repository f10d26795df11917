"""Find the smallest sets of tensors that make a version bad."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mvc.bases import SketchStore
from mvc.bisecting.hybrids import Changed, Differences, Maker, differences
from mvc.bisecting.state import PREFIX, Bisection, Word, answer_of, begun, read_bisection, same_state
from mvc.bisecting.visiting import Visitor
from mvc.errors import AnswerIsNo, UserError
from mvc.history.culprits import Culprits, Verdict, find_culprits
from mvc.history.revisions import resolve_commit
from mvc.laying import lay_out
from mvc.objectid import CommitId
from mvc.objects import Person, Timestamp, TreeEntry
from mvc.paths import is_wanted
from mvc.refs import encode_target
from mvc.repo import Repository
from mvc.transaction import Transaction, Update, begin
from mvc.underway.pending import refuse_pending
from mvc.view import View
from mvc.workspace import files_of, locked

HYBRID = PREFIX + "hybrid"
"""The version that is being tested, where the work tree is left alone."""

Test = Callable[[CommitId], int]
"""Looks at the version that lies ready; gives an exit code, negative for a signal."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A version that was tested: how many of the bad one's tensors it has, and the bytes that it added to
    packs."""

    commit: CommitId
    tensors: int
    word: Word
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class CulpritSet:
    """Tensors that together make the good version bad; ``commit`` is that version."""

    tensors: tuple[Changed, ...]
    commit: CommitId


@dataclass(frozen=True, slots=True)
class Found:
    """``sets`` are disjoint, and each is enough. ``rest`` is what the test says of all other tensors that
    differ, taken together. ``apart`` is what differs beside tensors and stayed as the good version has it."""

    sets: tuple[CulpritSet, ...]
    rest: Word
    differing: int
    tried: tuple[Tried, ...]
    apart: tuple[str, ...]


def bisect_tensors(
    repository: Repository,
    good: str,
    bad: str,
    test: Test,
    told: Callable[[Tried, int], object],
    who: Person,
    clock: Callable[[], Timestamp],
    *,
    paths: Sequence[str] = (),
    folder: Path | None = None,
) -> Found:
    """Test versions that have some tensors of ``bad`` and everything else of ``good``.

    Each is brought into the work tree, or into ``folder``, which must be empty or missing; the work tree is
    then left alone. At the end, whatever happens, HEAD and the work tree are brought back. ``paths`` limits
    whose tensors are exchanged. ``test``'s codes are those of ``git bisect run``; ``told`` hears of each test
    with the number of tensors that differ.

    Raises:
        UserError: a bisection is under way; or such files' tensors cannot be exchanged; or the test does not
            call the good version good; or it ends with a code that says nothing.
        AnswerIsNo: no tensor differs, or the bad one's tensors alone are not bad.
        ConflictError: a merge, a cherry-pick or a revert is under way.
        WouldOverwrite: uncommitted work is in the way.
    """
    words = f"bisect tensors {good} {bad}"
    search = _begun(repository, words, (good, bad), paths, _Asker(test, told, clock, who), folder)
    try:
        return search.run()
    finally:
        search.leave()


def _begun(
    repository: Repository,
    words: str,
    revisions: tuple[str, str],
    paths: Sequence[str],
    asker: _Asker,
    folder: Path | None,
) -> _Search:
    who, now = asker.who, asker.clock()
    with (
        locked(repository, exclusive=True) as workspace,
        begin(repository, words, who, now) as tx,
    ):
        view = tx.view
        if read_bisection(view) is not None:
            raise UserError("a bisection is under way", hint="end it first: mvc bisect reset")
        # also where nothing is checked out: leaving at the end goes back to HEAD, which may not move then
        refuse_pending(view, "no search can begin")
        ends = [resolve_commit(text, view.objects, view) for text in revisions]
        commits = [(identity, view.commit(identity)) for identity in ends]
        files = [files_of(view, identity) for identity in ends]
        found = differences(
            view.objects,
            files[0],
            files[1],
            lambda path: is_wanted(path, paths),
        )
        if not found.changed:
            raise AnswerIsNo(
                f"no tensor of {ends[0].short} that could be exchanged differs in {ends[1].short}",
                hint=f"mvc diff {ends[0].short} {ends[1].short}",
            )
        laid = {} if folder is None else lay_out(repository, view, folder, files[0], {})
        bisection = begun(view, "tensors")
        Visitor(workspace, tx, who, now).record(bisection, ends[0] if folder is None else None)
        maker = Maker(
            commits[0],
            commits[1],
            files[0],
            files[1],
            SketchStore(repository.io, repository.store),
            repository.monitor,
        )
        return _Search(repository, words, (ends[0], ends[1]), maker, found, asker, bisection, folder, laid)


class _Asker(NamedTuple):
    """Who is asked, who hears of it, and in whose name."""

    test: Test
    told: Callable[[Tried, int], object]
    clock: Callable[[], Timestamp]
    who: Person


class _Search:
    """One run of :func:`bisect_tensors`."""

    def __init__(
        self,
        repository: Repository,
        words: str,
        ends: tuple[CommitId, CommitId],
        maker: Maker,
        found: Differences,
        asker: _Asker,
        bisection: Bisection,
        folder: Path | None,
        laid: dict[str, TreeEntry],
    ) -> None:
        self._repository, self._words = repository, words
        self._good, self._bad = ends
        self._maker, self._found, self._asker = maker, found, asker
        self._bisection, self._folder, self._laid = bisection, folder, laid
        self._tried: list[Tried] = []
        self._made: dict[frozenset[int], CommitId] = {}

    def run(self) -> Found:
        """Test until the sets are known."""
        first = self._ask(self._good, 0, 0)
        if first != "good":
            raise UserError(
                f"{self._good.short}, which should be good, tests as {_adjective(first)}",
                hint="the test must end with 0 there; are good and bad swapped?",
            )
        culprits = find_culprits(len(self._found.changed), self._judge)
        if culprits is None:
            raise self._not_tensors()
        return self._result(culprits)

    def leave(self) -> None:
        """End the search: HEAD and the work tree are what they were."""
        repository, who, now = self._repository, self._asker.who, self._asker.clock()
        with (
            locked(repository, exclusive=True) as workspace,
            begin(repository, f"{self._words}: ended", who, now) as tx,
        ):
            Visitor(workspace, tx, who, now).leave(self._bisection.head)

    def _judge(self, chosen: frozenset[int]) -> Verdict:
        changes = [self._found.changed[number] for number in sorted(chosen)]
        commit, stored = self._visit(changes)
        self._made[chosen] = commit
        return _VERDICTS[self._ask(commit, len(changes), stored)]

    def _ask(self, commit: CommitId, tensors: int, stored: int) -> Word:
        tried = Tried(commit, tensors, answer_of(self._asker.test(commit), commit), stored)
        self._tried.append(tried)
        self._asker.told(tried, len(self._found.changed))
        return tried.word

    def _visit(self, changes: Sequence[Changed]) -> tuple[CommitId, int]:
        """Store a hybrid and lay it ready; returns it and what it added to packs."""
        repository, who, now = self._repository, self._asker.who, self._asker.clock()
        message = (
            f"{len(changes)} of {len(self._found.changed)} tensors of {self._bad.short} in {self._good.short}"
        )
        with (
            locked(repository, exclusive=True) as workspace,
            begin(repository, f"{self._words}: {message}", who, now) as tx,
        ):
            commit = self._maker.store(tx.writer, changes, message, who, now)
            if self._folder is None:
                Visitor(workspace, tx, who, now).visit(commit)
            else:
                self._lay(tx, commit, self._folder)
            return commit, tx.writer.written_bytes

    def _lay(self, tx: Transaction, commit: CommitId, folder: Path) -> None:
        planned = tx.view

        def build(now: View) -> Update:
            same_state(planned, now)
            return Update(refs={HYBRID: encode_target(commit)})

        tx.publish(build)
        self._laid = lay_out(self._repository, planned, folder, files_of(planned, commit), self._laid)

    def _not_tensors(self) -> AnswerIsNo:
        count, apart = len(self._found.changed), self._found.apart
        what = f"the {count} tensors that differ do not make {self._good.short} bad"
        if not apart:
            return AnswerIsNo(what, hint="does the test look at these files?")
        names = ", ".join(apart[:5]) + (f" and {len(apart) - 5} more" if len(apart) > 5 else "")
        return AnswerIsNo(f"{what}, even all together", hint=f"what differs beside them: {names}")

    def _result(self, culprits: Culprits) -> Found:
        changed = self._found.changed
        sets = [
            CulpritSet(_picked(changed, members), self._made[frozenset(members)]) for members in culprits.sets
        ]
        words: dict[Verdict, Word] = {verdict: word for word, verdict in _VERDICTS.items()}
        return Found(tuple(sets), words[culprits.rest], len(changed), tuple(self._tried), self._found.apart)


_VERDICTS: dict[Word, Verdict] = {"good": Verdict.GOOD, "bad": Verdict.BAD, "skip": Verdict.UNKNOWN}


def _picked(changed: Sequence[Changed], members: Iterable[int]) -> tuple[Changed, ...]:
    return tuple(changed[number] for number in members)


def _adjective(word: Word) -> str:
    return "unknown" if word == "skip" else word
