"""A reader that remembers manifests: each parsed once, equal tables held once, and no more than a bound."""

from __future__ import annotations

from collections import Counter

from history_memory import MemoryReader

from mvc.history.reader import Remembering, read_content, read_manifest
from mvc.objectid import ManifestId
from mvc.objects import Manifest, Part
from mvc.spans import Span


def manifest(seed: int, tensors: int = 4, shape: tuple[int, ...] = (1,)) -> Manifest:
    spans = tuple(Span(place, 1, f"t{place}", "U8", shape) for place in range(tensors))
    data = bytes([seed]) * tensors
    return Manifest("safetensors", tensors, bytes([seed]) * 32, (Part(tensors, None, data),), spans)


class Counting(MemoryReader):
    """A store that counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[object] = Counter()

    def get(self, identity, /):
        self.asked[identity] += 1
        return super().get(identity)


def test_manifests_of_one_table_share_it_and_each_is_read_once():
    reader = Counting()
    made = [manifest(seed) for seed in (1, 2, 3)] + [manifest(4, shape=(1, 1)), manifest(5, tensors=1)]
    ids = [reader.put(one) for one in made]
    remembering = Remembering(reader)
    for _ in range(2):
        assert [read_manifest(remembering, one) for one in ids] == made
    assert set(reader.asked.values()) == {1}
    found = [remembering.manifest(one).tensors for one in ids]
    assert found[0] is found[1] is found[2]
    assert found[3] is not found[0] and found[3] == made[3].tensors


def test_the_oldest_go_where_there_are_too_many(monkeypatch):
    monkeypatch.setattr(Remembering, "MOST_ROWS", 40)
    reader = Counting()
    made = [manifest(seed, tensors=1 + seed) for seed in range(1, 9)]
    ids = [reader.put(one) for one in made]
    remembering = Remembering(reader)
    for one, wanted in zip(ids, made, strict=True):
        assert remembering.manifest(one) == wanted
    assert remembering.manifest(ids[-1]) == made[-1] and reader.asked[ids[-1]] == 1
    assert remembering.manifest(ids[0]) == made[0] and reader.asked[ids[0]] == 2


def test_what_was_made_is_not_read():
    reader = Counting()
    made = manifest(7)
    identity = ManifestId.of(made.to_bytes())
    remembering = Remembering(reader)
    remembering.learn(identity, made)
    assert remembering.manifest(identity) is made
    assert not reader.asked


def test_content_is_size_and_digest():
    reader = MemoryReader()
    made = manifest(9)
    assert read_content(reader, reader.put(made)) == (made.size, made.sha256)
