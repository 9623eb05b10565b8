#!/usr/bin/env bash
# Brings in etcd, which the tests of several servers need. `scripts/etcd.sh` does nothing when it is
# there, installs Debian's package when run as root, and else says what to do.
set -euo pipefail

if command -v etcd >/dev/null; then
  exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing etcd-server, for the tests of several servers"
  # The package would start a server of its own, which nobody asked for. This keeps it from doing so.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq
  # Older releases have it in the package etcd.
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq etcd-server ||
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq etcd
  command -v etcd >/dev/null && exit 0
fi
echo "etcd is missing. On Debian and Ubuntu: apt-get install etcd-server; elsewhere put the program" >&2
echo "of an etcd release (3.5.20 or later) into PATH. Without it the tests of several servers are left out." >&2
exit 1
