"""What pickles in a version's files name besides tensors and plain values: code, if somebody unpickles them.

Nothing is executed here, so nothing is refused either: the card warns those who load the file by other means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mvc.formats.base import MAX_VALUE_CHARACTERS
from mvc.formats.pickled.names import GLOBALS
from mvc.registry.card.contents import TORCH_SUFFIXES, Contents, File


@dataclass(frozen=True, slots=True)
class PickledNames:
    """What pickles in one file name: ``dangerous`` functions run what the file says, ``others`` are classes
    and functions that are not known here. ``loader`` is what people load such a file with. ``truncated`` says
    that there are more names than were looked at, which no honest file has."""

    source: str
    loader: str
    dangerous: tuple[str, ...]
    others: tuple[str, ...]
    truncated: bool


_MODULES_WORDS = (
    "_pickle _posixsubprocess aiohttp asyncio bdb code codeop commands cPickle cProfile ctypes "
    "doctest ensurepip ftplib http httplib httpx idlelib imp importlib lib2to3 linecache marshal "
    "multiprocessing nt operator os pdb pickle pip pkgutil platform popen2 posix profile pty pydoc "
    "requests runpy shutil signal smtplib socket socketserver ssl subprocess sys sysconfig tempfile "
    "telnetlib test timeit trace urllib urllib2 venv webbrowser xmlrpc zipimport"
)
_MODULES = frozenset(_MODULES_WORDS.split())
"""Modules whose functions run programs and code, or reach files and hosts; after picklescan's list
(https://github.com/mmaitre314/picklescan) and fickling's."""

_PREFIXES = (
    "functools.reduce",
    "joblib.load",
    "numpy.f2py.",
    "numpy.load",
    "numpy.testing.",
    "pandas.read_pickle",
    "torch._dynamo.",
    "torch._inductor.",
    "torch.hub.",
    "torch.jit.load",
    "torch.load",
    "torch.serialization.load",
    "torch.utils.cpp_extension.",
    "types.CodeType",
    "types.FunctionType",
)
_BUILTINS_WORDS = (
    "__import__ apply breakpoint compile delattr dir eval exec execfile file getattr globals input "
    "locals open setattr vars"
)
_BUILTINS = frozenset(_BUILTINS_WORDS.split())
_BUILTIN_MODULES = ("builtins", "__builtin__", "__builtins__")
_FORMATS = frozenset({"torch", "torch-legacy", "torch-tar", "pickle", "zip"})


def pickled_names_of(contents: Contents) -> Iterator[PickledNames]:
    """Every file whose pickles name something that is not known here, by path."""
    for file in contents.files.values():
        if file.manifest.format in _FORMATS or contents.may_be_pickle(file):
            found = _of_file(file, contents)
            if found is not None:
                yield found


def _of_file(file: File, contents: Contents) -> PickledNames | None:
    listed = [
        value
        for name, value in contents.values(file).items()
        if isinstance(value, str) and (name == GLOBALS or name.endswith(f".{GLOBALS}"))
    ]
    names = sorted({name for text in listed for name in text.split()})
    if not names:
        return None
    is_torch = file.manifest.format.startswith("torch") or file.name.lower().endswith(TORCH_SUFFIXES)
    return PickledNames(
        source=file.path,
        loader="torch.load" if is_torch or file.manifest.format == "zip" else "pickle.load",
        dangerous=tuple(name for name in names if is_dangerous(name)),
        others=tuple(name for name in names if not is_dangerous(name)),
        truncated=any(len(text) >= MAX_VALUE_CHARACTERS for text in listed),
    )


def is_dangerous(path: str) -> bool:
    """Whether a global (``module.name``) is known to run what it is given, or to lead to what does."""
    module, _, name = path.partition(".")
    if module in _BUILTIN_MODULES:
        return name.partition(".")[0] in _BUILTINS
    return module in _MODULES or path.startswith(_PREFIXES)
