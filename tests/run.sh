#!/usr/bin/env bash
# Every test there is, from nothing: installs what is missing, builds, runs all rings, says how many passed.
#
#   tests/run.sh [BUILD-DIRECTORY]      default: build, beside this script's folder
#
# The last line is "N passed, N failed"; the exit code is 0 only when something passed and nothing failed. Nothing is
# skipped: a test that cannot run has failed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${1:-$root/build}
cd "$root"

# shellcheck source=deploy/packages.sh
. deploy/packages.sh
install_missing "${build_packages[@]}" "${test_packages[@]}"

results=$(mktemp -d)
counted=no
finish() {
    rm -rf "$results"
    [ "$counted" = yes ] || echo "0 passed, 1 failed"
}
trap finish EXIT

if [ ! -f "$build/build.ninja" ]; then
    meson setup "$build"
fi
meson compile -C "$build"

echo "== unit, fuzz, lint"
# Its verdict is read from its own record below, so that the interop ring runs in any case.
rm -f "$build/meson-logs/testlog.json"
meson test -C "$build" --no-rebuild --print-errorlogs || true
cp "$build/meson-logs/testlog.json" "$results/" || true

interop() {
    local record=$1
    shift
    NTPGATE=${NTPGATE:-$build/gateway/ntpgate} /usr/bin/python3 -B -m pytest -q --junitxml="$record" "$@" \
        tests/interop || true
}
# Most of an interop test is waiting for a deadline: four at once, and at the end one by one those that measure.
echo "== interop"
interop "$results/interop.xml" -m "not measures" -n 4 --dist loadgroup
# The numbered tests of the evaluation documents; the table of results is what it prints last.
echo "== evaluation"
NTPGATE=${NTPGATE:-$build/gateway/ntpgate} NTPGATE_EVIDENCE="$build/evaluation" /usr/bin/python3 -B -m pytest -q \
    --junitxml="$results/evaluation.xml" -n 4 --dist loadfile tests/evaluation || true
# QUIET_AFTER: the process that still needs the machine, when the caller has one.
[ -z "${QUIET_AFTER:-}" ] || tail --pid="$QUIET_AFTER" -f /dev/null
echo "== interop, measured"
interop "$results/measured.xml" -m measures

counted=yes
/usr/bin/python3 -B tests/support/results.py "$results/testlog.json" \
    "$results/interop.xml" "$results/measured.xml" "$results/evaluation.xml"
