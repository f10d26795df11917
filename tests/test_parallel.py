"""Work in other threads: in order, bounded, and no error lost."""

from __future__ import annotations

import threading
import time

import pytest

from mvc.parallel import Behind, ordered_map


def test_calls_behind_run_one_at_a_time_in_order():
    behind, seen, running = Behind(3), [], threading.Lock()

    def call(number: int) -> None:
        assert running.acquire(blocking=False)
        time.sleep(0.001)
        seen.append(number)
        running.release()

    for number in range(50):
        behind.run(lambda number=number: call(number))
    behind.wait()
    assert seen == list(range(50))
    behind.stop()


def test_calls_run_while_the_caller_goes_on():
    behind, gate, done = Behind(2), threading.Event(), threading.Event()

    def call() -> None:
        assert gate.wait(10)
        done.set()

    behind.run(call)
    assert not behind.idle
    assert not done.is_set()
    gate.set()
    behind.wait()
    assert done.is_set()
    assert behind.idle
    behind.stop()


def test_no_more_calls_wait_than_the_window_has():
    behind, gate = Behind(3), threading.Event()
    handed: list[int] = []

    def hand() -> None:
        for number in range(10):
            behind.run(gate.wait)
            handed.append(number)

    thread = threading.Thread(target=hand)
    thread.start()
    time.sleep(0.1)
    assert len(handed) == 3
    gate.set()
    thread.join(10)
    assert len(handed) == 10
    behind.stop()


def test_an_error_stops_what_follows_and_is_raised_every_time():
    behind, seen = Behind(8), []

    def fail() -> None:
        raise OSError("full")

    behind.run(lambda: seen.append(1))
    behind.run(fail)
    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            behind.wait()
        with pytest.raises(OSError, match="full"):
            behind.run(lambda: seen.append(2))
    behind.stop()
    assert seen == [1]


def test_after_a_stop_nothing_runs_any_more():
    behind, gate, seen = Behind(8), threading.Event(), []
    behind.run(lambda: gate.wait(10))
    for number in range(5):
        behind.run(lambda number=number: seen.append(number))
    threading.Timer(0.05, gate.set).start()
    behind.stop()
    assert seen == []
    before = threading.active_count()
    behind.stop()
    assert threading.active_count() == before


def test_an_ordered_map_gives_the_first_error_in_its_turn():
    def work(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        return number

    results = ordered_map(work, range(100), workers=4)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)
