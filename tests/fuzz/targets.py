"""Every target."""

from __future__ import annotations

from tests.fuzz import bundles, coders, imports, merges, scanners, stored

_ALL = (
    *scanners.TARGETS,
    *coders.TARGETS,
    *stored.TARGETS,
    *bundles.TARGETS,
    *imports.TARGETS,
    *merges.TARGETS,
)

TARGETS = {t.name: t for t in _ALL}
"""By name."""
