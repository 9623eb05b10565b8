"""Values derived from the settings in more than one place."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING

from bellcow.config.joins import split_join_address
from bellcow.config.server_block import ServerJoin
from bellcow.model.autopilot import AutopilotConfiguration
from bellcow.model.scheduler import PreemptionConfig, SchedulerConfiguration

if TYPE_CHECKING:
    from bellcow.config.model import Settings

# Source: RFC 5424, 6.2.1, under the names of syslog(3).
_LOW_FACILITIES = "KERN USER MAIL DAEMON AUTH SYSLOG LPR NEWS UUCP CRON AUTHPRIV FTP"
SYSLOG_FACILITIES = {
    **{name: number for number, name in enumerate(_LOW_FACILITIES.split())},
    **{f"LOCAL{number}": 16 + number for number in range(8)},
}
_DIGITS = re.compile(r"[A-Za-z0-9+/]*")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def server_directory(settings: Settings) -> Path | None:
    """The directory of a server's state; None if the state is in memory only."""
    if settings.server.data_dir:
        return Path(settings.server.data_dir)
    return Path(settings.data_dir) / "server" if settings.data_dir else None


def server_join(settings: Settings) -> ServerJoin:
    """Which servers to join, from the old or the new spelling of the settings."""
    server = settings.server
    new = server.server_join
    if new.start_join or new.retry_join or not (server.start_join or server.retry_join):
        return new
    return ServerJoin(
        retry_join=server.retry_join,
        start_join=server.start_join,
        retry_max=server.retry_max,
        retry_interval=server.retry_interval,
    )


def join_addresses(settings: Settings) -> tuple[tuple[str, int], ...]:
    """Host and port of the servers to join, as written; without a port, Nomad's."""
    join = server_join(settings)
    written = dict.fromkeys((*join.start_join, *join.retry_join))
    return tuple(split_join_address(text) for text in written)


def first_scheduler_configuration(settings: Settings) -> SchedulerConfiguration:
    """The scheduler configuration that the first leader of a new cluster stores."""
    config = settings.server.default_scheduler_config
    preemption = config.preemption_config
    return SchedulerConfiguration(
        scheduler_algorithm=config.scheduler_algorithm,
        memory_oversubscription_enabled=config.memory_oversubscription_enabled,
        reject_job_registration=config.reject_job_registration,
        pause_eval_broker=config.pause_eval_broker,
        node_limit_for_feasibility_checks=config.node_limit_for_feasibility_checks,
        preemption_config=PreemptionConfig(
            system_scheduler_enabled=preemption.system_scheduler_enabled,
            sys_batch_scheduler_enabled=preemption.sysbatch_scheduler_enabled,
            batch_scheduler_enabled=preemption.batch_scheduler_enabled,
            service_scheduler_enabled=preemption.service_scheduler_enabled,
        ),
    )


def first_autopilot_configuration(settings: Settings) -> AutopilotConfiguration:
    """The autopilot configuration that the first leader of a new cluster stores."""
    config = settings.autopilot
    return AutopilotConfiguration(
        cleanup_dead_servers=config.cleanup_dead_servers,
        last_contact_threshold=config.last_contact_threshold,
        max_trailing_logs=config.max_trailing_logs,
        min_quorum=config.min_quorum,
        server_stabilization_time=config.server_stabilization_time,
        enable_redundancy_zones=config.enable_redundancy_zones,
        disable_upgrade_migration=config.disable_upgrade_migration,
        enable_custom_upgrades=config.enable_custom_upgrades,
    )


def encrypt_key(settings: Settings) -> bytes:
    """The key between servers.

    Raises:
        ValueError: it is not base64; the text is Go's.
    """
    text = settings.server.encrypt.replace("\r", "").replace("\n", "")
    if not _BASE64.fullmatch(text):
        raise ValueError(f"illegal base64 data at input byte {_first_bad(text)}")
    return base64.b64decode(text)


def _first_bad(text: str) -> int:
    """The offset at which Go's decoder stops: a foreign character, or wrong padding."""
    found = _DIGITS.match(text)
    end = found.end() if found else 0
    left_over = end % 4
    if end == len(text):
        return end - left_over
    if text[end] != "=" or left_over < 2:
        return end
    if left_over == 3:
        return end + 1
    if end + 1 == len(text):
        return len(text)
    return end + 2 if text[end + 1] == "=" else end
