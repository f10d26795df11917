"""A bisection under way, as refs hold it (docs/format.md).

So ``undo`` takes its steps back, and gc keeps what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from mvc.errors import CorruptObject, RefMoved, UserError
from mvc.objectid import ID_BYTES, CommitId
from mvc.objects import Commit, Person, Timestamp
from mvc.refs import BRANCHES, encode_target, peeled_target
from mvc.view import View

PREFIX = "refs/bisect/"
START = PREFIX + "start"
BAD = PREFIX + "bad"
GOOD = PREFIX + "good-"
SKIP = PREFIX + "skip-"

KEY = "bisect"
"""Key of the commit that :data:`START` names, under which lies what refs cannot say."""

SKIP_CODE = 125
ABORT_FROM = 128

Kind = Literal["commits", "tensors"]
Word = Literal["good", "bad", "skip"]


@dataclass(frozen=True, slots=True)
class Bisection:
    """What is known so far. ``head`` is where HEAD was before: a branch's full name or a commit; ``at`` the
    commit that it meant. ``log`` has the answers in their order. ``bases_settled`` is for
    :func:`mvc.history.bisection.next_step`; ``kind`` tells what is searched for."""

    head: str | CommitId
    at: CommitId
    bad: CommitId | None = None
    goods: tuple[CommitId, ...] = ()
    skips: tuple[CommitId, ...] = ()
    log: tuple[tuple[Word, CommitId], ...] = ()
    bases_settled: bool = False
    kind: Kind = "commits"

    @property
    def missing(self) -> tuple[Word, ...]:
        """Answers that are needed before there is something to halve."""
        words: list[Word] = []
        if self.bad is None:
            words.append("bad")
        if not self.goods:
            words.append("good")
        return tuple(words)

    def marked(self, word: Word, identity: CommitId) -> Bisection:
        """The same with one more answer."""
        log = (*self.log, (word, identity))
        if word == "bad":
            return replace(self, bad=identity, log=log)
        if word == "good":
            return replace(self, goods=_with(self.goods, identity), log=log)
        return replace(self, skips=_with(self.skips, identity), log=log)


def _with(known: tuple[CommitId, ...], identity: CommitId) -> tuple[CommitId, ...]:
    return known if identity in known else (*known, identity)


def begun(view: View, kind: Kind = "commits") -> Bisection:
    """A bisection that begins now; one that is under way already gives up its place in history.

    Raises:
        UserError: there is no commit yet.
    """
    earlier = read_bisection(view)
    if earlier is not None:
        return Bisection(earlier.head, earlier.at, kind=kind)
    at, head = view.head_commit(), view.head
    if at is None or head is None:
        raise UserError("there are no versions to search among", hint="mvc commit makes the first one")
    return Bisection(head, at, kind=kind)


def read_bisection(view: View) -> Bisection | None:
    """The bisection under way, or None.

    Raises:
        CorruptObject: its state is damaged.
    """
    start = view.refs.get(START)
    if not isinstance(start, CommitId):
        return None
    commit = view.commit(start)
    value = commit.extra.get(KEY)
    bad = view.refs.get(BAD)
    if not isinstance(value, dict) or not commit.parents or not (bad is None or isinstance(bad, CommitId)):
        raise CorruptObject(f"{START} names no bisection", hint="'mvc bisect reset REV' ends it")
    return Bisection(
        head=_head(value.get("head"), commit.parents[0]),
        at=commit.parents[0],
        bad=bad,
        goods=_named(view, GOOD),
        skips=_named(view, SKIP),
        log=tuple(_answer(item) for item in _list(value.get("log"))),
        bases_settled=value.get("bases_settled") is True,
        kind="tensors" if value.get("kind") == "tensors" else "commits",
    )


def under_way(view: View) -> Bisection:
    """The bisection under way.

    Raises:
        UserError: there is none.
    """
    found = read_bisection(view)
    if found is None:
        raise UserError("no bisection is under way", hint="mvc bisect start BAD GOOD")
    return found


def answer_of(code: int, commit: CommitId) -> Word:
    """What a test's exit code says, as ``git bisect run`` has it: 0 good, 125 cannot be tested, others below
    128 bad; negative codes are signals.

    Raises:
        UserError: it says nothing.
    """
    if code == 0:
        return "good"
    if code == SKIP_CODE:
        return "skip"
    if 0 < code < ABORT_FROM:
        return "bad"
    ending = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
    raise UserError(
        f"the command {ending} at {commit.short}: neither good nor bad",
        hint="mend what ended it and run this again; 0 is good, 125 cannot be tested, 1 to 127 bad",
    )


def refs_of(
    view: View, bisection: Bisection | None, put: Callable[[Commit], CommitId], who: Person, now: Timestamp
) -> dict[str, bytes | None]:
    """The changes of refs that record a bisection, or that it is over; ``put`` stores a commit."""
    refs: dict[str, bytes | None] = dict.fromkeys(view.refs.names(PREFIX))
    if bisection is None:
        return refs
    value = {
        "bases_settled": bisection.bases_settled,
        "head": bisection.head if isinstance(bisection.head, str) else bytes(bisection.head),
        "kind": bisection.kind,
        "log": [[word, bytes(identity)] for word, identity in bisection.log],
    }
    tree = view.commit(bisection.at).tree
    note = Commit(tree, (bisection.at,), who, now, "bisect: where HEAD was", extra={KEY: value})
    refs[START] = encode_target(put(note))
    if bisection.bad is not None:
        refs[BAD] = encode_target(bisection.bad)
    refs.update({GOOD + identity.hex(): encode_target(identity) for identity in bisection.goods})
    refs.update({SKIP + identity.hex(): encode_target(identity) for identity in bisection.skips})
    return refs


def same_state(planned: View, now: View) -> None:
    """Refuse when another command moved the bisection meanwhile.

    Raises:
        RefMoved: it did.
    """
    if state_of(planned) != state_of(now):
        raise RefMoved("another command moved the bisection", hint="look at 'mvc bisect log', then try again")


def state_of(view: View) -> Mapping[str, bytes]:
    """Everything that refs hold of a bisection."""
    return dict(view.refs.values(PREFIX))


def place_of(view: View, head: str | CommitId) -> CommitId:
    """The commit that a branch's full name means now, or the commit itself.

    Raises:
        UserError: the branch is gone.
    """
    if isinstance(head, CommitId):
        return head
    value = view.refs.value(head)
    target = None if value is None else peeled_target(value)
    if target is None:
        raise UserError(
            f"the branch {head.removeprefix(BRANCHES)!r} is gone",
            hint="'mvc bisect reset REV' goes elsewhere",
        )
    return target


def _named(view: View, prefix: str) -> tuple[CommitId, ...]:
    targets = (peeled_target(value) for _, value in view.refs.values(prefix))
    return tuple(target for target in targets if target is not None)


def _head(value: Any, at: CommitId) -> str | CommitId:
    if type(value) is str and value.startswith(BRANCHES):
        return value
    if type(value) is bytes and value == at:
        return at
    raise CorruptObject(f"{START} does not say where HEAD was", hint="'mvc bisect reset REV' ends it")


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise CorruptObject(f"{START} has no list of answers", hint="'mvc bisect reset REV' ends it")
    return value


def _answer(item: Any) -> tuple[Word, CommitId]:
    if type(item) is list and len(item) == 2 and item[0] in ("good", "bad", "skip"):
        word, identity = item
        if type(identity) is bytes and len(identity) == ID_BYTES:
            return word, CommitId(identity)
    raise CorruptObject(f"{START} has an answer that is none", hint="'mvc bisect reset REV' ends it")
