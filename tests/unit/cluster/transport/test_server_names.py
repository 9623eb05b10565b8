"""Certificate names that show a server and its region."""

from __future__ import annotations

import pytest

from bellcow.cluster.transport.server_names import ServerNames
from bellcow.errors import Code, Error

NOMAD, OURS = ServerNames("nomad"), ServerNames("bellcow")


@pytest.mark.parametrize("names", [NOMAD, OURS])
def test_server_name_contains_its_region(names: ServerNames):
    own = {names.of("eu"), "localhost"}
    names.check(own, "eu")
    names.check_any(own)
    with pytest.raises(Error, match="certificate is not one of server") as caught:
        names.check(own, "global")
    assert caught.value.code is Code.DENIED


def test_operator_s_certificates_spell_the_region_as_nomad():
    assert NOMAD.of("EU west") == "server.EU west.nomad"
    assert OURS.of("EU west") != OURS.of("eu west")


@pytest.mark.parametrize("names", [NOMAD, OURS])
def test_client_names_and_names_of_the_other_kind_are_refused(names: ServerNames):
    other = OURS if names is NOMAD else NOMAD
    for wrong in (
        "client.eu.nomad",
        "client.eu.bellcow",
        "server.eu",
        "*.eu.nomad",
        other.of("eu"),
    ):
        with pytest.raises(Error, match="not one of a server"):
            names.check_any({wrong})
    with pytest.raises(Error, match="its names: none"):
        names.check((), "eu")
