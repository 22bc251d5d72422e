"""The control plane's own loop: what is called, when, and in which order."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from fiducial.fastpath.loop import Loop

#: So long is waited for what must come (s).
PATIENCE_S = 5


def give_up(*_: object) -> None:
    """It did not come."""
    raise TimeoutError


@pytest.fixture
def loop() -> Iterator[Loop]:
    """One that does not run yet, nor for ever."""
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE_S)
    with Loop() as one:
        yield one
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_timers_are_called_when_they_are_due_and_in_that_order(loop: Loop) -> None:
    called: list[int] = []
    for number in range(20):
        loop.call_later(-number, called.append, number)
    loop.call_later(0, called.append, 0)
    loop.call_later(3600, called.append, 3600)
    begun = time.monotonic()
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert called == [*reversed(range(20)), 0] and time.monotonic() - begun >= 0.01


def test_a_timer_that_is_due_in_a_lifetime_is_no_fault(loop: Loop) -> None:
    loop.call_later(2**63 / 1000, loop.stop)
    loop.call_soon_threadsafe(loop.stop)
    loop.run_forever()


def test_a_timer_that_was_cancelled_is_not_called_also_by_one_that_is_due_with_it(loop: Loop) -> None:
    called: list[str] = []
    other = loop.call_later(-1, called.append, "other")
    loop.call_later(-2, other.cancel)
    own = loop.call_later(-3, lambda: own.cancel())  # it was called already: that changes nothing
    loop.call_later(0, loop.stop)
    loop.run_forever()
    assert called == [] and not loop.timers


def test_what_can_be_read_is_read_until_nobody_wants_it_any_more(loop: Loop) -> None:
    there, here = os.pipe()
    heard: list[bytes] = []

    def hear() -> None:
        heard.append(os.read(there, 1))
        if heard[-1] == b"b":
            loop.remove_reader(there)
            loop.call_later(0, loop.call_later, 0, loop.call_later, 0, loop.stop)  # some turns later

    os.write(here, b"abcd")
    loop.add_reader(there, hear)
    loop.run_forever()
    assert heard == [b"a", b"b"]
    os.close(there)
    os.close(here)


def test_another_thread_wakes_it(loop: Loop) -> None:
    def hand_over() -> None:
        time.sleep(0.1)  # it sleeps by then
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=hand_over)
    thread.start()
    loop.run_forever()
    thread.join()


def test_however_much_is_handed_over_is_called_in_order(loop: Loop) -> None:
    heard: list[int] = []
    for number in range(100_000):  # more often than the pipe holds
        loop.call_soon_threadsafe(heard.append, number)
    loop.call_soon_threadsafe(loop.stop)
    loop.run_forever()
    assert heard == list(range(100_000))


def test_a_signal_wakes_it_also_one_that_another_thread_takes(loop: Loop) -> None:
    def take() -> None:
        time.sleep(0.1)  # it sleeps by then
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    thread = threading.Thread(target=take)
    thread.start()
    loop.run_forever()
    thread.join()


def test_a_signal_that_came_before_it_ran_is_heard_and_later_ones_are_whose_they_were(loop: Loop) -> None:
    usual = signal.getsignal(signal.SIGUSR1)
    with Loop() as own:
        own.add_signal_handler(signal.SIGUSR1, own.stop)
        own.add_signal_handler(signal.SIGUSR1, own.stop)
        signal.raise_signal(signal.SIGUSR1)
        own.run_forever()
    assert signal.getsignal(signal.SIGUSR1) == usual


def test_a_fault_of_ours_is_logged_and_the_loop_goes_on(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.call_later(0, lambda: 1 / 0)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert [record.getMessage() for record in caplog.records] == ["internal error"] and "ZeroDivisionError" in caplog.text
