"""Notes of two sides joined: for whatever each of them added and removed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.backends.memory import MemoryBackend
from mvc.monitor import Monitor
from mvc.objectid import CommitId
from mvc.objects import Commit, Person, Timestamp
from mvc.odb.database import ObjectDatabase
from mvc.odb.index import Index
from mvc.odb.writer import ObjectWriter
from mvc.refs import NOTES
from mvc.registry.notes import Note, Notes
from mvc.registry.notes.joining import join
from tests.engine import ME

VERSIONS = [CommitId.of(bytes([number])) for number in range(5)]
ALL = [Note(ME, Timestamp(number, 0), message=f"note {number}") for number in range(4)]
_sides = st.dictionaries(st.sampled_from(VERSIONS), st.sets(st.sampled_from(range(4))), max_size=5)


class _Refs:
    def __init__(self, head):
        self._head = head

    def get(self, name):
        assert name == NOTES
        return self._head


def _writer() -> ObjectWriter:
    def no_segment(name):
        raise AssertionError(name)

    database = ObjectDatabase(MemoryBackend(), Index((), no_segment, frozenset()), Monitor())
    return ObjectWriter(database, Monitor())


def _chain(writer, wanted, parent, time):
    """A commit of the chain whose versions have exactly these notes."""
    head = parent
    before = Notes(writer.database, _Refs(parent))
    for version in VERSIONS:
        have = {ALL.index(note) for note in before.of(version)}
        if have != wanted.get(version, set()):
            notes = Notes(writer.database, _Refs(head))
            tree = notes.with_notes(version, [ALL[one] for one in wanted.get(version, set())], writer)
            parents = () if head is None else (head,)
            head = writer.put(CommitId, Commit(tree, parents, ME, Timestamp(time, 0), "x").to_bytes())
    return head


@settings(max_examples=40, deadline=None)
@given(base=_sides, ours=_sides, theirs=_sides)
def test_what_either_side_added_is_there_and_what_one_removed_is_gone(base, ours, theirs):
    writer = _writer()
    base = {**base, VERSIONS[0]: {0} | base.get(VERSIONS[0], set())}  # a chain has a beginning
    start = _chain(writer, base, None, 1)
    left, right = _chain(writer, ours, start, 2), _chain(writer, theirs, start, 2)
    who, when = Person("Joiner", "j@x"), Timestamp(3, 0)
    joined = join(writer.database, writer, left, right, who, when)
    found = Notes(writer.database, _Refs(joined))
    for version in VERSIONS:
        was, our, their = (side.get(version, set()) for side in (base, ours, theirs))
        expected = (our & their) | ((our | their) - was)
        assert {ALL.index(note) for note in found.of(version)} == expected
    assert join(writer.database, writer, joined, left, who, when) == joined
    assert join(writer.database, writer, right, joined, who, when) == joined
    back = join(writer.database, writer, right, left, who, when)
    assert Notes(writer.database, _Refs(back)).of(VERSIONS[0]) == found.of(VERSIONS[0])
