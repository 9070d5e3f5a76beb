/**
 * Which system calls a handler may make, and why each exception is one. A call that no row names is
 * refused with EPERM, one that is newer than `numbers.ts` with ENOSYS.
 *
 * The filter is one layer of several: capabilities, namespaces and read-only mounts refuse most of what is
 * refused here as well. It exists to keep kernel code that a lambda has no use for out of its reach.
 *
 * @see seccomp(2), and the default profiles of Docker and systemd for what programs in the field need
 */

import { CHECKED, CHECKED_NETLINK } from "./checks.ts";
import type { SyscallName } from "./numbers.ts";
import { ALLOW, ENOSYS, EPERM, type Verdict } from "./policy.ts";
import { PRCTL_ON_ASSIGNMENT, PRCTL_UNTIL_ASSIGNED } from "./prctl.ts";
import { IN_ZYGOTE_CHECKED } from "./zygote-checks.ts";

/** Rows of the table that share a verdict and a reason. */
export interface SyscallGroup {
  readonly reason: string;
  readonly verdict: Verdict;
  readonly calls: readonly SyscallName[];
}

/** Splits a list that is easier to read as words than as quoted strings; the test proves each name. */
function names(text: string): readonly SyscallName[] {
  return text.trim().split(/\s+/) as SyscallName[];
}

const ALLOWED: readonly SyscallGroup[] = [
  {
    reason: "files by descriptor: reading, writing, moving data between descriptors",
    verdict: ALLOW,
    calls: names(`read write pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2 lseek
      sendfile splice tee copy_file_range close close_range dup dup2 dup3 fcntl flock fsync fdatasync
      sync_file_range ftruncate fadvise64 readahead getdents getdents64 pipe pipe2`),
  },
  {
    reason: "files by name: the mounts and their flags decide what can be reached and changed",
    verdict: ALLOW,
    calls:
      names(`open openat openat2 creat access faccessat faccessat2 stat lstat fstat newfstatat statx
      statfs fstatfs readlink readlinkat getcwd chdir fchdir mkdir mkdirat rmdir unlink unlinkat rename
      renameat renameat2 link linkat symlink symlinkat chmod fchmod fchmodat fchmodat2 chown fchown
      lchown fchownat truncate utime utimes utimensat futimesat umask`),
  },
  {
    reason:
      "extended attributes: only of its own scratch files; bounded by its memory or disk limit",
    verdict: ALLOW,
    calls: names(`getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr lsetxattr
      fsetxattr removexattr lremovexattr fremovexattr getxattrat setxattrat listxattrat removexattrat`),
  },
  {
    reason: "memory of its own; counted by the cgroup",
    verdict: ALLOW,
    calls: names(`brk munmap mremap mprotect madvise msync mincore mlock mlock2 munlock mlockall
      munlockall pkey_mprotect pkey_alloc pkey_free mseal map_shadow_stack membarrier`),
  },
  {
    reason:
      "NUMA placement, which OpenBLAS and libnuma ask about at start; acts on the caller only",
    verdict: ALLOW,
    calls: names("get_mempolicy set_mempolicy mbind getcpu"),
  },
  {
    reason: "processes and threads; the pids cgroup bounds their number (clone is checked below)",
    verdict: ALLOW,
    calls:
      names(`fork vfork execve execveat exit exit_group wait4 waitid getpid getppid gettid getpgrp
      getpgid setpgid getsid setsid set_tid_address pidfd_open pidfd_send_signal kill tkill tgkill
      futex futex_waitv futex_wake futex_wait futex_requeue set_robust_list get_robust_list rseq
      restart_syscall arch_prctl`),
  },
  {
    reason: "signals; the pid namespace hides every process that is not its own",
    verdict: ALLOW,
    calls:
      names(`rt_sigaction rt_sigprocmask rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigqueueinfo
      rt_tgsigqueueinfo rt_sigreturn sigaltstack pause signalfd signalfd4`),
  },
  {
    reason: "who it is, what it may use; raising a limit needs a capability that it does not have",
    verdict: ALLOW,
    calls: names(`getuid geteuid getgid getegid getresuid getresgid getgroups capget getrlimit
      getrusage sysinfo uname times getpriority setpriority ioprio_get ioprio_set`),
  },
  {
    reason: "scheduling of its own threads; real-time classes need a capability",
    verdict: ALLOW,
    calls: names(`sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam
      sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min
      sched_rr_get_interval sched_getattr sched_setattr`),
  },
  {
    reason: "reading clocks, sleeping, timers",
    verdict: ALLOW,
    calls:
      names(`time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep alarm getitimer
      setitimer timer_create timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create
      timerfd_settime timerfd_gettime`),
  },
  {
    reason: "waiting for events",
    verdict: ALLOW,
    calls:
      names(`select pselect6 poll ppoll epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
      epoll_pwait2 eventfd eventfd2 inotify_init inotify_init1 inotify_add_watch inotify_rm_watch`),
  },
  {
    reason: "sockets that exist; which kinds can be made is checked below",
    verdict: ALLOW,
    calls:
      names(`connect accept accept4 bind listen getsockname getpeername getsockopt sendto recvfrom
      sendmsg recvmsg sendmmsg recvmmsg shutdown`),
  },
  {
    reason:
      "System V and POSIX message passing: a namespace of its own, memory counted by the cgroup",
    verdict: ALLOW,
    calls: names(`shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl
      mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr`),
  },
  { reason: "random numbers", verdict: ALLOW, calls: names("getrandom") },
];

const REFUSED: readonly SyscallGroup[] = [
  {
    reason:
      "namespaces: a user namespace would give back every capability over a new set of kernel code",
    verdict: EPERM,
    calls: names("unshare setns"),
  },
  {
    reason: "its flags lie in memory, where a filter cannot look: glibc then falls back to clone",
    verdict: ENOSYS,
    calls: names("clone3"),
  },
  {
    reason: "mounts and roots: the view of files is fixed before the first line of a lambda runs",
    verdict: EPERM,
    calls:
      names(`mount umount2 pivot_root chroot move_mount open_tree open_tree_attr fsopen fsconfig
      fsmount fspick mount_setattr statmount listmount`),
  },
  {
    reason: "looking into or steering other processes",
    verdict: EPERM,
    calls: names(`ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise
      process_mrelease migrate_pages move_pages`),
  },
  {
    reason:
      "programs and probes inside the kernel, and filters that could fake answers to the worker",
    verdict: EPERM,
    calls: names("bpf perf_event_open seccomp uprobe uretprobe lookup_dcookie"),
  },
  {
    reason: "keys: the keyrings of the kernel are only partly namespaced",
    verdict: EPERM,
    calls: names("keyctl add_key request_key"),
  },
  {
    reason:
      "asynchronous I/O around this filter (io_uring), or bounded for the whole machine only (aio)",
    verdict: EPERM,
    calls:
      names(`io_uring_setup io_uring_enter io_uring_register io_setup io_destroy io_submit io_cancel
      io_getevents io_pgetevents`),
  },
  {
    reason:
      "tools of exploits: stopping the kernel at a page fault, unseen memory, page-cache spying",
    verdict: EPERM,
    calls: names("userfaultfd memfd_secret vmsplice remap_file_pages cachestat modify_ldt"),
  },
  {
    reason:
      "the machine: kernel, modules, power, swap, host name, terminals, log, accounting, quotas",
    verdict: EPERM,
    calls: names(`kexec_load kexec_file_load init_module finit_module delete_module create_module
      query_module get_kernel_syms reboot swapon swapoff sethostname setdomainname vhangup syslog acct
      quotactl quotactl_fd iopl ioperm uselib ustat sysfs _sysctl nfsservctl`),
  },
  {
    reason: "setting clocks; reading them through these calls is refused along with it",
    verdict: EPERM,
    calls: names("clock_settime clock_adjtime settimeofday adjtimex"),
  },
  {
    reason: "reaching files past the mounts, or watching every file of a file system",
    verdict: EPERM,
    calls: names("open_by_handle_at name_to_handle_at fanotify_init fanotify_mark"),
  },
  {
    reason:
      "flushing the host's disks at will would slow every neighbour; fsync of a file is allowed",
    verdict: EPERM,
    calls: names("sync syncfs"),
  },
  {
    reason: "identity: a sandbox has one user and one group, and no way to more",
    verdict: EPERM,
    calls: names(
      `setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset`,
    ),
  },
  {
    reason: "security modules, file flags and memory policies that no lambda needs",
    verdict: EPERM,
    calls: names(`landlock_create_ruleset landlock_add_rule landlock_restrict_self lsm_get_self_attr
      lsm_set_self_attr lsm_list_modules file_getattr file_setattr set_mempolicy_home_node`),
  },
  {
    reason: "gone from the kernel, or only for other kinds of programs",
    verdict: EPERM,
    calls: names(`set_thread_area get_thread_area epoll_ctl_old epoll_wait_old getpmsg putpmsg
      afs_syscall tuxcall security vserver`),
  },
];

/**
 * Rows that differ while a process waits in stock, enclosed but without the code of a lambda: what is left to
 * do for it then. Only trusted code runs in that time.
 */
const UNTIL_ASSIGNED: readonly SyscallGroup[] = [
  {
    reason: "attaching the code, giving up the capability for it",
    verdict: ALLOW,
    calls: names("move_mount capset"),
  },
  {
    reason: "installing the last filter",
    verdict: PRCTL_UNTIL_ASSIGNED,
    calls: ["prctl"],
  },
];

/** Takes back what `UNTIL_ASSIGNED` left open; everything else was decided by the first filter. */
const ON_ASSIGNMENT: readonly SyscallGroup[] = [
  {
    reason: "no mounts any more, no capabilities",
    verdict: EPERM,
    calls: names("move_mount capset"),
  },
  { reason: "prctl as in the whole table", verdict: PRCTL_ON_ASSIGNMENT, calls: ["prctl"] },
];

/**
 * Rows that differ in a zygote of the import cache, which runs third-party code and has to fork and enclose
 * children: what it needs for that, and no more of the kernel than a handler otherwise.
 */
const IN_ZYGOTE: readonly SyscallGroup[] = [
  {
    reason: "enclosing children: capabilities for these it has in its own user namespace only",
    verdict: ALLOW,
    calls: names("move_mount sethostname setgroups setresuid setresgid capset"),
  },
  ...IN_ZYGOTE_CHECKED,
];

/** What tells one sandbox's filter from another's. */
export interface SeccompProfile {
  /** `host` may ask the kernel for its addresses over netlink, as name look-up does. */
  readonly network: "none" | "host";
  /**
   * `whole` (default): one filter. `early` and `late`: the same in two, of which the large one can be
   * installed while a process waits in stock and the small one when it gets its lambda; the kernel obeys
   * the stricter of both, which is `whole`. `zygote` is what both are stacked on in a child of an
   * import-cache zygote.
   */
  readonly part?: "whole" | "early" | "late" | "zygote";
}

/**
 * @param profile which sandbox, which part
 * @returns every row that applies to it; each call stands in one row only
 */
export function syscallTable(profile: SeccompProfile): readonly SyscallGroup[] {
  if (profile.part === "late") return ON_ASSIGNMENT;
  const socket = profile.network === "host" ? CHECKED_NETLINK : CHECKED;
  const whole = [...ALLOWED, ...socket, ...REFUSED];
  if (profile.part === "early") return replaceRows(whole, UNTIL_ASSIGNED);
  return profile.part === "zygote" ? replaceRows(whole, IN_ZYGOTE) : whole;
}

function replaceRows(
  whole: readonly SyscallGroup[],
  rows: readonly SyscallGroup[],
): readonly SyscallGroup[] {
  const replaced = new Set(rows.flatMap((group) => group.calls));
  const rest = whole.map((group) => ({
    ...group,
    calls: group.calls.filter((name) => !replaced.has(name)),
  }));
  return [...rest, ...rows];
}
