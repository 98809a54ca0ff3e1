#!/usr/bin/env bash
# Installs what the lab needs and is not there yet: Debian packages, the pinned Go programs, the add-ons' CRDs.
#
#   install.sh             idempotent; prints one line for each thing it does
#   install.sh --helm      also builds helm, which only `make bench` compares with
#   install.sh --tests     also installs what only tests need: a browser that looks at the dashboard (300 MB)
#
# The programs are built once for each change of tools/*/{go.mod,go.sum,flags} and kept in ~/.cache/provision/tools/<key>/bin.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
modules='kubernetes containerd etcd coredns metrics-server'
browser=''
case ${1:-} in '') ;; --helm) modules="$modules helm" ;; --tests) browser='chromium fonts-dejavu-core' ;; *) sed -n '2,8p' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;; esac
[ "$(id -u)" = 0 ] || { echo 'install.sh: needs root (Debian packages, namespaces, cgroups)' >&2; exit 1; }
command -v go >/dev/null || { echo 'install.sh: needs Go 1.26 or newer on the PATH' >&2; exit 1; }

say() { echo "lab: $*"; }

packages='runc containernetworking-plugins iptables conntrack socat ethtool iproute2 util-linux procps busybox-static docker-registry
  postgresql postgresql-common ca-certificates gcc libc6-dev make'
packages="$packages $browser"

install_packages() {
  local missing='' package policy=/usr/sbin/policy-rc.d
  for package in $packages; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  say "installs the Debian packages$missing"
  # Packages of servers start them on the machine's own ports; the lab starts its own inside a region.
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
  fi
  local log
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086 # one word a package
  apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold $missing >"$log" 2>&1 ||
    { apt-get update -qq >>"$log" 2>&1 &&
      apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold $missing >>"$log" 2>&1; } ||
    { tail -20 "$log" >&2; echo "install.sh: apt-get failed on$missing" >&2; exit 1; }
  rm -f "$log"
}

# The key of everything pinned; the lab computes the same one (src/tools.rs).
pinned() { cat "$here"/tools/*/go.mod "$here"/tools/*/go.sum "$here"/tools/*/flags "$here"/tools/crds.txt; }
key() { sha256sum | cut -c1-16; }

build_module() {
  local module=$1 folder=$here/tools/$1 store started=$SECONDS
  store=$cache/store/$module-$(cat "$folder"/go.mod "$folder"/go.sum "$folder"/flags | key)
  if [ ! -d "$store" ]; then
    say "builds $module"
    local flags
    mapfile -t flags <"$folder/flags"
    rm -rf "$store.part"
    mkdir -p "$store.part"
    (cd "$folder" && CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -mod=readonly" go build -buildvcs=false "${flags[@]}" -o "$store.part/" tool)
    # etcd's main package lies at the module's root and would be called "server".
    [ "$module" != etcd ] || mv "$store.part/server" "$store.part/etcd"
    mv "$store.part" "$store"
    say "built $module in $((SECONDS - started)) s"
  fi
  ln -sfn "$store"/* "$home/bin/"
}

# Each line of crds.txt: module@version, the checksum of its content as in go.sum, the files inside it.
copy_crds() {
  [ ! -e "$home/crds/complete" ] || return 0
  local module sum files json dir name
  mkdir -p "$home/crds"
  while read -r module sum files; do
    case $module in '' | '#'*) continue ;; esac
    say "fetches the CRDs of $module"
    json=$(cd / && GOFLAGS=-mod=mod go mod download -json "$module")
    [ "$(sed -n 's/^\t"Sum": "\(.*\)",$/\1/p' <<<"$json")" = "$sum" ] ||
      { echo "install.sh: the content of $module is not the pinned one ($sum)" >&2; exit 1; }
    dir=$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' <<<"$json")
    name=$(basename "${module%@*}")
    mkdir -p "$home/crds/$name"
    # shellcheck disable=SC2086 # a glob
    (cd "$dir" && install -m 644 $files "$home/crds/$name/")
  done <"$here/tools/crds.txt"
  touch "$home/crds/complete"
}

cache=${XDG_CACHE_HOME:-$HOME/.cache}/provision/tools
install_packages
home=$cache/$(pinned | key)
mkdir -p "$home/bin" "$cache/store"
exec 9>"$cache/install.lock"
flock 9
for module in $modules; do build_module "$module"; done
copy_crds
say "tools are in $home/bin"
