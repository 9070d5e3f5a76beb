/** Whose work is inside the executable, and on which terms: taken from what the bundle really holds. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import packageJson from "../package.json";
import { bundle, ROOT } from "./compile.ts";

/** A package whose code is in the bundle. */
export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  /** As the package says it, an SPDX expression mostly. */
  readonly licence: string;
  /** The text, or a word that the package comes without one. */
  readonly text: string;
}

/** Directories of packages that the bundle's source maps name. */
async function bundledDirectories(): Promise<string[]> {
  const dir = mkdtempSync(join(tmpdir(), "ol-bundle-"));
  try {
    await bundle(dir);
    const found = new Set<string>();
    for (const name of readdirSync(dir).filter((file) => file.endsWith(".map"))) {
      const map = JSON.parse(readFileSync(join(dir, name), "utf8")) as { sources: string[] };
      for (const source of map.sources) {
        const below = /(node_modules\/(?:.*\/node_modules\/)?(?:@[^/]+\/)?[^/]+)\//.exec(
          source,
        )?.[1];
        if (below !== undefined) found.add(join(ROOT, below));
      }
    }
    return [...found].toSorted();
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The word in a package's field, or in an entry of the list that old packages have. */
function wordOf(value: unknown): string {
  return typeof value === "string" ? value : String((value as { type?: unknown } | null)?.type);
}

function licenceOf(json: { license?: unknown; licenses?: unknown }): string {
  if (json.license !== undefined) return wordOf(json.license);
  if (Array.isArray(json.licenses)) return json.licenses.map(wordOf).join(" OR ");
  throw new Error("a bundled package says nothing about its licence");
}

function describe(dir: string): BundledPackage {
  const json = JSON.parse(readFileSync(join(dir, "package.json"), "utf8")) as {
    name: string;
    version: string;
  };
  const file = readdirSync(dir).find((name) => /^(licen[cs]e|copying)/i.test(name));
  const text =
    file === undefined
      ? "(The package comes without a licence text.)\n"
      : readFileSync(join(dir, file), "utf8");
  return { name: json.name, version: json.version, licence: licenceOf(json), text };
}

/** @returns every package whose code is in the executable, by name */
export async function bundledPackages(): Promise<BundledPackage[]> {
  const packages = (await bundledDirectories()).map(describe);
  return packages.toSorted((a, b) => a.name.localeCompare(b.name, "en"));
}

/** Bun's own page about what it is made of. */
function runtimeText(): string {
  const page = join(ROOT, "node_modules/bun-types/docs/project/license.mdx");
  if (!existsSync(page)) throw new Error(`${page} is missing: it names the licences inside Bun`);
  return readFileSync(page, "utf8").replace(/^---\n.*?\n---\n+/s, "");
}

/**
 * @param packages what is in the bundle
 * @returns the licence list that goes with a release
 */
export function renderLicences(packages: readonly BundledPackage[]): string {
  const line = "=".repeat(78);
  const rows = packages.map((it) => `- ${it.name} ${it.version}: ${it.licence}`);
  const texts = packages.map(
    (it) => `${line}\n${it.name} ${it.version} (${it.licence})\n${line}\n\n${it.text.trimEnd()}\n`,
  );
  const bun = `Bun ${packageJson.devDependencies.bun}`;
  return [
    `ol ${packageJson.version} is licensed under ${packageJson.license}, see LICENSE.`,
    `The executable contains ${bun}, its runtime, and code of the packages below.`,
    "",
    ...rows,
    "",
    `${line}\n${bun}\n${line}\n\n${runtimeText().trimEnd()}\n`,
    ...texts,
  ].join("\n");
}
