/**
 * Every bound of the project that is not a setting, in one place: name, unit, and why that number.
 * A loop, queue, buffer, retry or wait without a row here (or in the configuration) is a defect.
 */

const KIB = 1024;
const MIB = 1024 * KIB;

/** Longest lambda name in characters; longer ones answer 404 (DNS labels and S3 keys stay short too). */
export const LAMBDA_NAME_MAX_CHARS = 128;

/** Largest frame that a guest may send, in bytes; a larger announced length is a protocol violation. */
export const FRAME_MAX_BYTES = 64 * MIB;

/** Bytes of one output stream (stdout, stderr) of an instance that are kept on the host. */
export const OUTPUT_MAX_BYTES = 8 * MIB;

/** Interval of the watchdog that looks at output sizes of busy sandboxes, in milliseconds. */
export const OUTPUT_WATCH_INTERVAL_MS = 250;

/** Longest message or traceback of a lambda that is passed on to a client, in characters. */
export const GUEST_MESSAGE_MAX_CHARS = 32 * KIB;

/** How long the root zygote may take until it says that it is ready, in milliseconds. */
export const ZYGOTE_START_TIMEOUT_MS = 30_000;

/** How long a destroyed sandbox's processes may take to be gone before it is an error, in milliseconds. */
export const DESTROY_TIMEOUT_MS = 5_000;

/** How long a call may wait for memory before it is answered with 429, in milliseconds. */
export const POOL_WAIT_MAX_MS = 10_000;

/** How long an idle instance stays running before it is paused, in milliseconds. */
export const IDLE_PAUSE_AFTER_MS = 2_000;

/** How long `SIGTERM` waits for calls in flight before it kills them, in milliseconds, beyond `runtime_sec`. */
export const DRAIN_EXTRA_MS = 2_000;

/** How long `workers` waits for each worker's `/status`, in milliseconds. */
export const WORKER_READY_TIMEOUT_MS = 60_000;

/** How long a command waits for another one that changes the cluster: a start may take a minute. */
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

/** Tries of one request to an S3 store (connection cut, 5xx). */
export const S3_TRIES_MAX = 3;

/** First pause between two tries in milliseconds; doubles each time. */
export const S3_RETRY_PAUSE_MS = 50;

/** How long an S3 store may take until its answer starts, and between two pieces of it, in milliseconds. */
export const S3_STALL_TIMEOUT_MS = 10_000;

/** Largest error document of an S3 store that is read, in bytes. */
export const S3_ERROR_BODY_MAX_BYTES = 64 * KIB;

/** Bundles from this size on are sent in parts, with progress, in bytes. */
export const S3_MULTIPART_FROM_BYTES = 16 * MIB;

/** Difference between a client's clock and the store's that a signature survives, in milliseconds (AWS: 15 min). */
export const S3_CLOCK_SKEW_MAX_MS = 15 * 60_000;

/** Longest life of a presigned URL in seconds (AWS: 7 days). */
export const S3_PRESIGN_MAX_SEC = 7 * 24 * 3600;

/** Largest object of the embedded store in bytes (S3: 5 GiB for one PUT). */
export const STORE_OBJECT_MAX_BYTES = 5 * 1024 * MIB;

/** Longest object key in bytes of UTF-8 (S3). */
export const STORE_KEY_MAX_BYTES = 1_024;

/** Metadata kept with an object, in characters of names and values. */
export const STORE_METADATA_MAX_CHARS = 8 * KIB;

/** Largest XML document that a client may send to the store, in bytes (1,000 keys of 1 KiB, escaped). */
export const STORE_XML_MAX_BYTES = 2 * MIB;

/** Most keys of one DeleteObjects request and of one page of a listing (S3). */
export const STORE_PAGE_MAX_KEYS = 1_000;

/** Highest part number of a multipart upload (S3). */
export const STORE_PARTS_MAX = 10_000;

/** Uploads begun and neither completed nor aborted at one time. */
export const STORE_UPLOADS_MAX = 1_000;

/** Age at which an unfinished multipart upload is dropped when the store starts, in milliseconds. */
export const STORE_UPLOAD_AGE_MAX_MS = 24 * 3600_000;

/** Longest line of an `aws-chunked` body (chunk header or trailer) in bytes. */
export const STORE_CHUNK_LINE_MAX_BYTES = 4 * KIB;

/** Seconds of silence after which the store closes a connection. */
export const STORE_IDLE_TIMEOUT_SEC = 60;

/** How long a stopping store waits for requests in flight, in milliseconds; less than `kill` waits for it. */
export const STORE_DRAIN_MS = 4_000;

/** How long `registry` waits for the store to answer, in milliseconds. */
export const STORE_READY_TIMEOUT_MS = 10_000;

/** How long `upload` gives Python to check the syntax of a lambda, in milliseconds. */
export const SYNTAX_CHECK_TIMEOUT_MS = 30_000;

/** Quiet time after a change before `upload --watch` sends it, in milliseconds (editors write in bursts). */
export const WATCH_SETTLE_MS = 150;

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

/** Levels of nested cgroups that are looked at when leftovers of a dead worker are removed. */
export const CGROUP_DEPTH_MAX = 16;

/** Memory still charged to an empty cgroup above which it is not reused, in bytes (tmpfs, page cache). */
export const CGROUP_REUSE_CHARGE_MAX_BYTES = 4 * MIB;

/** Period over which the CPU limit is counted, in microseconds (the kernel's default). */
export const CGROUP_CPU_PERIOD_US = 100_000;

/** Largest configuration file that is read, in bytes: a wrong path must not be slurped into memory. */
export const CONFIG_FILE_MAX_BYTES = MIB;

/** Largest `packages.txt` or `requirements.txt`, in bytes: a list of names, not a data file. */
export const REQUIREMENTS_MAX_BYTES = 256 * KIB;

/** Most requirements of one lambda; more is a mistake or an attack on the resolver. */
export const REQUIREMENTS_MAX_COUNT = 500;

/** Most distributions that one resolution may yield; the largest real closures stay under 300. */
export const DISTRIBUTIONS_MAX_COUNT = 1_000;

/** Largest file that the worker reads back from an installer sandbox (pip's report, RECORD), in bytes. */
export const INSTALLER_FILE_MAX_BYTES = 64 * MIB;

/** Most files and directories of one distribution; the largest on PyPI hold about 40,000. */
export const DISTRIBUTION_ENTRIES_MAX = 200_000;

/** Deepest directory of a distribution. */
export const DISTRIBUTION_DEPTH_MAX = 64;

/** Installer sandboxes that run at once in one worker: each may take `installer_limits`. */
export const INSTALLERS_MAX_COUNT = 2;

/** Lambda versions whose installed packages, or whose last failure, a worker remembers. */
export const INSTALL_MEMORY_MAX_COUNT = 10_000;

/** First pause after a failed installation until it is tried again, in milliseconds; doubles each time. */
export const INSTALL_BACKOFF_FIRST_MS = 1_000;

/** Longest pause between two tries of a failing installation, in milliseconds. */
export const INSTALL_BACKOFF_MAX_MS = 300_000;

/** Part of pip's words that is passed on to the caller, in characters. */
export const INSTALL_MESSAGE_MAX_CHARS = 4 * KIB;

/** Deepest zygote below the root; user and pid namespaces nest at most 32 deep, and containers use some. */
export const ZYGOTE_DEPTH_MAX = 8;

/** Zygotes being created at once: importing is CPU work that competes with calls. */
export const ZYGOTE_CREATIONS_MAX = 2;

/** Most zygotes in the tree, whatever the budget: each is a process with a cgroup. */
export const ZYGOTES_MAX_COUNT = 256;

/** Distinct package sets whose demand the import cache remembers. */
export const ZYGOTE_PROFILES_MAX_COUNT = 1_000;

/** Profiles that one planning step compares with, the most used ones: keeps a step under a millisecond. */
export const ZYGOTE_PLAN_PROFILES_MAX = 64;

/** Half-life of a hit in the import cache's demand figures, in milliseconds. */
export const ZYGOTE_DEMAND_HALF_LIFE_MS = 600_000;

/** Import time below which a zygote is not worth its memory, in microseconds. */
export const ZYGOTE_WORTH_MIN_US = 3_000;

/** Longest import time that is believed, in microseconds: guests report it and can lie. */
export const ZYGOTE_IMPORT_MAX_US = 60_000_000;

/** First pause after a zygote failed to import or died until it is tried again, in milliseconds; doubles each time. */
export const ZYGOTE_BACKOFF_FIRST_MS = 1_000;

/** Longest pause between two tries of a failing zygote, in milliseconds. */
export const ZYGOTE_BACKOFF_MAX_MS = 600_000;

/** Memory that an import is guessed to take before any was measured, in bytes. */
export const ZYGOTE_MEMORY_GUESS_BYTES = 16 * MIB;

/** Import time that a module is guessed to take before any was measured, in microseconds. */
export const ZYGOTE_IMPORT_GUESS_US = 50_000;

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

/** Requests that may wait for a busy zygote; more are refused with 429. */
export const ZYGOTE_REQUESTS_WAITING_MAX = 2_048;

/** Pause before a request is offered again to a zygote whose socket is full, in milliseconds. */
export const ZYGOTE_SEND_RETRY_MS = 1;

/** User ids that one worker hands out, one per sandbox: as many as a user namespace is usually given. */
export const UIDS_PER_WORKER = 65_536;

/** Directories with output that are kept per lambda, beside those of live instances. */
export const INSTANCE_LOGS_KEPT = 8;

/** Directories with output files kept ready for the next instances; each holds two descriptors. */
export const INSTANCE_LOGS_STOCK = 32;

/** How long the end of a guest's stream waits for its zygote to say how it ended, in milliseconds. */
export const EXIT_REPORT_TIMEOUT_MS = 1_000;

/** Forked, enclosed sandboxes without a lambda that the root zygote keeps ready. */
export const SPARES_ROOT = 8;

/** The same for each import-cache zygote. */
export const SPARES_CACHED = 1;

/** Largest process id of a 64-bit kernel (PID_MAX_LIMIT). */
export const PID_MAX = 4_194_304;

/** Largest pid file that is read, in bytes: a pid, a start time and a boot id with room to spare. */
export const PID_FILE_MAX_BYTES = 128;

/** Compiled lambda code that the worker keeps, all versions together, in bytes. */
export const CODE_CACHE_MAX_BYTES = 64 * MIB;

/** Pause between two tries to start the root zygote after it died, in milliseconds. */
export const ZYGOTE_RESTART_DELAY_MS = 500;

/** Most workers that one command starts: each takes a port, a process and a share of the memory. */
export const WORKERS_MAX = 256;

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

/** End of a command's output that is kept for messages and parsing, in bytes per stream. */
export const COMMAND_OUTPUT_TAIL_BYTES = 256 * KIB;

/** Modules whose import time and memory the import cache remembers. */
export const ZYGOTE_COSTS_MAX_COUNT = 4_096;

/** How long a zygote may take to import its packages, in milliseconds: the slowest real ones take some seconds. */
export const ZYGOTE_IMPORT_TIMEOUT_MS = 60_000;

/** Scratch space of an import-cache zygote, in bytes: caches that packages write on import. */
export const ZYGOTE_SCRATCH_BYTES = 64 * MIB;

/** Memory that an import-cache zygote may take, in bytes; what it really takes counts against `import_cache_size`. */
export const ZYGOTE_MEMORY_MAX_BYTES = 2048 * MIB;

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

/** First pause after a zygote found no room until it is planned again, in milliseconds; doubles each time. */
export const ZYGOTE_ROOM_BACKOFF_FIRST_MS = 100;

/** Longest pause between two searches for room for the same lambda's zygote, in milliseconds. */
export const ZYGOTE_ROOM_BACKOFF_MAX_MS = 5_000;

/** Guests that are tried for one sandbox when those in stock turn out to be dead: all spares, and some more. */
export const GUEST_TRIES_MAX = SPARES_ROOT + 8;

/** Size from which on a background process's log is moved to `.1`, in bytes: copying it takes some milliseconds. */
export const LOG_FILE_MAX_BYTES = 8 * MIB;

/** Older parts of such a log that are kept, `.1` to `.N`. */
export const LOG_FILES_KEPT = 2;

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

/** How long after a spare was taken the stock is refilled, in milliseconds: a cold call takes about two. */
export const SPARE_REFILL_DELAY_MS = 3;

/** Size after which an instance's index of calls is not continued, in bytes: some 20,000 calls that print. */
export const CALL_INDEX_MAX_BYTES = MIB;
