#!/usr/bin/env bash
# Brings in etcd, which the tests of several servers need, and libfaketime, with which some of them
# move a clock. Does nothing when both are there, installs Debian's packages when run as root, and
# else says what to do. Fails without etcd alone.
set -euo pipefail

install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@"
}

has_etcd() {
  command -v etcd >/dev/null
}

if has_etcd && compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null; then
  exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing etcd-server and libfaketime, for the tests of several servers"
  # The package would start a server of its own, which nobody asked for. This keeps it from doing so.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq
  # Older releases have it in the package etcd.
  has_etcd || install etcd-server || install etcd
  install libfaketime || echo "no libfaketime: the tests that move a clock are left out" >&2
fi
if ! has_etcd; then
  echo "etcd is missing. On Debian and Ubuntu: apt-get install etcd-server; elsewhere put the program" >&2
  echo "of an etcd release (3.5.20 or later) into PATH. Without it the tests of several servers are left out." >&2
  exit 1
fi
