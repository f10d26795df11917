"""Which refs a repaired store has: those that were found, those of a copy that is ahead, and branches for
versions that nothing leads to any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from mvc.errors import MvcError
from mvc.history.ancestry import is_ancestor
from mvc.history.reader import read_commit
from mvc.history.refnames import short_ref_name
from mvc.objectid import CommitId, ObjectId
from mvc.objects import Commit
from mvc.odb.index import Index
from mvc.refs import BRANCHES, NOTES, TAGS, decode_target, encode_target, peeled_target
from mvc.repairing.donors import Donor
from mvc.repairing.recovered import branch_names, hides_versions, nameless
from mvc.repairing.state import State
from mvc.repairing.walk import Walk
from mvc.upkeep.patched import PatchedDatabase
from mvc.view import View

_MOST_TOLD = 10


class Naming:
    """Works out ``changes``, the refs that are to be made; ``recovered`` are those of them that name versions
    which had lost their names, and ``told`` says where the others come from.

    ``walk`` has been where the refs lead that are left. Call :meth:`ask_copies` first, :meth:`settle` once
    what the answer leads to came back as far as it does, and :meth:`behind_gaps` at the end.
    """

    def __init__(self, state: State, view: View, walk: Walk, database: PatchedDatabase) -> None:
        self._offer = state.offer
        self._view = view
        self._walk = walk
        self._database = database
        self._ours = dict(view.refs.values())
        self.changes = dict(sorted(state.names.items()))
        self.recovered: dict[str, str] = {}
        self.told: list[str] = []
        self._seen: dict[CommitId, str] = {}

    # --- what copies name ----------------------------------------------------------------------------------
    def ask_copies(self, donors: Iterable[Donor]) -> list[ObjectId]:
        """Compare the refs of copies with those that are left, where some were lost; returns what is to be
        brought back for them."""
        if self._offer is not None and not self.changes:
            for donor in donors:
                if donor.is_copy:
                    self._compare(donor)
        return [*(decode_target(value) for value in self.changes.values()), *self._seen]

    def _compare(self, donor: Donor) -> None:
        known = {one for one in (*self._walk.reached, *self._walk.missing) if isinstance(one, CommitId)}
        graph = _Graph(self._database, donor)
        heard = self._names_of_log()
        others: list[str] = []
        for name, value in sorted(donor.names().items()):
            ours = self._ours.get(name)
            if value == ours or name in self.changes or not name.startswith((BRANCHES, TAGS, NOTES)):
                continue
            target = decode_target(value)
            if not known and ours is None:
                self.changes[name] = value
                self.told.append(f"{short_ref_name(name)} came from {donor.name}")
                continue
            if target in self._walk.reached or target in self._walk.missing:
                if ours is None and name not in heard:
                    others.append(short_ref_name(name))
                continue  # the log knows that it was left, or another name leads there
            if ours is not None and not name.startswith(TAGS) and graph.is_ahead(decode_target(ours), target):
                self.changes[name] = value
                self.told.append(f"{short_ref_name(name)} was ahead in {donor.name}: taken from there")
                continue
            version = target if isinstance(target, CommitId) else peeled_target(value)
            if name.startswith(NOTES) or version is None or not graph.meets(version, known):
                continue  # none of our history
            self._seen.setdefault(version, f"{short_ref_name(name)} of {donor.name}")
        if others:
            more = f" and {len(others) - _MOST_TOLD} more" if len(others) > _MOST_TOLD else ""
            self.told.append(f"only {donor.name} has {', '.join(others[:_MOST_TOLD])}{more}: not taken")

    def _names_of_log(self) -> set[str]:
        try:
            return {change.name for operation in self._view.operations() for change in operation.changes}
        except MvcError:
            return set()  # its newest part was made readable before; what is behind that counts as unheard of

    # --- what is there -----------------------------------------------------------------------------------
    def settle(self, indexes: Sequence[Index]) -> None:
        """Keep the names of what is there now, and give names to versions that have lost theirs."""
        for name, value in list(self.changes.items()):
            target = decode_target(value)
            if target not in self._walk.reached:
                del self.changes[name]
                self._walk.missing.pop(target, None)
                how = "was purged" if target in self._view.tombstones else "is nowhere"
                self.told.append(f"{short_ref_name(name)} is lost: {target.word} {target.short} {how}")
        seen = [version for version in self._seen if version in self._walk.reached]
        for version in self._seen.keys() - set(seen):
            self._walk.missing.pop(version, None)
        self._give_names(self._heads(seen))
        if self._offer is None:
            return
        heads = {decode_target(value) for value in self._ours.values()}
        after = self._offer

        def since(_identity: CommitId, commit: Commit) -> bool:
            return commit.time.microseconds > after or not heads.isdisjoint(commit.parents)

        self._give_names(nameless(self._database, indexes, self._is_reached, since))

    def behind_gaps(self, indexes: Sequence[Index], dropped: Collection[ObjectId]) -> list[CommitId]:
        """Where what leads to versions stays lost: name the heads among those that nothing leads to and that
        are in these indexes, but not what is ``dropped``; returns them."""
        if not hides_versions(self._walk.missing):
            return []
        found = nameless(
            self._database, indexes, lambda identity: self._is_reached(identity) or identity in dropped
        )
        self._give_names(found)
        return found

    def _is_reached(self, identity: CommitId) -> bool:
        return identity in self._walk.reached or identity in self._view.tombstones

    def _heads(self, versions: Sequence[CommitId]) -> list[CommitId]:
        """Those that no other one of them, and no name that is taken, leads to."""
        named = [decode_target(value) for value in self.changes.values()]
        found = []
        for version in versions:
            others = [one for one in (*versions, *named) if isinstance(one, CommitId) and one != version]
            if version in named or any(self._leads(one, version) for one in others):
                continue
            self.told.append(f"{self._seen[version]} is version {version.short}, which nothing here led to")
            found.append(version)
        return found

    def _leads(self, descendant: CommitId, ancestor: CommitId) -> bool:
        try:
            return is_ancestor(self._database, ancestor, descendant)
        except MvcError:
            return False  # the way there is lost: it needs a name of its own

    def _give_names(self, versions: Sequence[CommitId]) -> None:
        taken = self._ours.keys() | self.changes.keys()
        for name, identity in zip(branch_names(taken, len(versions)), versions, strict=True):
            self.changes[name] = encode_target(identity)
            self.recovered[name] = identity.hex()
        self._walk.run(versions)


class _Graph:
    """Versions as a store and a copy of it know them together."""

    def __init__(self, database: PatchedDatabase, donor: Donor) -> None:
        self._database = database
        self._donor = donor

    def get(self, identity: ObjectId) -> bytes:
        """An object's plain bytes, from the store or from the copy."""
        try:
            return self._database.get(identity)
        except MvcError:
            plain = self._donor.plain(identity)
            if plain is None or type(identity).of(plain) != identity:
                raise
            return plain

    def find_prefix(self, hex_prefix: str) -> set[ObjectId]:
        """Ids in the store that start so."""
        return self._database.find_prefix(hex_prefix)

    def is_ahead(self, ours: ObjectId, theirs: ObjectId) -> bool:
        """Whether one version follows from the other."""
        if not isinstance(ours, CommitId) or not isinstance(theirs, CommitId):
            return False
        try:
            return is_ancestor(self, ours, theirs)
        except MvcError:
            return False  # some version between them is nowhere: then both stay, each by its own name

    def meets(self, version: CommitId, known: Collection[CommitId]) -> bool:
        """Whether a version's history, as far as it can be read, has one of those that are known."""
        stack, seen = [version], {version}
        while stack:
            identity = stack.pop()
            if identity in known:
                return True
            try:
                parents = read_commit(self, identity).parents
            except MvcError:
                continue
            stack += [parent for parent in parents if parent not in seen]
            seen.update(parents)
        return False
