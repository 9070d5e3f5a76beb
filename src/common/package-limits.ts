/** Bounds of reading, resolving and installing packages, as `limits.ts` has those of all the rest. */

const KIB = 1024;
const MIB = 1024 * KIB;

/** Largest `packages.txt` or `requirements.txt`, in bytes: a list of names, not a data file. */
export const REQUIREMENTS_MAX_BYTES = 256 * KIB;

/** Most requirements of one lambda; more is a mistake or an attack on the resolver. */
export const REQUIREMENTS_MAX_COUNT = 500;

/** Longest requirement without its comment, in characters: the longest real ones (markers, extras) have some 300. */
export const REQUIREMENT_LINE_MAX_CHARS = 1_024;

/** Longest dotted module name that is imported ahead of need, in characters; it travels in a zygote's requests. */
export const MODULE_NAME_MAX_CHARS = 256;

/** Modules of one distribution that are worth importing ahead of need when it was not said which. */
export const DISTRIBUTION_IMPORTS_MAX_COUNT = 64;

/** Most distributions that one resolution may yield; the largest real closures stay under 300. */
export const DISTRIBUTIONS_MAX_COUNT = 1_000;

/** Largest file of a package (RECORD) or of the host's pip configuration that the worker reads, in bytes. */
export const INSTALLER_FILE_MAX_BYTES = 16 * MIB;

/** Largest report of a resolution, in bytes: parsing hostile JSON takes 30 times as much memory. */
export const PIP_REPORT_MAX_BYTES = 4 * MIB;

/** Most files and directories of one distribution; the largest on PyPI hold about 40,000. */
export const DISTRIBUTION_ENTRIES_MAX = 200_000;

/** Deepest directory of a distribution. */
export const DISTRIBUTION_DEPTH_MAX = 64;

/** Entries of a distribution that are taken over before the worker does something else: under a millisecond. */
export const FREEZE_PAUSE_ENTRIES = 32;

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
