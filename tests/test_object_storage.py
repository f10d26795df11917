"""What a store in a bucket holds against networks and servers as they are: a real S3 server behind a proxy
that loses replies, cuts, stalls and refuses."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from faultproxy import (
    Answer,
    CutReply,
    CutRequest,
    DropHeaders,
    FaultProxy,
    LoseReply,
    StallReply,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import KEY, OPEN_BUCKET, SECRET

from mvc.backends import NotFound, objectstore, patience
from mvc.backends.buckets import open_bucket
from mvc.backends.memory import MemoryBackend
from mvc.backends.objectstore import ObjectStoreBackend
from mvc.backends.patience import Attempts, Patience
from mvc.backends.probe import FOLDER, probe
from mvc.backends.recording import RecordingBackend
from mvc.backends.refusals import Unreachable, refusal_of
from mvc.errors import ConfigError, CorruptFile, RootMoved, StorageError, UnsupportedFeature
from mvc.sharing.addresses import parse_address

SOON = Patience(connect=2, stall=1, total=2, slowest=256 << 10)
"""For tests in which somebody is given up; others wait as long as a busy machine may take."""

CALM = Patience(connect=20, stall=20, total=60)
OBJECT = "packs/ab/x.pack"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(patience, "SHORTEST_PAUSE", 0.01)


@pytest.fixture
def proxy(seaweed):
    with FaultProxy(seaweed.ports[0]) as between:
        yield between


def opened(environment, address, patience=CALM):
    bucket = parse_address(address, Path("/"))
    return open_bucket("s3", bucket.name, bucket.prefix, environment, lambda path: None, patience)


@pytest.fixture
def behind(seaweed, proxy):
    """A backend whose requests go through the proxy."""
    return opened(seaweed.environment(port=proxy.port), seaweed.address(), CALM)


@pytest.fixture
def hasty(seaweed, behind, proxy):
    """The same, soon at the end of its patience."""
    return opened(seaweed.environment(port=proxy.port), behind.where, SOON)


def first(count, fault, method=None):
    """Do this to the first requests (of a method)."""
    left = [count]

    def decide(request):
        if method not in (None, request.method) or not left[0]:
            return None
        left[0] -= 1
        return fault

    return decide


# --- lost replies ------------------------------------------------------------------------------------------


def test_a_put_whose_reply_is_lost_is_ours(behind, proxy):
    proxy.decide = first(1, LoseReply(), "PUT")
    assert behind.put(OBJECT, [b"mine"])
    assert behind.get(OBJECT) == b"mine"


def test_a_large_put_whose_reply_is_lost_is_not_sent_again(behind, proxy, large):
    proxy.decide = first(1, LoseReply(), "PUT")
    assert behind.put(OBJECT, [large])
    assert proxy.sent < 1.01 * len(large)
    assert proxy.received < 2000


def test_a_put_whose_replies_are_all_lost_is_known_by_reading(behind, proxy):
    proxy.decide = first(99, LoseReply(), "PUT")
    assert behind.put(OBJECT, [b"mine"])
    behind.replace("root", None, b"mine")
    behind.replace("root", b"mine", b"mine, too")
    assert behind.get("root") == b"mine, too"


def test_a_put_whose_refusals_are_all_lost_is_known_by_reading(behind, proxy):
    assert behind.put(OBJECT, [b"theirs"])
    behind.replace("root", None, b"theirs")
    proxy.forget()
    proxy.decide = first(99, LoseReply(), "PUT")
    assert not behind.put(OBJECT, [b"mine"])
    with pytest.raises(RootMoved):
        behind.replace("root", None, b"mine")
    assert not behind.put(OBJECT, [b"others"])  # as long as theirs
    assert proxy.requests["PUT"] == 3


def test_a_put_that_somebody_else_was_before_is_not_ours_though_a_reply_was_lost(behind, proxy):
    assert behind.put(OBJECT, [b"theirs"])
    proxy.decide = first(1, LoseReply(), "PUT")
    assert not behind.put(OBJECT, [b"mine"])
    assert behind.get(OBJECT) == b"theirs"


@pytest.mark.parametrize("expected", [None, b"before"])
def test_a_swap_whose_reply_is_lost_has_happened(behind, proxy, expected):
    if expected is not None:
        behind.replace("root", None, expected)
    proxy.decide = first(1, LoseReply(), "PUT")
    behind.replace("root", expected, b"after, with a nonce")
    assert behind.get("root") == b"after, with a nonce"


def test_a_swap_that_was_lost_and_built_upon_says_that_it_may_have_happened(seaweed, behind, proxy):
    behind.replace("root", None, b"before")
    direct = opened(seaweed.environment(), behind.where)
    puts = []

    def decide(request):
        if request.method == "PUT":
            puts.append(request)
            return LoseReply()
        if request.method == "HEAD" and len(puts) == 1:
            direct.replace("root", b"mine", b"theirs, on top of mine")
        return None

    proxy.decide = decide
    with pytest.raises(RootMoved) as moved:
        behind.replace("root", b"before", b"mine")
    assert moved.value.perhaps_done
    assert len(puts) == 1
    assert behind.get("root") == b"theirs, on top of mine"


def test_a_swap_that_lost_for_certain_says_nothing_of_the_kind(behind, seaweed, proxy):
    behind.replace("root", None, b"before")
    direct = opened(seaweed.environment(), behind.where)

    def decide(request):
        if request.method == "PUT":
            direct.replace("root", b"before", b"theirs")

    proxy.decide = decide
    with pytest.raises(RootMoved) as moved:
        behind.replace("root", b"before", b"mine")
    assert not moved.value.perhaps_done
    assert behind.get("root") == b"theirs"


FAULTS = st.sampled_from([None, LoseReply(), CutRequest(1), Answer(503), Answer(500)])


@given(
    faults=st.lists(FAULTS, max_size=8),
    states=st.lists(st.binary(max_size=8), min_size=1, max_size=5),
    late=st.booleans(),
)
@settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_is_lost_a_chain_of_swaps_arrives_once(seaweed, proxy, faults, states, late):
    """Each state has a nonce, as roots have; the server ends with the last one, and each swap is answered."""
    backend = opened(seaweed.environment(port=proxy.port), seaweed.address(), Patience(total=20))
    left = list(faults)
    proxy.decide = lambda request: left.pop(0) if left and (request.method == "PUT" or late) else None
    current = None
    for number, state in enumerate(states):
        new = state + b" %d" % number
        backend.replace("root", current, new)
        assert backend.put(f"packs/{number}.pack", [new])
        current = new
    proxy.decide = lambda request: None
    assert backend.get("root") == current
    assert [key for key, _ in backend.list("packs/")] == [f"packs/{n}.pack" for n in range(len(states))]


# --- what passes and what does not -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Answer(503),
        Answer(500),
        Answer(429),
        Answer(503, b"<Error><Code>SlowDown</Code></Error>"),
        CutReply(0),
    ],
)
def test_what_may_pass_is_tried_again(behind, proxy, fault):
    behind.put(OBJECT, [b"bytes"])
    proxy.forget()
    proxy.decide = first(2, fault, "GET")
    assert behind.get(OBJECT) == b"bytes"
    assert proxy.requests["GET"] == 3


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Answer(403), "access is denied"),
        (Answer(403, b"<Error><Code>InvalidAccessKeyId</Code></Error>"), "access key is not known"),
        (Answer(404, b"<Error><Code>NoSuchBucket</Code></Error>"), "no such bucket"),
        (Answer(400, b"<Error><Code>ExpiredToken</Code></Error>"), "expired"),
        (Answer(301), "another region"),
        (Answer(400), "answers 400"),
    ],
)
def test_what_does_not_pass_is_said_at_once(behind, proxy, fault, said):
    proxy.decide = first(99, fault)
    for touch in (
        lambda: behind.get(OBJECT),
        lambda: behind.put(OBJECT, [b"x"]),
        lambda: list(behind.list("packs/")),
        lambda: behind.replace("root", None, b"x"),
    ):
        proxy.forget()
        with pytest.raises(StorageError, match=said) as refused:
            touch()
        assert not isinstance(refused.value, Unreachable | NotFound)
        assert sum(proxy.requests.values()) == 1
        assert refused.value.exit_code == 3


def test_a_server_that_refuses_for_ever_is_given_up_in_time(hasty, proxy):
    proxy.decide = first(999, Answer(503))
    began = time.monotonic()
    with pytest.raises(Unreachable, match="503"):
        hasty.get(OBJECT)
    assert time.monotonic() - began < SOON.total + 5


def test_nobody_there_is_said_soon(hasty, proxy):
    proxy.close()
    began = time.monotonic()
    with pytest.raises(Unreachable, match="nobody answers"):
        hasty.get(OBJECT)
    assert time.monotonic() - began < SOON.total + 5


def test_a_name_that_does_not_exist_is_said_at_once():
    environment = {"AWS_ENDPOINT_URL": "https://nowhere.invalid", "AWS_SKIP_SIGNATURE": "1"}
    backend = opened(environment, "s3://bucket/x")
    began = time.monotonic()
    with pytest.raises(StorageError, match="name is not known"):
        backend.get(OBJECT)
    assert time.monotonic() - began < CALM.total / 2


def test_a_server_without_tls_is_said_at_once(seaweed):
    environment = {"AWS_ENDPOINT_URL": f"https://127.0.0.1:{seaweed.ports[0]}", "AWS_SKIP_SIGNATURE": "1"}
    with pytest.raises(StorageError, match="no secure connection") as refused:
        opened(environment, "s3://bucket/x").get(OBJECT)
    assert not isinstance(refused.value, Unreachable)


def test_pauses_are_random_and_bounded(monkeypatch):
    slept = []
    monkeypatch.setattr(patience, "SHORTEST_PAUSE", 0.1)
    monkeypatch.setattr("mvc.backends.patience.time.sleep", slept.append)
    for _ in range(20):
        attempts = Attempts(Patience(total=100))
        while attempts.failures < 10 and attempts.again():
            pass
    assert max(slept) <= 5
    assert len({round(pause, 6) for pause in slept}) > 100
    assert sum(slept[0::10]) < sum(slept[5::10])


# --- long ways ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large():
    return os.urandom(9 << 20)


@pytest.mark.parametrize("fault", [CutReply(5 << 20), StallReply(5 << 20, 6)])
def test_a_large_read_that_breaks_off_goes_on_where_it_was(seaweed, behind, proxy, large, fault):
    hasty = opened(seaweed.environment(port=proxy.port), behind.where, Patience(stall=2, total=30))
    behind.put(OBJECT, [large])
    proxy.forget()
    proxy.decide = first(1, fault, "GET")
    assert hasty.get(OBJECT) == large
    assert proxy.requests["GET"] >= 2
    assert proxy.received < 1.6 * len(large)
    proxy.decide = first(1, fault, "GET")
    assert hasty.get_range(OBJECT, 1000, 8 << 20) == large[1000 : 1000 + (8 << 20)]


def test_a_large_object_that_changes_meanwhile_is_never_mixed(seaweed, behind, proxy, large):
    other = large[::-1]
    behind.put("root", [large])
    direct = opened(seaweed.environment(), behind.where)

    def decide(request):
        if request.method != "GET":
            return None
        if len(proxy.log) == 1:
            return CutReply(5 << 20)
        if len(proxy.log) == 2:
            direct.replace("root", large, other)
        return None

    proxy.forget()
    proxy.decide = decide
    assert behind.get("root") == other


def test_a_slow_line_is_no_stalled_one(seaweed, behind, proxy, large):
    """Both take longer than the time without a byte after which a request is given up."""
    hasty = opened(seaweed.environment(port=proxy.port), behind.where, Patience(stall=2, total=0))
    proxy.rate = 3 << 20
    assert hasty.put(OBJECT, [large])
    assert hasty.get(OBJECT) == large
    assert proxy.requests == {"PUT": 1, "GET": 1}


def test_many_parts_come_in_few_requests_and_are_exact(behind, proxy, large):
    behind.put(OBJECT, [large])
    ranges = [(n << 20, 1000 + n) for n in range(8)] + [(5, 10), (15, 100), (0, 5), (1 << 20, 1000), (7, 0)]
    proxy.forget()
    assert behind.get_ranges(OBJECT, ranges) == [large[at : at + size] for at, size in ranges]
    assert proxy.requests["GET"] == 8
    assert proxy.received < 20_000
    for wrong in ((len(large) - 1, 2), (len(large), 1), (-1, 1), (1 << 60, 1)):
        with pytest.raises(CorruptFile):
            behind.get_ranges(OBJECT, [(0, 1), wrong])
    with pytest.raises(NotFound):
        behind.get_ranges("packs/none", [(0, 1)])


def test_a_store_that_answers_a_range_with_something_else_is_not_believed(behind, proxy):
    behind.put(OBJECT, [b"0123456789"])
    proxy.decide = lambda request: DropHeaders(("range",)) if request.method == "GET" else None
    with pytest.raises(StorageError):  # the signature no longer fits: refused, not wrong bytes
        behind.get_range(OBJECT, 2, 3)


def test_an_object_larger_than_any_of_ours_is_not_read(behind, monkeypatch, proxy):
    monkeypatch.setattr(objectstore, "MAX_OBJECT_BYTES", 1000)
    behind.put(OBJECT, [bytes(2000)])
    proxy.forget()
    with pytest.raises(CorruptFile, match="more than any object"):
        behind.get(OBJECT)


def test_list_goes_over_pages(behind):
    keys = [f"packs/{n:04}" for n in range(1100)]
    threads = [
        threading.Thread(target=lambda part=part: [behind.put(key, [b"x"]) for key in keys[part::4]])
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [key for key, _ in behind.list("packs/")] == keys
    assert behind.some_key() is not None
    assert behind.some_key(but=keys) is None


# --- secrets -----------------------------------------------------------------------------------------------


def test_no_message_has_a_secret(seaweed, proxy, caplog):
    environment = {**seaweed.environment(port=proxy.port), "AWS_SECRET_ACCESS_KEY": "wrong+secret/of+ours"}
    environment["AWS_SESSION_TOKEN"] = "a-token-of-ours"
    echo = (
        b"<Error><Code>SignatureDoesNotMatch</Code><Token>a-token-of-ours</Token>wrong+secret/of+ours</Error>"
    )
    backend = opened(environment, seaweed.address(), SOON)
    for fault in (None, Answer(403, echo), Answer(400, echo), Answer(500, echo), CutReply(0)):
        proxy.decide = first(99, fault)
        for touch in (lambda: backend.get(OBJECT), lambda: backend.put(OBJECT, [b"x"])):
            with pytest.raises(StorageError) as refused:
                touch()
            error = refused.value
            shown = f"{error} {error.message} {error.hint} {error!r} {error.__notes__}"
            assert error.__cause__ is None
            assert error.__suppress_context__
            for secret in ("a-token-of-ours", "wrong+secret", KEY, SECRET):
                assert secret not in shown
    assert "secret" not in repr(vars(backend)).lower()


# --- what a store must promise -----------------------------------------------------------------------------


def test_a_server_that_keeps_its_promises_passes_and_is_left_as_it_was(behind, proxy):
    probe(behind)
    assert list(behind.list("")) == []
    proxy.decide = first(3, LoseReply(), "PUT")
    probe(behind)
    assert list(behind.list("")) == []


@pytest.mark.parametrize(
    ("dropped", "said"), [("if-none-match", "refuse to create"), ("if-match", "refuse a stale ETag")]
)
def test_a_server_that_ignores_conditions_is_refused_by_name(seaweed, proxy, dropped, said):
    environment = {
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}",
    }
    backend = opened(environment, seaweed.address(OPEN_BUCKET))
    probe(backend)
    proxy.decide = lambda request: DropHeaders((dropped,))
    with pytest.raises(UnsupportedFeature, match=said):
        probe(backend)
    proxy.decide = lambda request: None
    assert list(backend.list("")) == []


class Pretends(ObjectStoreBackend):
    """A store in memory that lacks what its ``fault`` names."""

    def __init__(self, fault):
        self.where = "s3://pretends"
        self.fault = fault
        self.states = {}

    def get(self, key):
        if key not in self.states:
            raise NotFound(key)
        return b"" if self.fault == "empty" else self.states[key]

    def get_range(self, key, offset, length):
        if self.fault == "ranges":
            return self.states[key]
        return self.states[key][offset : offset + length]

    def put(self, key, pieces):
        if key in self.states and self.fault != "creates":
            return False
        self.states[key] = b"".join(pieces)
        return True

    def put_if(self, key, tag, data):
        if tag != self.tag(key) and self.fault != "stale":
            return False
        if self.fault == "matching":
            return False
        self.states[key] = data
        return True

    def tag(self, key):
        return "always" if self.fault == "tags" else str(hash(self.states[key]))

    def delete(self, key):
        self.states.pop(key, None)

    def list(self, prefix):
        return iter(() if self.fault == "list" else [(k, len(v)) for k, v in self.states.items()])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("empty", "give back"),
        ("creates", "refuse to create"),
        ("matching", "replace by a matching"),
        ("stale", "refuse a stale"),
        ("tags", "refuse a stale"),
        ("ranges", "cut out ranges"),
        ("list", "list what was just put"),
    ],
)
def test_each_promise_is_asked_for(fault, said):
    store = Pretends(fault)
    with pytest.raises(UnsupportedFeature, match=said):
        probe(store)
    assert store.states == {}


def test_a_store_that_lacks_nothing_passes():
    store = Pretends("")
    probe(store)
    assert store.states == {}


def test_probing_needs_no_more_than_its_own_folder():
    class Watched(Pretends):
        def put(self, key, pieces):
            assert key.startswith(FOLDER)
            return super().put(key, pieces)

    probe(Watched(""))


# --- the rest ----------------------------------------------------------------------------------------------


def test_without_the_package_the_command_to_install_it_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(UnsupportedFeature) as missing:
        opened({}, "s3://bucket/x")
    assert "pip install obstore" in missing.value.hint


def test_a_failure_that_nobody_foresaw_is_not_repeated():
    refusal = refusal_of(Exception("something new"))
    assert not refusal.passes
    assert refusal.uncertain


def test_configuration_that_obstore_refuses_shows_nothing_of_it(seaweed):
    environment = {**seaweed.environment(), "AWS_ENDPOINT_URL": "http://user:hidden@127.0.0.1:1"}
    with pytest.raises(ConfigError) as refused:
        opened(environment, seaweed.address())
    assert "hidden" not in str(refused.value)


def test_requests_and_bytes_are_counted():
    backend = RecordingBackend(MemoryBackend())
    backend.put(OBJECT, [b"12345", memoryview(b"67")])
    backend.get(OBJECT)
    backend.view(OBJECT)
    backend.get_range(OBJECT, 1, 2)
    backend.get_ranges(OBJECT, [(0, 1), (2, 3)])
    list(backend.list("packs/"))
    backend.replace("root", None, b"abc")
    backend.delete(OBJECT)
    assert backend.some_key(but=["root"]) is None
    assert backend.requests == {"put": 1, "get": 2, "get_range": 3, "list": 2, "replace": 1, "delete": 1}
    assert backend.places == {"packs": 8, "root": 1, "": 1}
    assert (backend.read_bytes, backend.written_bytes) == (20, 10)
    backend.reset()
    assert not backend.requests
    assert backend.read_bytes == 0
