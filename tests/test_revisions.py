"""What people type, resolved: fixed tables, and Git as the judge where both have an opinion."""

import os
import shutil
import subprocess
from itertools import product

import pytest
from history_memory import MemoryReader, MemoryRefs, small_manifest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.errors import AmbiguousRevision, InvalidName, RevisionNotFound
from mvc.history.names import short_ref_name
from mvc.history.revisions import check_ref_name, lookup_path, resolve, resolve_commit
from mvc.objectid import AliasId, CommitId, ManifestId, TagId, TreeId
from mvc.objects import AliasEntry, Person, Tag, Timestamp
from mvc.spans import Span

WHO, WHEN = Person("A", "a@b"), Timestamp(0, 0)


def tag_of(name, target):
    return Tag(target, name, WHO, WHEN, "")


class Story:
    """Four commits with a merge, branches, tags of both kinds, an alias, and files with tensors."""

    def __init__(self):
        self.reader = reader = MemoryReader()
        self.refs = refs = MemoryRefs()
        spans = (Span(0, 2, "lm_head.weight", "U8", (2,)), Span(2, 1, "b#c", "U8", (1,)))
        self.model = reader.put(small_manifest(b"xyz", format="raw", tensors=spans))
        self.note = reader.file("note")
        self.hash_file = reader.file("hash")
        self.folder = reader.tree(**{"model.bin": self.model, "a#b": self.hash_file, "a": self.model})
        self.root = reader.tree(folder=self.folder, note=self.note)
        self.a = reader.commit(time=1, message="a", tree=self.root)
        self.b = reader.commit(self.a, time=2, message="b")
        self.c = reader.commit(self.a, time=3, message="c")
        self.d = reader.commit(self.b, self.c, time=4, message="d", tree=self.root)
        for value in (self.a, self.b, self.d):
            refs.set("refs/heads/main", value)
        for value in (self.a, self.c, self.d):
            refs.set("HEAD", value)
        refs.set("refs/heads/feature/x", self.c)
        refs.set("refs/heads/both", self.b)
        refs.set("refs/tags/both", self.c)
        refs.set("refs/tags/light", self.a)
        refs.set("refs/remotes/origin/main", self.b)
        self.tag = reader.put(tag_of("v1", self.b))
        refs.set("refs/tags/v1", self.tag)
        self.alias = reader.put(AliasEntry(self.c, None, WHO, WHEN, "", {}))
        refs.set("refs/aliases/production", self.alias)

    def resolve(self, text):
        return resolve(text, self.reader, self.refs)


@pytest.fixture(scope="module")
def story():
    return Story()


COMMITS = {
    "HEAD": "d",
    "@": "d",
    "main": "d",
    "heads/main": "d",
    "refs/heads/main": "d",
    "feature/x": "c",
    "both": "c",  # a tag goes before a branch
    "heads/both": "b",
    "tags/both": "c",
    "light": "a",
    "v1": "b",
    "tags/v1": "b",
    "origin/main": "b",
    "remotes/origin/main": "b",
    "aliases/production": "c",
    "HEAD~": "b",
    "HEAD~0": "d",
    "HEAD~1": "b",
    "HEAD~2": "a",
    "HEAD~~": "a",
    "HEAD^": "b",
    "HEAD^0": "d",
    "HEAD^1": "b",
    "HEAD^2": "c",
    "HEAD^2~1": "a",
    "HEAD^^": "a",
    "@^2^": "a",
    "v1^{commit}": "b",
    "v1^{}": "b",
    "v1^0": "b",
    "v1~1": "a",
    "v1^{}~1": "a",
    "@{0}": "d",
    "@{1}": "b",
    "main@{2}": "a",
    "HEAD@{1}": "c",
    "@@{1}": "c",
    "HEAD@{1}~1": "a",
    "main@{1}^{commit}^0": "b",
}


@pytest.mark.parametrize("text", COMMITS)
def test_commits(story, text):
    assert resolve_commit(text, story.reader, story.refs) == getattr(story, COMMITS[text])
    assert story.resolve(text).commit == getattr(story, COMMITS[text])


def test_full_and_short_ids_of_every_kind(story):
    for identity in (story.d, story.tag, story.root, story.model, story.alias):
        for digits in (64, 12, 8):
            found = story.resolve(identity.hex()[:digits].upper() if digits == 8 else identity.hex()[:digits])
            assert found.object == identity
            assert type(found.object) is type(identity)
    assert story.resolve(story.tag.hex()).commit == story.b
    assert story.resolve(story.tag.hex()).tag == story.tag
    assert story.resolve(story.root.hex()).commit is None
    assert story.resolve(story.root.hex()).path == ""
    assert resolve_commit(story.d.hex() + "~1", story.reader, story.refs) == story.b


def test_a_ref_goes_before_a_short_id_and_a_full_id_before_a_ref(story):
    refs = MemoryRefs()
    refs.set("refs/heads/" + story.d.hex()[:8], story.a)
    refs.set("refs/heads/" + story.d.hex(), story.a)
    assert resolve_commit(story.d.hex()[:8], story.reader, refs) == story.a
    assert resolve_commit(story.d.hex()[:9], story.reader, refs) == story.d
    assert resolve_commit(story.d.hex(), story.reader, refs) == story.d


def test_what_is_reported_beside_the_commit(story):
    found = story.resolve("main")
    assert (found.ref, found.tag, found.path, found.shadowed) == ("refs/heads/main", None, None, ())
    assert story.resolve("HEAD").ref == "HEAD"
    found = story.resolve("v1")
    assert (found.object, found.tag, found.ref) == (story.tag, story.tag, "refs/tags/v1")
    for text in ("v1~0", "v1^{}", "v1^{commit}", "v1^{tree}"):
        assert (story.resolve(text).tag, story.resolve(text).ref) == (None, None)
    found = story.resolve("both")
    assert (found.ref, found.shadowed) == ("refs/tags/both", ("refs/heads/both",))
    assert story.resolve("both~1").shadowed == ("refs/heads/both",)


PLACES = {
    "HEAD:": ("root", "", None),
    ":": ("root", "", None),
    "HEAD^{tree}": ("root", "", None),
    "HEAD:note": ("note", "note", None),
    ":note": ("note", "note", None),
    "main:folder": ("folder", "folder", None),
    "main:folder/": ("folder", "folder", None),
    "HEAD:folder/model.bin": ("model", "folder/model.bin", None),
    "HEAD^{tree}:folder/model.bin": ("model", "folder/model.bin", None),
    "HEAD:folder/model.bin#lm_head.weight": ("model", "folder/model.bin", "lm_head.weight"),
    "HEAD:folder/model.bin#b#c": ("model", "folder/model.bin", "b#c"),
    "HEAD:folder/a#b": ("hash_file", "folder/a#b", None),
    "HEAD:folder/a#lm_head.weight": ("model", "folder/a", "lm_head.weight"),
    "@{0}:note": ("note", "note", None),
}


@pytest.mark.parametrize("text", PLACES)
def test_places(story, text):
    found = story.resolve(text)
    name, path, tensor = PLACES[text]
    assert (found.object, found.path, found.tensor) == (getattr(story, name), path, tensor)
    assert found.commit == story.d


def test_places_below_a_bare_tree_have_no_commit(story):
    found = story.resolve(f"{story.root.hex()[:10]}:note")
    assert (found.object, found.commit, found.path) == (story.note, None, "note")


WRONG = {  # text: what message and hint say
    "": ("a name is missing", "name a branch"),
    "mian": ("there is no revision 'mian'", "did you mean 'main'"),
    "featur/x": ("'featur/x'", "'feature/x'"),
    "zzzzzzzz": ("there is no revision", "there is 'aliases/production', 'both'"),
    "abc": ("there is no revision", ""),  # three digits are too few for an id
    "f" * 64: ("there is no revision", ""),
    "~1": ("a name is missing", ""),
    "HEAD~3": ("'HEAD~3': ", "is a first commit"),
    "HEAD^3": ("has no parent number 3, only 2", ""),
    "HEAD~99999999999": ("means nothing here", ""),
    "HEAD~1x": ("'x' means nothing here", "after a name come"),
    "HEAD^{": ("means nothing here", ""),
    "HEAD^{blob}": ("'^{blob}' means nothing here", "^{commit}"),
    "HEAD^{tree}~1": ("is a tree, not a commit", ""),
    "main@{9}": ("main has no value from 9 changes ago", "oplog"),
    "main@{-1}": ("means nothing here", "two changes ago"),
    "main@{yesterday}": ("means nothing here", ""),
    "main@{1": ("means nothing here", ""),
    "main@{99999999999}": ("means nothing here", ""),
    "HEAD~1@{1}": ("'@{1}' means nothing here", ""),
    "nowhere@{1}": ("there is no revision 'nowhere'", ""),
    "HEAD:nite": ("there is no 'nite' in that version", "did you mean 'note'"),
    "HEAD:folder/modle.bin": ("there is no 'folder/modle.bin'", "'folder/model.bin'"),
    "HEAD:folder//model.bin": ("there is no", ""),
    "HEAD:note/": ("there is no 'note/'", "'note'"),
    "HEAD:note/inside": ("there is no 'note/inside'", "'note'"),
    "HEAD:../note": ("there is no", ""),
    "HEAD:/note": ("there is no", ""),
    "HEAD:folder#t": ("'folder' is a folder", ""),
    "HEAD:folder/model.bin#lm_head.wieght": ("no tensor 'lm_head.wieght'", "'lm_head.weight'"),
    "HEAD:note#t": ("no tensor 't'", "no tensors in it"),
    "\x1b[31m": ("there is no revision '\\x1b[31m'", ""),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_with_a_hint(story, text):
    with pytest.raises(RevisionNotFound) as caught:
        story.resolve(text)
    message, hint = WRONG[text]
    assert message in caught.value.message
    assert hint in caught.value.message + caught.value.hint
    if text:
        assert repr(text) in caught.value.message, "the whole revision is quoted"


@pytest.mark.parametrize("text", ["HEAD:note", "HEAD:folder", "HEAD^{tree}", ":"])
def test_a_place_is_no_commit(story, text):
    with pytest.raises(RevisionNotFound, match="not a commit"):
        resolve_commit(text, story.reader, story.refs)


def test_ids_of_other_kinds_are_no_commits(story):
    for identity, word in ((story.model, "manifest"), (story.root, "tree")):
        with pytest.raises(RevisionNotFound, match=f"is a {word}, not a commit"):
            resolve_commit(identity.hex(), story.reader, story.refs)


def test_before_the_first_commit():
    refs = MemoryRefs(head="refs/heads/main")
    for text in ("HEAD", "@", "main", "refs/heads/main", "HEAD~1", ":x", "@{1}", "HEAD@{1}"):
        with pytest.raises(RevisionNotFound, match="no commits yet on main") as caught:
            resolve(text, MemoryReader(), refs)
        assert "commit" in caught.value.hint


def test_detached_and_absent_heads(story):
    refs = MemoryRefs(head=story.b)
    refs.set("HEAD", story.a)
    refs.set("HEAD", story.b)
    assert resolve_commit("HEAD", story.reader, refs) == story.b
    assert resolve_commit("@{1}", story.reader, refs) == story.a
    with pytest.raises(RevisionNotFound, match="no HEAD"):
        resolve("HEAD", story.reader, MemoryRefs(head=None))


class TestAmbiguousIds:
    """A reader in which chosen ids share their first digits."""

    @pytest.fixture
    def crowd(self):
        reader = MemoryReader()
        tree = reader.tree()
        target = reader.commit(tree=tree)
        self.commit = CommitId.from_hex("abcd1" + "0" * 59)
        self.second = CommitId.from_hex("abcd2" + "0" * 59)
        self.tree = TreeId.from_hex("abcd3" + "0" * 59)
        self.file = ManifestId.from_hex("abcd4" + "0" * 59)
        reader.objects[self.commit] = reader.objects[self.second] = reader.objects[target]
        reader.objects[self.tree] = reader.objects[tree]
        reader.objects[self.file] = b""
        return reader

    def test_candidates_are_named(self, crowd):
        with pytest.raises(AmbiguousRevision) as caught:
            resolve("abcd", crowd, MemoryRefs())
        for name in (
            "commit abcd10000000",
            "commit abcd20000000",
            "tree abcd30000000",
            "manifest abcd40000000",
        ):
            assert name in caught.value.message
        assert "more digits" in caught.value.hint

    def test_commits_are_preferred_where_one_is_wanted(self, crowd):
        with pytest.raises(AmbiguousRevision) as caught:
            resolve_commit("abcd", crowd, MemoryRefs())
        assert "2 ids" in caught.value.message
        assert "tree" not in caught.value.message
        del crowd.objects[self.second]
        assert resolve_commit("abcd", crowd, MemoryRefs()) == self.commit
        assert resolve("abcd~0", crowd, MemoryRefs()).commit == self.commit
        assert resolve("abcd^{commit}", crowd, MemoryRefs()).commit == self.commit
        for text in ("abcd", "abcd^{}", "abcd:", "abcd^{tree}"):  # here the tree would fit as well
            with pytest.raises(AmbiguousRevision):
                resolve(text, crowd, MemoryRefs())
        del crowd.objects[self.commit]
        assert resolve("abcd:", crowd, MemoryRefs()).object == self.tree

    def test_long_lists_are_cut(self):
        reader = MemoryReader()
        for number in range(20):
            reader.objects[TreeId.from_hex(f"abcd{number:060x}")] = b""
        with pytest.raises(AmbiguousRevision, match="12 more"):
            resolve("abcd", reader, MemoryRefs())


def test_lookup_path(story):
    assert lookup_path(story.reader, story.root, "folder/model.bin").id == story.model
    assert lookup_path(story.reader, story.root, "folder").id == story.folder
    assert lookup_path(story.reader, story.root, "").id == story.root
    for path in ("nothing", "note/x", "folder/x", "/note", "folder/", "folder//a", ".", ".."):
        assert lookup_path(story.reader, story.root, path) is None


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from("HEADmainv1~^@{}:#/ab0129.é\x00"), max_size=20))
def test_any_text_resolves_or_is_refused(text):
    story = STORY
    try:
        found = story.resolve(text)
    except (RevisionNotFound, AmbiguousRevision):
        return
    assert found.object in story.reader.objects


STORY = Story()


# --- names of refs -----------------------------------------------------------------------------------------
GOOD_NAMES = [
    "main",
    "feature/x",
    "v1.0",
    "é",
    "a-b",
    "refs/heads/main",
    "a@b",
    "x.lockd",
    "abcdef12",
    "模型",
    "a#b",
]
BAD_NAMES = {
    "": "empty",
    "refs/heads/": "empty",
    "-x": "starts with '-'",
    "refs/heads/-x": "starts with '-'",
    "HEAD": "current commit",
    "refs/heads/HEAD": "current commit",
    "@": "current commit",
    "a" * 64: "looks like an id",
    "refs/tags/" + "A" * 64: "looks like an id",
    "a..b": "'..'",
    "a@{b": "'@{'",
    "a b": "' '",
    "a~b": "'~'",
    "a^b": "'^'",
    "a:b": "':'",
    "a?b": "'?'",
    "a*b": "'*'",
    "a[b": "'['",
    "a\\b": r"'\\'",
    "a\nb": "control",
    "a\x7fb": "control",
    "a\x9bb": "control",
    "a\u200bb": "invisible",
    "a\u202eb": "invisible",
    "a\u00a0b": "invisible",
    "a\udc80b": "invisible",
    "e\u0301": "NFC",
    "a.lock": "'.lock'",
    "a.lock/b": "'.lock'",
    "/a": "'/'",
    "a/": "'/'",
    "a//b": "'//'",
    ".a": "starts with '.'",
    "a/.b": "starts with '.'",
    "a.": "ends in '.'",
    "x" * 256: "longer than 255 bytes",
    "é" * 128: "longer than 255 bytes",
}


# Refused for reasons that Git does not have.
OURS_ALONE = {"refs/heads/-x", "HEAD", "refs/heads/HEAD", "a" * 64, "refs/tags/" + "A" * 64, "e\u0301"}
OURS_ALONE |= {"a\x9bb", "a\u200bb", "a\u202eb", "a\u00a0b", "a\udc80b", "x" * 256, "é" * 128}


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_good_names(name):
    check_ref_name(name)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names_say_which_rule_they_break(name):
    with pytest.raises(InvalidName) as caught:
        check_ref_name(name)
    assert BAD_NAMES[name] in caught.value.message
    assert caught.value.hint


def test_good_names_can_be_resolved(story):
    refs = MemoryRefs()
    for name in GOOD_NAMES:
        refs.values.clear()
        refs.set(name if name.startswith("refs/") else f"refs/heads/{name}", story.b)
        for text in (name, f"{name}^0", f"{name}@{{0}}"):
            assert resolve_commit(text, story.reader, refs) == story.b
        assert resolve(f"{name}:", story.reader, refs).commit == story.b


def test_short_names():
    names = {
        "refs/heads/a/b": "a/b",
        "refs/tags/v": "v",
        "refs/remotes/o/m": "o/m",
        "refs/aliases/p": "aliases/p",
    }
    assert {name: short_ref_name(name) for name in names} == names


# --- Git as the judge --------------------------------------------------------------------------------------
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


class Twin:
    """One small history in Git and in memory, with the ids of both mapped to each other."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@b",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@b",
        }
        self.reader, self.refs, self.ours = MemoryReader(), MemoryRefs(), {}
        self.git("init", "-q", "-b", "main")
        self.git("config", "core.logAllRefUpdates", "always")
        blob, note = self.blob("model"), self.blob("note")
        inner = self.tree(weights=blob)
        first = self.tree(note=note)
        second = self.tree(note=note, folder=inner)
        a = self.commit(first, 1)
        b = self.commit(second, 2, a)
        c = self.commit(first, 3, a)
        d = self.commit(second, 4, b, c)
        e = self.commit(second, 5, d)
        for value in (a, b, d, e):
            self.set("refs/heads/main", value)
        self.set("refs/heads/topic/one", c)
        self.set("refs/heads/both", b)
        self.set("refs/tags/both", c)
        self.set("refs/remotes/origin/topic", d)
        self.set("refs/tags/light", a)
        self.git("tag", "-a", "-m", "", "v1", b)
        tag = self.git("rev-parse", "v1")
        self.ours[tag] = self.reader.put(tag_of("v1", self.ours[b]))
        self.refs.set("refs/tags/v1", self.ours[tag])
        self.theirs = {ours: theirs for theirs, ours in self.ours.items()}
        self.ids = [a, d, tag, second, blob]

    def run(self, *arguments, text=None):
        return subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
        )

    def git(self, *arguments, text=None):
        done = self.run(*arguments, text=text)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def blob(self, text):
        theirs = self.git("hash-object", "-w", "--stdin", text=text)
        self.ours[theirs] = self.reader.file(text)
        return theirs

    def tree(self, **entries):
        ours = {name: self.ours[theirs] for name, theirs in entries.items()}
        lines = [
            f"{'040000 tree' if isinstance(ours[name], TreeId) else '100644 blob'} {theirs}\t{name}"
            for name, theirs in entries.items()
        ]
        theirs = self.git("mktree", text="\n".join(lines) + "\n")
        self.ours[theirs] = self.reader.tree(**ours)
        return theirs

    def commit(self, tree, time, *parents):
        options = [word for parent in parents for word in ("-p", parent)]
        self.environment |= {"GIT_AUTHOR_DATE": f"@{time} +0000", "GIT_COMMITTER_DATE": f"@{time} +0000"}
        theirs = self.git("commit-tree", "-m", str(time), *options, tree)
        self.ours[theirs] = self.reader.commit(
            *(self.ours[parent] for parent in parents), time=time, message=str(time), tree=self.ours[tree]
        )
        return theirs

    def set(self, name, theirs):
        self.git("update-ref", "-m", "set", name, theirs)
        self.refs.set(name, self.ours[theirs])
        if name == self.refs.head:
            self.refs.set("HEAD", self.ours[theirs])

    def judge(self, text):
        """Git's answer as one of our ids, or None where it refuses."""
        done = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", text)
        return self.ours[done.stdout.split()[-1]] if done.returncode == 0 else None

    def answer(self, text):
        """Our own answer; ids in the text are translated."""
        for theirs, ours in self.ours.items():
            text = text.replace(theirs, ours.hex()).replace(theirs[:10], ours.hex()[:10])
        try:
            return resolve(text, self.reader, self.refs).object
        except RevisionNotFound:
            return None


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return Twin(tmp_path_factory.mktemp("twin"))


NAMES = [
    "HEAD",
    "@",
    "main",
    "heads/main",
    "topic/one",
    "both",
    "heads/both",
    "v1",
    "tags/v1",
    "refs/tags/light",
]
NAMES += ["origin/topic", "nothing", "", "main@{1}", "main@{3}", "@{2}", "HEAD@{1}"]
ENDINGS = ["", "~", "~2", "^2", "^0", "^^", "^{commit}", "^{tree}", "^{}", "~1^2", "^2~", "~9", "^3", "^{}^"]
ENDINGS += [":", ":note", ":folder/weights", ":folder", ":missing", "^{tree}:note", "~1x", "^{tree}^{commit}"]


@needs_git
def test_names_and_suffixes_as_git_resolves_them(twin):
    expressions = {name + ending for name, ending in product(NAMES, ENDINGS)}
    expressions = {text for text in expressions if not text.startswith(":")}  # Git's staging area
    # Git reads what follows "@{" up to the last "}" as a date when nothing else fits.
    expressions = {text for text in expressions if not ("@{" in text and text.endswith("^{tree}^{commit}"))}
    answers = {text: (twin.judge(text), twin.answer(text)) for text in expressions}
    wrong = {text: pair for text, pair in answers.items() if pair[0] != pair[1]}
    assert not wrong
    assert sum(theirs is not None for theirs, _ in answers.values()) > 150
    assert sum(theirs is None for theirs, _ in answers.values()) > 50


@needs_git
def test_ids_as_git_resolves_them(twin):
    for identity, ending in product(twin.ids, ["", "^{}", "^{commit}", "^{tree}", "~1", ":note"]):
        for text in (identity + ending, identity[:10] + ending):
            assert twin.answer(text) == twin.judge(text), text


@needs_git
def test_git_accepts_our_names_and_refuses_what_we_refuse(twin):
    for name in GOOD_NAMES:
        assert twin.run("check-ref-format", "--allow-onelevel", name).returncode == 0, name
    for name in BAD_NAMES.keys() - OURS_ALONE - {"-x"}:  # Git would take the last for an option
        assert twin.run("check-ref-format", "--allow-onelevel", name).returncode == 1, name
    for name in OURS_ALONE:
        assert twin.run("check-ref-format", "--allow-onelevel", name).returncode == 0, name


def test_kinds_are_told_apart(story):
    assert [
        type(story.resolve(text).object)
        for text in ("main", "v1", "main:", "main:note", "aliases/production")
    ] == [
        CommitId,
        TagId,
        TreeId,
        ManifestId,
        AliasId,
    ]
