/** Limits of the Docker engine and of talking to its daemon, each with its unit and its reason. */

/** How long the Docker daemon may take to answer a ping, in milliseconds. */
export const DOCKER_PING_TIMEOUT_MS = 10_000;

/**
 * How long the Docker daemon may take to answer any request that is not a stream, in milliseconds: as long
 * as a guest may take to connect, because a start on a busy machine is the slowest of them.
 */
export const DOCKER_REQUEST_TIMEOUT_MS = 30_000;

/**
 * How long the Docker daemon may take to kill a container, in milliseconds, before its process is killed
 * past the daemon; a caller waits for it. A kill takes some 50 ms.
 */
export const DOCKER_KILL_TIMEOUT_MS = 2_000;

/** Pause between two tries to remove containers that could not be removed, in milliseconds. */
export const DOCKER_LITTER_RETRY_MS = 2_000;

/**
 * How often Docker has to say that it has no such container before that is believed of one whose creation
 * it never answered: a daemon that wakes up may still be at it.
 */
export const DOCKER_LITTER_LOOKS = 2;

/** Period of the CPU limit of containers in microseconds; the kernel's default. */
export const DOCKER_CPU_PERIOD_US = 100_000;

/** Files that a process in a container may have open; as in the SOCK engine. */
export const DOCKER_FILES_MAX = 1024;

/** Memory that a process in a container may lock, in bytes; as in the SOCK engine. */
export const DOCKER_LOCKED_MAX_BYTES = 64 * 1024;

/** Signals that may wait in a container; as in the SOCK engine. */
export const DOCKER_SIGNALS_MAX = 1024;

/**
 * What the limit of processes of a container's user is above that of its cgroup, which is the one that is to
 * be met; as in the SOCK engine.
 */
export const DOCKER_PROCESSES_SPARE = 8;

/** Files per MiB of scratch space in a container; as in the SOCK engine. */
export const DOCKER_INODES_PER_MIB = 256;

/** Containers that are removed at the same time; the daemon serialises most of it. */
export const DOCKER_REMOVALS_PARALLEL_MAX = 8;

/** How long Docker may take to let go of a container, in milliseconds. */
export const DOCKER_REMOVE_TIMEOUT_MS = 20_000;

/** Containers that are created and started at the same time; more only wait inside the daemon. */
export const DOCKER_CREATES_PARALLEL_MAX = 8;

/** How long the guest of a started container may take to connect, in milliseconds. */
export const DOCKER_CONNECT_TIMEOUT_MS = 30_000;

/** How long a container whose guest hung up may take to exit by itself before it is killed, in milliseconds. */
export const DOCKER_EXIT_TIMEOUT_MS = 500;

/** Looks at a container that was killed until Docker has been told that memory was the reason. */
export const DOCKER_OOM_LOOKS_MAX = 10;

/** Pause between two such looks, in milliseconds. */
export const DOCKER_OOM_LOOK_INTERVAL_MS = 20;

/** Start of the user ids of containers, `DOCKER_UIDS_PER_WORKER` for each slot; ends far below those of SOCK. */
export const DOCKER_UID_FIRST = 1_610_612_736;

/** User ids of containers that one worker hands out: bounds its living containers. */
export const DOCKER_UIDS_PER_WORKER = 4_096;

/** How often the disk use of a command in a container is looked at, in milliseconds: a walk by another process. */
export const DOCKER_COMMAND_WATCH_INTERVAL_MS = 500;
