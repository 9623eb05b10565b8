"""What follows from the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from bellcow.config import derive, model
from bellcow.config.keys import all_keys, put_value
from bellcow.config.model import Settings
from bellcow.config.server_block import DefaultScheduler
from bellcow.gocompat.duration import Duration
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.scheduler import SchedulerConfiguration


def with_values(**values):
    settings = Settings()
    for path, value in values.items():
        settings = put_value(settings, path.replace("__", "."), value)
    return settings


def test_state_is_below_data_dir_unless_it_has_a_place_of_its_own():
    assert derive.server_directory(Settings()) is None
    assert derive.server_directory(with_values(data_dir="/d")) == Path("/d/server")
    own = with_values(data_dir="/d", server__data_dir="/e")
    assert derive.server_directory(own) == Path("/e")


def test_both_spellings_of_join_mean_the_same():
    old = with_values(
        server__retry_join=("a",), server__retry_max=2, server__retry_interval=Duration.parse("1s")
    )
    new = with_values(
        server__server_join__retry_join=("a",),
        server__server_join__retry_max=2,
        server__server_join__retry_interval=Duration.parse("1s"),
    )
    assert derive.server_join(old) == derive.server_join(new)
    assert derive.server_join(new).retry_max == 2


def test_retry_settings_in_the_block_count_without_servers_in_it():
    only_max = with_values(server__server_join__retry_max=2)
    assert derive.server_join(only_max).retry_max == 2


def test_the_defaults_are_those_of_the_interface():
    assert derive.first_scheduler_configuration(Settings()) == SchedulerConfiguration()
    assert derive.first_autopilot_configuration(Settings()) == AutopilotConfiguration()


def test_every_setting_of_scheduler_and_autopilot_arrives():
    block = "server.default_scheduler_config"
    for key in (*all_keys(DefaultScheduler, f"{block}."),):
        if key.kind == "block":
            continue
        changed = {"string": "spread", "number": 7, "bool": not key.default}[key.kind]
        settings = put_value(Settings(), key.path, changed)
        assert derive.first_scheduler_configuration(settings) != SchedulerConfiguration(), key.path
    for key in all_keys(model.Autopilot, "autopilot."):
        changed = {"number": 7, "bool": not key.default, "duration": Duration(1)}[key.kind]
        settings = put_value(Settings(), key.path, changed)
        assert derive.first_autopilot_configuration(settings) != AutopilotConfiguration(), key.path


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("!!!", 0),
        ("YWJ", 0),
        ("YWJjZA", 4),
        ("YW!j", 2),
        ("YWJj=", 4),
        ("YWJjY===", 5),
        ("YW=", 3),
        ("YW=x", 2),
        ("YW==x", 4),
        ("YWI=x", 4),
    ],
)
def test_a_key_that_is_not_base64_is_refused_with_the_place(text, place):
    with pytest.raises(ValueError, match=f"^illegal base64 data at input byte {place}$"):
        derive.encrypt_key(with_values(server__encrypt=text))


def test_a_key_is_read_with_or_without_line_ends():
    assert derive.encrypt_key(with_values(server__encrypt="YWJj\n")) == b"abc"
