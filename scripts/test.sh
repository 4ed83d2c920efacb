#!/bin/sh
# test.sh [unit|lab]: node's test runner over test/; the lab's tests run inside a microVM with real ZFS and sshd.
set -eu
cd "$(dirname "$0")/.."
part=${1:-all}
failed=0
again=$(mktemp)
trap 'rm -f "$again"' EXIT

if [ "$part" != lab ]; then
  # most of them wait most of the time: node's own choice, one less than there are processors, leaves those idle
  # shellcheck disable=SC2046  # a list of files; node 20 expands no globs by itself
  node --import tsx --test --test-concurrency="$(nproc 2>/dev/null || echo 2)" \
    --test-reporter=spec --test-reporter-destination=stdout \
    --test-reporter=./test/support/failed-tests.mjs --test-reporter-destination="$again" \
    $(find test -name '*.test.ts' ! -path 'test/lab/*' | sort) || failed=1
fi
if [ "$part" != unit ]; then
  node --import tsx test/lab/run.ts || failed=1
  node --import tsx test/faults/run.ts --quick --minutes 7 || failed=1
  # it was told before the lab, and a long way up
  cat "$again"
fi
exit "$failed"
