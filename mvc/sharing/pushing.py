"""From a repository to a remote: objects, then all refs in one step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NamedTuple

from mvc.config import Config
from mvc.errors import (
    ConflictError,
    ObjectMissing,
    RevisionNotFound,
    TakenForGarbage,
    UsageError,
    UserError,
)
from mvc.history.names import offer
from mvc.history.reader import read_links
from mvc.history.refnames import short_ref_name
from mvc.history.revisions import resolve_commit
from mvc.monitor import Monitor
from mvc.objectid import CommitId, ObjectId
from mvc.objects import Person, Timestamp
from mvc.refs import BRANCHES, NOTES, TAGS, decode_target, encode_target, peeled_target
from mvc.repo import Repository
from mvc.sharing.bucket import BucketStore
from mvc.sharing.damage import damage_between
from mvc.sharing.exchange import Exchange, LeftOut, Wish, bring
from mvc.sharing.fetching import FetchRequest, fetch
from mvc.sharing.purges import learn
from mvc.sharing.settings import Remote, upstream
from mvc.sharing.sinks import outgoing
from mvc.sharing.stores import store_of
from mvc.sharing.tracking import (
    PRIVATE,
    RefUpdate,
    default_branch,
    full_name,
    kind_of_move,
    matching,
    parse_refspec,
    shared_names,
    wildcard,
)
from mvc.store import Store
from mvc.transaction import Transaction, Update, begin
from mvc.view import View

MOST_LOCATED = 64
"""New versions of one push that each get a locator. Of more only the refs' own do: versions that came
together lie in the same few segments, and each locator is a request."""

_TRIES = 5
_MANY_WAITING = 1_000  # 90 kB of root


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What to push.

    Without ``refspecs``: the current branch to its upstream, else to the branch of the same name. ``force``
    allows every ref to move anyhow; ``leases`` (``""`` for all that are pushed, ``REF``, ``REF:ID``) only
    from where it was when it was last fetched, or from that version. ``delete`` names refs of the remote.
    ``all`` pushes every branch, ``tags`` every tag too. ``dry_run`` only tells.
    """

    refspecs: tuple[str, ...] = ()
    force: bool = False
    leases: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    all: bool = False
    tags: bool = False
    notes: bool = True
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push moved, or would move. ``branches`` maps the branches here that were pushed, by short names,
    to those of the remote, also where nothing moved; ``heads`` says where branches of the remote are now
    (None: gone). ``bytes`` are those of records that were missing.
    """

    remote: Remote
    updates: tuple[RefUpdate, ...]
    branches: Mapping[str, str]
    heads: Mapping[str, bytes | None]
    commits: int = 0
    objects: int = 0
    bytes: int = 0
    dry_run: bool = False


class _Sent(NamedTuple):
    """A ref of the remote, the value that it is to have (None: it goes) and the one here that has it.
    ``lease``: the value that it must have now, and then any move is allowed; ``True`` for any value."""

    target: str
    value: bytes | None
    source: str | None
    force: bool
    lease: bytes | bool | None = True


class _NotesParted(Exception):
    """The remote has notes that are not here."""


def push(repository: Repository, remote: Remote, request: PushRequest, who: Person, now: Timestamp) -> Pushed:
    """Bring a remote what it lacks and move its refs, all or none; then the refs that follow them here.

    Notes go along; those that the remote has and this repository lacks are fetched first.

    Raises:
        ConflictError: a ref has moved there, would lose versions, or may not be moved; nothing is moved.
        RevisionNotFound: there is nothing of that name.
        ObjectPurged: the remote has purged what would come.
        StorageError: it cannot be reached, or refuses.
    """
    for attempt in range(_TRIES):
        last = attempt + 1 == _TRIES
        try:
            pushed = _push(repository, remote, request, who, now)
        except _NotesParted:
            if last:
                raise ConflictError(
                    "others keep adding notes at the remote", hint="try again, or push with --no-notes"
                ) from None
            fetch(repository, remote, FetchRequest((NOTES,), tags="none"), who, now)
            continue
        except TakenForGarbage as error:
            # what is still there counts as arrived: only what a collection condemned is sent again
            if last:
                raise
            repository.monitor.warn(f"{error.message}; sent again")
            continue
        except LeftOut as left_out:
            if last:
                raise left_out.error() from None
            bring(repository, left_out)
            continue
        if not request.dry_run:
            _follow(repository, remote, pushed, who, now)
        return pushed
    raise AssertionError("the last attempt ends")


def _push(
    repository: Repository, remote: Remote, request: PushRequest, who: Person, now: Timestamp
) -> Pushed:
    store = store_of(repository, remote.address, repository.worktree)
    config = repository.config()
    with closing(store), damage_between(remote, "pushing to"), repository.reading() as ours:
        default = _default_refspec(ours, config, remote)
        with begin(store, _command(request, default), who, now) as tx:
            sent = list(_selected(ours, tx.view, remote, request, default))
            branches = {
                item.source.removeprefix(BRANCHES): item.target.removeprefix(BRANCHES)
                for item in sent
                if item.source and item.source.startswith(BRANCHES) and item.target.startswith(BRANCHES)
            }
            if request.notes and branches and all(item.target != NOTES for item in sent):
                sent += _notes(ours, tx.view, dry_run=request.dry_run)
            moves = _moves(ours, tx.view, remote, sent)  # refused before anything is sent
            tips, notes = _tips(sent, notes=False), _tips(sent, notes=True)
            exchange = _exchange(ours, tx, repository.monitor, [Wish(tips), Wish(notes)])
            learn(ours, tx, exchange.missing.gone)
            told = Pushed(
                remote,
                tuple(moves),
                branches,
                {item.target: item.value for item in sent if item.target.startswith(BRANCHES)},
                len(exchange.commits),
                len(exchange.missing.objects),
                0,
                request.dry_run,
            )
            if request.dry_run:
                return replace(told, bytes=exchange.tell())
            exchange.refuse_left_out()
            _remind(store, tx.view, repository.monitor, remote)
            located = _located(ours, exchange.missing.commits, sent)
            values = {item.target: item.value for item in sent}

            def build(view: View) -> Update | None:
                moves[:] = _moves(ours, view, remote, sent)
                refs = {move.name: values[move.name] for move in moves}
                first = _first_default(ours, view, branches)
                return Update(refs=refs, also_located=located, default_branch=first) if refs else None

            if not exchange.missing.objects:
                tx.publish(build)
                return replace(told, updates=tuple(moves))
            with outgoing(repository, store, tx.view, remote.address) as sink:
                planned = exchange.plan(sink)
                sink.expect(planned.bytes)
                kept = sink.kept_bytes
                exchange.run(planned, sink, verify=False)
                came = sink.kept_bytes - kept
                tx.publish(build)
                sink.done()
    return replace(told, updates=tuple(moves), bytes=came)


def _remind(store: Store, theirs: View, monitor: Monitor, remote: Remote) -> None:
    """Where only its own collection deletes, somebody has to start that."""
    waiting = len(theirs.root.retired) + len(theirs.root.fossils)
    if isinstance(store, BucketStore) and waiting >= _MANY_WAITING:
        monitor.warn(
            f"{remote.shown} has {waiting:,} files that it no longer needs, and every command there reads "
            f"their list: mvc gc --remote {remote.shown}"
        )


def _exchange(ours: View, tx: Transaction, monitor: Monitor, wishes: list[Wish]) -> Exchange:
    try:
        return Exchange(ours.objects, tx, monitor, wishes)
    except ObjectMissing as error:
        if not ours.objects.shallow:
            raise
        raise UserError(
            "the remote lacks earlier versions, which are not here either: history was cut by --depth",
            hint="mvc fetch --unshallow brings them",
        ) from error


# --- what is sent ------------------------------------------------------------------------------------------
def _command(request: PushRequest, default: str | None) -> str:
    """What the remote's log calls it, as it was typed."""
    words = ["push", *(["--force"] if request.force else [])]
    words += [f"--force-with-lease{'=' if lease else ''}{lease}" for lease in request.leases]
    words += ["--all"] if request.all else []
    words += ["--tags"] if request.tags else []
    words += ["--delete", *request.delete] if request.delete else []
    if not (request.all or request.delete or request.refspecs) and default is not None:
        return " ".join([*words, default])
    return " ".join([*words, *request.refspecs])


def _default_refspec(ours: View, config: Config, remote: Remote) -> str | None:
    """The current branch, and what it follows at this remote; None where HEAD is detached."""
    branch = ours.branch()
    if branch is None:
        return None
    follows = upstream(config, branch)
    if follows is not None and follows.remote == remote.name and follows.branch != branch:
        return f"{branch}:{follows.branch}"
    return branch


def _selected(
    ours: View, theirs: View, remote: Remote, request: PushRequest, default: str | None
) -> Iterator[_Sent]:
    """The refs that are to move, each once."""
    specs = list(request.refspecs)
    if not specs and not request.delete and not request.all and not request.tags:
        if default is None:
            raise UserError(
                "HEAD is detached: there is no current branch to push", hint="mvc push REMOTE HEAD:BRANCH"
            )
        specs.append(default)
    specs += [f"{BRANCHES}*:{BRANCHES}*"] * request.all + [f"{TAGS}*:{TAGS}*"] * request.tags
    found: dict[str, _Sent] = {}
    for item in (
        *(item for text in specs for item in _of_refspec(ours, theirs, remote, text, force=request.force)),
        *(_Sent(_there(theirs, remote, name), None, None, request.force) for name in request.delete),
    ):
        other = found.setdefault(item.target, item)
        if other.value != item.value:
            raise UsageError(f"{short_ref_name(item.target)} is to become two things at once")
    for lease in request.leases:
        _lease(ours, remote, lease, found)
    yield from found.values()


def _of_refspec(ours: View, theirs: View, remote: Remote, text: str, *, force: bool) -> Iterator[_Sent]:
    spec = parse_refspec(text)
    force = force or spec.force
    if not spec.source:
        yield _Sent(_there(theirs, remote, spec.target or ""), None, None, force)
        return
    if "*" in spec.source:
        for name in matching(ours, spec.source):
            target = name if spec.target is None else wildcard(spec.source, spec.target, name)
            yield _Sent(_checked(target, name), ours.refs.value(name), name, force)
        return
    source, value = _source(ours, spec.source)
    if spec.target is None and source is None:
        raise UsageError(
            f"{spec.source} is no branch or tag, so it has no name at the remote",
            hint=f"mvc push {remote.shown} {spec.source}:BRANCH",
        )
    target = spec.target or source or ""
    if not target.startswith("refs/"):
        there = matching(theirs, target)
        kind = TAGS if source is not None and source.startswith(TAGS) else BRANCHES
        target = there[0] if there else full_name(target, kind)
    yield _Sent(_checked(target, source), value, source, force)


def _source(ours: View, word: str) -> tuple[str | None, bytes]:
    """The full name and the value of what a word names here; no name where it is a version."""
    if word in ("HEAD", "@") and isinstance(ours.head, str):
        word = ours.head
    for name in matching(ours, word):
        value = ours.refs.value(name)
        if value is not None:
            return name, value
    if word.startswith("refs/") or word == ours.branch():
        raise RevisionNotFound(
            f"there is no {short_ref_name(word)!r} to push", hint="mvc commit makes a version"
        )
    return None, encode_target(resolve_commit(word, ours.objects, ours))


def _there(theirs: View, remote: Remote, name: str) -> str:
    """The full name of a ref of the remote that is to be deleted."""
    found = matching(theirs, name)
    if not found:
        known = [short_ref_name(one) for one in shared_names(theirs)]
        raise RevisionNotFound(f"{remote.shown} has no {name!r}", hint=offer(name, known))
    return _checked(found[0], None)


def _checked(target: str, source: str | None) -> str:
    """A ref of the remote that may be written."""
    full = full_name(target)
    if full.startswith(PRIVATE):
        raise UserError(f"{full} never leaves a repository", hint="push branches and tags")
    if full.startswith(BRANCHES) and source is not None and source.startswith(TAGS):
        raise UserError(
            f"{short_ref_name(full)} is a branch, and cannot name a tag", hint=f"{source}^0:{full}"
        )
    return full


def _lease(ours: View, remote: Remote, text: str, sent: dict[str, _Sent]) -> None:
    """Demand that refs of the remote are where they were, for which they may then move anyhow."""
    name, colon, revision = text.partition(":")
    targets = [BRANCHES + name if not name.startswith("refs/") else name] if name else list(sent)
    for target in targets:
        item = sent.get(target)
        if item is None:
            raise UsageError(f"{name} is not pushed, so --force-with-lease={text} says nothing")
        if colon:
            value = encode_target(resolve_commit(revision, ours.objects, ours)) if revision else None
        elif target.startswith(BRANCHES) and remote.name is not None:
            value = ours.refs.value(remote.tracking + target.removeprefix(BRANCHES))
        else:
            raise UsageError(
                f"nothing here follows {short_ref_name(target)} of {remote.shown}",
                hint=f"--force-with-lease={short_ref_name(target)}:ID says where it must be",
            )
        sent[target] = item._replace(lease=value)


def _notes(ours: View, theirs: View, *, dry_run: bool) -> list[_Sent]:
    """The notes, where the remote lacks some.

    Raises:
        _NotesParted: it has some that are not here.
    """
    value, there = ours.refs.value(NOTES), theirs.refs.value(NOTES)
    if value is None or value == there:
        return []
    if there is not None and kind_of_move(ours.objects, there, value) != "fast-forward":
        if dry_run:
            return []
        raise _NotesParted
    return [_Sent(NOTES, value, NOTES, force=False)]


# --- how refs of the remote move ---------------------------------------------------------------------------
def _moves(ours: View, theirs: View, remote: Remote, sent: Iterable[_Sent]) -> list[RefUpdate]:
    """The moves, judged against the state of the remote that they start from.

    Raises:
        ConflictError: one of them may not be.
    """
    moves: list[RefUpdate] = []
    refused: list[tuple[str, str, str]] = []
    for item in sent:
        before = theirs.refs.value(item.target)
        if before == item.value:
            continue
        kind = kind_of_move(ours.objects, before, item.value)
        old, new = (None if value is None else decode_target(value) for value in (before, item.value))
        why, hint = _refusal(ours, theirs, remote, item, before, kind == "forced")
        if why:
            refused.append((item.target, why, hint))
        moves.append(RefUpdate(item.target, item.source, old, new, kind))
    if refused:
        if all(target == NOTES for target, _why, _hint in refused):
            raise _NotesParted
        reasons = (f"{short_ref_name(target)}: {why}" for target, why, _hint in refused)
        raise ConflictError(f"nothing was pushed to {remote.shown}; {'; '.join(reasons)}", hint=refused[0][2])
    return moves


def _refusal(
    ours: View, theirs: View, remote: Remote, item: _Sent, before: bytes | None, overwrites: bool
) -> tuple[str, str]:
    """Why a ref may not move so, and what to do; empty where it may."""
    name = remote.shown
    if item.target == theirs.head:
        return "it is the branch that somebody works on there", "push to another branch, and merge it there"
    if not isinstance(item.lease, bool):
        if before != item.lease:
            return "it is not where it was", f"mvc fetch {name} shows what came; then decide again"
        return "", ""
    if item.force:
        return "", ""
    if item.value is None and item.target == f"{BRANCHES}{default_branch(theirs)}":
        return "a clone begins with it", "--force deletes it all the same"
    if item.target.startswith(TAGS) and overwrites:
        return "the tag there names something else", "--force moves it, for everybody"
    if not overwrites:
        return "", ""
    old = None if before is None else decode_target(before)
    if isinstance(old, CommitId) and old in ours.objects:
        return (
            f"it would lose versions up to {old.short}",
            "mvc pull brings them together; --force-with-lease drops them",
        )
    mine = item.source is not None and item.source == ours.head
    return (
        f"{name} has versions that are not here",
        "mvc pull brings them together"
        if mine
        else f"mvc fetch {name}, then merge; --force-with-lease drops them",
    )


def _tips(sent: Iterable[_Sent], *, notes: bool) -> tuple[ObjectId, ...]:
    """What the notes' ref is to name, or what all others are to."""
    return tuple(
        decode_target(item.value)
        for item in sent
        if item.value is not None and (item.target == NOTES) == notes
    )


def _located(
    ours: View, commits: Sequence[CommitId], sent: Iterable[_Sent]
) -> list[tuple[CommitId, tuple[CommitId, ...]]]:
    """The new versions that get a locator, with the versions that the remote had before them."""
    new = set(commits)
    parents = {parent for commit in commits for parent in read_links(ours.objects, commit)[1]}
    before = tuple(sorted(parents - new))
    tips = {peeled_target(item.value) for item in sent if item.value is not None}
    wanted = commits if len(commits) <= MOST_LOCATED else [commit for commit in commits if commit in tips]
    return [(commit, before) for commit in wanted]


def _first_default(ours: View, theirs: View, branches: Mapping[str, str]) -> str | None:
    """The branch that copies of a shared store begin with from now on: set by the first push."""
    if theirs.head is not None or not branches or default_branch(theirs) is not None:
        return None
    said = theirs.root.extra.get("default_branch")
    if said in branches.values():
        return None
    return branches.get(ours.branch() or "") or next(iter(branches.values()))


# --- here --------------------------------------------------------------------------------------------------
def _follow(repository: Repository, remote: Remote, pushed: Pushed, who: Person, now: Timestamp) -> None:
    """Move the refs that follow the remote to where it is now."""
    if remote.name is None:
        return
    words = " ".join(map(short_ref_name, pushed.heads))
    with begin(repository, f"push {remote.name} {words}".rstrip(), who, now) as tx:

        def build(view: View) -> Update | None:
            refs: dict[str, bytes | None] = {}
            for name, value in pushed.heads.items():
                tracked = remote.tracking + name.removeprefix(BRANCHES)
                if view.refs.value(tracked) != value:
                    refs[tracked] = value
            return Update(refs=refs) if refs else None

        tx.publish(build)
