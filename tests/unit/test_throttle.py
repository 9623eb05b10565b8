"""How often the log says the same thing."""

from __future__ import annotations

from tests.sim.clock import FixedClock

from bellcow.throttle import KEYS_MAX, LATELY_S, Reminders, Throttle


def test_throttle_lets_one_of_each_key_through_and_counts_the_others():
    throttle = Throttle(1.0, 10)
    assert [throttle.held_back("a", now) for now in (0.0, 0.1, 0.9)] == [0, None, None]
    assert throttle.held_back("b", 0.9) == 0
    assert throttle.held_back("a", 1.0) == 2
    assert throttle.held_back("a", 2.5) == 0


def test_throttle_lets_a_bounded_number_of_keys_through():
    throttle = Throttle(1.0, 10, drop_when_full=True)
    passed = [throttle.held_back(number, 0.0) for number in range(100)]
    assert passed == [0] * 10 + [None] * 90
    assert throttle.held_back(50, 1.0) == 0
    assert len(throttle._passed) == 1


def test_full_throttle_forgets_its_keys_when_none_may_be_lost():
    throttle = Throttle(1.0, 10)
    assert all(throttle.passes(number, 0.0) for number in range(100))
    assert len(throttle._passed) == 10


def test_throttle_without_a_time_lets_a_key_pass_once_until_it_forgets():
    throttle = Throttle()
    assert [throttle.passes(key) for key in "abab"] == [True, True, False, False]
    throttle.forget()
    assert throttle.passes("a")


def test_what_lasts_is_said_once_a_minute_and_remembered_within_bounds():
    clock, said = FixedClock(), []
    reminders = Reminders(clock, lambda event, /, **fields: said.append(fields))
    for _ in range(130):
        reminders.report("peer_refused", client="a", reason="wrong key")
        clock.advance(1)
    assert said == [{"client": "a", "reason": "wrong key"}] * 3
    for number in range(1_000):
        reminders.report("peer_refused", client=str(number), reason="wrong key")
    assert len(said) == 1_003
    assert len(reminders._throttle._passed) <= KEYS_MAX


def test_event_counts_as_recent_while_it_is_due_though_it_is_not_reported():
    clock, said = FixedClock(), []
    reminders = Reminders(clock, lambda event, /, **fields: said.append(event))
    for _ in range(2):
        reminders.report("copy_stalled", reason="no voter")
        clock.advance(LATELY_S)
    assert reminders.latest() == {"copy_stalled": {"reason": "no voter"}}
    clock.advance(0.1)
    assert reminders.latest() == {}
    assert said == ["copy_stalled"]


def test_forgotten_event_is_reported_again():
    said: list[str] = []
    reminders = Reminders(FixedClock(), lambda event, /, **fields: said.append(event))
    reminders.report("copy_stalled")
    reminders.forget()
    reminders.report("copy_stalled")
    assert said == ["copy_stalled", "copy_stalled"]
