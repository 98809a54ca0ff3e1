#!/usr/bin/env bash
# The figures of docs/benchmarks.md. Brings the lab up, leaves it up.
#
#   tests/bench.sh             all but helm
#   tests/bench.sh --machine   only the platform on this machine: no lab, no root
#   tests/bench.sh --helm      also helm 4, built as a pinned tool (2 minutes the first time)
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/provision/target}
count=1000
bin=$CARGO_TARGET_DIR/release
case ${1:-} in '' | --machine | --helm) ;; *) sed -n '2,6p' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;; esac
missed=''
cargo build --locked --quiet --release --bins
cargo build --locked --quiet --release -p machine --example figures
cargo build --locked --quiet --release -p feature-service --example create_load

echo "== the platform on this machine"
"$bin/examples/figures" || missed=1
echo "== features taken by feature-service, and the time until the event bus has their events (goals: 2,000 a second, 1 s)"
"$bin/examples/create_load" || missed=1
if [ "${1:-}" = --machine ]; then exit "${missed:-0}"; fi

cargo build --locked --quiet --release -p integration --example bare_client
cargo build --locked --quiet --release -p provision-config --example render_bench
cargo build --locked --quiet --bin lab
if [ "${1:-}" = --helm ]; then tests/lab/install.sh --helm; else tests/lab/install.sh; fi
"$CARGO_TARGET_DIR/debug/lab" up
eval "$("$CARGO_TARGET_DIR/debug/lab" env)"
folder=$(mktemp -d)
spaces=()
clean() { for space in "${spaces[@]}"; do "$LAB_TOOLS/kubectl" delete namespace "$space" --wait=false >/dev/null 2>&1 || true; done; rm -rf "$folder"; }
trap clean EXIT
seconds() { local from=$1 to; to=$(date +%s.%N); awk -v a="$from" -v b="$to" 'BEGIN { printf "%.2f", b - a }'; }
row() { printf '%-66s %8s s\n' "$1" "$2"; }

echo "== rendering (4,000 objects: render, parse, check)"
"$bin/examples/render_bench"

echo "== $count ConfigMaps on the lab"
spaces+=("bench-bare")
row "bare client, 32 applies at a time, nothing remembered" "$("$bin/examples/bare_client" "$KUBECONFIG" bench-bare $count)"

mkdir -p "$folder/environments" "$folder/templates/platform"
cp environments/base.yaml "$folder/environments/"
cp environments/dev.yaml "$folder/environments/bench.yaml"
{
  printf 'apiVersion: v1\nkind: Namespace\nmetadata: {name: bench-up}\n'
  for n in $(seq 0 $((count - 1))); do
    printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c-%s, namespace: bench-up}\ndata: {number: "%s", text: "%0200d"}\n' "$n" "$n" 0
  done
} >"$folder/templates/platform/bench.yaml"
spaces+=("bench-up")
provision() { "$bin/provision" "$@" --root "$folder" --env bench --state "$folder/state" 2>"$folder/stderr" || { code=$?; cat "$folder/stderr" >&2; return $code; }; }
from=$(date +%s.%N); provision up --yes -o json >"$folder/up.json"; row "provision up: render, check, plan, apply, record" "$(seconds "$from")"
tail -1 "$folder/up.json" | sed 's/^/   /'
from=$(date +%s.%N); provision plan >/dev/null; row "provision plan, nothing to do" "$(seconds "$from")"
from=$(date +%s.%N); provision up --yes -o json >"$folder/noop.json"; row "provision up, nothing to do" "$(seconds "$from")"
tail -1 "$folder/noop.json" | sed 's/^/   /'
provision down --yes >/dev/null

if [ -x "$LAB_TOOLS/helm" ]; then
  mkdir -p "$folder/chart/templates"
  printf 'apiVersion: v2\nname: bench\nversion: 0.1.0\n' >"$folder/chart/Chart.yaml"
  sed '1,4d; s/bench-up/bench-helm/' "$folder/templates/platform/bench.yaml" >"$folder/chart/templates/all.yaml"
  spaces+=("bench-helm")
  from=$(date +%s.%N); "$LAB_TOOLS/helm" install bench "$folder/chart" -n bench-helm --create-namespace >/dev/null; row "helm install" "$(seconds "$from")"
  from=$(date +%s.%N); "$LAB_TOOLS/helm" upgrade bench "$folder/chart" -n bench-helm >/dev/null; row "helm upgrade, nothing to do" "$(seconds "$from")"
  "$LAB_TOOLS/helm" uninstall bench -n bench-helm >/dev/null
fi
exit "${missed:-0}"
