#!/usr/bin/env bash
# Unpacks Debian sid's MySQL server and client into the cache folder, for the tests against real MySQL. Nothing is installed
# and no right but downloading is needed: apt gets a state of its own. Where that can't be, it says so and the tests that
# need MySQL are skipped with their reason. A download that hangs is tried again; a folder that is there is kept.
set -euo pipefail
skip() { echo "no MySQL: $*; the tests against it will be skipped"; exit 0; }
[ -n "${STRATA_CACHE:-${HOME:-}}" ] || skip "neither STRATA_CACHE nor HOME is set"
root=${STRATA_MYSQL_ROOT:-${STRATA_CACHE:-$HOME/.cache/strata}/mysql}
[ -x "$root/usr/sbin/mysqld" ] && exit 0
for program in apt-get dpkg-deb flock timeout; do command -v "$program" >/dev/null 2>&1 || skip "no $program here"; done
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$keyring" ] || skip "no $keyring here"
mkdir -p "$(dirname "$root")" 2>/dev/null || skip "can't write to $(dirname "$root")"
exec 9>"$root.lock" || skip "can't write to $(dirname "$root")"
flock 9 # two runs at once: the second finds what the first has fetched
[ -x "$root/usr/sbin/mysqld" ] && exit 0
work=$(mktemp -d "$root.new.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/apt/{lists/partial,archives/partial,state} "$work/root"
touch "$work/apt/status" # as if nothing were installed: every library comes along
mirror=$(grep -rhoE 'https?://[^ ]+/debian/?$' /etc/apt/sources.list /etc/apt/sources.list.d/ 2>/dev/null | head -1 || true)
printf 'Types: deb\nURIs: %s\nSuites: sid\nComponents: main\nSigned-By: %s\n' "${mirror:-http://deb.debian.org/debian}" "$keyring" \
  >"$work/apt/sid.sources"
apt() {
  timeout "$1" apt-get -o Dir::Etc::sourcelist="$work/apt/sid.sources" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State="$work/apt/state" -o Dir::State::lists="$work/apt/lists" -o Dir::State::status="$work/apt/status" \
    -o Dir::Cache="$work/apt" -o Dir::Cache::archives="$work/apt/archives" -o APT::Sandbox::User="$(id -un)" \
    -o Acquire::Languages=none -o Acquire::Retries=3 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 \
    -o APT::Install-Recommends=false -o APT::Get::List-Cleanup=false -o Debug::NoLocking=1 -qq "${@:2}" >"$work/log" 2>&1
}
fetch() { apt 90 update && apt 180 -d -y install mysql-server-core mysql-client-core; }
echo "fetching MySQL into $root"
fetch || fetch || fetch || skip "apt-get could not fetch it: $(tail -n 2 "$work/log" | tr '\n' ' ')"
for package in "$work"/apt/archives/*.deb; do
  case $(basename "$package") in perl* | libperl*) continue ;; esac # only for its scripts
  dpkg-deb -x "$package" "$work/root" || skip "could not unpack $(basename "$package")"
done
[ -x "$work/root/usr/sbin/mysqld" ] || skip "the packages hold no usr/sbin/mysqld"
rm -rf "$root"
mv "$work/root" "$root"
