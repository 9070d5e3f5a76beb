/** Where tests find the project's own things, whatever the current directory is. */

import { homedir } from "node:os";
import { join } from "node:path";

/** Root of the project. */
export const PROJECT_DIR = join(import.meta.dir, "../..");

/** `OL_BIN_DIR` lets a suite run against another build, such as the previous release. */
const BIN_DIR = process.env["OL_BIN_DIR"] ?? join(PROJECT_DIR, "bin");

/** The compiled executable; `tests/run.ts` builds it before any lane runs. */
export const OL_PATH = join(BIN_DIR, "ol");

/** The same executable under its second name. */
export const ADMIN_PATH = join(BIN_DIR, "admin");

/**
 * What tests download or build once for all checkouts of a machine: clients, packages, images. Not in
 * the checkout, because a fresh clone would take ten minutes for what is the same every time.
 */
export const CACHE_DIR = join(
  process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"),
  "openlambda-tests",
);
