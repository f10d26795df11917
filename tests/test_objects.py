"""The hashed objects: what goes in comes out, and nothing but the canonical form is accepted."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc import canonical
from mvc.errors import CorruptObject, UnsupportedFeature
from mvc.lineage import Code, Data
from mvc.objectid import AliasId, BlobId, CommitId, ManifestId, TagId, TreeId
from mvc.objects import (
    EXECUTABLE,
    FILE,
    FOLDER,
    AliasEntry,
    Commit,
    Manifest,
    Part,
    Person,
    Tag,
    Timestamp,
    Tree,
    TreeEntry,
    manifest_content,
)
from mvc.spans import Span

ME = Person("Ada", "ada@example.org")
NOW = Timestamp(1_700_000_000_000_000, 60)


def sample_manifest() -> Manifest:
    return Manifest(
        "safetensors",
        16,
        bytes(range(32)),
        (Part(4, None, b"head"), Part(12, BlobId.of(b"x" * 12))),
        (Span(4, 4, "view", "BF16", (2,), (3,)), Span(4, 12, "w", "BF16", (2, 3))),
    )


def sample_commit() -> Commit:
    return Commit(
        TreeId.of(b""),
        (CommitId.of(b"p"),),
        ME,
        NOW,
        "step 1\n\nmore",
        {"loss": 1.5, "n": 3},
        {"lr": 1e-3, "fp16": False},
    )


SAMPLES = [
    sample_manifest(),
    Manifest("opaque", 0, b"\0" * 32, (), (), "safetensors: truncated"),
    Tree.of(
        [
            TreeEntry("b", FILE, ManifestId.of(b"1")),
            TreeEntry("a", FOLDER, TreeId.of(b"2")),
            TreeEntry("ü", EXECUTABLE, ManifestId.of(b"3")),
        ]
    ),
    Tree(()),
    sample_commit(),
    Tag(CommitId.of(b"c"), "v1", ME, NOW, "first"),
    AliasEntry(CommitId.of(b"c"), AliasId.of(b"before"), ME, NOW, "better", {"loss": 1.0}),
]


@pytest.mark.parametrize("value", SAMPLES, ids=lambda value: type(value).__name__)
def test_round_trip(value):
    data = value.to_bytes()
    assert type(value).from_bytes(data) == value
    assert type(value).from_bytes(data).to_bytes() == data


@pytest.mark.parametrize("value", SAMPLES, ids=lambda value: type(value).__name__)
def test_every_flipped_bit_changes_the_id_or_is_refused(value):
    data = value.to_bytes()
    for position in range(len(data)):
        for bit in (0, 3, 7):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            assert value.kind.of(damaged) != value.kind.of(data)
            try:
                other = type(value).from_bytes(bytes(damaged))
            except (CorruptObject, UnsupportedFeature):
                continue
            assert other.to_bytes() == damaged  # sound, but another object


def test_ids_of_kinds_never_meet():
    kinds = [BlobId, ManifestId, TreeId, CommitId, TagId, AliasId]
    assert len({kind.of(b"same") for kind in kinds}) == len(kinds)


@pytest.mark.parametrize(
    "value",
    [
        msgpack.packb({"b": 1, "a": 2}),
        b"\xcd\x00\x01",
        b"\x81\xa1a\xcb" + b"\x00" * 7,
        b"\x82\xa1a\x01\xa1a\x02",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 2_000_000,
        b"\x01\x02",
        b"\xc7\x01\x05\x00",
        b"\xd6\xff\x00\x00\x00\x01",
        b"\xa2\xff\xfe",
        b"\xca\x3f\x80\x00\x00",
        b"\x81\x01\x02",
        b"",
    ],
    ids=repr,
)
def test_only_canonical_msgpack_is_accepted(value):
    with pytest.raises(CorruptObject):
        canonical.unpack(value, "thing")


JSONISH = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=True)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(JSONISH)
@settings(deadline=None, max_examples=150)
def test_canonical_has_one_encoding(value):
    data = canonical.pack(value)
    assert canonical.pack(canonical.unpack(data, "value")) == data


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_parsed_or_refused(data):
    for kind in (Manifest, Tree, Commit, Tag, AliasEntry):
        try:
            value = kind.from_bytes(data)
        except (CorruptObject, UnsupportedFeature):
            continue
        assert value.to_bytes() == data


def edited(value, **changes):
    return canonical.pack({**canonical.unpack(value.to_bytes(), "sample"), **changes})


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (edited(sample_manifest(), size=17), "do not add up"),
        (edited(sample_manifest(), parts=[b""]), "inline"),
        (edited(sample_manifest(), parts=[b"x" * 4097], size=4097), "inline"),
        (edited(sample_manifest(), parts=[[b"x" * 32, (1 << 20) + 1]], size=(1 << 20) + 1), "blob"),
        (edited(sample_manifest(), tensors=[["w", "F32", [2], 10, 8]]), "leaves the file"),
        (edited(sample_manifest(), tensors=[["b", "U8", [1], 1, 1], ["a", "U8", [1], 0, 1]]), "order"),
        (edited(sample_manifest(), sha256=b"short"), "sha256"),
    ],
)
def test_unsound_manifests(data, why):
    with pytest.raises(CorruptObject, match=why):
        Manifest.from_bytes(data)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", ".mvc", ".MVC", "mvc~1", ".git", "a\nb", "con"]
)
def test_a_tree_cannot_hold_dangerous_names(name):
    data = canonical.pack({"entries": [[name, FILE, b"x" * 32]]})
    with pytest.raises(CorruptObject):
        Tree.from_bytes(data)


def test_tree_order_and_duplicates():
    rows = [["b", FILE, b"x" * 32], ["a", FILE, b"x" * 32]]
    for entries in (rows, [rows[0], rows[0]]):
        with pytest.raises(CorruptObject, match="order"):
            Tree.from_bytes(canonical.pack({"entries": entries}))


@pytest.mark.parametrize("manifest", [sample for sample in SAMPLES if isinstance(sample, Manifest)])
def test_what_a_file_holds_is_told_without_its_tables(manifest):
    assert manifest_content(manifest.to_bytes()) == (manifest.size, manifest.sha256)
    assert manifest_content(edited(manifest, shards=[1, 2])) == (manifest.size, manifest.sha256)
    with pytest.raises(UnsupportedFeature):
        manifest_content(edited(manifest, **{"!sparse": True}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        sample_manifest().to_bytes()[:-1],
        sample_manifest().to_bytes() + b"\0",
        canonical.pack([1]),
        canonical.pack({"size": 1, "sha256": b"\0" * 32}),
        edited(sample_manifest(), size=-1),
        edited(sample_manifest(), size=True),
        edited(sample_manifest(), sha256=b"short"),
        b"\xdf\xff\xff\xff\xff",  # a map of 4 billion keys that are not there
        b"\x81\xa5parts" + b"\x91" * 5000,
    ],
)
def test_what_a_file_holds_is_not_told_of_damage(data):
    with pytest.raises(CorruptObject):
        manifest_content(data)


@given(data=st.binary(max_size=100))
def test_any_bytes_tell_what_a_file_holds_or_are_refused(data):
    try:
        size, digest = manifest_content(data)
    except (CorruptObject, UnsupportedFeature):
        return
    assert size >= 0 and len(digest) == 32


def test_a_manifest_keeps_what_it_does_not_know():
    newer = edited(sample_manifest(), shards=[1, 2])
    assert Manifest.from_bytes(newer).to_bytes() == newer
    with pytest.raises(UnsupportedFeature):
        Manifest.from_bytes(edited(sample_manifest(), **{"!sparse": True}))
    with pytest.raises(CorruptObject, match="unknown"):
        Tree.from_bytes(canonical.pack({"entries": [], "more": 1}))


def test_a_commit_keeps_what_it_does_not_know_and_refuses_what_it_must_know():
    newer = edited(sample_commit(), parent_models={"base": ["w1:00"]})
    commit = Commit.from_bytes(newer)
    assert commit.extra == {"parent_models": {"base": ["w1:00"]}}
    assert commit.to_bytes() == newer
    with pytest.raises(UnsupportedFeature, match="does not know"):
        Commit.from_bytes(edited(sample_commit(), **{"!encrypted": True}))


LINEAGE = {
    "code": {"branch": "main", "commit": "ab" * 20, "dirty": True, "later": [1], "remote": "https://x/y"},
    "data": {
        "test": {"kind": "uri", "location": "hf://datasets/a/b"},
        "train": {"blake3": b"d" * 32, "files": 3, "kind": "folder", "location": "data", "size": 12},
    },
    "environment": {"of": "interpreter", "packages": {"torch": "2.7.1"}, "python": "3.14", "gpu": ["H100"]},
}


def test_a_commit_says_where_it_came_from():
    data = edited(sample_commit(), **LINEAGE)
    commit = Commit.from_bytes(data)
    assert commit.to_bytes() == data
    assert commit.extra == {}
    assert commit.code == Code("ab" * 20, True, "main", "https://x/y", {"later": [1]})
    assert commit.data["train"] == Data("folder", "data", 12, 3, b"d" * 32)
    assert commit.data["test"] == Data("uri", "hf://datasets/a/b")
    assert commit.environment.packages == {"torch": "2.7.1"}
    assert commit.environment.extra == {"gpu": ["H100"]}


def test_a_commit_without_an_origin_has_the_bytes_that_it_always_had():
    assert not {"data", "code", "environment"} & canonical.unpack(sample_commit().to_bytes(), "commit").keys()


@pytest.mark.parametrize(
    "part",
    [
        {"data": {}},
        {"data": []},
        {"data": {"a": {"kind": "file"}}},
        {"data": {"a": {"kind": "file", "location": 1}}},
        {"data": {"a": {"kind": "file", "location": "a", "size": -1}}},
        {"data": {"a": {"kind": "file", "location": "a", "files": True}}},
        {"data": {"a": {"kind": "file", "location": "a", "blake3": b"short"}}},
        {"data": {"a": {"kind": "file", "location": "a", "size": None}}},
        {"code": {}},
        {"code": "ab"},
        {"code": {"commit": b"ab"}},
        {"code": {"commit": "ab", "dirty": 1}},
        {"code": {"commit": "ab", "dirty": None}},
        {"environment": []},
        {"environment": {"python": 3}},
        {"environment": {"packages": {}}},
        {"environment": {"packages": {"torch": 2}}},
    ],
)
def test_an_origin_of_another_form_is_damage(part):
    with pytest.raises(CorruptObject, match=f"{next(iter(part))} of a commit"):
        Commit.from_bytes(edited(sample_commit(), **part))
