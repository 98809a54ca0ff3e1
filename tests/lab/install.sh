#!/usr/bin/env bash
# Installs what the lab needs and is not there yet: Debian packages, the pinned Go programs, the add-ons' CRDs, Kafka.
#
#   install.sh             idempotent; prints one line for each thing it does
#   install.sh --helm      also builds helm, which only `make bench` compares with
#
# The programs are built once for each change of tools/*/{go.mod,go.sum,flags} and kept in ~/.cache/provision/tools/<key>/bin.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
modules='kubernetes containerd etcd coredns metrics-server versitygw'
case ${1:-} in '') ;; --helm) modules="$modules helm" ;; *) sed -n '2,7p' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;; esac
[ "$(id -u)" = 0 ] || { echo 'install.sh: needs root (Debian packages, namespaces, cgroups)' >&2; exit 1; }
command -v go >/dev/null || { echo 'install.sh: needs Go 1.26 or newer on the PATH' >&2; exit 1; }

say() { echo "lab: $*"; }

# The key of everything pinned; the lab computes the same one (src/tools.rs).
pinned() { cat "$here"/tools/*/go.mod "$here"/tools/*/go.sum "$here"/tools/*/flags "$here"/tools/crds.txt "$here"/../kafka/{pom.xml,jars.sha256}; }
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
"$here/../packages.sh" build lab kafka
"$here/../kafka.sh"
home=$cache/$(pinned | key)
mkdir -p "$home/bin" "$cache/store"
exec 9>"$cache/install.lock"
flock 9
for module in $modules; do build_module "$module"; done
copy_crds
say "tools are in $home/bin"
