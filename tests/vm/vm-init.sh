#!/bin/bash
# First process of the test VM: makes a machine out of a bare kernel, runs the suites listed on the
# project drive, writes each one's exit status to the console between markers that the host parses,
# and powers off. Nothing here may wait without bound; the host ends a VM that takes too long.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8

mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sys /sys
mount -t devtmpfs -o nosuid dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o nosuid,noexec devpts /dev/pts
mount -t tmpfs -o nosuid,nodev shm /dev/shm
mount -t tmpfs -o nosuid,nodev,mode=755 run /run
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup
mount /dev/nvme1n1 /project
ln -sfn /proc/self/fd /dev/fd
hostname vm
ip link set lo up

# The place that systemd gives a service: a leaf two levels down, controllers enabled above it.
echo "+cpu +memory +pids" > /sys/fs/cgroup/cgroup.subtree_control
mkdir -p /sys/fs/cgroup/system.slice/lane.service
echo "+cpu +memory +pids" > /sys/fs/cgroup/system.slice/cgroup.subtree_control

cd /project || exit 1
export OL_TEST_VM=1 OL_TEST_SLOWDOWN=6 TMPDIR=/tmp NO_COLOR=1
echo "@@vm boot $(cut -d' ' -f1 /proc/uptime)"
while IFS=$'\t' read -r name seconds paths; do
  echo "@@vm begin $name"
  # setsid: a suite that signals its group must not reach this shell. The paths are words, unquoted.
  # shellcheck disable=SC2086
  (
    echo "$BASHPID" > /sys/fs/cgroup/system.slice/lane.service/cgroup.procs
    exec setsid --wait timeout -k 5 "$seconds" ./node_modules/bun/bin/bun.exe test --timeout 120000 $paths
  ) < /dev/null 2>&1
  echo "@@vm end $name $? $(cut -d' ' -f1 /proc/uptime)"
done < /project/suites.tsv
echo "@@vm done"
sync
echo o > /proc/sysrq-trigger
sleep 60
