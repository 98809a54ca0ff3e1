#!/usr/bin/env bash
# Installs the Debian packages of some purposes that are not there yet.
#
#   tests/packages.sh build local      what the build and `make up` need
#   tests/packages.sh lab browser      what the cluster of the tests and the tests of the dashboard need
#   tests/packages.sh images           what `contents` of environments/*.yaml puts into images
#   tests/packages.sh kafka            what Kafka needs; its own files come from tests/kafka.sh
set -euo pipefail
build='gcc g++ libc6-dev make pkg-config libssl-dev zlib1g-dev ca-certificates'
local='git postgresql postgresql-common procps util-linux curl'
lab='runc containernetworking-plugins iptables conntrack socat ethtool iproute2 util-linux procps busybox-static docker-registry
  postgresql postgresql-common'
browser='chromium fonts-dejavu-core'
images='git openssh-client bash dash coreutils make tar gzip diffutils patch grep sed mawk findutils'
kafka='openjdk-17-jre-headless maven'

missing=''
for purpose in "$@"; do
  case $purpose in build | local | lab | browser | images | kafka) ;; *) echo "packages.sh: no purpose is called $purpose" >&2; exit 2 ;; esac
  for package in ${!purpose}; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
  done
done
[ -n "$missing" ] || exit 0
missing=$(tr ' ' '\n' <<<"$missing" | sort -u | tr '\n' ' ')
if [ "$(id -u)" != 0 ]; then
  echo "packages.sh: these Debian packages are missing; run: sudo apt-get install $missing" >&2
  exit 1
fi
echo "installs the Debian packages $missing"
# Packages of servers start them on the machine's own ports; here whoever needs one starts its own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod 755 $policy
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
  mkdir -p /etc/postgresql-common
  echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
fi
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # one word a package
apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold $missing >"$log" 2>&1 ||
  { apt-get update -qq >>"$log" 2>&1 &&
    apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold $missing >>"$log" 2>&1; } ||
  { tail -20 "$log" >&2; echo "packages.sh: apt-get failed on $missing" >&2; exit 1; }
rm -f "$log"
