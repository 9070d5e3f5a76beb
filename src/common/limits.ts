/**
 * Every bound of the project that is not a setting, in one place: name, unit, and why that number.
 * A loop, queue, buffer, retry or wait without a row here (or in the configuration) is a defect. Those of
 * packages have a file of their own beside this one, `package-limits.ts`.
 */

export * from "./store-limits.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Longest lambda name in characters; longer ones answer 404 (DNS labels and S3 keys stay short too). */
export const LAMBDA_NAME_MAX_CHARS = 128;

/** Largest frame that a guest may send, in bytes; a larger announced length is a protocol violation. */
export const FRAME_MAX_BYTES = 64 * MIB;

/** Bytes of one output stream (stdout, stderr) of an instance that are kept on the host. */
export const OUTPUT_MAX_BYTES = 8 * MIB;

/**
 * Bytes of one stream from which on an instance is replaced after its call, so that its lambda's output does not end
 * at the bound: whatever was printed before, a call has as much again. A cold start per this many bytes is nothing.
 */
export const OUTPUT_RENEW_BYTES = OUTPUT_MAX_BYTES / 2;

/**
 * How readily the kernel ends a sandbox where the machine has no memory, from -1000 (never) to 1000 (first): before
 * the worker, which has what its caller had, mostly 0. Without privilege it cannot be lowered again.
 */
export const SANDBOX_OOM_SCORE = 500;

/** Interval of the watchdog that looks at output sizes of busy sandboxes, in milliseconds. */
export const OUTPUT_WATCH_INTERVAL_MS = 250;

/** Longest message or traceback of a lambda that is passed on to a client, in characters. */
export const GUEST_MESSAGE_MAX_CHARS = 32 * KIB;

/** How long a destroyed sandbox's processes may take to be gone before it is an error, in milliseconds. */
export const DESTROY_TIMEOUT_MS = 5_000;

/** How long a call may wait for memory before it is answered with 429, in milliseconds. */
export const POOL_WAIT_MAX_MS = 10_000;

/**
 * How long an instance may serve call after call while other lambdas wait for its memory, in milliseconds. Its
 * successor's start takes a hundredth of that, and forty lambdas can share one place within the wait above.
 */
export const INSTANCE_TURN_MS = 250;

/** How long an idle instance stays running before it is paused, in milliseconds. */
export const IDLE_PAUSE_AFTER_MS = 2_000;

/** How long `SIGTERM` waits for calls in flight before it kills them, in milliseconds, beyond `runtime_sec`. */
export const DRAIN_EXTRA_MS = 2_000;

/** How long `workers` waits for each worker's `/status`, in milliseconds; longer where it installs `startup_pkgs`. */
export const WORKER_READY_TIMEOUT_MS = 60_000;

/** How long a command waits for another one that changes the cluster: a start may take a minute, without packages. */
export const COMMAND_WAIT_MAX_MS = 90_000;

/** How long `kill` waits for a worker to drain before it sends SIGKILL, in milliseconds. */
export const WORKER_STOP_TIMEOUT_MS = 40_000;

/** Largest packed bundle in bytes: room for a lambda with vendored wheels, far below what fills a disk. */
export const BUNDLE_MAX_BYTES = 512 * MIB;

/** Largest code of one lambda when unpacked, in bytes (bundle or directory). */
export const CODE_MAX_BYTES = 1024 * MIB;

/** Most files and directories of one lambda (bundle or directory). */
export const CODE_ENTRIES_MAX = 20_000;

/** Deepest nesting of a lambda's directories; also what ends a loop of links. */
export const CODE_DEPTH_MAX = 32;

/** Longest path inside a lambda's code in bytes of UTF-8. */
export const CODE_PATH_MAX_BYTES = 1_024;

/** Longest single name in a path in bytes (NAME_MAX of Linux). */
export const CODE_NAME_MAX_BYTES = 255;

/** A bundle that inflates more than this many times its packed size is a bomb (source text: about 5). */
export const BUNDLE_RATIO_MAX = 200;

/** Unpacked bytes below which the ratio is not judged: small archives of padding reach any ratio. */
export const BUNDLE_RATIO_FREE_BYTES = 16 * MIB;

/** Bytes after the end mark of a tar archive that are padding (GNU tar's largest usual record: 1 MiB). */
export const BUNDLE_PADDING_MAX_BYTES = 2 * MIB;

/** Age in milliseconds from which a file time is trusted to change with the next write (10 ms ticks, twice). */
export const FILE_TIME_TICK_MS = 20;

/** How often the copy of a lambda's directory is tried when the directory changes meanwhile. */
export const CODE_COPY_TRIES_MAX = 5;

/** How long `upload` gives Python to check the syntax of a lambda, in milliseconds. */
export const SYNTAX_CHECK_TIMEOUT_MS = 30_000;

/** Quiet time after a change before `upload --watch` sends it, in milliseconds (editors write in bursts). */
export const WATCH_SETTLE_MS = 150;

/** How often `upload --watch` tries again while the registry fails, in milliseconds. */
export const UPLOAD_RETRY_INTERVAL_MS = 2_000;

/** Largest base in bytes of file contents; the largest images with CUDA and the like stay below it. */
export const BASE_BYTES_MAX = 64 * 1024 * MIB;

/** Most files, directories and links of a base; a desktop installation has about a million. */
export const BASE_ENTRIES_MAX = 4_000_000;

/** Links followed on the way to one path while a base is unpacked; the kernel's own limit. */
export const BASE_LINKS_FOLLOWED_MAX = 40;

/** How long the Python of a base may take to prove that it works, in milliseconds. */
export const BASE_CHECK_TIMEOUT_MS = 60_000;

/** Buffer for one read of a cgroup file, in bytes; longer files (process lists) are read in pieces. */
export const CGROUP_FILE_MAX_BYTES = 16 * KIB;

/** A read of a cgroup file that returns fewer bytes has reached its end: the kernel fills a page of 4 KiB. */
export const CGROUP_READ_SURE_END_BYTES = 2 * KIB;

/** How often one system call is repeated after EINTR before it counts as failed. */
export const SYSCALL_RETRIES_MAX = 16;

/** How long the thread waits for version 1 to stop all processes of a cgroup, in microseconds. */
export const CGROUP_FREEZE_WAIT_MAX_US = 20_000;

/** Pause between two looks at a cgroup that is freezing, in microseconds. */
export const CGROUP_FREEZE_POLL_US = 50;

/** Freeze-and-kill rounds where the kernel has no `cgroup.kill`; each halves a fork bomb at least. */
export const CGROUP_KILL_ROUNDS_MAX = 16;

/** First pause between two looks whether a cgroup is empty, in milliseconds; doubles up to the next row. */
export const CGROUP_EMPTY_POLL_MIN_MS = 1;

/** Longest pause between two looks whether a cgroup is empty, in milliseconds. */
export const CGROUP_EMPTY_POLL_MAX_MS = 32;

/** How long a sandbox may take to end after its zygote was asked to kill it, in milliseconds. */
export const CGROUP_END_WAIT_MS = 50;

/** How long the end of its first process is waited for until a killed cgroup is looked at, in milliseconds. */
export const CGROUP_EMPTY_HINT_WAIT_MS = 16;

/** Levels of nested cgroups that are looked at when leftovers of a dead worker are removed. */
export const CGROUP_DEPTH_MAX = 16;

/** Memory still charged to an empty cgroup above which it is not reused, in bytes (tmpfs, page cache). */
export const CGROUP_REUSE_CHARGE_MAX_BYTES = 4 * MIB;

/** Period over which the CPU limit is counted, in microseconds (the kernel's default). */
export const CGROUP_CPU_PERIOD_US = 100_000;

/** How often a cgroup of ours is emptied while further workers start in it. */
export const CGROUP_STEP_ASIDE_TRIES_MAX = 8;

/** Largest configuration file that is read, in bytes: a wrong path must not be slurped into memory. */
export const CONFIG_FILE_MAX_BYTES = MIB;

/** Longest `x-request-id` of a caller that is repeated, in characters (a UUID has 36, a trace id 55). */
export const REQUEST_ID_MAX_CHARS = 128;

/** Longest duration that a latency histogram tells apart, in microseconds: one hour. */
export const HISTOGRAM_MAX_US = 3_600_000_000;

/** How long a log line may wait for its batch, in milliseconds. */
export const LOG_FLUSH_INTERVAL_MS = 100;

/** Size of a batch of log lines that is written at once, in bytes (a pipe holds 64 KiB). */
export const LOG_BATCH_BYTES = 32 * KIB;

/** Log lines kept while their descriptor does not take them, in bytes; then lines are dropped and counted. */
export const LOG_BUFFER_MAX_BYTES = 4 * MIB;

/** Lines per interval that one place in the code may log when a guest or a client triggers it. */
export const LOG_LIMIT_BURST = 10;

/** The interval of `LOG_LIMIT_BURST`, in milliseconds. */
export const LOG_LIMIT_INTERVAL_MS = 1_000;

/** Silence in seconds after which an idle or stalled connection is closed (the runtime counts in steps of 4). */
export const HTTP_IDLE_TIMEOUT_SEC = 30;

/** Bodies over the limit are read and dropped up to this size, so that the client gets to read its 413; in bytes. */
export const HTTP_DRAIN_MAX_BYTES = 128 * MIB;

/** How long a stopping server lets a client read the rest of its answer, in milliseconds. */
export const HTTP_FLUSH_TIMEOUT_MS = 2_000;

/** `retry-after` of a 429 in seconds: a queue of calls empties within a second or not soon. */
export const RETRY_AFTER_BUSY_SEC = 1;

/** `retry-after` of a 503 in seconds: a worker that drains is replaced, an engine comes back, in seconds. */
export const RETRY_AFTER_UNAVAILABLE_SEC = 5;

/** User ids that one worker hands out, one per sandbox: as many as a user namespace is usually given. */
export const UIDS_PER_WORKER = 65_536;

/** Directories with output that are kept per lambda, beside those of live instances. */
export const INSTANCE_LOGS_KEPT = 8;

/** Directories with output files kept ready for the next instances; each holds two descriptors. */
export const INSTANCE_LOGS_STOCK = 32;

/** How long the end of a guest's stream waits for its zygote to say how it ended, in milliseconds. */
export const EXIT_REPORT_TIMEOUT_MS = 1_000;

/** Largest process id of a 64-bit kernel (PID_MAX_LIMIT). */
export const PID_MAX = 4_194_304;

/** Largest pid file that is read, in bytes: a pid, a start time and a boot id with room to spare. */
export const PID_FILE_MAX_BYTES = 128;

/** Compiled lambda code that the worker keeps, all versions together, in bytes. */
export const CODE_CACHE_MAX_BYTES = 64 * MIB;

/** Most workers that one command starts: each takes a port, a process and a share of the memory. */
export const WORKERS_MAX = 256;

/** How often the port of a worker that was just killed is tried until it is called taken: for two seconds. */
export const PORT_RELEASE_TRIES_MAX = 40;

/** Pause between those tries, in milliseconds. */
export const PORT_RELEASE_POLL_MS = 50;

/** How long a worker may take to answer `/status` before a command calls it silent, in milliseconds. */
export const PING_TIMEOUT_MS = 2_000;

/** End of a log that a failed start shows, in bytes. */
export const LOG_TAIL_MAX_BYTES = 8 * KIB;

/** The same in lines: a screenful. */
export const LOG_TAIL_MAX_LINES = 20;

/** Largest event that `invoke` reads from stdin, in bytes: the largest body that a worker may allow. */
export const INVOKE_INPUT_MAX_BYTES = 1024 * MIB;

/** Piece of a lambda's output that `logs` holds in memory at once, in bytes. */
export const LOG_CHUNK_BYTES = 64 * KIB;

/** Starts of one lambda at the same time: a start takes milliseconds, and a warm instance may serve first. */
export const STARTS_PER_LAMBDA_MAX = 4;

/** Instances that are started at the same time, all lambdas together; more would only queue in the zygote. */
export const STARTS_MAX = 16;

/** How often idle instances are looked at for pausing and eviction, in milliseconds. */
export const IDLE_SWEEP_INTERVAL_MS = 250;

/**
 * How long calls of a lambda that has a version in use wait for the registry's word on a newer one, in
 * milliseconds: a directory answers in 0.1 ms, a store on the network in tens.
 */
export const REGISTRY_PATIENCE_MS = 500;

/** Bytes of request bodies that a worker holds at once, all calls together. */
export const BODIES_MAX_BYTES = 512 * MIB;

/** Size up to which a body is not counted per lambda, in bytes: `max_queue` of them are far from the bound above. */
export const BODY_SMALL_BYTES = 64 * KIB;

/** How often lambdas that nobody calls any more are forgotten, in milliseconds. */
export const LAMBDA_FORGET_INTERVAL_MS = 30_000;

/** SOCK workers that one machine can have: their ranges of user ids fill 2^28 ids. */
export const ENGINE_SLOTS = 4_096;

/** Deepest directory that a walk over a hostile tree goes into. */
export const TREE_WALK_DEPTH_MAX = 64;

/** Entries after which a walk over a hostile tree lets the worker do something else. */
export const TREE_WALK_PAUSE_ENTRIES = 256;

/** How often a command's disk use and output are looked at, in milliseconds. */
export const COMMAND_WATCH_INTERVAL_MS = 250;

/** Files and directories that one command may make: a scientific stack has some 30,000. */
export const COMMAND_ENTRIES_MAX = 250_000;

/** Looks at a command in a row that the host refuses before the command is ended: five seconds. */
export const COMMAND_WATCH_FAILURES_MAX = 20;

/** End of a command's output that is kept for messages and parsing, in bytes per stream. */
export const COMMAND_OUTPUT_TAIL_BYTES = 256 * KIB;

/** How long a program that `doctor` tries may run, in milliseconds (an emulated machine is slow). */
export const DOCTOR_PROGRAM_TIMEOUT_MS = 20_000;

/** How long `doctor` waits for a Docker daemon, in milliseconds. */
export const DOCTOR_DOCKER_TIMEOUT_MS = 3_000;

/** Free space below which `doctor` warns, in bytes: two sandboxes' scratch at its default size. */
export const DOCTOR_DISK_MIN_BYTES = 1_024 * MIB;

/** Free inodes below which `doctor` warns: a large package has 10,000 files. */
export const DOCTOR_DISK_MIN_FILES = 50_000;

/** Hard limit of open files below which `doctor` warns: 5,000 connections and 1,000 sandboxes of 3. */
export const DOCTOR_OPEN_FILES_MIN = 8_192;

/** Size from which on a background process's log is moved to `.1`, in bytes: copying it takes some milliseconds. */
export const LOG_FILE_MAX_BYTES = 8 * MIB;

/** The same of `benchmark_log`, in bytes: a hundred thousand calls; copying them takes some 20 ms. */
export const BENCHMARK_LOG_MAX_BYTES = 32 * MIB;

/** Older parts of such a log that are kept, `.1` to `.N`. */
export const LOG_FILES_KEPT = 2;

/** How often a log that is moved away is looked at for lines that others have added meanwhile. */
export const LOG_COPY_ROUNDS_MAX = 100;

/** How often the size of such a log is looked at when this process writes nothing, in milliseconds. */
export const LOG_SIZE_WATCH_INTERVAL_MS = 1_000;

/** Rounds in which an engine that closes tries to give back what the host refused; half a second in all. */
export const RELEASE_TRIES_MAX = 10;

/** Pause after the first of those rounds, in milliseconds; grows by as much with each. */
export const RELEASE_RETRY_MS = 10;

/** How often `status --watch` draws, in milliseconds. */
export const STATUS_WATCH_INTERVAL_MS = 1_000;

/** Silence after which a worker that has a successor takes its clients to be gone, in milliseconds. */
export const RETIRE_QUIET_MS = 1_000;

/** How often it looks, in milliseconds. */
export const RETIRE_POLL_INTERVAL_MS = 20;

/** How long such a worker goes on beyond the time that a call may take, in milliseconds: some idle pauses. */
export const RETIRE_EXTRA_MS = 10_000;

/** Size after which an instance's index of calls is not continued, in bytes: some 20,000 calls that print. */
export const CALL_INDEX_MAX_BYTES = MIB;
