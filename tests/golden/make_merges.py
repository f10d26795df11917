"""Makes the golden repository of merges, which came into format 1 after it was frozen. Run once.

    python -m tests.golden.make_merges FOLDER

Writes ``format-1-merges.tar.gz`` and ``.json``: two fine-tunes of a small model, merged by every
strategy that calculates, which each commit records.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from mvc.bases import SketchStore
from mvc.history.treediff import build_tree
from mvc.merging.contents import ContentMerging
from mvc.merging.strategy import Strategies
from mvc.monitor import Monitor
from mvc.objectid import CommitId, ManifestId, TreeId
from mvc.objects import Commit, TreeEntry
from mvc.ops import branch
from mvc.refs import encode_target
from mvc.repo import Repository
from mvc.transaction import Update, begin
from mvc.workspace import files_of
from tests.engine import ME, make_repository, now, switch_to, tree
from tests.family import file_of, rounded, tuned, weights
from tests.golden.archive import Held, freeze, held_files, keep

PATH = "model.safetensors"
SHAPES = {"layers.0.mlp.weight": (96, 64), "norm.weight": (64,)}


def merge(repository: Repository, base: str, theirs: str, strategy: str) -> str:
    """Merge a version into the current branch; returns the new one."""
    strategies = Strategies.parse(strategy)
    with begin(repository, f"merge --strategy {strategy} {theirs}", ME, now()) as tx:
        merging = ContentMerging(
            tx.writer,
            SketchStore(repository.io, repository.store),
            Monitor(),
            strategies,
            labels=("HEAD", theirs),
        )
        head = tx.view.head_commit()
        assert head is not None
        sides = (CommitId.fromhex(base), head, CommitId.fromhex(theirs))
        ids = [ManifestId(files_of(tx.view, side)[PATH].id) for side in sides]
        content = merging(PATH, *ids)
        assert content.clean
        entry = TreeEntry(PATH, 0, content.id)
        new = Commit(
            build_tree({PATH: entry}, lambda made: tx.writer.put(TreeId, made.to_bytes())),
            sides[1:],
            ME,
            now(),
            f"merged by {strategy}",
            extra={"merge": strategies.to_value()},
        )
        identity = tx.writer.put(CommitId, new.to_bytes())
        refs: dict[str, bytes | None] = {"refs/heads/main": encode_target(identity)}
        tx.publish(lambda view: Update(refs=refs, locate=(identity, new.parents)))
        merging.save()
    return identity.hex()


def fill(repository: Repository) -> Held:
    """Two fine-tunes, and their merges one after the other, each into the last."""
    folder = repository.worktree
    held: Held = {}
    base = rounded(weights(1, SHAPES), "BF16")
    (folder / PATH).write_bytes(file_of(base))
    first = keep(held, repository, "a model")
    branch.create(repository, "side", "HEAD", ME, now())
    (folder / PATH).write_bytes(file_of(rounded(tuned(base, 2, 0.3), "BF16")))
    keep(held, repository, "a fine-tune")
    switch_to(repository, "side")
    (folder / PATH).write_bytes(file_of(rounded(tuned(base, 3, 0.3), "BF16")))
    side = keep(held, repository, "another one")
    for strategy in ("average", "task-arithmetic", "ties", "slerp", "theirs"):
        switch_to(repository, "main", force=True)
        made = merge(repository, first, side, strategy)
        switch_to(repository, "main", force=True)
        held[made] = held_files(tree(folder))
    return held


def main() -> None:
    """Write both files."""
    with tempfile.TemporaryDirectory() as name:
        repository = make_repository(Path(name) / "repo")
        freeze(repository, fill(repository), Path(sys.argv[1]), "format-1-merges")


if __name__ == "__main__":
    main()
