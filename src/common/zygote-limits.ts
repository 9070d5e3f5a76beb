/** Bounds of zygotes, of what is forked from them ahead of need, and of the import cache; see `limits.ts`. */

const KIB = 1024;
const MIB = 1024 * KIB;

/** How long the root zygote may take until it says that it is ready, in milliseconds. */
export const ZYGOTE_START_TIMEOUT_MS = 30_000;

/** Deepest zygote below the root; user and pid namespaces nest at most 32 deep, and containers use some. */
export const ZYGOTE_DEPTH_MAX = 8;

/** Zygotes being created at once: importing is CPU work that competes with calls. */
export const ZYGOTE_CREATIONS_MAX = 2;

/** Most zygotes in the tree, whatever the budget: each is a process with a cgroup. */
export const ZYGOTES_MAX_COUNT = 256;

/** Distinct package sets whose demand the import cache remembers. */
export const ZYGOTE_PROFILES_MAX_COUNT = 1_000;

/** Profiles that one planning step compares with, the most used ones. */
export const ZYGOTE_PLAN_PROFILES_MAX = 64;

/** Sets of units that one planning step weighs, those of the most used profiles. */
export const ZYGOTE_PLAN_SETS_MAX = 16;

/** Declared modules of one lambda that are imported ahead of need; further ones it imports itself. */
export const ZYGOTE_UNITS_MAX_COUNT = 64;

/** Packages that distributions share of which one zygote is told: with long names some 16 KB of its request. */
export const ZYGOTE_NAMESPACES_MAX_COUNT = 64;

/** Steps (looks at one unit, profile or pair) that plans may take in a burst: some milliseconds. */
export const ZYGOTE_PLAN_STEPS_MAX = 400_000;

/** Steps that are granted per millisecond beyond that: about a twentieth of a CPU. */
export const ZYGOTE_PLAN_STEPS_PER_MS = 2_000;

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

/** Requests that may wait for a busy zygote; more are refused with 429. */
export const ZYGOTE_REQUESTS_WAITING_MAX = 2_048;

/** Pause before a request is offered again to a zygote whose socket is full, in milliseconds. */
export const ZYGOTE_SEND_RETRY_MS = 1;

/** Forked, enclosed sandboxes without a lambda that the root zygote keeps ready. */
export const SPARES_ROOT = 16;

/** The same for each import-cache zygote. */
export const SPARES_CACHED = 1;

/**
 * The same while cold starts come from it: taking the last one makes the next fork compete with the call, which
 * costs calls one by one a third to two fifths of their time.
 */
export const SPARES_CACHED_IN_DEMAND = 4;

/** Cgroups that each of them keeps for its next children while it is in demand: spares, and those that end. */
export const ZYGOTE_CGROUPS_MAX_COUNT = 8;

/** How long after the last cold start a zygote counts as in demand, in milliseconds. */
export const SPARES_CALM_AFTER_MS = 5_000;

/** Pause between two tries to start the root zygote after it died, in milliseconds. */
export const ZYGOTE_RESTART_DELAY_MS = 500;

/** Modules whose import time and memory the import cache remembers. */
export const ZYGOTE_COSTS_MAX_COUNT = 4_096;

/** Most time that a zygote gets for its imports, in milliseconds: the slowest real ones take some seconds. */
export const ZYGOTE_IMPORT_TIMEOUT_MS = 60_000;

/** Scratch space of an import-cache zygote, in bytes: caches that packages write on import. */
export const ZYGOTE_SCRATCH_BYTES = 64 * MIB;

/**
 * How long a forked child of an import-cache zygote may take until it says that it is enclosed, in
 * milliseconds: some hundred times what it takes; longer, and its zygote is taken to hang.
 */
export const ZYGOTE_FORK_TIMEOUT_MS = 2_000;

/** How long a worker reads what has arrived before it calls a child silent, in milliseconds. */
export const GUEST_SECOND_LOOK_MS = 100;

/** Children of one import-cache zygote in a row that end before their lambda: then it is given up. */
export const ZYGOTE_FORK_FAILURES_MAX = 3;

/** First pause before a spare that died in stock is replaced, in milliseconds; doubles each time. */
export const SPARE_BACKOFF_FIRST_MS = 50;

/** Longest such pause, in milliseconds. */
export const SPARE_BACKOFF_MAX_MS = 10_000;

/** CPU of an import-cache zygote while it imports and while sandboxes are forked from it, in percent of one. */
export const ZYGOTE_CPU_PERCENT = 100;

/** The same while nobody asks it for anything: a fork takes some milliseconds, an endless loop takes all. */
export const ZYGOTE_CPU_CALM_PERCENT = 10;

/** How long after the last fork a zygote is taken to be out of demand, in milliseconds. */
export const ZYGOTE_CALM_AFTER_MS = 1_000;

/** Memory that a zygote may lock, in bytes: more than the 2.5 MB that `hot_pages.py` pins at most. */
export const ZYGOTE_LOCKED_MAX_BYTES = 16 * MIB;

/**
 * Memory of a child that is charged to the zygote before the child joins its own cgroup, in bytes, and stays
 * there as long as the child lives: at most 2.5 MB that the fork copies (`hot_pages.py`), and its page tables.
 */
export const ZYGOTE_CHILD_BYTES = 3 * MIB;

/** Children for which a zygote has room at first; doubles as they come. */
export const ZYGOTE_CHILDREN_FIRST = 32;

/** Ids of refused requests that are remembered, as their children may end later. */
export const ZYGOTE_REFUSED_MAX_COUNT = 64;

/** First loads in a row that fail on a zygote before it is given up. */
export const ZYGOTE_LOAD_FAILURES_MAX = 2;

/** How often zygotes are measured, shrunk to the budget and made good, in milliseconds. */
export const ZYGOTE_SWEEP_INTERVAL_MS = 5_000;

/** How long a zygote has to live until the pauses of those before it are forgotten, in milliseconds. */
export const ZYGOTE_PROVEN_AFTER_MS = 300_000;

/** Least time that a zygote gets for its imports, in milliseconds: a busy machine is not its fault. */
export const ZYGOTE_IMPORT_TIMEOUT_MIN_MS = 10_000;

/** What an import may take in a zygote, as a multiple of what it took in a sandbox. */
export const ZYGOTE_IMPORT_TIMEOUT_FACTOR = 4;

/** What a zygote may take while it imports beyond what the budget leaves, in bytes: for what it frees again. */
export const ZYGOTE_MEMORY_MARGIN_BYTES = 64 * MIB;

/** Longest request to a zygote, in bytes; `REQUEST_MAX` in `zygote.py`. One datagram has to hold it. */
export const ZYGOTE_REQUEST_MAX_BYTES = 128 * KIB;

/** Memory that an import-cache zygote may take, in bytes; what it really takes counts against `import_cache_size`. */
export const ZYGOTE_MEMORY_MAX_BYTES = 2048 * MIB;

/** First pause after a zygote found no room until it is planned again, in milliseconds; doubles each time. */
export const ZYGOTE_ROOM_BACKOFF_FIRST_MS = 100;

/** Longest pause between two searches for room for the same lambda's zygote, in milliseconds. */
export const ZYGOTE_ROOM_BACKOFF_MAX_MS = 5_000;

/** Guests that are tried for one sandbox when those in stock turn out to be dead: all spares, and some more. */
export const GUEST_TRIES_MAX = SPARES_ROOT + 8;

/**
 * Spares of the root zygote that are made at once: one encloses itself while the zygote forks the next. Cold calls
 * that come faster than spares take the older one before it is enclosed.
 */
export const SPARES_ROOT_MAKING_MAX = 2;

/** The same for each import-cache zygote, whose forks are dearer: more of them would hold up the calls. */
export const SPARES_CACHED_MAKING_MAX = 1;
