"""Writers on one branch of a bucket, some of them killed: the short form of ``make fleet``."""

from __future__ import annotations

import pytest

from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objectid import CommitId
from mvc.sharing.stores import create_store, open_store
from tests.faultproxy import FaultProxy, LoseReply
from tests.fleet import BRANCH, look, sail, write


def test_of_four_writers_one_is_killed_and_nothing_acknowledged_is_lost(seaweed, tmp_path):
    outcome = sail(seaweed, 4, 3, 1, tmp_path, seed=3)
    assert outcome.acknowledged >= 9
    assert outcome.versions >= outcome.acknowledged
    assert outcome.killed == 1


def test_a_commit_whose_reply_is_lost_is_made_once(seaweed, tmp_path):
    address = seaweed.address()
    with FaultProxy(seaweed.ports[0]) as proxy:
        environment = seaweed.environment(port=proxy.port)
        store = create_store(
            FileIO(), address, Monitor(), base=tmp_path, environment=environment, branch="main"
        )
        proxy.decide = lambda request: (
            LoseReply() if (request.method, request.path[-5:]) == ("PUT", "/root") else None
        )
        # none ever comes: only reading tells
        acknowledged = {f"0.{number}": write(store, 0, number).hex() for number in range(3)}
    assert look(store_of(address, seaweed, tmp_path), acknowledged) == 3


def test_a_commit_whose_reply_is_lost_and_on_which_others_built_is_made_once(seaweed, tmp_path):
    """The swap landed, its reply did not come, and before it was tried again somebody built upon it: what the
    new root names must not be taken back, and the commit must not be made again."""
    address = seaweed.address()
    with FaultProxy(seaweed.ports[0]) as proxy:
        environment = seaweed.environment(port=proxy.port)
        store = create_store(
            FileIO(), address, Monitor(), base=tmp_path, environment=environment, branch="main"
        )
        other = store_of(address, seaweed, tmp_path)
        acknowledged, swaps = {}, []

        def decide(request):
            if not request.path.endswith("/root"):
                return None
            if request.method == "PUT":
                swaps.append(request)
                return LoseReply() if len(swaps) == 1 else None
            if swaps and not acknowledged:
                acknowledged["1.0"] = write(other, 1, 0).hex()
            return None

        proxy.decide = decide
        acknowledged["0.0"] = write(store, 0, 0).hex()
        assert len(swaps) == 1
        assert isinstance(store.read().refs.get(BRANCH), CommitId)
    found = store_of(address, seaweed, tmp_path)
    assert look(found, acknowledged) == 2
    assert [operation.command for operation in found.read().operations()].count("commit") == 2


def store_of(address, seaweed, base):
    return open_store(FileIO(), address, Monitor(), base=base, environment=seaweed.environment())


def test_the_check_of_a_fleet_sees_what_is_lost(seaweed, tmp_path):
    address = seaweed.address()
    store = create_store(
        FileIO(), address, Monitor(), base=tmp_path, environment=seaweed.environment(), branch="main"
    )
    commit = write(store, 0, 0).hex()
    assert look(store, {"0.0": commit}) == 1
    for lost in ({"0.0": commit, "0.1": commit}, {"0.0": "00" * 32}):
        with pytest.raises(AssertionError, match="lost"):
            look(store, lost)
