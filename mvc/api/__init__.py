"""The Python API: a repository, its versions, their files and the tensors in them (docs/api.md)."""

from mvc.api.file import File
from mvc.api.repo import Repo
from mvc.api.results import Diff, Log, WorkStatus
from mvc.api.revision import Revision
from mvc.api.tensors import TensorInfo, Tensors

__all__ = ["Diff", "File", "Log", "Repo", "Revision", "TensorInfo", "Tensors", "WorkStatus"]
