"""Every target."""

from __future__ import annotations

from tests.fuzz import coders, merges, scanners, stored

TARGETS = {t.name: t for t in (*scanners.TARGETS, *coders.TARGETS, *stored.TARGETS, *merges.TARGETS)}
"""By name."""
