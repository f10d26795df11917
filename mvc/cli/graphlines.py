"""History drawn with characters, as ``git log --graph`` draws it.

The drawing is Git's, character for character: the states, the layout of merges and the way in which lines
collapse to the left are those of ``graph.c`` in Git 2.39.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from mvc.objectid import CommitId

_MERGE = "/|\\"


class _State(Enum):
    PADDING = auto()
    SKIP = auto()
    PRE_COMMIT = auto()
    COMMIT = auto()
    POST_MERGE = auto()
    COLLAPSING = auto()


class Drawing:
    """The lines left of a history, which comes in an order in which no parent stands before a child.

    For each commit :meth:`add` it, take :meth:`next_line` until that says that the line has the commit on it,
    and then one for each further line of text; :meth:`rest` gives those that are still due. ``parents`` are
    the listed ones.

    ``_columns`` are the commits that lines lead to above the present row, ``_new`` those below it;
    ``_mapping[x]`` says to which of the new columns the line at the character ``x`` has to go, -1 where there
    is none; it holds for the first ``_size`` characters. What ``_old_mapping`` holds behind that of the row
    before is older, as in Git, whose drawing depends on it.
    """

    def __init__(self) -> None:
        self._commit: CommitId | None = None
        self._parents: tuple[CommitId, ...] = ()
        self._state = self._before = _State.PADDING
        self._columns: list[CommitId] = []
        self._new: list[CommitId] = []
        self._mapping: list[int] = []
        self._size = 0
        self._old_mapping: list[int] = []
        self._width = 0
        self._expansion = 0
        self._index = self._old_index = 0
        self._layout = 0
        """How a merge's first line goes: 0 to the left, 1 straight down."""
        self._added = self._added_before = 0
        """Lines that a merge adds to its right; -1 where the last joins its neighbour at once."""

    def add(self, commit: CommitId, parents: Sequence[CommitId]) -> None:
        """The next commit."""
        self._commit, self._parents = commit, tuple(parents)
        self._old_index = self._index
        self._update_columns()
        self._expansion = 0
        if self._state is not _State.PADDING:
            self._state = _State.SKIP  # the commit before was not drawn to its end
        else:
            self._state = _State.PRE_COMMIT if self._needs_room() else _State.COMMIT

    def next_line(self) -> tuple[str, bool]:
        """The next line, and whether the commit is on it."""
        on_it = self._state is _State.COMMIT
        line = {
            _State.PADDING: self._padding,
            _State.SKIP: self._skip,
            _State.PRE_COMMIT: self._pre_commit,
            _State.COMMIT: self._commit_line,
            _State.POST_MERGE: self._post_merge,
            _State.COLLAPSING: self._collapsing,
        }[self._state]()
        return line.ljust(self._width), on_it

    def padding_line(self) -> str:
        """A line between two commits; call it after the second was added."""
        if self._state is not _State.COMMIT:
            return self.next_line()[0]
        line = ""
        for column in self._columns:
            room = (len(self._parents) - 2) * 2 if column == self._commit and len(self._parents) > 2 else 1
            line += "|" + " " * room
        self._before = _State.PADDING
        return line.ljust(self._width)

    def rest(self) -> list[str]:
        """The lines of the commit that are still due."""
        lines = []
        while self._state is not _State.PADDING:
            lines.append(self.next_line()[0])
        return lines

    # --- where lines go ------------------------------------------------------------------------------------
    def _go(self, state: _State) -> None:
        self._before, self._state = self._state, state

    def _update_columns(self) -> None:
        self._columns, self._new = self._new, []
        self._size = 2 * (len(self._columns) + len(self._parents))
        for mapping in (self._mapping, self._old_mapping):
            mapping += [-1] * (self._size - len(mapping))
        self._mapping[: self._size] = [-1] * self._size
        self._width = 0
        self._added_before, self._added = self._added, 0
        seen = False
        for index, column in enumerate([*self._columns, None]):
            if column is None:
                if seen:
                    break
                column = self._commit
            if column == self._commit:
                seen = True
                self._index = index
                self._layout = -1
                for parent in self._parents:
                    self._insert(parent, index)
                if not self._parents:
                    self._width += 2
            elif column is not None:
                self._insert(column, -1)
        while self._size > 1 and self._mapping[self._size - 1] < 0:
            self._size -= 1

    def _insert(self, commit: CommitId, index: int) -> None:
        if commit not in self._new:
            self._new.append(commit)
        place = self._new.index(commit)
        if len(self._parents) > 1 and index > -1 and self._layout == -1:
            distance = index - place
            shift = 2 * distance - 3 if distance > 1 else 1
            self._layout = 0 if distance > 0 else 1
            self._added = len(self._parents) + self._layout - 2
            at = self._width + (self._layout - 1) * shift
            self._width += 2 * self._layout
        elif self._added > 0 and place == self._mapping[self._width - 2]:
            at = self._width - 2
            self._added = -1
        else:
            at = self._width
            self._width += 2
        self._mapping[at] = place

    def _dashed(self) -> int:
        return len(self._parents) + self._layout - 3

    def _needs_room(self) -> bool:
        return (
            len(self._parents) >= 3
            and self._index < len(self._columns) - 1
            and self._expansion < self._dashed() * 2
        )

    def _is_settled(self) -> bool:
        return all(target < 0 or target == at // 2 for at, target in enumerate(self._mapping[: self._size]))

    # --- the kinds of lines --------------------------------------------------------------------------------
    def _padding(self) -> str:
        return "| " * len(self._new)

    def _skip(self) -> str:
        self._go(_State.PRE_COMMIT if self._needs_room() else _State.COMMIT)
        return "..."

    def _pre_commit(self) -> str:
        """Room for a commit of three and more parents."""
        line, seen = "", False
        for index, column in enumerate(self._columns):
            if column == self._commit:
                seen = True
                line += "|" + " " * self._expansion
            elif seen and not self._expansion:
                line += "\\" if self._before is _State.POST_MERGE and self._old_index < index else "|"
            else:
                line += "\\" if seen else "|"
            line += " "
        self._expansion += 1
        if not self._needs_room():
            self._go(_State.COMMIT)
        return line

    def _commit_line(self) -> str:
        line, seen = "", False
        for index, column in enumerate([*self._columns, None]):
            if column is None and seen:
                break
            if column is None or column == self._commit:
                seen = True
                dashes = self._dashed()
                line += "*" + ("-" * (2 * dashes - 1) + "." if len(self._parents) > 2 and dashes > 0 else "")
            else:
                line += self._beside_commit(index, seen)
            line += " "
        if len(self._parents) > 1:
            self._go(_State.POST_MERGE)
        else:
            self._go(_State.PADDING if self._is_settled() else _State.COLLAPSING)
        return line

    def _beside_commit(self, index: int, seen: bool) -> str:
        if seen and self._added > 1:
            return "\\"
        if seen and self._added == 1:
            leans = self._before is _State.POST_MERGE and self._added_before > 0 and self._old_index < index
            return "\\" if leans else "|"
        if (
            self._before is _State.COLLAPSING
            and self._old_mapping[2 * index + 1] == index
            and self._mapping[2 * index] < index
        ):
            return "/"
        return "|"

    def _post_merge(self) -> str:
        line, seen, below = "", False, False
        for index, column in enumerate([*self._columns, None]):
            if column is None:
                if seen:
                    break
                column = self._commit
            if column == self._commit:
                seen = True
                line += self._fan()
            elif seen:
                line += "\\ " if self._added > 0 else "| "
            else:
                line += "|"
                if self._layout != 0 or index != self._index - 1:
                    line += "_" if below else " "
            below = below or column == self._parents[0]
        self._go(_State.PADDING if self._is_settled() else _State.COLLAPSING)
        return line

    def _fan(self) -> str:
        """The lines from a merge to its parents."""
        line, kind = "", self._layout
        for number in range(len(self._parents)):
            line += _MERGE[kind]
            if kind < 2:
                kind += 1
            elif self._added > 0 or number < len(self._parents) - 1:
                line += " "
        return line if self._added else line + " "

    def _collapsing(self) -> str:
        old, mapping, size = self._mapping, self._old_mapping, self._size
        self._mapping, self._old_mapping = mapping, old
        mapping[:size] = [-1] * size
        level = level_target = -1
        for at, target in enumerate(old[:size]):
            if target < 0:
                continue
            if target * 2 == at:
                mapping[at] = target
                continue
            if mapping[at - 1] == target:
                continue  # it joins the line beside it
            # one to the left where that is free, else across the line that is there
            crosses = mapping[at - 1] >= 0
            mapping[at - 2 if crosses else at - 1] = target
            if level == -1:
                level, level_target = (at - 1 if crosses else at), target
                for place in range(target * 2 + 3, at - 2, 2):
                    mapping[place] = target
        old[:size] = mapping[:size]
        if mapping[size - 1] < 0:
            self._size -= 1
        line, leveled = "", False
        for at, target in enumerate(mapping[: self._size]):
            if target < 0:
                line += " "
            elif target * 2 == at:
                line += "|"
            elif target == level_target and at != level - 1:
                if at != target * 2 + 3:
                    mapping[at] = -1
                leveled = True
                line += "_"
            else:
                if leveled and at < level:
                    mapping[at] = -1
                line += "/"
        if self._is_settled():
            self._go(_State.PADDING)
        return line
