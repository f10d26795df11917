"""Stores by their addresses: what an address may be, where credentials come from, what is made and opened."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from faultproxy import Answer, DropHeaders, FaultProxy, LoseReply, StallReply
from hypothesis import given
from hypothesis import strategies as st
from servers import OPEN_BUCKET

from mvc.backends.aws import s3_settings
from mvc.backends.objectstore import ObjectStoreBackend
from mvc.backends.patience import Patience
from mvc.backends.refusals import Unreachable
from mvc.config import Config
from mvc.context import STORE_VARIABLES, Context
from mvc.errors import (
    ConfigError,
    CorruptFile,
    MvcError,
    RepositoryNotFound,
    UnsupportedFeature,
    UserError,
)
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.repo import Repository
from mvc.sharing.addresses import Bucket, Folder, Memory, parse_address
from mvc.sharing.bucket import BucketStore
from mvc.sharing.stores import create_store, open_store, patience_of, store_of
from mvc.store import FORMAT, SharedFolder

BASE = Path("/home/ada")
KEYS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "hush"}


# --- addresses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("models", Folder(BASE / "models")),
        ("./models/", Folder(BASE / "models")),
        ("../models", Folder(BASE / "../models")),
        ("/srv//models/.", Folder(Path("/srv/models"))),
        ("./a:b", Folder(BASE / "a:b")),
        ("/srv/a:b", Folder(Path("/srv/a:b"))),
        ("file:///srv/models", Folder(Path("/srv/models"))),
        ("FILE:///srv/models/", Folder(Path("/srv/models"))),
        ("file://localhost/srv/with%20space", Folder(Path("/srv/with space"))),
        ("s3://team-models", Bucket("s3", "team-models", "")),
        ("s3://team-models/", Bucket("s3", "team-models", "")),
        ("S3://team-models//llm///base/", Bucket("s3", "team-models", "llm/base")),
        ("gs://team.models/x", Bucket("gs", "team.models", "x")),
        ("az://container/x_y", Bucket("az", "container", "x_y")),
        ("memory://one", Memory("one")),
    ],
)
def test_an_address_names_one_place_however_it_is_written(text, address):
    assert parse_address(text, BASE) == address
    assert parse_address(str(address), BASE) == (
        Folder(Path(str(address))) if isinstance(address, Folder) else address
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("a\nb", "control"),
        ("s3://bucket/a\x00", "control"),
        ("C:\\models", "Windows"),
        ("c:/models", "Windows"),
        ("\\\\server\\share", "Windows"),
        ("host:models", "ssh"),
        ("git@host:models", "ssh"),
        ("http://host/x", "http:// stores"),
        ("ssh://host/x", "ssh:// stores"),
        ("file://host/x", "on this machine"),
        ("file://", "on this machine"),
        ("file:///C:/x", "on this machine"),
        ("file:///a%00b", "on this machine"),
        ("s3://", "bucket's name"),
        ("s3:///x", "bucket's name"),
        ("s3://Bucket/x", "bucket's name"),
        ("s3://a..b/x", "bucket's name"),
        ("s3://bucket/../x", "no prefix"),
        ("s3://bucket/.hidden", "no prefix"),
        ("s3://bucket/a b", "no prefix"),
        ("s3://bucket/x?versionId=1", r"no \?"),
        ("s3://bucket/x#y", r"no \?"),
        ("s3://bucket/%2e%2e", r"no \?"),
        ("memory://", "memory"),
        ("memory://a/b", "memory"),
    ],
)
def test_what_is_no_address_is_refused_with_a_hint(text, said):
    with pytest.raises(UserError, match=said) as refused:
        parse_address(text, BASE)
    assert refused.value.hint


@pytest.mark.parametrize("scheme", ["s3", "gs", "az", "http", "https", "file", "memory"])
@pytest.mark.parametrize("user", ["key:hidden@", "hidden@"])
def test_credentials_in_an_address_are_refused_and_not_repeated(scheme, user):
    with pytest.raises(UserError) as refused:
        parse_address(f"{scheme}://{user}bucket/x", BASE)
    assert "hidden" not in f"{refused.value}{refused.value.hint}"


@given(st.text(max_size=40))
def test_every_text_is_an_address_or_refused(text):
    try:
        address = parse_address(text, BASE)
    except UserError as error:
        assert error.hint
        return
    if isinstance(address, Folder):
        assert address.path.is_absolute()
    assert "\0" not in str(address)


# --- where credentials come from ---------------------------------------------------------------------------


def settings_of(environment, files=None):
    files = {f"/home/ada/.aws/{name}": text for name, text in (files or {}).items()} | (files or {})
    return s3_settings(environment, lambda path: files.get(str(path)))


FILES = {
    "credentials": "[default]\naws_access_key_id = D\naws_secret_access_key = d%1\n"
    "[team]\naws_access_key_id = T\naws_secret_access_key = t\naws_session_token = tt\n",
    "config": "[default]\nregion = eu-west-1\n[profile team]\nregion = eu-central-1\n"
    "endpoint_url = https://s3.team.example\n[profile login]\nsso_session = x\n",
}


def test_variables_come_first():
    settings = settings_of({**KEYS, "AWS_SESSION_TOKEN": "t", "HOME": "/home/ada"}, FILES)
    assert settings.options == {
        "access_key_id": "AKIA",
        "secret_access_key": "hush",
        "session_token": "t",
    }
    assert settings.region == "eu-west-1"
    assert "hush" not in repr(settings)


def test_then_the_profile_in_the_files_of_the_platform():
    settings = settings_of({"HOME": "/home/ada"}, FILES)
    assert settings.options == {"access_key_id": "D", "secret_access_key": "d%1"}
    settings = settings_of({"HOME": "/home/ada", "AWS_PROFILE": "team"}, FILES)
    assert settings.options["session_token"] == "tt"
    assert (settings.region, settings.endpoint) == ("eu-central-1", "https://s3.team.example")
    assert not settings.allow_http


def test_then_roles_and_without_anything_the_machine_is_asked():
    assert settings_of({}).options == {}
    settings = settings_of(
        {"AWS_ROLE_ARN": "arn:x", "AWS_WEB_IDENTITY_TOKEN_FILE": "/t", "HOME": "/home/ada"}, FILES
    )
    assert settings.options == {"role_arn": "arn:x", "web_identity_token_file": "/t"}
    assert settings_of({"AWS_SKIP_SIGNATURE": "true"}, FILES).options == {"skip_signature": True}


def test_files_may_lie_elsewhere():
    environment = {
        "AWS_SHARED_CREDENTIALS_FILE": "~/keys",
        "HOME": "/home/ada",
        "AWS_CONFIG_FILE": "/etc/aws",
    }
    files = {
        "/home/ada/keys": "[default]\naws_access_key_id=K\naws_secret_access_key=s\n",
        "/etc/aws": "[default]\nregion=r\n",
    }
    settings = s3_settings(environment, lambda path: files.get(str(path)))
    assert (settings.options["access_key_id"], settings.region) == ("K", "r")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AWS_ACCESS_KEY_ID": "x"}, "only one"),
        ({"AWS_PROFILE": "none", "HOME": "/home/ada"}, "no AWS profile 'none'"),
        ({"AWS_PROFILE": "login", "HOME": "/home/ada"}, "login or a program"),
        ({"AWS_ENDPOINT_URL": "http://s3.example.org"}, "not encrypted"),
        ({"AWS_ENDPOINT_URL": "ftp://s3.example.org"}, "no http or https"),
        ({"AWS_ENDPOINT_URL": "s3.example.org"}, "no http or https"),
        ({"AWS_ENDPOINT_URL": "https://u:hush@s3.example.org"}, "no http or https"),
        ({"AWS_ENDPOINT_URL": "http://[::1"}, "no http or https"),
    ],
)
def test_what_cannot_be_used_is_said_without_secrets(environment, said):
    with pytest.raises(ConfigError, match=said) as refused:
        settings_of(environment, FILES)
    assert "hush" not in str(refused.value)


def test_a_file_that_cannot_be_read_shows_nothing_of_itself():
    with pytest.raises(ConfigError) as refused:
        settings_of({"HOME": "/home/ada"}, {"credentials": "aws_secret_access_key = hush"})
    assert "hush" not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    ("endpoint", "allow", "may"),
    [
        ("http://127.0.0.1:9000", "", True),
        ("http://localhost:9000", "", True),
        ("http://[::1]:9000", "", True),
        ("http://minio.lan:9000", "true", True),
        ("https://s3.example.org", "", False),
    ],
)
def test_http_is_for_this_machine_or_for_who_says_so(endpoint, allow, may):
    settings = settings_of({"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": allow})
    assert settings.allow_http is may


def test_the_context_hands_on_what_opens_buckets_and_shows_it_to_nobody(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("SOMETHING_ELSE", "x")
    context = Context.of_process()
    assert context.store_environment["AWS_SECRET_ACCESS_KEY"] == "hush"
    assert set(context.store_environment) <= set(STORE_VARIABLES)
    assert "hush" not in repr(context)


# --- made and opened ---------------------------------------------------------------------------------------


def make(address, environment=None, base=BASE, branch="main"):
    return create_store(FileIO(), address, Monitor(), base=base, environment=environment or {}, branch=branch)


def open_(address, environment=None, base=BASE):
    return open_store(FileIO(), address, Monitor(), base=base, environment=environment or {})


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request, tmp_path):
    """An address where nothing is yet, and the environment that opens it."""
    if request.param == "s3":
        seaweed = request.getfixturevalue("seaweed")
        return seaweed.address(), seaweed.environment()
    if request.param == "memory":
        return f"memory://{tmp_path.name}", {}
    return str(tmp_path / "shared"), {}


def test_a_store_is_made_once_and_opened_ever_after(place):
    address, environment = place
    with pytest.raises(RepositoryNotFound, match="no store"):
        open_(address, environment)
    made = make(address, environment, branch="trunk")
    assert made.read().root.extra == {"default_branch": "trunk"}
    assert make(address, environment).read().raw == made.read().raw
    found = open_(address, environment)
    assert found.read().raw == made.read().raw
    assert found.environment == environment


def test_several_who_make_one_at_once_get_the_same(place):
    address, environment = place
    if "://" not in address:
        pytest.skip("a folder has one maker at a time")
    barrier, roots = threading.Barrier(4), []

    def run():
        barrier.wait()
        roots.append(make(address, environment).read().raw)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(roots) == 4
    assert len(set(roots)) == 1


def test_the_marker_tells_a_store_from_anything_else(place):
    address, environment = place
    if "://" not in address:
        pytest.skip("folders have tests of their own")
    made = make(address, environment)
    assert made.backend.get("format") == FORMAT.encode()
    for text, error in (
        (b"mvc repository format 2\n", UnsupportedFeature),
        (b"something else", CorruptFile),
        (bytes(1000), CorruptFile),
    ):
        made.backend.delete("format")
        made.backend.put("format", [text])
        for touch in (open_, make):
            with pytest.raises(error):
                touch(address, environment)


def test_a_place_that_holds_something_else_is_left_alone(place):
    address, environment = place
    if "://" in address:
        backend = make(address, environment).backend
        backend.delete("format")
        backend.delete("root")
        backend.put("somebody/elses", [b"file"])
    else:
        Path(address).mkdir()
        (Path(address) / "somebody").write_text("else's")
    with pytest.raises(UserError, match="not empty"):
        make(address, environment)


def test_a_store_whose_making_was_interrupted_is_finished(place):
    address, environment = place
    if "://" not in address:
        pytest.skip("folders have tests of their own")
    backend = make(address, environment).backend
    root = backend.get("root")
    backend.delete("format")
    with pytest.raises(RepositoryNotFound):
        open_(address, environment)
    assert make(address, environment).read().raw == root


def test_a_folder_with_a_repository_in_it_is_that_repository(tmp_path):
    Repository.create(FileIO(), tmp_path / "work", Monitor())
    store = open_("work", {"HOME": "/x"}, base=tmp_path)
    assert isinstance(store, Repository)
    assert store.environment == {"HOME": "/x"}
    assert isinstance(make("work", base=tmp_path), Repository)
    assert isinstance(make("file://" + str(tmp_path / "bare")), SharedFolder)


def test_a_link_to_a_shared_folder_leads_there(tmp_path):
    make("bare", base=tmp_path)
    (tmp_path / "link").symlink_to("bare")
    assert isinstance(open_("link", base=tmp_path), SharedFolder)


def test_a_file_is_no_store(tmp_path):
    (tmp_path / "file").write_text("x")
    for touch in (open_, make):
        with pytest.raises(MvcError):
            touch("file", base=tmp_path)
    assert (tmp_path / "file").read_text() == "x"


def test_how_long_a_bucket_is_waited_for_is_a_setting(tmp_path, seaweed):
    assert patience_of(Config("", "x")) == Patience()
    text = "[transfer]\nstall-seconds = 1\nretry-seconds = 0\n"
    assert patience_of(Config(text, "x")) == Patience(stall=1, total=0)
    assert patience_of(Config("[transfer]\nstall-seconds = 0\n", "x")).stall == 1
    with pytest.raises(ConfigError):
        patience_of(Config("[transfer]\nretry-seconds = 'long'\n", "x"))
    address = seaweed.address()
    make(address, seaweed.environment())
    with FaultProxy(seaweed.ports[0]) as proxy:
        repository = Repository.create(FileIO(), tmp_path, Monitor())
        repository.environment = seaweed.environment(port=proxy.port)
        repository.write_config(text)
        proxy.decide = lambda request: StallReply(0, 5)
        began = time.monotonic()
        with pytest.raises(Unreachable, match="in time"):
            store_of(repository, address, tmp_path)
        assert 0.9 < time.monotonic() - began < 4


def test_two_prefixes_of_a_bucket_are_two_stores(seaweed):
    address, environment = seaweed.address(), seaweed.environment()
    one, two = make(f"{address}/one", environment), make(f"{address}/two", environment)
    assert one.read().raw != two.read().raw
    assert isinstance(one, BucketStore)
    assert isinstance(one.backend, ObjectStoreBackend)


def test_a_bucket_that_does_not_keep_its_promises_gets_no_store(seaweed):
    with FaultProxy(seaweed.ports[0]) as proxy:
        proxy.decide = lambda request: DropHeaders(("if-none-match", "if-match"))
        environment = {"AWS_SKIP_SIGNATURE": "1", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        address = seaweed.address(OPEN_BUCKET)
        with pytest.raises(UnsupportedFeature, match="If-None-Match"):
            make(address, environment)
        proxy.decide = lambda request: None
        with pytest.raises(RepositoryNotFound):
            open_(address, environment)


def test_making_a_store_survives_lost_replies(seaweed):
    with FaultProxy(seaweed.ports[0]) as proxy:
        environment = seaweed.environment(port=proxy.port)
        proxy.decide = lambda request: LoseReply() if request.number % 3 == 1 else None
        store = make(seaweed.address(), environment)
        assert store.read().root.extra == {"default_branch": "main"}


def test_a_bucket_that_is_not_there_is_said(seaweed):
    with FaultProxy(seaweed.ports[0]) as proxy:
        proxy.decide = lambda request: Answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        for touch in (make, open_):
            with pytest.raises(UserError, match="no such bucket"):
                touch(seaweed.address(), seaweed.environment(port=proxy.port))
