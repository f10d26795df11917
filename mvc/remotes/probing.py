"""Which of our versions a store has that its refs do not tell, by look-ups of few commits in its index."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from mvc.history.ancestry import Links
from mvc.history.reader import read_commit
from mvc.objectid import CommitId, ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.remotes.known import MOST_VERSIONS, add_contents

_STRIDE = 4
_MOST_ROUNDS = 32
"""After which what is not decided yet is taken for missing: histories of very many lines side by side."""

Find = Callable[[Collection[CommitId]], Collection[ObjectId]]
"""Those of some commits that the store has."""


def probed_objects(
    objects: ObjectDatabase, tips: Iterable[ObjectId], known: Collection[ObjectId], find: Find
) -> set[ObjectId]:
    """Commits before ``tips`` that a store has, and what those hold that meet the ones that it lacks.

    A store has all that a commit leads to, so one that is there speaks for its ancestors, and one that is not
    for its descendants. To tell that one is *not* there takes a look at every run of its index; so few are
    asked for: going back from the newest one, four times as far each time, then in between. A line of n
    takes some 2 log₄ n rounds. Nothing is asked where each tip lies right on ``known`` ones: it is new.

    Raises:
        DamageError: something of it cannot be read. And what ``find`` raises.
    """
    links = Links(objects)
    ours = [one for one in dict.fromkeys(tips) if isinstance(one, CommitId) and one in objects]
    parents: dict[CommitId, tuple[CommitId, ...]] = {}
    stack = list(ours)
    while stack:
        commit = stack.pop()
        if commit not in parents and commit not in known:
            parents[commit] = tuple(parent for parent in links[commit].parents if parent in objects)
            stack += parents[commit]
    if all(above and all(parent in known for parent in above) for above in parents.values()):
        return set()
    children: dict[CommitId, list[CommitId]] = {}
    for commit, above in parents.items():
        for parent in above:
            children.setdefault(parent, []).append(commit)
    there: set[CommitId] = set()
    lacking: set[CommitId] = set()
    waiting = sorted(parents, key=lambda commit: (links[commit].time, commit), reverse=True)
    distance = 1
    for _ in range(_MOST_ROUNDS):
        if not waiting:
            break
        asked = _spread(waiting) if there else {waiting[min(distance, len(waiting) - 1)], waiting[-1]}
        distance *= _STRIDE
        found = find(asked)
        _mark(there, (one for one in asked if one in found), parents)
        _mark(lacking, (one for one in asked if one not in found), children)
        waiting = [one for one in waiting if one not in there and one not in lacking]
    contents: set[ObjectId] = set()
    border = [one for one in there if one in ours or any(child not in there for child in children[one])]
    border.sort(key=lambda commit: (links[commit].time, commit), reverse=True)
    for commit in border[:MOST_VERSIONS]:
        add_contents(objects, read_commit(objects, commit).tree, contents)
    return contents | there


def _spread(commits: Sequence[CommitId]) -> set[CommitId]:
    """Some of them that cut them into equal parts."""
    return {commits[number * len(commits) // _STRIDE] for number in range(1, _STRIDE)}


def _mark(
    marked: set[CommitId], starts: Iterable[CommitId], onward: Mapping[CommitId, Iterable[CommitId]]
) -> None:
    """Add some commits and all that they lead to."""
    stack = list(starts)
    while stack:
        commit = stack.pop()
        if commit not in marked:
            marked.add(commit)
            stack += onward.get(commit, ())
