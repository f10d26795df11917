"""How a tensor may derive from others that the repository holds: one file for each way, and their table."""

from __future__ import annotations

from mvc.recipes import cast, linear, lora, moved, prune, quantise
from mvc.recipes.recipe import Finder

FINDERS: tuple[Finder, ...] = (
    cast.find,
    quantise.find,
    prune.find,
    linear.find,
    lora.find,
    moved.find,
)
"""Those who look for recipes on sketches: what leaves next to nothing first."""
