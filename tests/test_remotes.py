"""Remotes and upstreams: in the settings, by ``mvc remote``, and how refspecs name refs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from mvc.config import Config
from mvc.errors import ConfigError, ConflictError, InvalidName, RepositoryNotFound, UsageError, UserError
from mvc.ops import remote as verb
from mvc.ops.status import status
from mvc.ops.undo import undo
from mvc.sharing import settings
from mvc.sharing.addresses import settled
from mvc.sharing.tracking import Refspec, parse_refspec, wildcard
from tests.engine import ME, make_repository, now
from tests.sharing import committed, fetched, make_pair, moves, pushed, ref

_names = st.text(st.characters(categories=["L", "N"], include_characters="-_./\"'"), min_size=1, max_size=12)


def _config(text: str = "") -> Config:
    return Config(text, "the settings")


# --- settings ----------------------------------------------------------------------------------------------
@settings_of_hypothesis(deadline=None)
@given(name=_names, branch=_names, address=st.text(st.characters(exclude_categories=["C"]), min_size=1))
def test_whatever_names_are_allowed_come_back_from_the_settings(name, branch, address):
    try:
        settings.check_name(name)
        settings.check_ref_name(f"refs/heads/{branch}")
    except InvalidName:
        return
    config = _config("# mine\n[user]\nname = 'Ada'  # me\n")
    config = config.edited(settings.with_remote(config, name, address))
    config = config.edited(settings.with_upstream(config, branch, name, "main"))
    assert settings.remotes(config) == {name: settings.Remote(name, address)}
    assert settings.upstream(config, branch) == settings.Upstream(name, "main")
    assert "# mine" in config.text and "# me" in config.text
    config = config.edited(settings.without_remote(config, name))
    assert settings.remotes(config) == {} and settings.upstream(config, branch) is None
    assert config.string("user.name") == "Ada"


def test_a_renamed_remote_keeps_its_settings_and_its_followers():
    config = _config('[remote.origin]\nurl = "s3://b/p"\nfilter = ["path:*.json"]\ndepth = 3\n')
    config = config.edited(settings.with_upstream(config, "main", "origin", "trunk"))
    config = config.edited(settings.renamed(config, "origin", "upstream"))
    assert settings.remotes(config) == {"upstream": settings.Remote("upstream", "s3://b/p")}
    assert config.texts("remote.upstream.filter") == ("path:*.json",)
    assert config.count("remote.upstream.depth") == 3
    assert settings.upstream(config, "main") == settings.Upstream("upstream", "trunk")


def test_without_an_upstream_origin_and_the_same_name_are_meant():
    assert settings.upstream(_config(), "main") is None
    config = _config('[remote.origin]\nurl = "x"\n')
    assert settings.upstream(config, "main") == settings.Upstream("origin", "main", configured=False)
    assert settings.default_remote(config, None).name == "origin"
    with pytest.raises(UserError, match="no remote 'origin'"):
        settings.default_remote(_config(), "main")


def test_settings_with_parts_in_quotes_are_read_and_refused_by_name():
    config = _config('[branch."feature/x"]\nremote = "origin"\n')
    assert config.get('branch."feature/x".remote') == "origin"
    assert dict(config.items()) == {'branch."feature/x".remote': "origin"}
    for key in ("branch", "branch.", 'branch."', "a b.c", '""', 'a."".b'):
        with pytest.raises(ConfigError):
            config.get(key)
    with pytest.raises(ConfigError, match="not text"):
        _config("[remote.origin]\nurl = 3\n").string("remote.origin.url")
    with pytest.raises(ConfigError, match="remote"):
        settings.remotes(_config('[remote."-x"]\nurl = "y"\n'))


# --- refspecs ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("main", Refspec("main", None, False)),
        ("+main", Refspec("main", None, True)),
        ("main:other", Refspec("main", "other", False)),
        ("+a:b", Refspec("a", "b", True)),
        (":gone", Refspec("", "gone", False)),
        ("refs/heads/*:refs/remotes/x/*", Refspec("refs/heads/*", "refs/remotes/x/*", False)),
    ],
)
def test_refspecs(text, found):
    assert parse_refspec(text) == found


@pytest.mark.parametrize("text", ["", "+", ":", "a:b:c", "main:", "a*:b", "a:b*", "*/*:x/*"])
def test_what_is_no_refspec(text):
    with pytest.raises(UsageError):
        parse_refspec(text)


def test_patterns():
    assert wildcard("refs/heads/*", "refs/remotes/o/*", "refs/heads/a/b") == "refs/remotes/o/a/b"
    assert wildcard("run-*", "old/*", "refs/heads/run-7") == "old/7"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("../store", "/w/store"),
        ("./x", "/w/here/x"),
        ("../../x", "/x"),
        ("..", "/w"),
        (".", "/w/here"),
        ("/abs/../x", "/abs/../x"),
        ("a/../b", "/w/here/a/../b"),
        ("s3://bucket/p/", "s3://bucket/p"),
    ],
)
def test_an_address_means_the_same_from_everywhere(tmp_path, typed, meant):
    assert settled(typed, type(tmp_path)("/w/here")) == meant


# --- the command -------------------------------------------------------------------------------------------
def test_add_makes_a_store_and_notes_nothing_where_that_fails(tmp_path):
    ada = make_repository(tmp_path / "ada")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        verb.add(ada, "origin", "full", base=tmp_path)
    with pytest.raises(UserError, match="itself"):
        verb.add(ada, "origin", "ada", base=tmp_path)
    for name in ("-x", "a b", "a..b", "", "x.lock", "HEAD/"):
        with pytest.raises(InvalidName):
            verb.add(ada, name, "store", base=tmp_path)
    with pytest.raises(UserError, match="password"):
        verb.add(ada, "origin", "s3://key:secret@bucket", base=tmp_path)
    assert verb.listing(ada) == [] and "secret" not in ada.config().text
    assert not (tmp_path / "store").exists()
    assert verb.add(ada, "origin", "store", base=tmp_path).created
    assert not verb.add(ada, "second", "store", base=tmp_path).created
    for name in ("origin", "origin/x"):
        with pytest.raises(ConflictError):
            verb.add(ada, name, "other", base=tmp_path)
    assert [one.name for one in verb.listing(ada)] == ["origin", "second"]


def test_another_address_must_be_a_store(tmp_path):
    pair = make_pair(tmp_path, "folder")
    with pytest.raises(RepositoryNotFound):
        verb.set_url(pair.ada, "origin", "nowhere", base=tmp_path)
    (tmp_path / "shared").rename(tmp_path / "moved")
    with pytest.raises(RepositoryNotFound):
        fetched(pair.ada)
    assert verb.set_url(pair.ada, "origin", "moved", base=tmp_path).address == str(tmp_path / "moved")
    assert fetched(pair.ada).updates == ()
    with pytest.raises(UserError, match="no remote"):
        verb.set_url(pair.ada, "orgin", "moved", base=tmp_path)


def test_remove_and_rename_take_what_follows_along(tmp_path):
    pair = make_pair(tmp_path, "folder")
    verb.rename(pair.ada, "origin", "hub", ME, now())
    assert ref(pair.ada, "refs/remotes/hub/main") == ref(pair.ada, "refs/heads/main")
    assert ref(pair.ada, "refs/remotes/origin/main") is None
    assert status(pair.ada).standing.upstream.shown == "hub/main"
    with pytest.raises(UserError) as refused:  # the address is a setting, which stays
        undo(pair.ada, ME, now())
    assert "mvc remote rename hub origin" in refused.value.hint
    verb.remove(pair.ada, "hub", ME, now())
    assert verb.listing(pair.ada) == [] and ref(pair.ada, "refs/remotes/hub/main") is None
    assert status(pair.ada).standing is None
    undo(pair.ada, ME, now())
    assert ref(pair.ada, "refs/remotes/hub/main") is not None
    with pytest.raises(UserError):
        verb.remove(pair.ada, "hub", ME, now())


def test_show_tells_what_is_there_and_here(tmp_path):
    pair = make_pair(tmp_path, "folder")
    bob = pair.clone()
    pushed(bob, "main:side", remote="origin")
    new = committed(bob, "b.txt", "x")
    pushed(bob)
    committed(pair.ada, "a.txt", "y")
    found = verb.show(pair.ada, "origin")
    assert found.default == "main" and found.tags == 0 and found.stale == ()
    rows = {row.name: row for row in found.branches}
    assert rows["main"].target == new and rows["main"].tracked != new and rows["main"].followers == ()
    assert rows["side"].tracked is None
    assert found.bytes == sum(path.stat().st_size for path in (tmp_path / "shared" / "packs").rglob("*.pack"))
    fetched(pair.ada)
    rows = {row.name: row for row in verb.show(pair.ada, "origin").branches}
    assert rows["main"].followers == (("main", 1, 1),)
    pushed(bob, remote="origin", delete=("side",))
    assert verb.show(pair.ada, "origin").stale == ("refs/remotes/origin/side",)
    assert moves(verb.prune(pair.ada, "origin", ME, now(), dry_run=True)) == {
        "refs/remotes/origin/side": "deleted"
    }
    assert ref(pair.ada, "refs/remotes/origin/side") is not None
    verb.prune(pair.ada, "origin", ME, now())
    assert ref(pair.ada, "refs/remotes/origin/side") is None
