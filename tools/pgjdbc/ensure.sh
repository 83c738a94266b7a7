#!/usr/bin/env bash
# Prints the path of PostgreSQL's JDBC driver, one pinned version, kept in the cache: a test's client, and no part of what we ship.
set -euo pipefail
version=42.7.8
sha256=2a32a9dcbc42d67a50ad3a0de5efd102c8d2be46720045f2cbd6689f160ab7c7
jar=${XDG_CACHE_HOME:-$HOME/.cache}/sidegate/postgresql-$version.jar
if [ ! -f "$jar" ]; then
  command -v mvn >/dev/null || { echo "pgjdbc: maven is not installed" >&2; exit 69; }
  echo "pgjdbc: fetching $version by Maven (once)" >&2
  mkdir -p "$(dirname "$jar")"
  into=$(mktemp -d)
  trap 'rm -rf "$into"' EXIT
  mvn -q -B dependency:copy -Dartifact="org.postgresql:postgresql:$version" -DoutputDirectory="$into" >&2
  echo "$sha256  $into/postgresql-$version.jar" | sha256sum --check --quiet >&2
  mv "$into/postgresql-$version.jar" "$jar.$$"
  mv "$jar.$$" "$jar"
fi
echo "$jar"
