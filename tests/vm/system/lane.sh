#!/bin/bash
# Runs the suites listed on the project drive as one service of the test VM, writes each one's exit
# status to the console between markers that the host parses, and powers off. Nothing here may wait
# without bound; the host ends a VM that takes too long.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
export OL_TEST_VM=1 OL_TEST_SLOWDOWN=6 TMPDIR=/tmp NO_COLOR=1

ip link set lo up
# Not by fstab: systemd would wait for udev to announce the drive.
mount /dev/nvme1n1 /project
cd /project || exit 1
echo "@@vm boot $(cut -d' ' -f1 /proc/uptime)"
while IFS=$'\t' read -r name seconds paths; do
  echo "@@vm begin $name"
  # setsid: a suite that signals its group must not reach this shell. The paths are words, unquoted.
  # shellcheck disable=SC2086
  setsid --wait timeout -k 5 "$seconds" ./node_modules/bun/bin/bun.exe test --timeout 120000 $paths \
    < /dev/null 2>&1
  echo "@@vm end $name $? $(cut -d' ' -f1 /proc/uptime)"
done < /project/suites.tsv
echo "@@vm done"
sync
echo o > /proc/sysrq-trigger
sleep 60
