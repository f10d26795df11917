"""Bring back what is damaged or missing, from whatever copy there is."""

from __future__ import annotations

from mvc.repairing.repair import Request, repair
from mvc.repairing.result import Repaired, Restored

__all__ = ["Repaired", "Request", "Restored", "repair"]
