"""A Git-style, content-addressed version store for AI model weights.

``mvc.Repo`` is the way in for Python programs (docs/api.md). What this module offers is imported when it is
first used: the command line imports it too, and must not pay for numpy.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers understand it; importing typing for it would cost 8 ms
if TYPE_CHECKING:
    from mvc.api import Diff as Diff
    from mvc.api import File as File
    from mvc.api import Log as Log
    from mvc.api import Repo as Repo
    from mvc.api import Revision as Revision
    from mvc.api import TensorInfo as TensorInfo
    from mvc.api import Tensors as Tensors
    from mvc.api import WorkStatus as WorkStatus
    from mvc.errors import AmbiguousRevision as AmbiguousRevision
    from mvc.errors import AnswerIsNo as AnswerIsNo
    from mvc.errors import ConflictError as ConflictError
    from mvc.errors import DamageError as DamageError
    from mvc.errors import MvcError as MvcError
    from mvc.errors import RepositoryNotFound as RepositoryNotFound
    from mvc.errors import RevisionNotFound as RevisionNotFound
    from mvc.errors import StorageError as StorageError
    from mvc.errors import Unfinished as Unfinished
    from mvc.errors import UnsupportedFeature as UnsupportedFeature
    from mvc.errors import UsageError as UsageError
    from mvc.errors import UserError as UserError
    from mvc.errors import WouldOverwrite as WouldOverwrite
    from mvc.monitor import Monitor as Monitor

_EXPORTS = {
    "mvc.api": ("Diff", "File", "Log", "Repo", "Revision", "TensorInfo", "Tensors", "WorkStatus"),
    "mvc.errors": (
        *("AmbiguousRevision", "AnswerIsNo", "ConflictError", "DamageError", "MvcError"),
        *("RepositoryNotFound", "RevisionNotFound", "StorageError", "Unfinished"),
        *("UnsupportedFeature", "UsageError", "UserError", "WouldOverwrite"),
    ),
    "mvc.monitor": ("Monitor",),
}
_HOME = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = list(_HOME)


if not TYPE_CHECKING:  # what is not listed above does not exist for a type checker either

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # here: nothing that the command line needs

        value = globals()[name] = getattr(import_module(_HOME[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
