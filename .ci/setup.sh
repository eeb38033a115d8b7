#!/usr/bin/env bash
# Installs the Debian packages named on the command line as PROGRAM=PACKAGE where PROGRAM is missing. As root, or by sudo
# without a password; otherwise it says what to install and fails.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"
missing=()
for pair in "$@"; do
  command -v "${pair%%=*}" >/dev/null 2>&1 || missing+=("${pair#*=}")
done
[ ${#missing[@]} -eq 0 ] && exit 0
as=()
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as=(sudo -n); else
    echo "missing Debian packages: ${missing[*]}" >&2
    echo "install them with: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    echo "on another system set STRATA_LIVE_DSN, STRATA_OFFLINE_DSN, STRATA_ARCHIVE_DSN, STRATA_CONTROL_DSN (see README)" >&2
    exit 3
  fi
fi
if ! command -v apt-get >/dev/null 2>&1; then
  echo "no apt-get here; install these programs yourself: ${missing[*]}" >&2
  exit 3
fi
echo "installing ${missing[*]}"
"${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
