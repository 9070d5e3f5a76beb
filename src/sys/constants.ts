/** Kernel constants, spelled as in the kernel's headers (include/uapi/linux), the same on x86-64 and arm64. */

export const MS_NOSUID = 2;
export const MS_NOEXEC = 8;
export const MS_BIND = 4096;
export const MS_REC = 16384;
export const MS_PRIVATE = 1 << 18;

export const CLONE_NEWNS = 0x20000;

export const AT_FDCWD = -100;
export const AT_EMPTY_PATH = 0x1000;
export const AT_RECURSIVE = 0x8000;
export const OPEN_TREE_CLONE = 1;
export const OPEN_TREE_CLOEXEC = 0o2000000;

export const MOUNT_ATTR_RDONLY = 0x1n;
export const MOUNT_ATTR_NOSUID = 0x2n;
export const MOUNT_ATTR_NODEV = 0x4n;

export const AF_UNIX = 1;
export const SOCK_STREAM = 1;
export const SOCK_SEQPACKET = 5;
export const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const SCM_RIGHTS = 1;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_DONTWAIT = 0x40;

export const PR_SET_PDEATHSIG = 1;
export const PR_SET_SECCOMP = 22;
export const SECCOMP_MODE_FILTER = 2;
export const SIGKILL = 9;
export const RLIMIT_MEMLOCK = 8;

/** Numbers of calls that older C libraries do not wrap; since 5.x they are the same on every 64-bit architecture. */
export const SYS_io_uring_setup = 425;
export const SYS_open_tree = 428;
export const SYS_move_mount = 429;
export const SYS_mount_setattr = 442;
