#!/bin/bash
# First process of the test VM: makes a machine out of a bare kernel, lets the project drive run its
# suites, and powers off. Nothing here may wait without bound; the host ends a VM that takes too long.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

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

(
  echo "$BASHPID" > /sys/fs/cgroup/system.slice/lane.service/cgroup.procs
  exec /project/tests/vm/run-suites.sh
) < /dev/null 2>&1
sync
echo o > /proc/sysrq-trigger
sleep 60
