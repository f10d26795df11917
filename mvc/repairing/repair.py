"""A whole repair: find out what is lost, bring back what can be, one swap of root."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from mvc.backends.memory import MemoryBackend
from mvc.collection.collect import alone
from mvc.collection.swapping import condemning
from mvc.errors import Busy, MvcError, RootMoved, UnsupportedFeature
from mvc.history.refnames import short_ref_name
from mvc.monitor import Monitor
from mvc.objectid import BlobId, CommitId, ObjectId
from mvc.objects import Person, Timestamp
from mvc.odb.cache import PlainCache
from mvc.odb.database import CACHE_BYTES
from mvc.odb.index import Index, Keep, merge, plan_full_merge
from mvc.odb.intents import Role, announce
from mvc.odb.pack import pack_key, read_record
from mvc.odb.segment import Entry
from mvc.odb.writer import ObjectWriter
from mvc.oplog import Operation, RefChange, head_value, piece_key
from mvc.refs import BRANCHES, RefTable, decode_target
from mvc.repairing.aside import copy_aside, keep_bytes, remove
from mvc.repairing.assembly import Assembly
from mvc.repairing.donors import Donor, donors
from mvc.repairing.kept import Kept
from mvc.repairing.naming import Naming
from mvc.repairing.pieces import mended
from mvc.repairing.result import Repaired, Restored
from mvc.repairing.state import State, salvage
from mvc.repairing.walk import Walk
from mvc.repairing.work_files import WorkFiles
from mvc.repo import Repository
from mvc.root import Retired, Root, RootStore
from mvc.targets import starts, targets
from mvc.upkeep.check import Checker, Report
from mvc.upkeep.damaged import DamagedObject, damaged_objects
from mvc.upkeep.leaning import Lost
from mvc.upkeep.patched import PatchedDatabase, PatchedStore, joined
from mvc.upkeep.stock import Stock, pack_files
from mvc.upkeep.touched import History, Start
from mvc.upkeep.unsound import Place, live_entries
from mvc.view import View, segment_key

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks, and when; ``folders`` are other copies of the repository, or parts of one. With ``dry_run``
    nothing is changed."""

    who: Person
    time: Timestamp
    folders: Sequence[Path] = ()
    dry_run: bool = False


def repair(repository: Repository, request: Request) -> Repaired:
    """Bring back whatever a copy anywhere can give.

    Raises:
        Busy: a collection is running, or others keep changing the repository.
        UnsupportedFeature: a newer mvc wrote some of it.
        StorageError: the disk is full, or refuses; nothing was lost by trying.
    """
    with ExitStack() as stack:
        if not request.dry_run:
            stack.enter_context(alone(repository))
        role: Role = "reader" if request.dry_run else "writer"
        intents = repository.store / "intents"
        # it never says an epoch, and so keeps everything that was condemned where it is
        stack.enter_context(announce(repository.io, intents, role, repository.locks))
        asked = stack.enter_context(donors(repository, request.folders))
        for _attempt in range(_ATTEMPTS):
            try:
                return _Repair(repository, request, asked).run()
            except RootMoved:
                continue
    raise Busy("others keep changing the repository", hint="let them finish, then repair")


class _Repair:
    """One attempt, which ends in at most one swap of root."""

    def __init__(self, repository: Repository, request: Request, asked: Sequence[Donor]) -> None:
        self._repository = repository
        self._request = request
        self._donors = asked
        self._io = repository.io
        self._monitor = repository.monitor
        self._quiet = Monitor()
        scratch = MemoryBackend() if request.dry_run else None
        self._backend = PatchedStore(
            repository.io, repository.store, repository.temporary, repository.locks, scratch
        )
        self._result = Repaired(request.dry_run)
        self._lost: Lost | None = None
        self._stock = Stock()

    def run(self) -> Repaired:
        self._monitor.start("repair", None)
        state = salvage(self._backend, self._donors)
        view = self._view_of(state)
        report, checker = self._examine(view)
        if not report.damage and not state.is_new:
            self._monitor.finish()
            return self._result
        self._search(view)
        if self._mend_packs(state, view):
            view = self._view_of(state)
            report, checker = self._examine(view)
        self._result.told += state.told
        self._rebuild(state, view, checker)
        self._monitor.finish()
        return self._result

    # --- what is wrong -----------------------------------------------------------------------------------
    def _view_of(self, state: State) -> View:
        return View(state.root, state.raw or b"", self._backend, self._quiet, PlainCache(CACHE_BYTES))

    def _examine(self, view: View) -> tuple[Report, Checker]:
        wanted, _damage = targets(view)
        checker = Checker(view.backend, view.index, view.objects, wanted, self._monitor.advance)
        report = checker.full()
        return report, checker

    def _search(self, view: View) -> None:
        """Find every record in the store that the index does not name."""
        condemned = set(view.index.dead_packs)

        def unnamed(entry: Entry) -> bool:
            known = view.index.find(entry.id)
            return not any((one.pack, one.offset) == (entry.pack, entry.offset) for one in known)

        for file in pack_files(self._io, self._repository.store):
            if file.stands and file.name in condemned:
                # readers pass over it, and somebody is about to delete it: so it
                # counts as lying elsewhere
                name = blake3(b"condemned" + file.name).digest()
                file = file._replace(name=name, stands=False)
            self._stock.take(self._io, file, unnamed)
        self._backend.add_packs(self._stock.paths)

    def _mend_packs(self, state: State, view: View) -> bool:
        """Put back whole packs that a donor has; whether there were any."""
        live = {pack for row in view.index.rows for pack in view.index.segment(row.name).packs}
        some = False
        for name in sorted(live - set(view.index.dead_packs) - self._stock.whole):
            source = mended(self._backend, self._donors, pack_key(name), name)
            if source:
                state.told.append(f"pack {name.hex()[:12]} came from {source}")
                self._stock.whole.add(name)
                self._stock.torn.discard(name)
                some = True
        return some

    # --- what comes back ---------------------------------------------------------------------------------
    def _rebuild(self, state: State, view: View, checker: Checker) -> None:
        checker.unsound.settle()
        lost = self._lost = Lost(checker.objects, checker.unsound)
        dead: set[Place] = set(lost.places)
        database = PatchedDatabase(
            self._backend, joined(view.index, self._stock.index), self._quiet, PlainCache(CACHE_BYTES)
        )
        database.dead = dead
        writer = ObjectWriter(database, self._quiet)
        reader = writer.database
        assert isinstance(reader, PatchedDatabase)
        kept = Kept(writer)
        _refuse_newer(checker)
        doubtful = set(lost.objects)
        walk = Walk(reader, view.index, doubtful, view.tombstones)
        wanted, _damage = targets(view)
        walk.run(wanted)
        naming = Naming(state, view, walk, reader)
        walk.run(naming.ask_copies(self._donors))
        good = self._stock.whole - set(view.index.dead_packs)
        assembly = Assembly(view.index, self._stock.index, reader, writer, kept, good, dead)
        try:
            self._restore(view, walk, reader, kept, checker, dead)
            before = set(walk.missing)
            self._name(state, view, naming)
            if walk.missing.keys() - before:
                self._restore(view, walk, reader, kept, checker, dead)  # what only the named versions need
            changes = naming.changes
            missing = dict(walk.missing)
            assembly.build(walk, view.tombstones)
            entries, keep, changed = assembly.finish()
            self._note_restored(doubtful, walk, kept, view)
            self._publish(state, view, entries, keep, changed, changes)
        finally:
            assembly.close()
        self._judge(view, reader, missing, changes)

    def _restore(
        self,
        view: View,
        walk: Walk,
        reader: PatchedDatabase,
        kept: Kept,
        checker: Checker,
        dead: set[Place],
    ) -> None:
        """Ask the work tree and the donors until nothing more comes back."""
        files = WorkFiles(self._io, self._repository.worktree, self._monitor)
        leaning = [
            entry
            for entry in live_entries(view.index)
            if (entry.pack, entry.offset) in dead and (entry.pack, entry.offset) not in checker.unsound.places
        ]
        self._revive(leaning, reader, dead)
        walk.again([identity for identity in walk.missing if reader.gives(identity)])
        bases = self._lost_bases(checker, view)
        while True:
            wanted = ({*walk.missing, *bases} - walk.malformed) - kept.sources.keys()
            wanted = {identity for identity in wanted if identity not in view.tombstones}
            if not wanted:
                return
            before = len(kept.sources)
            files.ranges({one: walk.places.get(one, []) for one in wanted if isinstance(one, BlobId)}, kept)
            left = wanted - kept.sources.keys()
            if left:
                files.whole(left, kept)
            for donor in self._donors:
                self._ask(donor, wanted - kept.sources.keys(), walk, kept)
            if len(kept.sources) == before:
                return
            self._revive(leaning, reader, dead)
            back = [identity for identity in wanted if identity in kept.sources]
            walk.again([*back, *(one for one in walk.missing if one not in back and reader.gives(one))])

    def _lost_bases(self, checker: Checker, view: View) -> set[ObjectId]:
        """Lost pieces that others lean on: with them those are sound again, whether or not any version has
        these themselves."""
        assert self._lost is not None
        return {
            identity
            for identity in checker.unsound.objects
            if isinstance(identity, BlobId)
            and identity in self._lost.objects
            and identity not in view.tombstones
            and self._lost.dependants(identity)
        }

    def _ask(self, donor: Donor, wanted: set[ObjectId], walk: Walk, kept: Kept) -> None:
        for identity in sorted(wanted):
            plain = donor.plain(identity)
            if plain is not None and type(identity).of(plain) == identity:
                places = walk.places.get(identity, ()) if isinstance(identity, BlobId) else ()
                kept.keep(identity, plain, donor.name, next((where.dtype for where in places), ""))

    def _revive(self, leaning: list[Entry], reader: PatchedDatabase, dead: set[Place]) -> None:
        """Take records for sound again that can be decoded since what they lean on came back."""
        again = True
        while again:
            again = False
            for entry in leaning:
                place = (entry.pack, entry.offset)
                if place in dead:
                    try:
                        reader.decode(read_record(self._backend, entry))
                    except MvcError:
                        continue
                    dead.discard(place)
                    again = True

    # --- names -------------------------------------------------------------------------------------------
    def _name(self, state: State, view: View, naming: Naming) -> None:
        """Keep or give names, now that it is known what stays lost."""
        naming.settle([view.index, self._stock.index])
        if state.index_is_whole:
            behind = naming.behind_gaps([view.index], ())
        else:
            # nobody knows what the lost part of the index named: but not what a collection had thrown away
            behind = naming.behind_gaps([view.index, self._stock.index], self._stock.discarded)
        if behind:
            naming.told.append("what leads to older versions stays lost: they get branches of their own")
        self._result.told += naming.told
        self._result.recovered = naming.recovered

    def _head(self, state: State, view: View, changes: dict[str, bytes]) -> str | CommitId | None:
        """HEAD, or the newest version's branch where the branch that HEAD names is lost."""
        head = state.root.head
        if not isinstance(head, str) or head in changes or view.refs.value(head) is not None:
            return head
        branches = [name for name in changes if name.startswith(BRANCHES)]
        recovered = [name for name in self._result.recovered if name in changes]
        return next(iter([*recovered, *branches]), head) if state.offer is not None else head

    # --- the swap ----------------------------------------------------------------------------------------
    def _note_restored(self, doubtful: set[ObjectId], walk: Walk, kept: Kept, view: View) -> None:
        """What can be read again: from elsewhere, or from another record of the store."""
        # what was only encoded anew, because what it leaned on is gone, was not lost
        found = {
            identity: source
            for identity, source in kept.sources.items()
            if source or identity in doubtful or identity not in view.index
        }
        for identity in walk.reached:
            if identity not in found and (identity in doubtful or identity not in view.index):
                found[identity] = ""
        self._result.restored = [
            Restored(identity.word, identity.hex(), found[identity])
            for identity in sorted(found, key=lambda one: (-one.kind, one))
        ]

    def _publish(
        self,
        state: State,
        view: View,
        entries: list[Entry],
        keep: Keep,
        changed: bool,
        changes: dict[str, bytes],
    ) -> None:
        torn = sorted(self._stock.torn - set(view.index.dead_packs))
        broken = [*(pack_key(name) for name in torn), *state.broken]
        if not changed and not broken and not changes and not state.is_new:
            return
        if self._request.dry_run:
            self._result.aside = [f"damaged/{key.rpartition('/')[2]}" for key in broken]
            return
        root = self._with_index(state.root, view.index, entries, keep)
        root = self._with_names(state, view, root, changes)
        # what was built anew may come to have the very name of what was lost
        broken = [key for key in broken if key not in self._backend.written]
        store, names = self._repository.store, self._repository.temporary
        self._result.aside = copy_aside(self._io, store, names, broken)
        if state.raw is not None and not state.was_sound:
            name = f"root-{blake3(state.raw).hexdigest()[:16]}"
            self._result.aside.append(keep_bytes(self._io, store, names, name, state.raw))
        self._backend.keeps_previous = state.was_sound
        RootStore(self._backend).swap(state.raw, root)
        remove(self._io, store, broken)

    def _with_index(self, root: Root, index: Index, entries: list[Entry], keep: Keep) -> Root:
        """Root with one run of segments, and a later epoch: what others found in the old ones they must look
        up again."""

        def put(name: bytes, data: bytes) -> None:
            self._backend.put(segment_key(name), [data])

        after = merge(plan_full_merge(root.segments), entries, index, put, keep=keep).apply(root.segments)
        assert after is not None  # nobody else changed this list of rows
        kept = {row.name for row in after}
        gone = [segment_key(row.name) for row in root.segments if row.name not in kept]
        root = root.with_changes(segments=after, epoch=root.epoch + 1)
        return condemning(root, (), gone)

    def _with_names(self, state: State, view: View, root: Root, changes: dict[str, bytes]) -> Root:
        head = self._head(state, view, changes)
        made = [RefChange(name, view.refs.value(name), value) for name, value in sorted(changes.items())]
        if head != root.head:
            made.append(RefChange("HEAD", head_value(root.head), head_value(head)))
        if not made:
            return root
        refs, replaced = RefTable(root.refs, self._backend).changed(changes)
        request = self._request
        operation = Operation(
            root.oplog.head, "repair", request.who, request.time, tuple(made), os.urandom(16)
        )
        oplog = root.oplog.append(operation, self._backend)
        retired = tuple(Retired(piece_key(name), root.epoch) for name in replaced)
        return root.with_changes(refs=refs, oplog=oplog, head=head, retired=(*root.retired, *retired))

    # --- what is left ------------------------------------------------------------------------------------
    def _judge(
        self,
        view: View,
        reader: PatchedDatabase,
        missing: dict[ObjectId, str],
        changes: dict[str, bytes],
    ) -> None:
        """Say what stays lost: in a dry run as it was found, else by looking at all of it again."""
        if self._request.dry_run:
            known = starts(view)
            for name, value in changes.items():
                known.setdefault(decode_target(value), Start((short_ref_name(name),)))
            history = History(reader, known, missing.keys())
            self._result.lost = [
                DamagedObject(one.word, one.hex(), _said(one, how), False, 0, history.touched([one]))
                for one, how in missing.items()
            ]
            return
        with self._repository.reading() as now:
            report, checker = self._examine(now)
            if not report.damage:
                return
            found, explained = damaged_objects(
                checker.objects, checker.unsound, starts(now), checker.incomplete
            )
        self._result.lost = [item for item in found if not item.readable]
        told = {item.id for item in found} | {identity.hex() for identity in explained}
        self._result.remaining = [one for one in report.damage if one.object not in told]


def _refuse_newer(checker: Checker) -> None:
    """What a newer mvc wrote is not damaged."""
    for identity in checker.unsound.objects:
        try:
            checker.objects.get(identity)
        except UnsupportedFeature:
            raise
        except MvcError:
            continue  # that is what is to be repaired


def _said(identity: ObjectId, how: str) -> str:
    """What is wrong with an object, for who names it anyway."""
    return how.removeprefix(f"{identity.word} {identity.short} ")
