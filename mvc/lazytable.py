"""A table of plug-ins by name and version, each of which is imported when it is first asked for.

Commands that read commits and trees only never pay for importing numpy, which what codes tensors needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import TypeVar

_Plug = TypeVar("_Plug")


class LazyTable(MutableMapping[tuple[str, int], _Plug]):
    """Plug-ins by name and version; ``modules`` names for each the module that offers it as ``attribute``."""

    def __init__(self, modules: Mapping[tuple[str, int], str], attribute: str) -> None:
        self._modules = dict(modules)
        self._attribute = attribute
        self._loaded: dict[tuple[str, int], _Plug] = {}

    def __getitem__(self, key: tuple[str, int]) -> _Plug:
        plug = self._loaded.get(key)
        if plug is None:
            # deferred: numpy takes longer to import than `mvc log` may run
            found: _Plug = getattr(import_module(self._modules[key]), self._attribute)
            plug = self._loaded[key] = found
        return plug

    def __setitem__(self, key: tuple[str, int], plug: _Plug) -> None:
        self._loaded[key] = plug
        self._modules[key] = type(plug).__module__

    def __delitem__(self, key: tuple[str, int]) -> None:
        del self._modules[key]
        self._loaded.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)
