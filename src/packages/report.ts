/**
 * Reads pip's installation report: which artifacts a set of requirements comes down to, and which
 * depends on which. A hostile setup script may have forged it, so everything is checked; the worst that
 * a forged one can do is to name artifacts for the lambda that brought the script, since an artifact is
 * installed by its hash and kept under it.
 *
 * @see https://pip.pypa.io/en/stable/reference/installation-report/
 */

import { createHash } from "node:crypto";
import { OlError } from "../common/errors.ts";
import { DISTRIBUTIONS_MAX_COUNT } from "../common/package-limits.ts";
import { normalizeName } from "./requirements.ts";

/** One artifact to install. */
export interface Distribution {
  /** Normalised. */
  readonly name: string;
  readonly version: string;
  /** `sha256:<hex>`, as pip takes it after `--hash=`. */
  readonly hash: string;
  readonly kind: "wheel" | "source";
  /** Where it is installed, below the packages dir. */
  readonly dir: string;
  /** Normalised names of the distributions of the same resolution that it may use, sorted. */
  readonly requires: readonly string[];
}

const VERSION = /^[A-Za-z0-9][A-Za-z0-9.+!_-]{0,127}$/;
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,126}[a-z0-9])?$/;
const HASHES = ["sha256", "sha384", "sha512"] as const;
/** Characters of the digest in a directory name: 80 bits, so that nobody finds a second artifact for it. */
const DIGEST_CHARS = 20;

function broken(what: string): OlError {
  return new OlError("package_install", `Cannot use pip's report: ${what}`, {
    op: "packages.report",
  });
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function hashOf(name: string, archive: Readonly<Record<string, unknown>>): string {
  const hashes = record(archive["hashes"]);
  for (const kind of HASHES) {
    const hex = text(hashes[kind]);
    if (/^[0-9a-f]{64,128}$/.test(hex)) return `${kind}:${hex}`;
  }
  throw broken(`${name} comes without a sha256 hash, which the index has to give`);
}

/** @returns names that a `Requires-Dist` list mentions, whatever extra or marker they stand under */
function requiredNames(list: unknown): readonly string[] {
  if (!Array.isArray(list)) return [];
  return list.flatMap((entry) => {
    const name = /^\s*([A-Za-z0-9][A-Za-z0-9._-]*)/.exec(text(entry))?.[1];
    return name === undefined ? [] : [normalizeName(name)];
  });
}

function parseOne(item: unknown, environment: string): Distribution {
  const metadata = record(record(item)["metadata"]);
  const name = normalizeName(text(metadata["name"]));
  const version = text(metadata["version"]);
  if (!NAME.test(name) || !VERSION.test(version)) {
    throw broken("it names a distribution or version that cannot be one");
  }
  const download = record(record(item)["download_info"]);
  if (record(item)["is_direct"] === true || download["archive_info"] === undefined) {
    throw broken(`${name} is required by URL, only packages of the configured index are allowed`);
  }
  const hash = hashOf(name, record(download["archive_info"]));
  const path = text(download["url"]).split(/[?#]/)[0] ?? "";
  const digest = createHash("sha256").update(`${hash}\n${environment}`).digest("hex");
  const shown = version.replaceAll("!", "_");
  return {
    name,
    version,
    hash,
    kind: path.endsWith(".whl") ? "wheel" : "source",
    dir: `${name}-${shown}-${digest.slice(0, DIGEST_CHARS)}`,
    requires: requiredNames(metadata["requires_dist"]),
  };
}

/**
 * @param json pip's report
 * @param environment what beside the artifact decides what is installed: Python, ABI, platform
 * @returns its distributions, sorted by name
 * @throws {OlError} package_install
 */
export function parseReport(json: string, environment: string): readonly Distribution[] {
  let report: unknown;
  try {
    report = JSON.parse(json);
  } catch {
    throw broken("it is not JSON");
  }
  const install = record(report)["install"];
  if (!Array.isArray(install)) throw broken("it has no list of distributions");
  if (install.length > DISTRIBUTIONS_MAX_COUNT) {
    throw broken(
      `it lists more than ${DISTRIBUTIONS_MAX_COUNT} distributions, the most that are allowed`,
    );
  }
  const found = new Map<string, Distribution>();
  for (const item of install) {
    const one = parseOne(item, environment);
    if (found.has(one.name)) throw broken(`it names ${one.name} twice`);
    found.set(one.name, one);
  }
  return [...found.values()]
    .map((one) => ({
      ...one,
      requires: [...new Set(one.requires)]
        .filter((name) => name !== one.name && found.has(name))
        .toSorted(),
    }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * @param from where to start
 * @param all every distribution of the resolution
 * @returns directories of it and of everything that it may import: its own first, the rest sorted
 */
export function closureDirs(from: Distribution, all: readonly Distribution[]): readonly string[] {
  const byName = new Map(all.map((one) => [one.name, one]));
  const seen = new Set([from.name]);
  const queue = [from];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    for (const name of next.requires) {
      const one = byName.get(name);
      if (one === undefined || seen.has(name)) continue;
      seen.add(name);
      queue.push(one);
    }
  }
  seen.delete(from.name);
  return [from.dir, ...[...seen].toSorted().map((name) => byName.get(name)?.dir ?? "")];
}
