"""What a repair makes of bit rot: with a second copy all is as it was, without one nothing is lost by it."""

from __future__ import annotations

from pathlib import Path

from mvc.ops.fsck import fsck
from mvc.ops.repair import Request as RepairRequest
from mvc.ops.repair import repair
from tests.engine import ME, now
from tests.rot import Case, Scene, Wrong, judge, lay, opened, picture, readable


def put_all_back(scene: Scene) -> None:
    """The whole store as it was, whatever a repair has made of it."""
    for path in picture(scene.folder):
        (scene.folder / ".mvc" / path).unlink()
    lay(scene.folder, scene.store)


def try_repair(scene: Scene, name: str, case: Case, copy: Path) -> None:
    """Lay a case and repair it from a second copy: everything is right again. Of a root that is lost the last
    operation is, too: what it made of refs the copy tells as far as it is ahead, and other versions get names
    of their own.

    Raises:
        Wrong: something is not.
    """
    lay(scene.folder, case)
    try:
        try:
            result = repair(opened(scene.folder), RepairRequest(ME, now(), (copy,)))
        except Exception as error:
            raise Wrong(f"{name}: the repair failed with {error!r}") from error
        if not result.sound:
            raise Wrong(f"{name}: not sound, {result.lost} {result.remaining}")
        if "root" in case and opened(scene.folder).roots.read()[1] != scene.store["root"]:
            if fsck(opened(scene.folder), full=True).damage or readable(scene) != scene.seen.contents.keys():
                raise Wrong(f"{name}: something cannot be read after the repair")
            return
        verdict = judge(scene, f"{name}, repaired")
        if verdict != (False, 0):
            raise Wrong(f"{name}: {verdict} after the repair")
    finally:
        put_all_back(scene)


def try_repair_alone(scene: Scene, name: str, case: Case) -> bool:
    """Lay a case, repair it without any copy: everything that could be read can be read, and what cannot be
    read is told. A version that only a lost one led to has a name of its own then. Returns whether everything
    is there again.

    Raises:
        Wrong: something is not so.
    """
    lay(scene.folder, case)
    try:
        before = readable(scene)
        try:
            result = repair(opened(scene.folder), RepairRequest(ME, now()))
        except Exception as error:
            raise Wrong(f"{name}: the repair failed with {error!r}") from error
        after = readable(scene)
        if before - after:
            raise Wrong(f"{name}: the repair lost {sorted(before - after)}")
        again = repair(opened(scene.folder), RepairRequest(ME, now()))
        if again.recovered or again.restored or readable(scene) != after:
            raise Wrong(f"{name}: a second repair did {again}")
        whole = len(after) == len(scene.seen.contents)
        if result.sound and not whole:
            raise Wrong(f"{name}: called sound, and {len(scene.seen.contents) - len(after)} cannot be read")
        return whole
    finally:
        put_all_back(scene)
