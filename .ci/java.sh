#!/usr/bin/env bash
# Fetches the jars of local/jvm/NAME.xml, for each NAME given, into the cache folder: java/NAME-<hash of the file>. Where
# there is no Java 17 or no Maven, or its registry refuses, it says so and the tests that need them are skipped with their
# reason. A download that hangs is tried again; a folder that is there is kept.
set -euo pipefail
cd "$(dirname "$0")/.."
names=$*
skip() { echo "not all of $names: $*; the tests against what is missing will be skipped"; exit 0; }
[ -n "${STRATA_CACHE:-${HOME:-}}" ] || skip "neither STRATA_CACHE nor HOME is set"
cache=${STRATA_CACHE:-$HOME/.cache/strata}/java
missing=()
for name in "$@"; do
  [ -d "$cache/$name-$(sha256sum "local/jvm/$name.xml" | cut -c1-16)" ] || missing+=("$name")
done
for program in java mvn timeout flock; do command -v "$program" >/dev/null 2>&1 || skip "no $program here"; done
version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
[ "${version:-0}" -ge 17 ] || skip "Java 17 is needed, this is ${version:-unknown}"
[ ${#missing[@]} -eq 0 ] && exit 0
mkdir -p "$cache" 2>/dev/null || skip "can't write to $cache"
exec 9>"$cache/lock" || skip "can't write to $cache"
flock 9 # two runs at once: the second finds what the first has fetched
work=$(mktemp -d "$cache/new.XXXXXX")
trap 'rm -rf "$work"' EXIT
fetch() {
  timeout 240 mvn -B -q -f "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/lib" -DincludeScope=runtime \
    -Dmaven.wagon.http.readTimeout=30000 -Dmaven.wagon.rto=30000 >"$work/log" 2>&1
}
for name in "${missing[@]}"; do
  lib=$cache/$name-$(sha256sum "local/jvm/$name.xml" | cut -c1-16)
  [ -d "$lib" ] && continue
  echo "fetching the jars of local/jvm/$name.xml into $lib"
  rm -rf "$work/lib"
  cp "local/jvm/$name.xml" "$work/pom.xml"
  fetch || fetch || fetch || skip "mvn could not fetch the jars of $name: $(grep -m 1 ERROR "$work/log" || echo "no answer in time")"
  mv "$work/lib" "$lib"
done
