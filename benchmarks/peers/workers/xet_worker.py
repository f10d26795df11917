"""Commits and checks out with hf_xet: ``xet_worker.py PLACE`` line by line, or one line as last word.

Runs in the peers' environment, so it imports nothing of this project.
"""

import json
import sys
import time
from pathlib import Path

import hf_xet


class Store:
    """A local store in ``place/store``; names of versions are kept beside it."""

    def __init__(self, place: Path) -> None:
        self.model = place / "work" / "model"
        self.names = place / "names"
        self.names.mkdir(exist_ok=True)
        self.endpoint = f"local://{place / 'store' / 'xet'}"
        self.session = hf_xet.XetSession()

    def commit(self, number: str) -> None:
        """Upload every file."""
        with self.session.new_upload_commit(endpoint=self.endpoint) as commit:
            paths = sorted(path for path in self.model.rglob("*") if path.is_file())
            tasks = [(path, commit.start_upload_file(str(path))) for path in paths]
        rows = {}
        for path, task in tasks:
            info = task.result().xet_info
            rows[str(path.relative_to(self.model))] = (info.hash, info.file_size)
        (self.names / f"{number}.json").write_text(json.dumps(rows))

    def checkout(self, number: str) -> None:
        """Download every file over what is there."""
        rows = json.loads((self.names / f"{number}.json").read_text())
        with self.session.new_file_download_group(endpoint=self.endpoint) as group:
            for name, (identity, size) in rows.items():
                group.start_download_file(hf_xet.XetFileInfo(identity, size), str(self.model / name))


def main() -> None:
    """Do as told."""
    store = Store(Path(sys.argv[1]))
    for line in sys.argv[2:] or iter(sys.stdin.readline, ""):
        verb, _, number = line.strip().partition(" ")
        began = time.perf_counter()
        if verb != "ready":
            {"commit": store.commit, "checkout": store.checkout}[verb](number)
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
