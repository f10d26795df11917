"""What of a store's versions is wanted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Filter:
    """Which part of the wanted versions to take; everything if nothing is said.

    ``depth``: so many commits of each line of history, the tips counted (None: all). ``paths`` and
    ``tensors``: patterns as in ignore files, for paths of files and for names of tensors; with any of either
    a piece comes only where it belongs to a file or a tensor that one of them matches. Commits, trees and
    manifests of the versions taken always come whole.
    """

    depth: int | None = None
    paths: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()

    @property
    def is_partial(self) -> bool:
        """Whether anything may be left out."""
        return self.depth is not None or bool(self.paths or self.tensors)


EVERYTHING = Filter()
