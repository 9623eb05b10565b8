"""What settings of the scheduler are refused."""

from __future__ import annotations

import msgspec
import pytest

from bellcow.model.scheduler import (
    ALGORITHMS,
    SchedulerConfiguration,
    SchedulerConfigurationReply,
    SchedulerUpdateReply,
)
from bellcow.wire import to_json


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_known_algorithm_is_accepted(algorithm):
    assert SchedulerConfiguration(scheduler_algorithm=algorithm).problem() is None


@pytest.mark.parametrize("algorithm", ["", "Binpack", "spread ", "random"])
def test_other_algorithm_is_refused_in_nomads_words(algorithm):
    error = SchedulerConfiguration(scheduler_algorithm=algorithm).problem()
    assert error is not None
    assert error.message == f"invalid scheduler algorithm: {algorithm}"


def test_long_algorithm_is_not_repeated_in_full():
    error = SchedulerConfiguration(scheduler_algorithm="x" * 10_000).problem()
    assert error is not None
    assert len(error.message) < 120


def test_defaults_are_those_of_the_documentation():
    shown = msgspec.json.decode(to_json(SchedulerConfiguration()))
    assert shown["SchedulerAlgorithm"] == "binpack"
    assert shown["PreemptionConfig"] == {
        "BatchSchedulerEnabled": False,
        "ServiceSchedulerEnabled": False,
        "SysBatchSchedulerEnabled": False,
        "SystemSchedulerEnabled": True,
    }


def test_answers_have_the_keys_of_nomad():
    reply = SchedulerConfigurationReply(index=5, scheduler_config=SchedulerConfiguration())
    assert list(msgspec.json.decode(to_json(reply))) == [
        "Index",
        "KnownLeader",
        "LastContact",
        "SchedulerConfig",
    ]
    assert to_json(SchedulerUpdateReply(index=6, updated=True)) == b'{"Index":6,"Updated":true}'
