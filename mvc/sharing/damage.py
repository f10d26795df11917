"""Says of which store damage is that is met while two are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mvc.errors import DamageError
from mvc.sharing.settings import Remote


@contextmanager
def damage_at(address: str, hint: str = "") -> Iterator[None]:
    """Have damage to the store at an address begin with that, so that nobody repairs another one."""
    try:
        yield
    except DamageError as error:
        raise type(error)(
            f"{address}: {error.message}", hint=hint or f"it is that store: {_check(address)} tells more"
        ) from error


@contextmanager
def damage_between(remote: Remote, doing: str) -> Iterator[None]:
    """Have damage that is met while records go from one store to another say so: ``doing`` is ``fetching
    from`` for example. Which of the two has it, their checks tell."""
    try:
        yield
    except DamageError as error:
        raise type(error)(
            f"{doing} {remote.shown}: {error.message}",
            hint=f"{_check(remote.shown)} checks the store there, 'mvc fsck' this one",
        ) from error


def _check(name: str) -> str:
    return f"'mvc fsck --full --remote {name}'"
