#!/usr/bin/env bash
# Fetches the jars of Apache Kafka 4.3.0 once, with Maven, and prints the folder: export BARNABAS_KAFKA_LIB=$(tools/kafka_jars.sh)
# They land in a folder beside it first, so that a broken download leaves no half-filled one.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/barnabas/kafka-4.3.0
if [ ! -d "$folder" ]; then
  mkdir -p "$(dirname "$folder")"
  part=$(mktemp -d "$folder.part.XXXXXX")
  trap 'rm -rf "$part"' EXIT
  mvn -q -B -f "$here/kafka-jars/pom.xml" dependency:copy-dependencies \
    -DoutputDirectory="$part" -DincludeScope=runtime >&2 < /dev/null
  mv -T "$part" "$folder" 2> /dev/null || [ -d "$folder" ]
fi
echo "$folder"
