"""The table of all commands: name, synopsis and the module that holds the function.

Help and completion read this table alone. A leaf is `module:attribute` below `cli.commands`.
"""

from __future__ import annotations

from typing import NamedTuple


class Leaf(NamedTuple):
    """A command: its function as `module:attribute`, and its synopsis."""

    place: str
    synopsis: str
    hidden: bool = False


class Branch(NamedTuple):
    """A group: its synopsis, the text of its help, and its commands and groups."""

    synopsis: str
    text: str
    below: dict[str, Leaf | Branch]
    usage: str = "<subcommand> [options]"
    hidden: bool = False


_ARGUMENTS = "<subcommand> [options] [args]"

_RAFT = Branch(
    "See and change which servers are peers, and read their stores",
    "Shows and changes the consensus configuration, and reads a server's store.",
    {
        "_info": Leaf("operator.raft.store:info", "", hidden=True),
        "_logs": Leaf("operator.raft.store:logs", "", hidden=True),
        "_state": Leaf("operator.raft.store:state", "", hidden=True),
        "defrag": Leaf(
            "operator.raft.defrag:defrag", "Return unused space of a server's store to the disk"
        ),
        "info": Leaf("operator.raft.store:info", "Show the size and the index of a server's store"),
        "list-peers": Leaf(
            "operator.raft.peers:list_peers", "List the peers, and which of them vote"
        ),
        "logs": Leaf("operator.raft.store:logs", "Print the last commits of a server"),
        "recover": Leaf(
            "operator.raft.recover:recover", "Prepare a server for recovery from a lost quorum"
        ),
        "remove-peer": Leaf("operator.raft.peers:remove_peer", "Remove a server from the peers"),
        "state": Leaf("operator.raft.store:state", "Print every object in a server's store"),
        "transfer-leadership": Leaf(
            "operator.raft.peers:transfer_leadership", "Transfer the leadership to another voter"
        ),
    },
)
_AUTOPILOT = Branch(
    "See the health of the servers, and change autopilot's settings",
    "Shows the health of the servers; reads and changes the settings of autopilot.",
    {
        "get-config": Leaf("operator.autopilot:get_config", "Show the settings of autopilot"),
        "health": Leaf(
            "operator.autopilot:health", "Show each server's health and say what is wrong"
        ),
        "set-config": Leaf("operator.autopilot:set_config", "Change settings of autopilot"),
    },
)
_SCHEDULER = Branch(
    "See and change how work is placed",
    "Reads and changes the settings of the scheduler.",
    {
        "get-config": Leaf("operator.scheduler:get_config", "Show the settings of the scheduler"),
        "set-config": Leaf("operator.scheduler:set_config", "Change settings of the scheduler"),
    },
)
_SNAPSHOT = Branch(
    "Back up and restore the state of the servers",
    "Saves the state of the servers to a file, shows the content of such a file, and restores it.",
    {
        "agent": Leaf(
            "operator.snapshot.agent:agent", "Save at an interval and keep the newest files"
        ),
        "inspect": Leaf("operator.snapshot.archive:inspect", "Show the content of a snapshot file"),
        "redact": Leaf(
            "operator.snapshot.archive:redact", "Remove the secrets from a snapshot file"
        ),
        "restore": Leaf(
            "operator.snapshot.archive:restore", "Replace the state by that of a snapshot file"
        ),
        "save": Leaf("operator.snapshot.archive:save", "Save the state to a file"),
        "state": Leaf("operator.snapshot.state:state", "Print the objects of a snapshot file"),
    },
)
_GOSSIP = Branch(
    "Manage the key of server-to-server traffic",
    "Makes and manages the keys that protect the traffic between servers.",
    {
        "keyring": Branch(
            "Make, list and change keys",
            "Makes a key, lists the installed ones, and changes which is used.",
            {
                "generate": Leaf("operator.keyring:keygen", "Make a new random key"),
                "install": Leaf("operator.keyring:install", "Install a key on all servers"),
                "list": Leaf("operator.keyring:list_keys", "List the installed keys"),
                "remove": Leaf("operator.keyring:remove", "Remove a key from all servers"),
                "use": Leaf("operator.keyring:use", "Encrypt with this key from now on"),
            },
        )
    },
)
_OPERATOR = Branch(
    "Manage the servers of the cluster",
    "Commands for the operators of the cluster: its servers, their health, settings and backups.",
    {
        "api": Leaf("operator.api:api", "Send a request to the HTTP API"),
        "autopilot": _AUTOPILOT,
        "gossip": _GOSSIP,
        "keygen": Leaf("operator.keyring:keygen", "Make a new random encryption key"),
        "keyring": Leaf("operator.keyring:keyring", "List and change the encryption keys"),
        "metrics": Leaf("operator.metrics:metrics", "Show the metrics of one server"),
        "raft": _RAFT,
        "scheduler": _SCHEDULER,
        "snapshot": _SNAPSHOT,
    },
)
_LICENSE = Branch(
    "See, install and issue licenses",
    "Shows and installs the license of the cluster, and issues licenses of your own.",
    {
        "get": Leaf("license:get", "Show the license of the cluster"),
        "inspect": Leaf("license:inspect", "Show the content of a license file"),
        "issue": Leaf("license:issue", "Sign a license with your key"),
        "keygen": Leaf("license:keygen", "Make a key to sign licenses with"),
        "put": Leaf("license:put", "Install a license"),
    },
    _ARGUMENTS,
)
_SERVER = Branch(
    "See the servers, join them, make one leave",
    "Lists the members, joins further servers, and makes one leave.",
    {
        "force-leave": Leaf("server:force_leave", "Remove a failed server from the cluster"),
        "join": Leaf("server:join", "Join servers to this one"),
        "members": Leaf("server:members", "List the servers and their status"),
    },
    _ARGUMENTS,
)
_ACL = Branch(
    "Manage policies and tokens",
    "Manages access control: policies grant rights, tokens carry policies.",
    {
        "bootstrap": Leaf("acl.acl:bootstrap", "Make the first management token"),
        "policy": Branch(
            "Manage policies",
            "Writes, lists, shows and deletes policies.",
            {
                "apply": Leaf("acl.policy:apply", "Write a policy"),
                "delete": Leaf("acl.policy:delete", "Delete a policy"),
                "info": Leaf("acl.policy:info", "Show a policy"),
                "list": Leaf("acl.policy:list_policies", "List the policies"),
                "self": Leaf("acl.policy:self_", "List the policies of the token in use"),
            },
            _ARGUMENTS,
        ),
        "token": Branch(
            "Manage tokens",
            "Creates, lists, shows, changes and deletes tokens.",
            {
                "create": Leaf("acl.token:create", "Create a token"),
                "delete": Leaf("acl.token:delete", "Delete a token"),
                "info": Leaf("acl.token:info", "Show a token"),
                "list": Leaf("acl.token:list_tokens", "List the tokens"),
                "self": Leaf("acl.token:self_", "Show the token in use"),
                "update": Leaf("acl.token:update", "Change a token"),
            },
            _ARGUMENTS,
        ),
    },
    _ARGUMENTS,
)
_NAMESPACE = Branch(
    "Manage namespaces",
    "Writes, lists, shows and deletes namespaces.",
    {
        "apply": Leaf("namespace:apply", "Create or change a namespace"),
        "delete": Leaf("namespace:delete", "Delete a namespace"),
        "inspect": Leaf("namespace:inspect", "Show a namespace as JSON"),
        "list": Leaf("namespace:list_namespaces", "List the namespaces"),
        "status": Leaf("namespace:status", "Show a namespace"),
    },
    _ARGUMENTS,
)
_SYSTEM = Branch(
    "Clean up",
    "Housekeeping of the whole cluster.",
    {
        "gc": Leaf("system:gc", "Collect garbage"),
        "reconcile": Branch(
            "Recompute derived state",
            "Recomputes derived state.",
            {"summaries": Leaf("system:summaries", "Recompute the summaries of all jobs")},
            _ARGUMENTS,
        ),
    },
    _ARGUMENTS,
)
_TLS = Branch(
    "Make certificates",
    "Makes an authority of your own and the certificates that it signs, without a server.",
    {
        "ca": Branch(
            "Make an authority",
            "Makes an authority for certificates.",
            {"create": Leaf("tls.tls:create_authority", "Make a certificate authority")},
        ),
        "cert": Branch(
            "Make certificates",
            "Makes certificates signed by an authority.",
            {"create": Leaf("tls.tls:create_certificate", "Make a certificate")},
        ),
    },
)
TREE = Branch(
    "",
    "",
    {
        "acl": _ACL,
        "agent": Leaf("agent.run:agent", "Run a server"),
        "agent-info": Leaf("agent.info:agent_info", "Show the state of one server"),
        "config": Branch(
            "Check configuration files",
            "Works on configuration files without a server.",
            {"validate": Leaf("config:validate", "Check files and directories of configuration")},
            _ARGUMENTS,
        ),
        "keygen": Leaf("operator.keyring:keygen_by_old_name", "", hidden=True),
        "server-force-leave": Leaf("server:force_leave", "", hidden=True),
        "server-join": Leaf("server:join", "", hidden=True),
        "server-members": Leaf("server:members", "", hidden=True),
        "keyring": Leaf("operator.keyring:keyring_by_old_name", "", hidden=True),
        "license": _LICENSE,
        "monitor": Leaf("agent.monitor:monitor", "Follow the log of a server"),
        "namespace": _NAMESPACE,
        "operator": _OPERATOR,
        "server": _SERVER,
        "status": Leaf("status:status", "Show the jobs, or find what an ID belongs to"),
        "system": _SYSTEM,
        "tls": _TLS,
        "version": Leaf("version:version", "Show the version"),
    },
)
