"""Root as it can still be known: from itself, from the one before it, from pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mvc.backends import NotFound
from mvc.errors import CorruptFile, InvalidName, MvcError
from mvc.history.refnames import check_ref_name, short_ref_name
from mvc.odb.index import SegmentRow
from mvc.oplog import Operation, OpLog, piece_key
from mvc.refs import BRANCHES, RefPieces, RefTable
from mvc.repairing.donors import Donor
from mvc.repairing.pieces import all_pieces, latest_log, log_pieces, mended, readable_operations
from mvc.repo import DEFAULT_BRANCH
from mvc.root import KEY, PREVIOUS, Root
from mvc.tombstones import Tombstones
from mvc.upkeep.expire import relinked
from mvc.upkeep.patched import PatchedStore
from mvc.view import index_of, segment_key

_EPOCH_JUMP = 1 << 20
"""The epoch of a root that is lost is not known. What the new one condemns must be later than anything that
those who still read the old one have told."""


@dataclass
class State:
    """Root as it is to be, without what is wrong with it.

    ``raw`` are the bytes that stand there now, None where there are none. ``told`` says what was found and
    done. ``broken`` are keys of files that are damaged and no longer used. ``offer`` says which versions to
    give a name that nothing leads to: those made later than so many microseconds since 1970; None: none,
    because no name was lost. ``names`` are refs that were found without root. ``index_is_whole`` says whether
    all segments are there.
    """

    root: Root
    raw: bytes | None
    told: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    offer: int | None = None
    was_sound: bool = True
    names: dict[str, bytes] = field(default_factory=dict)
    index_is_whole: bool = True

    @property
    def is_new(self) -> bool:
        """Whether root has to be replaced for what is wrong with itself."""
        return bool(self.told)


def salvage(backend: PatchedStore, donors: Sequence[Donor]) -> State:
    """Find out what root says, or said; whole files that a donor has are put back at once.

    Raises:
        UnsupportedFeature: a newer mvc wrote it.
        CorruptFile: it cannot be known what was purged.
        StorageError: the disk refuses.
    """
    state = _read(backend, donors)
    _mend_pieces(backend, donors, state)
    _settle_head(state)
    _settle_log(backend, state)
    _settle_refs(backend, state)
    _settle_segments(backend, donors, state)
    return state


# --- root itself -----------------------------------------------------------------------------------------
def _read(backend: PatchedStore, donors: Sequence[Donor]) -> State:
    try:
        raw: bytes | None = backend.get(KEY)
    except NotFound:
        raw = None
    how = "is missing"
    if raw is not None:
        try:
            return State(Root.from_bytes(raw), raw)
        except CorruptFile:
            how = "is damaged"
    previous = read_previous(backend)
    if previous is not None:
        state = State(
            _later(previous),
            raw,
            [f"root {how}: taken from root.previous, the state before the last change"],
            was_sound=False,
        )
        times = [operation.time.microseconds for operation in previous.oplog.recent]
        state.offer = max(times, default=0)
        return state
    state = State(
        _later(Root(head=BRANCHES + DEFAULT_BRANCH)),
        raw,
        [f"root {how}, and root.previous too"],
        was_sound=False,
    )
    state.offer = 0
    for donor in donors:
        for name, value in donor.names().items():
            state.names.setdefault(name, value)
    _from_pieces(backend, state)
    return state


def read_previous(backend: PatchedStore) -> Root | None:
    """The state before the last, as far as it is sound."""
    try:
        return Root.from_bytes(backend.get(PREVIOUS))
    except (NotFound, CorruptFile):
        return None


def _later(root: Root) -> Root:
    return root.with_changes(epoch=root.epoch + _EPOCH_JUMP)


def _from_pieces(backend: PatchedStore, state: State) -> None:
    """Names and log as the pieces have them that lie there."""
    pieces = all_pieces(backend)
    for piece in pieces.values():
        rows = piece.get("refs") if isinstance(piece, dict) else None
        if isinstance(rows, dict):
            state.names.update(rows)
    log = latest_log(pieces)
    operations, _how = readable_operations(backend, log)
    for operation in reversed(operations):
        for change in operation.changes:
            if change.name == "HEAD" and isinstance(change.after, str):
                state.root = state.root.with_changes(head=change.after)
            elif change.name != "HEAD" and isinstance(change.after, bytes):
                state.names[change.name] = change.after
            elif change.after is None:
                state.names.pop(change.name, None)
    if log.head is not None:
        state.root = state.root.with_changes(oplog=log)
        state.told.append(f"{len(operations):,} older operations of the log were found")


# --- pieces ----------------------------------------------------------------------------------------------
def _mend_pieces(backend: PatchedStore, donors: Sequence[Donor], state: State) -> None:
    root = state.root
    purged = [name for purge in Tombstones(root.tombstones, backend).purges for name in purge.pieces]
    for name in purged:
        if _mend(backend, donors, state, piece_key(name), name):
            continue
        raise CorruptFile(
            f"piece {name.hex()[:12]}, which tells what was purged, is lost: a repair might bring that back",
            hint="give a copy of the repository that has it: mvc repair --from FOLDER",
        )
    for _first, name in root.refs.pieces:
        _mend(backend, donors, state, piece_key(name), name)
    for name in log_pieces(backend, root.oplog):
        _mend(backend, donors, state, piece_key(name), name)


def _mend(backend: PatchedStore, donors: Sequence[Donor], state: State, key: str, name: bytes) -> bool:
    source = mended(backend, donors, key, name)
    if source:
        state.told.append(f"{key.partition('/')[0].removesuffix('s')} {name.hex()[:12]} came from {source}")
    return source is not None


def _settle_head(state: State) -> None:
    head = state.root.head
    if isinstance(head, str):
        try:
            check_ref_name(short_ref_name(head))
        except InvalidName:
            state.told.append("HEAD named what cannot be a branch")
            state.root = state.root.with_changes(head=BRANCHES + DEFAULT_BRANCH)


def _settle_log(backend: PatchedStore, state: State) -> None:
    log = state.root.oplog
    operations, how = readable_operations(backend, log)
    if not how:
        return
    state.broken += [piece_key(name) for name in log_pieces(backend, log)]
    state.told.append(f"{how}: the newest {len(operations):,} operations stay, older ones cannot be undone")
    state.root = state.root.with_changes(oplog=relinked(reversed(operations), backend))


def _settle_refs(backend: PatchedStore, state: State) -> None:
    refs = state.root.refs
    bad = [number for number in range(len(refs.pieces)) if not _piece_is_sound(refs, number, backend)]
    if not bad:
        return
    kept = RefPieces(
        refs.recent, tuple(piece for number, piece in enumerate(refs.pieces) if number not in bad)
    )
    known = _older_values(backend, state.root.oplog)
    found: dict[str, bytes | None] = {}
    for number in bad:
        first = refs.pieces[number][0]
        after = refs.pieces[number + 1][0] if number + 1 < len(refs.pieces) else None
        state.broken.append(piece_key(refs.pieces[number][1]))
        for name, value in known.items():
            if name >= first and (after is None or name < after) and name not in refs.recent:
                found[name] = value
    changed, _replaced = RefTable(kept, backend).changed(found)
    state.root = state.root.with_changes(refs=changed)
    state.offer = 0
    state.told.append(
        f"{len(bad)} of {len(refs.pieces)} pieces of the list of refs are lost: "
        f"{sum(value is not None for value in found.values()):,} names were found again elsewhere"
    )


def _piece_is_sound(refs: RefPieces, number: int, backend: PatchedStore) -> bool:
    first = refs.pieces[number][0]
    try:
        RefTable(refs, backend).value(first)
        if first in refs.recent:
            sum(1 for _ in RefTable(RefPieces({}, (refs.pieces[number],)), backend).values())
    except MvcError:
        return False
    return True


def _older_values(backend: PatchedStore, log: OpLog) -> Mapping[str, bytes | None]:
    """Values of refs as the log, and what it does not tell of as older pieces have them."""
    known: dict[str, bytes | None] = {}
    previous = read_previous(backend)
    if previous is not None:
        known.update(_readable(RefTable(previous.refs, backend)))
    for operation in reversed(list(_operations(backend, log))):
        for change in operation.changes:
            if change.name != "HEAD" and not isinstance(change.after, str):
                known[change.name] = change.after
    return known


def _operations(backend: PatchedStore, log: OpLog) -> Iterator[Operation]:
    yield from readable_operations(backend, log)[0]


def _readable(refs: RefTable) -> dict[str, bytes | None]:
    try:
        return dict(refs.values())
    except MvcError:
        return {}


# --- the index -------------------------------------------------------------------------------------------
def _settle_segments(backend: PatchedStore, donors: Sequence[Donor], state: State) -> None:
    index = index_of(state.root, backend)
    sound: list[SegmentRow] = []
    for row in state.root.segments:
        key = segment_key(row.name)
        if _mend(backend, donors, state, key, row.name):
            try:
                index.segment(row.name).verify()
                sound.append(row)
                continue
            except CorruptFile:
                pass  # sound as a file, and not what root says of it
        state.broken.append(key)
        state.index_is_whole = False
        state.told.append(f"index segment {row.name.hex()[:12]} is lost: built anew from the packs")
    state.root = state.root.with_changes(segments=tuple(sound))
