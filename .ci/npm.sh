#!/usr/bin/env bash
# Installs the npm packages that a test's client needs, from its lock file, into the folder named. Where there is no npm, or
# the registry can't be reached, it says so and the test that needs them is skipped with its reason.
set -euo pipefail
dir=$1
if ! command -v npm >/dev/null 2>&1; then echo "no npm here: the test of the generated client will be skipped"; exit 0; fi
stamp=$dir/node_modules/.strata-lock
if [ -f "$stamp" ] && cmp -s "$stamp" "$dir/package-lock.json"; then exit 0; fi
echo "installing npm packages of $dir"
if timeout 300 npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --silent; then
  cp "$dir/package-lock.json" "$stamp"
else
  echo "npm could not install them: the test of the generated client will be skipped"
fi
