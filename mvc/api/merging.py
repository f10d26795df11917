"""Lines of history brought together, and single versions applied or taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mvc.api.commits import metrics_of
from mvc.api.opened import Opened, name_of
from mvc.api.params import params_of
from mvc.api.revision import Revision
from mvc.errors import UsageError, UserError
from mvc.ops import merge as merge_ops
from mvc.ops import pick as pick_ops
from mvc.ops.merge import Choice, MergeRequest, MergeResult, Request, TakenBack
from mvc.ops.pick import Picked, Picking
from mvc.underway.pending import Kind, read_pending


class Merging(Opened):
    """Merges, picks and reverts. What is in conflict is left in the work tree and under way until
    :meth:`conclude` or :meth:`abort`."""

    def merge(
        self,
        revision: str | Revision,
        message: str | None = None,
        *,
        strategy: str | None = None,
        strategy_for: Mapping[str, str] | None = None,
        weight: float | None = None,
        scale: float | None = None,
        density: float | None = None,
        metrics: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        fast_forward: Literal["yes", "only", "no"] = "yes",
        commit: bool = True,
        squash: bool = False,
        unrelated: bool = False,
        dry_run: bool = False,
    ) -> MergeResult:
        """Merge a revision into the current branch.

        A file, and in weights a tensor, that one side changed is that side's; texts are merged by lines,
        JSON by keys, tensors that both changed by ``strategy`` (``ours``, ``theirs``, ``average`` and
        ``slerp`` with ``weight``, ``task-arithmetic`` with ``scale``, ``ties`` with ``density`` and
        ``scale``), or by that of the last pattern of ``strategy_for`` that their name fits. What is left is
        in conflict: look at ``conflicts`` of what comes back.

        ``fast_forward`` is ``only`` or ``no`` to demand or refuse one. Without ``commit`` the merge waits for
        :meth:`conclude`, with ``squash`` too, and the version has one parent. ``unrelated`` allows histories
        without a common version. ``dry_run`` only says what would happen.

        Raises:
            AnswerIsNo: only a fast-forward is allowed, and there is none.
            WouldOverwrite: uncommitted work is in files that the merge touches.
            ConflictError: a merge is under way already.
        """
        chosen = _choice(strategy, strategy_for, weight, scale, density)
        request = self._request(message, metrics, params)
        return merge_ops.merge(
            self._repository,
            MergeRequest(
                name_of(revision), request, chosen, fast_forward, commit, squash, unrelated, dry_run
            ),
        )

    def cherry_pick(
        self,
        *revisions: str | Revision,
        mainline: int | None = None,
        note: bool = False,
        commit: bool = True,
        allow_empty: bool = False,
        strategy: str | None = None,
        strategy_for: Mapping[str, str] | None = None,
    ) -> Picked:
        """Apply what versions changed, each as a version of its own; ``A..B`` is what B has and A has not.

        Author, message, params and data are kept, metrics only where the files come out the same. ``note``
        adds to the message where it was picked from; ``mainline`` is the parent, from 1, that a merge's
        changes are counted from. All of it is one operation. Look at ``stopped`` and ``conflicts``.

        Raises:
            WouldOverwrite: uncommitted work is in files that are touched.
            ConflictError: something is under way already.
        """
        chosen = _choice(strategy, strategy_for)
        picking = Picking("cherry-pick", chosen, mainline, note, allow_empty)
        return pick_ops.pick(self._repository, _names(revisions), picking, self._request(), commit=commit)

    def revert(
        self,
        *revisions: str | Revision,
        mainline: int | None = None,
        commit: bool = True,
        allow_empty: bool = False,
        strategy: str | None = None,
        strategy_for: Mapping[str, str] | None = None,
    ) -> Picked:
        """Make versions that take back what others changed; everything else is as for :meth:`cherry_pick`.

        Raises:
            AnswerIsNo: what the version changed is not there any more.
        """
        chosen = _choice(strategy, strategy_for)
        picking = Picking("revert", chosen, mainline, allow_empty=allow_empty)
        return pick_ops.pick(self._repository, _names(revisions), picking, self._request(), commit=commit)

    def conclude(
        self,
        message: str | None = None,
        *,
        strategy: str | None = None,
        strategy_for: Mapping[str, str] | None = None,
        weight: float | None = None,
        scale: float | None = None,
        density: float | None = None,
        metrics: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> MergeResult | Picked:
        """Make the version that a merge, pick or revert waits for, out of the resolved files; picks go on.

        With strategies, what nobody resolved is merged again with them.

        Raises:
            ConflictError: something is in conflict still.
            UserError: nothing is under way.
        """
        chosen = _choice(strategy, strategy_for, weight, scale, density)
        request = self._request(message, metrics, params)
        kind = self._under_way()
        if kind == "merge":
            return merge_ops.conclude_merge(self._repository, request, chosen)
        return pick_ops.go_on(self._repository, kind, request, chosen)

    def skip(self) -> Picked:
        """Leave out the version at which a pick or revert stopped, and go on with the others.

        Raises:
            UserError: none is under way.
        """
        kind = self._under_way()
        if kind == "merge":
            raise UserError("a merge has nothing to skip", hint="conclude() or abort()")
        return pick_ops.skip(self._repository, kind, self._request())

    def abort(self) -> TakenBack:
        """Take back the merge, pick or revert that is under way; unrelated uncommitted work stays.

        Raises:
            UserError: nothing is under way.
        """
        kind = self._under_way()
        with self._acting() as (who, now):
            if kind == "merge":
                return merge_ops.abort(self._repository, who, now)
            return pick_ops.abort(self._repository, kind, who, now)

    def _under_way(self) -> Kind:
        with self._session.reading() as view:
            pending = read_pending(view)
        if pending is None:
            raise UserError("no merge, cherry-pick or revert is under way", hint="status() says what is")
        return pending.kind

    def _request(
        self,
        message: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Request:
        if not (message is None or (isinstance(message, str) and message.strip())):
            raise UsageError("a message is text, and not empty", hint="leave it out for the usual one")
        with self._acting() as (who, now):
            return Request(
                message, who, now, metrics=metrics_of(metrics or {}), params=params_of(params or {})
            )


def _choice(
    strategy: str | None,
    strategy_for: Mapping[str, str] | None,
    weight: float | None = None,
    scale: float | None = None,
    density: float | None = None,
) -> Choice:
    if isinstance(strategy_for, str):
        raise UsageError("strategy_for maps patterns to strategies", hint="{'lm_head.*': 'ours'}")
    patterns = tuple(f"{pattern}={name}" for pattern, name in (strategy_for or {}).items())
    numbers = [None if value is None else float(value) for value in (weight, scale, density)]
    return Choice(strategy, patterns, *numbers)


def _names(revisions: Sequence[str | Revision]) -> list[str]:
    if not revisions:
        raise UsageError("which version?", hint="for example 'side', or 'main..side'")
    return [name_of(revision) for revision in revisions]
