"""From a remote into a repository: objects, and refs that follow the remote's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from mvc.backends import NotFound
from mvc.config import enabled
from mvc.errors import (
    CorruptObject,
    DamageError,
    InvalidName,
    ObjectMissing,
    RevisionNotFound,
    UsageError,
    UserError,
)
from mvc.history.names import offer
from mvc.history.reader import read_tag
from mvc.history.refnames import check_ref_name, short_ref_name
from mvc.monitor import Monitor
from mvc.objectid import CommitId, TagId
from mvc.objects import Person, Timestamp
from mvc.odb.database import ObjectDatabase
from mvc.refs import BRANCHES, NOTES, TAGS, decode_target, encode_target, peeled_target
from mvc.registry.notes.joining import join
from mvc.remotes.filters import EVERYTHING, Filter
from mvc.repo import Repository
from mvc.sharing.bundle import BundleStore, check_needs
from mvc.sharing.damage import damage_between
from mvc.sharing.exchange import Exchange, LeftOut, Wish, bring
from mvc.sharing.partial import deepened, portion, read_shallow, remember
from mvc.sharing.purges import learn, tell
from mvc.sharing.settings import REMOTES, Remote
from mvc.sharing.sinks import incoming, no_other
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
    unborn_branch,
    wildcard,
)
from mvc.store import Store
from mvc.transaction import Transaction, Update, begin
from mvc.view import View


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What to fetch.

    Without ``refspecs`` all branches. ``prune`` forgets branches that the remote has no more. ``tags``:
    those of versions that are here afterwards, all, or none. ``notes``: what was added to versions. Of what
    comes ``filter`` says how much, else what was said when the remote was fetched from before; ``unshallow``
    brings the history that a depth left out. ``dry_run`` only tells.
    """

    refspecs: tuple[str, ...] = ()
    prune: bool = False
    tags: Literal["follow", "all", "none"] = "follow"
    notes: bool = True
    filter: Filter = EVERYTHING
    unshallow: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch brought, or would bring.

    ``found`` maps the full names of the remote's refs that were asked for to their values; ``branch`` is
    the branch that a copy begins with, also where it has no version yet. ``bytes`` are those of records.
    """

    remote: Remote
    updates: tuple[RefUpdate, ...]
    found: Mapping[str, bytes] = field(default_factory=dict)
    branch: str | None = None
    commits: int = 0
    objects: int = 0
    bytes: int = 0
    dry_run: bool = False


_TRIES = 3


class _Wanted(NamedTuple):
    """A ref of the remote: its name and value there, and the ref here that is to take it, if any; ``force``
    allows any move."""

    source: str
    value: bytes
    target: str | None
    force: bool


def fetch(
    repository: Repository,
    remote: Remote,
    request: FetchRequest,
    who: Person,
    now: Timestamp,
    *,
    command: str | None = None,
) -> Fetched:
    """Bring what a remote has and this repository lacks, and move the refs that follow it, in one step.

    Raises:
        RevisionNotFound: the remote has no ref that a refspec names.
        ObjectPurged: it has what was purged here, or lacks what was purged there.
        StorageError: it cannot be reached, or refuses.
        DamageError: what it has is damaged.
    """
    for attempt in range(_TRIES):
        store = store_of(repository, remote.address, repository.worktree)
        epochs: list[int] = []
        with closing(store), damage_between(remote, "fetching from"):
            try:
                return _fetch(repository, store, remote, request, who, now, command, epochs)
            except (DamageError, NotFound):
                # a collection may have deleted what this fetch was reading for longer than readers are spared
                if attempt or not epochs or store.roots.read()[0].epoch == epochs[0]:
                    raise
            except LeftOut as left_out:
                if attempt + 1 == _TRIES:
                    raise left_out.error() from None
                bring(store, left_out)
    raise AssertionError("the last attempt ends")


def _fetch(
    repository: Repository,
    store: Store,
    remote: Remote,
    request: FetchRequest,
    who: Person,
    now: Timestamp,
    command: str | None,
    epochs: list[int],
) -> Fetched:
    """The same, by one root of the remote, whose epoch is noted.

    Raises:
        LeftOut: the remote is itself a part of another store.
    """
    with (
        store.reading() as theirs,
        begin(repository, command or f"fetch {remote.shown}", who, now) as tx,
    ):
        if isinstance(store, BundleStore):
            check_needs(store, tx.view.objects)
        epochs.append(theirs.root.epoch)
        tell(theirs, tx.view, repository.monitor, remote.shown)
        wanted = list(_wanted(theirs, remote, request))
        found = {item.source: item.value for item in wanted}
        notes = _notes(theirs) if request.notes else None
        if request.tags == "all":
            wanted += _tags(theirs, wanted, lambda _target: True)
        tips = tuple(decode_target(item.value) for item in wanted)
        part = portion(repository.config(), remote.name, request.filter, unshallow=request.unshallow)
        wishes = [Wish(tips, part.filter), Wish(() if notes is None else (notes,))]
        exchange = _exchange(theirs, tx, repository.monitor, wishes, deepen=part.deepen)
        if request.tags == "follow":
            coming = set(exchange.commits)
            tags = _tags(theirs, wanted, lambda target: target in coming or target in tx.view.objects)
            exchange.add(decode_target(item.value) for item in tags)
            wanted += tags
        learn(theirs, tx, exchange.missing.gone)
        _check_tags(theirs, tx.view, wanted)
        told = Fetched(
            remote,
            (),
            found,
            default_branch(theirs) or unborn_branch(theirs),
            len(exchange.commits),
            len(exchange.missing.objects),
            0,
            request.dry_run,
        )
        if request.dry_run:
            moved = _moves(tx.view, theirs.objects, theirs, remote, request, wanted)
            return replace(told, updates=tuple(moved), bytes=exchange.tell())
        exchange.refuse_left_out()

        def note() -> None:
            """Before root names any of it: from then on what is left out is no damage."""
            if remote.name is not None:
                remember(repository, remote.name, part.noted, exchange.missing.shallow)
                tx.view.objects = tx.view.objects.with_supply(repository.supply())

        updates: list[RefUpdate] = []

        def build(view: View) -> Update | None:
            updates[:] = _moves(view, tx.view.objects, theirs, remote, request, wanted)
            refs = _values(updates, wanted)
            joined = None if notes is None else _joined_notes(tx, view, notes, who, now)
            if joined is not None:
                refs[NOTES] = encode_target(joined)
            return Update(refs=refs) if refs or exchange.missing.objects else None

        if not exchange.missing.objects:
            partial = part.noted.is_partial or read_shallow(repository)
            with no_other(repository) if partial else nullcontext():
                note()
                tx.publish(build)
                deepened(repository)
            return replace(told, updates=tuple(updates))
        with incoming(repository, tx.view) as sink:
            note()
            planned = exchange.plan(sink)
            sink.expect(planned.bytes)
            kept = sink.kept_bytes
            exchange.run(planned, sink, verify=enabled([repository.config()], "transfer.verify"))
            came = sink.kept_bytes - kept
            tx.publish(build)
            sink.done()
            deepened(repository)
    return replace(told, updates=tuple(updates), bytes=came)


def _exchange(
    theirs: View, tx: Transaction, monitor: Monitor, wishes: list[Wish], *, deepen: bool
) -> Exchange:
    try:
        return Exchange(theirs.objects, tx, monitor, wishes, deepen=deepen)
    except ObjectMissing as error:
        if not theirs.objects.shallow:
            raise
        raise UserError(
            "the remote lacks earlier versions, which are not here either: its history was cut by --depth",
            hint="'mvc fetch --unshallow' there brings them; --depth here takes fewer",
        ) from error


# --- what is wanted ----------------------------------------------------------------------------------------
def _wanted(theirs: View, remote: Remote, request: FetchRequest) -> Iterator[_Wanted]:
    values = dict(theirs.refs.values())
    if not request.refspecs:
        names = (
            [name for name in values if name.startswith(BRANCHES)]
            if remote.name
            else matching(theirs, "HEAD")
        )
        for name in names:
            yield _Wanted(name, values[name], _followed(remote, name), True)
    for text in request.refspecs:
        spec = parse_refspec(text)
        if not spec.source:
            raise UsageError(f"{text!r} deletes, which only a push can", hint="mvc fetch --prune")
        names = matching(theirs, spec.source)
        if not names and "*" not in spec.source:
            known = [short_ref_name(name) for name in shared_names(theirs)]
            raise RevisionNotFound(f"{remote.shown} has no {spec.source!r}", hint=offer(spec.source, known))
        for name in names:
            target = (
                _followed(remote, name) if spec.target is None else _target(spec.source, spec.target, name)
            )
            force = spec.force or (spec.target is None and not name.startswith(TAGS))
            yield _Wanted(name, values[name], target, force)
            if spec.target is not None and name.startswith(BRANCHES) and remote.name:
                yield _Wanted(name, values[name], _followed(remote, name), True)


def _followed(remote: Remote, name: str) -> str | None:
    """The ref here that follows one of the remote's; a tag is the same everywhere."""
    if name.startswith(TAGS):
        return name
    if remote.name is None or not name.startswith(BRANCHES):
        return None
    return remote.tracking + name.removeprefix(BRANCHES)


def _target(source: str, target: str, name: str) -> str:
    kind = TAGS if name.startswith(TAGS) else BRANCHES
    full = full_name(wildcard(source, target, name) if "*" in source else target, kind)
    if full.startswith(PRIVATE) and not full.startswith(REMOTES):
        raise UserError(f"{full} is this repository's own", hint="choose a branch or a tag")
    return full


def _notes(theirs: View) -> CommitId | None:
    found = theirs.refs.get(NOTES)
    if found is not None and not isinstance(found, CommitId):
        raise CorruptObject(f"{NOTES} of the remote names a {found.word}, not a commit")
    return found


def _tags(theirs: View, wanted: Iterable[_Wanted], is_wanted: Callable[[CommitId], bool]) -> list[_Wanted]:
    """Tags of versions that are wanted, beside those that were asked for."""
    known = {item.source for item in wanted}
    found = []
    for name, value in theirs.refs.values(TAGS):
        target = peeled_target(value)
        if name not in known and target is not None and is_wanted(target):
            found.append(_Wanted(name, value, name, False))
    return found


def _check_tags(theirs: View, ours: View, wanted: Iterable[_Wanted]) -> None:
    """Make sure that annotated tags mean what their refs say, which is not looked up again.

    Raises:
        CorruptObject: one means another version.
    """
    for item in wanted:
        identity = decode_target(item.value)
        if not isinstance(identity, TagId) or ours.refs.value(item.target or item.source) == item.value:
            continue
        if read_tag(theirs.objects, identity).target != peeled_target(item.value):
            raise CorruptObject(
                f"{short_ref_name(item.source)} of the remote is a tag of another version than its ref says",
                hint="run 'mvc fsck' there; --no-tags fetches without tags",
            )


# --- what moves --------------------------------------------------------------------------------------------
def _moves(
    view: View,
    objects: ObjectDatabase,
    theirs: View,
    remote: Remote,
    request: FetchRequest,
    wanted: Iterable[_Wanted],
) -> list[RefUpdate]:
    """How refs here move, in the order of their names; ``objects`` have the history of what was fetched."""
    found: dict[str, RefUpdate] = {}
    for item in wanted:
        if item.target is not None:
            update = _move(view, objects, item, item.target)
            if update is not None:
                found[item.target] = update
    if request.prune and remote.name is not None:
        for name, value in view.refs.values(remote.tracking):
            source = BRANCHES + name.removeprefix(remote.tracking)
            if theirs.refs.value(source) is None:
                found[name] = RefUpdate(name, None, decode_target(value), None, "deleted")
    return [found[name] for name in sorted(found)]


def _move(view: View, objects: ObjectDatabase, item: _Wanted, target: str) -> RefUpdate | None:
    before = view.refs.value(target)
    if before == item.value:
        return None
    old = None if before is None else decode_target(before)
    new = decode_target(item.value)
    kind = kind_of_move(objects, before, item.value)
    why = ""
    try:
        for name in (item.source, short_ref_name(target), target):
            check_ref_name(name)
    except InvalidName as error:
        why = error.message
    if target == view.head:
        why = "it is the current branch; mvc pull moves it"
    elif target.startswith(TAGS) and old is not None and not item.force:
        why = "the tag here names something else"
    elif target.startswith(BRANCHES) and not isinstance(new, CommitId):
        why = "a branch names a version, not a tag"
    elif kind == "forced" and not item.force:
        why = "not a fast-forward"
    return RefUpdate(target, item.source, old, new, "rejected" if why else kind, why)


def _values(updates: Iterable[RefUpdate], wanted: Iterable[_Wanted]) -> dict[str, bytes | None]:
    values = {item.target: item.value for item in wanted}
    return {
        update.name: None if update.kind == "deleted" else values[update.name]
        for update in updates
        if update.kind != "rejected"
    }


def _joined_notes(
    tx: Transaction, view: View, theirs: CommitId, who: Person, now: Timestamp
) -> CommitId | None:
    """The newest commit of the notes of both sides; None where that is ours."""
    ours = view.refs.get(NOTES)
    if not isinstance(ours, CommitId):
        return theirs
    joined = join(tx.view.objects, tx.writer, ours, theirs, who, now)
    return None if joined == ours else joined
