"""What one store has and another lacks arrives there, with all that it leans on, and nothing else does."""

from __future__ import annotations

from mvc.backends.memory import MemoryBackend
from mvc.monitor import Monitor
from mvc.remotes.direct import DirectSink
from mvc.remotes.negotiate import missing
from mvc.remotes.transfer import plan, transfer
from mvc.root import Root
from mvc.sharing.bucket import BucketStore
from mvc.store import Store
from mvc.transaction import Update, begin
from mvc.upkeep.check import Checker
from tests.engine import ME, make_repository, now, snapshot, weights_versions


class Far(MemoryBackend):
    """A store in memory that counts what is read of it, as if it were far away."""

    request_bytes = 128 << 10

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, int]] = []

    def get(self, key):
        data = super().get(key)
        self.requests.append((key, len(data)))
        return data

    def get_range(self, key, offset, length):
        data = super().get(key)[offset : offset + length]
        self.requests.append((key, length))
        return data


def empty_bucket(backend=None) -> BucketStore:
    store = BucketStore(backend or Far(), Monitor())
    store.roots.swap(None, Root(extra={"default_branch": "main"}))
    return store


def move(source: Store, target: Store, names, **options):
    """Bring refs of one store into another; returns the plan."""
    with source.reading() as view, begin(target, "fetch", ME, now()) as transaction:
        wanted = {name: view.refs.get(name) for name in names}
        found = missing(view.objects, transaction.view.objects, wanted.values(), monitor=Monitor(), **options)
        sink = DirectSink(target.backend)
        planned = plan(view.objects, transaction.view.objects, found, sink)
        transaction.adopt(transfer(view.objects, transaction.view.objects, planned, sink, target.monitor))
        transaction.writer.relied |= planned.relied
        refs = {name: view.refs.value(name) for name in names}
        transaction.publish(lambda _view: Update(refs=refs))
    return planned


def assert_whole(store: Store) -> None:
    with store.reading() as view:
        starts = {view.refs.get(name): name for name in view.refs.names("refs/")}
        report = Checker(view.backend, view.index, view.objects, starts, lambda _count: None).full()
    assert report.damage == [], report.damage


def test_a_history_goes_to_a_bucket_and_into_another_folder(tmp_path):
    one = make_repository(tmp_path / "one")
    bucket = empty_bucket()
    two = make_repository(tmp_path / "two")
    for number, content in enumerate(weights_versions(5, elements=30_000)):
        (tmp_path / "one" / "model.safetensors").write_bytes(content)
        snapshot(one, f"v{number}")
        move(one, bucket, ["refs/heads/main"])
        assert_whole(bucket)
        move(bucket, two, ["refs/heads/main"])
        assert_whole(two)
    three = make_repository(tmp_path / "three")
    move(bucket, three, ["refs/heads/main"])
    assert_whole(three)
    with one.reading() as a, three.reading() as b:
        assert {entry.id for entry in a.index.entries()} == {entry.id for entry in b.index.entries()}
