"""The table of flags."""

from __future__ import annotations

import pytest

from bellcow.config.flags import FLAGS
from bellcow.config.keys import all_keys

BY_PATH = {key.path: key for key in all_keys()}
KINDS = {
    "string": {"string"},
    "number": {"number"},
    "bool": {"bool"},
    "duration": {"duration"},
    "list": {"list"},
    "commas": {"list"},
    "map": {"map"},
}


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.path], ids=lambda flag: flag.name)
def test_a_flag_sets_a_setting_of_its_kind(flag):
    assert BY_PATH[flag.path].kind in KINDS[flag.kind]


def test_names_are_unique_and_every_flag_has_help():
    assert len({flag.name for flag in FLAGS}) == len(FLAGS)
    assert all(flag.help.endswith(".") for flag in FLAGS)


def test_all_flags_of_the_real_agent_exist():
    general = "bind config data-dir plugin-dir dc log-level log-json node region dev dev-connect"
    server = (
        "server bootstrap-expect encrypt raft-protocol rejoin join retry-join retry-max "
        "retry-interval acl-enabled acl-replication-token"
    )
    client = "client state-dir alloc-dir node-class servers meta network-interface network-speed "
    names = {flag.name for flag in FLAGS}
    assert names >= set(f"{general} {server} {client}".split())
    assert any(name.startswith("consul-") for name in names)
    assert any(name.startswith("vault-") for name in names)
