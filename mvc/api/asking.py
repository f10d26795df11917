"""Questions about history: where lines meet, who changed what, what happened, since when something is bad."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import get_args

from mvc.api.opened import Opened, name_of
from mvc.api.revision import Revision
from mvc.bisecting.state import SKIP_CODE
from mvc.errors import UsageError
from mvc.explaining.findings import Finding
from mvc.history.criteria import compile_pattern
from mvc.objectid import CommitId
from mvc.ops import merge_base as base_ops
from mvc.ops.bisect_metric import bisect_metric
from mvc.ops.bisect_tensors import Found, bisect_tensors
from mvc.ops.blame import Attribution, attribute
from mvc.ops.explain import explain_versions, explain_worktree
from mvc.ops.grep import DEFAULT_SCOPES, Hit, Scope, Search, grep


class Asking(Opened):
    """Answers questions about history; branches, tags and HEAD stay as they are."""

    def merge_bases(
        self, revision: str | Revision, *others: str | Revision, octopus: bool = False
    ) -> tuple[Revision, ...]:
        """The best common ancestors of a revision and all others together, newest first.

        There are several where branches were merged into each other crosswise, and none of unrelated
        histories. With ``octopus`` they are ancestors of every single one.

        Raises:
            UsageError: one revision alone.
            RevisionNotFound: no such version.
        """
        names = [name_of(one) for one in (revision, *others)]
        with self._session.reading() as view:
            found = base_ops.merge_base(view, names, octopus=octopus)
            return tuple(self._revision(view, identity) for identity in found)

    def is_ancestor(self, ancestor: str | Revision, descendant: str | Revision) -> bool:
        """Whether one revision is another, or came before it.

        Raises:
            RevisionNotFound: no such version.
        """
        with self._session.reading() as view:
            return base_ops.is_ancestor(view, name_of(ancestor), name_of(descendant))

    def blame(self, path: str, revision: str | Revision = "HEAD") -> Attribution:
        """The version that last changed each tensor of a file, ``tensors`` of what comes back, or each line
        of a small text, ``lines``. ``PATH#TENSOR`` asks for one tensor.

        Raises:
            RevisionNotFound: no such version or file.
        """
        with self._session.reading() as view:
            return attribute(view, name_of(revision), path)

    def grep(
        self,
        pattern: str,
        revisions: Sequence[str | Revision] = (),
        *,
        scopes: Sequence[Scope] = DEFAULT_SCOPES,
        paths: Sequence[str] = (),
        all_history: bool = False,
        ignore_case: bool = False,
    ) -> tuple[Hit, ...]:
        """Where a regular expression is found in versions (default: HEAD): in ``names`` of tensors,
        ``metadata`` of files with metrics and settings, ``messages`` with notes, or the lines of ``text``.

        Raises:
            UsageError: no expression, or no such scope.
            RevisionNotFound: no such version.
        """
        if isinstance(scopes, str) or not set(scopes) <= set(get_args(Scope)):
            raise UsageError(f"scopes are of {', '.join(get_args(Scope))}", hint="scopes=['names']")
        search = Search(
            compile_pattern(pattern, ignore_case=ignore_case), frozenset(scopes), _paths(paths), all_history
        )
        names = [name_of(one) for one in ([revisions] if isinstance(revisions, str) else revisions)]
        with self._session.reading() as view:
            return tuple(grep(view, search, names))

    def explain(
        self,
        old: str | Revision | None = None,
        new: str | Revision | None = None,
        *,
        paths: Sequence[str] = (),
    ) -> tuple[Finding, ...]:
        """What happened from ``old`` (default: HEAD) to ``new`` (default: the work tree), in words: trained,
        frozen, cast, pruned, quantised, merged … ``certified`` where doing it again gave every bit.

        Raises:
            RevisionNotFound: no such version.
        """
        before = None if old is None else name_of(old)
        if new is None:
            self._session.check_open()
            return tuple(explain_worktree(self._repository, before, _paths(paths)))
        with self._session.reading() as view:
            return tuple(explain_versions(view, before or "HEAD", name_of(new), _paths(paths)))

    def bisect_metric(
        self,
        metric: str,
        good: str | Revision,
        bad: str | Revision,
        *,
        below: float | None = None,
        above: float | None = None,
    ) -> tuple[Revision, ...]:
        """The first version between ``good`` and ``bad`` whose metric is bad: ``below`` or ``above`` a
        number, or beyond the middle between the two. Notes count.

        Where versions without the metric may be the first one as well, those come back too, the known bad one
        last.

        Raises:
            UserError: a version lacks the metric, or both have the same.
        """
        with self._session.reading() as view:
            found = bisect_metric(view, metric, name_of(good), name_of(bad), below=below, above=above)
            several = found.step.candidates or (found.step.commit,)
            return tuple(self._revision(view, identity) for identity in several)

    def bisect_tensors(
        self,
        good: str | Revision,
        bad: str | Revision,
        test: Callable[[Revision], bool | None],
        *,
        paths: Sequence[str] = (),
    ) -> Found:
        """The smallest sets of tensors that make ``bad`` bad, by tests of versions that mix the two.

        ``test`` gets such a version, which lies in the work tree too, and says whether it is good; None if it
        cannot tell. Afterwards HEAD and the work tree are what they were, also after an exception.

        Raises:
            AnswerIsNo: no tensor differs, or tensors alone do not make it bad.
            UserError: ``good`` is not; or a bisection is under way.
            WouldOverwrite: uncommitted work is in the way.
        """

        def code(identity: CommitId) -> int:
            with self._session.reading() as view:
                version = self._revision(view, identity)
            answer = test(version)
            return SKIP_CODE if answer is None else int(not answer)

        with self._acting() as (who, _now):
            return bisect_tensors(
                self._repository,
                name_of(good),
                name_of(bad),
                code,
                lambda _tried, _differing: None,
                who,
                self._context.now,
                paths=_paths(paths),
            )


def _paths(paths: Sequence[str]) -> tuple[str, ...]:
    return (paths,) if isinstance(paths, str) else tuple(paths)
