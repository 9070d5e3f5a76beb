#!/bin/bash
# Runs the suites listed on the project drive, as many at a time as the VM has CPUs, and writes each
# one's output and exit status to the console between markers that the host parses.
cd "$(dirname "$0")/../.." || exit 1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
export OL_TEST_VM=1 OL_TEST_SLOWDOWN=6 TMPDIR=/tmp NO_COLOR=1
outputs=$(mktemp -d)

uptime() { cut -d' ' -f1 /proc/uptime; }

# NAME SECONDS PATHS PATTERN. The output waits in a file: those of two suites must not mingle.
run_suite() {
  local name=$1 seconds=$2 pattern=$4 began
  began=$(uptime)
  # setsid: a suite that signals its group must not reach this shell. The paths are words, unquoted.
  # shellcheck disable=SC2086
  setsid --wait timeout -k 5 "$seconds" ./node_modules/bun/bin/bun.exe test --timeout $((60000 * OL_TEST_SLOWDOWN)) \
    ${pattern:+-t "$pattern"} $3 < /dev/null > "$outputs/$name" 2>&1
  local status=$?
  {
    flock 9
    echo "@@vm begin $name"
    cat "$outputs/$name"
    echo "@@vm end $name $status from $began to $(uptime)"
  } 9> "$outputs/lock"
}

echo "@@vm boot $(uptime)"
while IFS=$'\t' read -r name seconds paths pattern; do
  while (($(jobs -rp | wc -l) >= $(nproc))); do wait -n; done
  run_suite "$name" "$seconds" "$paths" "$pattern" &
done < suites.tsv
wait
rm -r "$outputs"
echo "@@vm done"
