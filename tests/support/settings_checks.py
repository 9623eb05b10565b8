"""The problems of a good server's settings after some changes."""

from __future__ import annotations

from bellcow.config.addresses import Machine
from bellcow.config.keys import put_value
from bellcow.config.model import Settings
from bellcow.config.validate import validate

MACHINE = Machine({"eth0": ("10.0.0.5",)}, lambda host: (host,))


KEY = "b29vb29vb29vb29vb29vbw=="


GOOD = {
    "data_dir": "/d",
    "server.enabled": True,
    "server.bootstrap_expect": 3,
    "server.encrypt": KEY,
}


def check(changes=None, *, dev=False, origins=None, base=GOOD):
    settings = Settings()
    for path, value in (base | (changes or {})).items():
        settings = put_value(settings, path, value)
    return validate(settings, origins=origins, dev=dev, machine=MACHINE)


def errors(*args, **more):
    return [
        (problem.phase, problem.message) for problem in check(*args, **more) if not problem.warning
    ]


def warnings(*args, **more):
    return [problem.message for problem in check(*args, **more) if problem.warning]
