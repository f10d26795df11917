"""Makes the golden bundles, a kind of file that came after format 1 was frozen. Run once.

    python -m tests.golden.make_bundle FOLDER

Writes ``bundle-1.bundle``, two versions with an annotated tag and notes; ``bundle-1-since.bundle``, a third
one, which leans on them; and ``bundle-1.json``, what every version holds.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from mvc.fileio import FileIO
from mvc.ops import bundle, notes, tag
from tests.engine import ME, make_repository, now, weights_versions
from tests.golden.archive import Held, keep

PATH = "model.safetensors"


def main() -> None:
    """Write the three files."""
    place = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "repo"
        repository = make_repository(folder)
        held: Held = {}
        made = []
        for number, data in enumerate(weights_versions(3, elements=2000)):
            (folder / PATH).write_bytes(data)
            (folder / "step.txt").write_text(f"{number}\n")
            made.append(keep(held, repository, f"step {number}"))
            if number == 1:
                tag.create(repository, "v1", made[0], ME, now(), message="the first one")
                notes.add(repository, made[0], notes.Wording({"acc": 0.5}, {}, "held out"), ME, now())
                with repository.reading() as view:
                    bundle.create(
                        FileIO(), view, place / "bundle-1.bundle", [], repository.monitor, every=True
                    )
        with repository.reading() as view:
            path = place / "bundle-1-since.bundle"
            bundle.create(FileIO(), view, path, ["main"], repository.monitor, since=[made[1]])
            refs = {ref: value.hex() for ref, value in view.refs.values()}
    told = {"versions": held, "refs": refs, "needs": [[made[1], "step 1"]]}
    text = json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False)
    (place / "bundle-1.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
