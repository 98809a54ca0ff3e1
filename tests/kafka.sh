#!/usr/bin/env bash
# Installs Kafka's broker: the pinned jars from Maven, and Java if there is none.
#
#   tests/kafka.sh [DIR]     idempotent; DIR is /usr/local/share/provision/kafka-4.1.0 (root) or ~/.local/share/provision/kafka-4.1.0
#
# What is in DIR is checked against tests/kafka/jars.sha256 each time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=4.1.0
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.6.1
share=${XDG_DATA_HOME:-$HOME/.local/share}
# Root's home folder is closed to the users that root's pods run as.
[ "$(id -u)" != 0 ] || share=/usr/local/share
folder=${1:-$share/provision/kafka-$version}
umask 022

whole() { [ -d "$1" ] && (cd "$1" && sha256sum --check --quiet --strict "$here/kafka/jars.sha256") >/dev/null 2>&1; }
there() { command -v "$1" >/dev/null; }

if ! there java || { ! whole "$folder" && ! there mvn; }; then "$here/packages.sh" kafka; fi
! whole "$folder" || exit 0
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9
! whole "$folder" || exit 0
echo "fetches Kafka $version"
part=$folder.part
rm -rf "$part"
mkdir "$part"
trap 'rm -rf "$part"' EXIT
mvn --quiet --batch-mode --no-transfer-progress --file "$here/kafka/pom.xml" -Dmaven.repo.local="$part/repository" \
  $plugin:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$part/jars" >"$part/log" 2>&1 ||
  { tail -20 "$part/log" >&2; echo 'kafka.sh: the jars could not be fetched from Maven' >&2; exit 1; }
whole "$part/jars" || { echo "kafka.sh: the jars are not the pinned ones of $here/kafka/jars.sha256; they are left in $part" >&2; trap - EXIT; exit 1; }
rm -rf "$folder"
mv "$part/jars" "$folder"
echo "Kafka $version is in $folder"
