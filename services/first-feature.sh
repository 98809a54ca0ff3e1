#!/usr/bin/env bash
# Sends a feature to the platform of this machine and follows it to its end.
#
#   services/first-feature.sh ["what is to be made"]
#   services/first-feature.sh --how      says how it is done by hand
set -euo pipefail
provision=${CARGO_TARGET_DIR:-$HOME/.cache/provision/target}/debug/provision
cd "$(dirname "$0")/.."
# Its exit code also tells of parts that are not ready for the moment; what is needed here are the addresses.
status=$("$provision" status --env local) || true
address() { sed -n "s/^$1: //p" <<<"$status"; }
gateway=$(address gateway) repository=$(address git)/demo.git
if [ -z "$gateway" ] || [ "$repository" = /demo.git ]; then
  printf '%s\n' "$status" "first-feature.sh: the platform has no address yet; bring it up: make up" >&2
  exit 1
fi
if [ "${1:-}" = --how ]; then
  cat <<TEXT

The platform is at $gateway (dashboard in a browser).

Send a first feature and follow it:   make first-feature
or by hand:
  curl -s $gateway/feature.feature.v1.FeatureService/Create \\
    -d '{"repository_url": "$repository", "instruction": "Add a page about otters"}'
  curl -s $gateway/feature.feature.v1.FeatureService/Get -d '{"id": "..."}'
Look at it:   provision status --env local    provision logs --follow --env local
Stop it:      make down
TEXT
  exit 0
fi
instruction=${1:-Add a page about otters}
quoted=${instruction//\\/\\\\} quoted=${quoted//\"/\\\"}
created=$(curl -sS --fail-with-body "$gateway/feature.feature.v1.FeatureService/Create" \
  -d "{\"repository_url\": \"$repository\", \"instruction\": \"$quoted\"}")
id=$(sed 's/.*"id":"\([^"]*\)".*/\1/' <<<"$created")
echo "feature $id: $instruction"
# Ends by itself with the feature.
curl -sSN --fail-with-body "$gateway/feature.feature.v1.FeatureService/Watch" -d "{\"id\": \"$id\"}" |
  sed -un 's/^data: .*"event_type":"\([^"]*\)","state":"\([^"]*\)"\(.*"step_type":"\([^"]*\)"\)\{0,1\}.*/  \2  \1 \4/p'
curl -sS --fail-with-body "$gateway/feature.feature.v1.FeatureService/Get" -d "{\"id\": \"$id\"}" |
  sed 's/.*"state":"\([^"]*\)".*"branch":"\([^"]*\)".*/\1 on branch \2/'
echo
echo "look at it:  git clone --branch feature/$id $repository"
