/**
 * Makes bundles of directories. Equal files give equal bytes, so that an upload of unchanged code
 * changes no version and restarts nothing.
 */

import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "tar";
import { BUNDLE_MAX_BYTES } from "../common/limits.ts";
import { HANDLER_FILE, invalidCode } from "./code-path.ts";
import { copyTree, type TreeSummary } from "./tree.ts";

/** What was packed. */
export interface PackSummary extends TreeSummary {
  readonly packedBytes: number;
}

/** Times in a bundle mean nothing here, but must be the same each time. */
const PACKED_TIME = new Date(0);

/**
 * @param sourceDir directory with `lambda_func.py`; caches and version control are left out, links
 *   that stay inside are replaced by what they point to
 * @param destFile the `.tar.gz` to write
 * @returns how much was packed
 * @throws {OlError} bundle_invalid: no handler, links out of it, devices, too large
 */
export async function packBundle(sourceDir: string, destFile: string): Promise<PackSummary> {
  const stage = mkdtempSync(join(tmpdir(), "ol-pack-"));
  try {
    const summary = await copyTree(sourceDir, stage);
    if (!readdirSync(stage).includes(HANDLER_FILE)) {
      throw invalidCode(`Cannot pack the lambda: its directory holds no file ${HANDLER_FILE}`);
    }
    const paths = readdirSync(stage, { recursive: true, encoding: "utf8" }).toSorted();
    await create(
      {
        gzip: true,
        file: destFile,
        cwd: stage,
        portable: true,
        noDirRecurse: true,
        mtime: PACKED_TIME,
        strict: true,
      },
      // With "./" a name such as "@x" is not read as an archive to include.
      paths.map((path) => `./${path}`),
    );
    const packedBytes = statSync(destFile).size;
    if (packedBytes > BUNDLE_MAX_BYTES) {
      throw invalidCode(
        `Cannot pack the lambda: the bundle has ${packedBytes} bytes, at most ${BUNDLE_MAX_BYTES} are allowed`,
      );
    }
    return { ...summary, packedBytes };
  } catch (error) {
    rmSync(destFile, { force: true });
    throw error;
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}
