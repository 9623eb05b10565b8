"""The `client` block. Bellcow runs no clients: only `enabled` has an effect."""

from __future__ import annotations

from typing import Annotated

import msgspec

from bellcow.config.block import Anything, Block, Strings, acts, ignored, seconds
from bellcow.config.server_block import ServerJoin
from bellcow.gocompat.duration import Duration


class Client(Block, frozen=True, kw_only=True):
    """This agent as a client; accepted so that files shared with Nomad's clients load."""

    enabled: Annotated[
        bool, acts("Run as a client; refused without a server, since bellcow has none.")
    ] = False
    servers: Annotated[Strings, ignored("Servers of the client.")] = ()
    server_join: Annotated[ServerJoin, ignored("Servers of the client.")] = ServerJoin()
    state_dir: Annotated[str, ignored("Where the client keeps its state.")] = ""
    alloc_dir: Annotated[str, ignored("Where allocations live.")] = ""
    node_class: Annotated[str, ignored("Class of the node.")] = ""
    node_pool: Annotated[str, ignored("Pool of the node.")] = ""
    meta: Annotated[dict[str, str], ignored("Facts about the node.")] = msgspec.field(
        default_factory=dict
    )
    options: Annotated[dict[str, str], ignored("Options of drivers.")] = msgspec.field(
        default_factory=dict
    )
    network_interface: Annotated[str, ignored("Network of the node.")] = ""
    network_speed: Annotated[int, ignored("Network of the node.")] = 0
    gc_interval: Annotated[Duration, ignored("Pause between clean-ups.")] = seconds(60)
    alloc_mounts_dir: Annotated[Anything, ignored("Node agent.")] = Anything()
    artifact: Annotated[Anything, ignored("Node agent.")] = Anything()
    bridge_network_hairpin_mode: Annotated[Anything, ignored("Node agent.")] = Anything()
    bridge_network_name: Annotated[Anything, ignored("Node agent.")] = Anything()
    bridge_network_subnet: Annotated[Anything, ignored("Node agent.")] = Anything()
    bridge_network_subnet_ipv6: Annotated[Anything, ignored("Node agent.")] = Anything()
    cgroup_parent: Annotated[Anything, ignored("Node agent.")] = Anything()
    chroot_env: Annotated[Anything, ignored("Node agent.")] = Anything()
    client_max_port: Annotated[Anything, ignored("Node agent.")] = Anything()
    client_min_port: Annotated[Anything, ignored("Node agent.")] = Anything()
    cni_config_dir: Annotated[Anything, ignored("Node agent.")] = Anything()
    cni_path: Annotated[Anything, ignored("Node agent.")] = Anything()
    common_plugin_dir: Annotated[Anything, ignored("Node agent.")] = Anything()
    cpu_disable_dmidecode: Annotated[Anything, ignored("Node agent.")] = Anything()
    cpu_total_compute: Annotated[Anything, ignored("Node agent.")] = Anything()
    disable_remote_exec: Annotated[Anything, ignored("Node agent.")] = Anything()
    disk_free_mb: Annotated[Anything, ignored("Node agent.")] = Anything()
    disk_total_mb: Annotated[Anything, ignored("Node agent.")] = Anything()
    drain_on_shutdown: Annotated[Anything, ignored("Node agent.")] = Anything()
    fingerprint: Annotated[Anything, ignored("Node agent.")] = Anything()
    gc_disk_usage_threshold: Annotated[Anything, ignored("Node agent.")] = Anything()
    gc_inode_usage_threshold: Annotated[Anything, ignored("Node agent.")] = Anything()
    gc_max_allocs: Annotated[Anything, ignored("Node agent.")] = Anything()
    gc_parallel_destroys: Annotated[Anything, ignored("Node agent.")] = Anything()
    gc_volumes_on_node_gc: Annotated[Anything, ignored("Node agent.")] = Anything()
    host_network: Annotated[Anything, ignored("Node agent.")] = Anything()
    host_volume: Annotated[Anything, ignored("Node agent.")] = Anything()
    host_volume_plugin_dir: Annotated[Anything, ignored("Node agent.")] = Anything()
    host_volumes_dir: Annotated[Anything, ignored("Node agent.")] = Anything()
    intro_token: Annotated[Anything, ignored("Node agent.")] = Anything()
    max_dynamic_port: Annotated[Anything, ignored("Node agent.")] = Anything()
    max_kill_timeout: Annotated[Anything, ignored("Node agent.")] = Anything()
    memory_total_mb: Annotated[Anything, ignored("Node agent.")] = Anything()
    min_dynamic_port: Annotated[Anything, ignored("Node agent.")] = Anything()
    no_host_uuid: Annotated[Anything, ignored("Node agent.")] = Anything()
    node_max_allocs: Annotated[Anything, ignored("Node agent.")] = Anything()
    nomad_service_discovery: Annotated[Anything, ignored("Node agent.")] = Anything()
    preferred_address_family: Annotated[Anything, ignored("Node agent.")] = Anything()
    reservable_cores: Annotated[Anything, ignored("Node agent.")] = Anything()
    reserved: Annotated[Anything, ignored("Node agent.")] = Anything()
    template: Annotated[Anything, ignored("Node agent.")] = Anything()
    users: Annotated[Anything, ignored("Node agent.")] = Anything()
    stats: Annotated[Anything, ignored("Node agent.")] = Anything()
    bind_wildcard_default_host_network: Annotated[Anything, ignored("Node agent.")] = Anything()
    default_ineligible: Annotated[Anything, ignored("Node agent.")] = Anything()
    log_file: Annotated[Anything, ignored("Node agent.")] = Anything()
