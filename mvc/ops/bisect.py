"""Find the commit that made things worse, by halving."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from mvc.bisecting.state import (
    PREFIX,
    Bisection,
    Word,
    answer_of,
    begun,
    read_bisection,
    under_way,
)
from mvc.bisecting.visiting import Visitor
from mvc.errors import UsageError, UserError
from mvc.history.bisection import Graph, Step, next_step
from mvc.history.revisions import resolve, resolve_commit
from mvc.objectid import CommitId
from mvc.objects import Person, Timestamp
from mvc.refs import BRANCHES
from mvc.repo import Repository
from mvc.transaction import begin
from mvc.view import View
from mvc.workspace import locked

TESTED = ("test", "merge base")
"""Steps that ask for a test of their commit."""

CANNOT_RUN = (126, 127)
"""Exit codes of a shell that could not start a program (POSIX, Shell Command Language, 2.8.2)."""


@dataclass(frozen=True, slots=True)
class Report:
    """Where a bisection stands; ``step`` is None while answers are missing."""

    bisection: Bisection
    step: Step | None


Test = Callable[[CommitId], int]
"""Looks at the version in the work tree; gives an exit code, negative for a signal."""


def start(
    repository: Repository, bad: str | None, goods: Sequence[str], who: Person, now: Timestamp
) -> Report:
    """Begin a bisection, with what is known already; one that is under way is given up.

    Raises:
        RevisionNotFound: a revision is none.
        WouldOverwrite: uncommitted work is in the way.
    """
    words = ["bisect start", *([] if bad is None else [bad]), *goods]
    with (
        locked(repository, exclusive=True) as workspace,
        begin(repository, " ".join(words), who, now) as tx,
    ):
        view = tx.view
        bisection = begun(view)
        if bad is not None:
            bisection = bisection.marked("bad", resolve_commit(bad, view.objects, view))
        for revision in goods:
            bisection = bisection.marked("good", resolve_commit(revision, view.objects, view))
        home = None if read_bisection(view) is None else bisection.head
        return _go_on(Visitor(workspace, tx, who, now), bisection, home=home)


def mark(
    repository: Repository,
    word: Word,
    revisions: Sequence[str],
    who: Person,
    now: Timestamp,
    *,
    graph: Graph | None = None,
) -> Report:
    """Say of versions (HEAD, if none is named) that they are good, bad, or cannot be tested; then go to the
    next one. ``skip`` also takes ranges, ``A..B``. ``graph`` is what was read of history before.

    Raises:
        UserError: no bisection is under way, or the answers contradict each other.
        WouldOverwrite: uncommitted work is in the way.
    """
    if word == "bad" and len(revisions) > 1:
        raise UsageError("one version can be the bad one", hint="mvc bisect bad [REV]")
    command = " ".join(["bisect", word, *revisions])
    with locked(repository, exclusive=True) as workspace, begin(repository, command, who, now) as tx:
        bisection = _of_commits(tx.view)
        for identity in _named(tx.view, word, revisions or ("HEAD",)):
            bisection = bisection.marked(word, identity)
        return _go_on(Visitor(workspace, tx, who, now), bisection, graph=graph)


def reset(repository: Repository, revision: str | None, who: Person, now: Timestamp) -> str | CommitId | None:
    """End the bisection and go back to where HEAD was, or to a revision; returns that place, None where none
    was under way.

    Raises:
        UserError: the branch that HEAD was on is gone.
        WouldOverwrite: uncommitted work is in the way.
    """
    command = "bisect reset" if revision is None else f"bisect reset {revision}"
    with locked(repository, exclusive=True) as workspace, begin(repository, command, who, now) as tx:
        view = tx.view
        if next(iter(view.refs.names(PREFIX)), None) is None:
            return None
        head = under_way(view).head if revision is None else _place(view, revision)
        Visitor(workspace, tx, who, now).leave(head)
        return head


def standing(view: View) -> Report:
    """Where the bisection under way stands.

    Raises:
        UserError: none is.
    """
    bisection = _of_commits(view)
    return Report(bisection, _step_of(view, Graph(view.objects), bisection))


def run(
    repository: Repository,
    test: Test,
    told: Callable[[Report, CommitId, Word], object],
    who: Person,
    clock: Callable[[], Timestamp],
) -> Report:
    """Test version after version until the first bad one is known.

    ``test``'s code means what it means to ``git bisect run``: 0 good, 125 cannot be tested, other codes below
    128 bad. ``told`` hears of each answer and where it led to.

    Raises:
        UserError: good or bad versions are not known yet; or the command ended otherwise, by a signal or
            because there is no such program. What is known so far stays.
    """
    graph = Graph(repository.read().objects)  # thousands of commits, read once for all tests
    report = _to_candidate(repository, who, clock())
    first = True
    while report.step is not None and report.step.kind in TESTED:
        commit = report.step.commit
        code = test(commit)
        if first and code in CANNOT_RUN:
            _check_runs(repository, test, report, code, who, clock)
        first = False
        word = answer_of(code, commit)
        report = mark(repository, word, [commit.hex()], who, clock(), graph=graph)
        told(report, commit, word)
    return report


def _check_runs(
    repository: Repository,
    test: Test,
    report: Report,
    code: int,
    who: Person,
    clock: Callable[[], Timestamp],
) -> None:
    """A shell says so too when it finds no program; then a good version would be called bad as well."""
    good = report.bisection.goods[0]
    with (
        locked(repository, exclusive=True) as workspace,
        begin(repository, f"bisect run, tried on {good.short}", who, clock()) as tx,
    ):
        Visitor(workspace, tx, who, clock()).visit(good)
    again = test(good)
    _to_candidate(repository, who, clock())
    if again == code:
        raise UserError(
            f"the command ends with {code} at a good version too, so it cannot be run",
            hint="a script must be executable, and a program installed",
        )


def _to_candidate(repository: Repository, who: Person, now: Timestamp) -> Report:
    """Bring the version that is to be tested into the work tree, wherever the user went since."""
    with locked(repository, exclusive=True) as workspace, begin(repository, "bisect run", who, now) as tx:
        bisection = _of_commits(tx.view)
        if bisection.missing:
            raise UserError(
                f"no {' and no '.join(bisection.missing)} version is known yet",
                hint="mvc bisect bad REV, mvc bisect good REV",
            )
        step = _step_of(tx.view, Graph(tx.view.objects), bisection)
        if step is None or step.kind not in TESTED or step.commit == tx.view.head:
            return Report(bisection, step)
        Visitor(workspace, tx, who, now).visit(step.commit)
        return Report(bisection, step)


def _go_on(
    visitor: Visitor,
    bisection: Bisection,
    *,
    home: str | CommitId | None = None,
    graph: Graph | None = None,
) -> Report:
    """Record a bisection and go to what it looks at next; if there is nothing, to ``home``, or stay."""
    step = _step_of(visitor.tx.view, Graph(visitor.tx.view.objects, graph), bisection)
    if step is not None and step.kind != "merge base":
        bisection = replace(bisection, bases_settled=True)
    target: str | CommitId | None = home
    if step is not None and step.kind in TESTED:
        target = step.commit
    visitor.record(bisection, target)
    return Report(bisection, step)


def _step_of(view: View, graph: Graph, bisection: Bisection) -> Step | None:
    """The next step; a version that was purged whole cannot be tested, and is skipped."""
    if bisection.bad is None or not bisection.goods:
        return None
    skips = list(bisection.skips)
    while True:
        step = next_step(graph, bisection.bad, bisection.goods, skips, bases_settled=bisection.bases_settled)
        if step.kind not in TESTED or not view.objects.is_gone(view.commit(step.commit).tree):
            return step
        if step.commit in skips:
            return step
        skips.append(step.commit)


def _of_commits(view: View) -> Bisection:
    bisection = under_way(view)
    if bisection.kind != "commits":
        raise UserError("a search among tensors was interrupted", hint="mvc bisect reset, then begin anew")
    return bisection


def _named(view: View, word: Word, revisions: Sequence[str]) -> Iterable[CommitId]:
    for revision in revisions:
        first, dots, last = revision.partition("..")
        if word == "skip" and dots:
            graph = Graph(view.objects)
            start, end = (resolve_commit(text or "HEAD", view.objects, view) for text in (first, last))
            yield from graph.without(end, graph.reachable([start]))
        else:
            yield resolve_commit(revision, view.objects, view)


def _place(view: View, revision: str) -> str | CommitId:
    ref = resolve(revision, view.objects, view).ref
    if ref is not None and ref.startswith(BRANCHES):
        return ref
    return resolve_commit(revision, view.objects, view)
