/**
 * Carries the host's pip configuration into the installer sandbox, which sees none of the host's
 * files: pip.conf files, `PIP_*`, proxies and certificates. Only options that say where packages come
 * from are carried; one that would change what pip does here (`user`, `target`, `require-virtualenv`)
 * is left behind.
 *
 * @see https://pip.pypa.io/en/stable/topics/configuration/
 */

import { readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { OlError } from "../common/errors.ts";
import { INSTALLER_FILE_MAX_BYTES } from "../common/package-limits.ts";
import type { CommandMount } from "./contract.ts";

/** What an installer sandbox gets of the host. */
export interface PipSettings {
  readonly env: Readonly<Record<string, string>>;
  readonly files: Readonly<Record<string, string>>;
  readonly mounts: readonly CommandMount[];
  /** Everything in it that may change what requirements come down to. */
  readonly identity: string;
}

/** Where the sandbox sees `CommandSpec.files`. */
export const INSTALL_FILES_DIR = "/run/install";

const CARRIED = new Set([
  "cert",
  "client-cert",
  "constraint",
  "extra-index-url",
  "find-links",
  "index-url",
  "no-binary",
  "no-index",
  "only-binary",
  "pre",
  "prefer-binary",
  "proxy",
  "retries",
  "timeout",
  "trusted-host",
]);

/** Options that say where packages come from: `pip_mirror` replaces all of them. */
const SOURCES = new Set(["extra-index-url", "find-links", "index-url", "no-index"]);
/** Options whose value is a file of the host. */
const FILE_OPTIONS = new Set(["cert", "client-cert", "constraint"]);
const PROXY_VARIABLES = ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"];
const CERTIFICATE_VARIABLES = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"];
/** Mount points left for local `find-links` directories; `/host` is the work directory. */
const LINK_TARGETS = ["/handler", "/packages"] as const;

/**
 * @param text a pip.conf
 * @returns its options by `section.option`, as Python's RawConfigParser reads them
 */
export function parsePipConf(text: string): ReadonlyMap<string, string> {
  const options = new Map<string, string>();
  let section = "";
  let last: string | null = null;
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*(?:[#;].*)?$/.test(line)) continue;
    const header = /^\[([^\]]+)\]/.exec(line)?.[1];
    if (header !== undefined) {
      section = header.trim().toLowerCase();
      last = null;
    } else if (/^\s/.test(line) && last !== null) {
      options.set(last, `${options.get(last) ?? ""}\n${line.trim()}`);
    } else {
      const pair = /^([^=:]+?)\s*[=:]\s*(.*)$/.exec(line.trim());
      if (pair === null) continue;
      last = `${section}.${optionName(pair[1] ?? "")}`;
      options.set(last, pair[2] ?? "");
    }
  }
  return options;
}

/** pip takes `PIP_DEFAULT_TIMEOUT`, `default_timeout` and `timeout` for the same. */
function optionName(name: string): string {
  const plain = name.trim().toLowerCase().replaceAll("_", "-");
  return plain === "default-timeout" ? "timeout" : plain;
}

function configFiles(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  const explicit = env["PIP_CONFIG_FILE"];
  if (explicit === "/dev/null") return [];
  const home = env["HOME"] ?? "/root";
  const shared = (env["XDG_CONFIG_DIRS"] || "/etc/xdg").split(":").filter((dir) => dir !== "");
  const files = shared.map((dir) => join(dir, "pip/pip.conf"));
  files.push("/etc/pip.conf", join(home, ".pip/pip.conf"));
  files.push(join(env["XDG_CONFIG_HOME"] || join(home, ".config"), "pip/pip.conf"));
  if (env["VIRTUAL_ENV"] !== undefined) files.push(join(env["VIRTUAL_ENV"], "pip.conf"));
  if (explicit !== undefined) files.push(explicit);
  return files;
}

function readOptional(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // pip skips a file that it cannot read, and warns only of one it cannot parse.
  }
}

/** @returns the carried options with the value that pip itself would use on this host */
function effectiveOptions(env: Readonly<Record<string, string | undefined>>): Map<string, string> {
  const effective = new Map<string, string>();
  const files = configFiles(env).map((path) => parsePipConf(readOptional(path)));
  for (const section of ["global", "install"]) {
    for (const options of files) {
      for (const [key, value] of options) {
        const name = key.slice(section.length + 1);
        if (key.startsWith(`${section}.`) && CARRIED.has(name)) effective.set(name, value);
      }
    }
  }
  for (const [key, value] of Object.entries(env)) {
    if (!key.startsWith("PIP_") || value === undefined) continue;
    const name = optionName(key.slice("PIP_".length));
    if (CARRIED.has(name)) effective.set(name, value);
  }
  return effective;
}

/** Gathers host files under names of their own, each once. */
class FileShelf {
  readonly files: Record<string, string> = {};
  readonly #paths = new Map<string, string>();

  /** @returns the path inside the sandbox */
  add(path: string, why: string): string {
    const known = this.#paths.get(path);
    if (known !== undefined) return known;
    const name = `${this.#paths.size}-${basename(path).replaceAll(/[^\w.-]/g, "_")}`;
    try {
      if (statSync(path).size > INSTALLER_FILE_MAX_BYTES) throw new Error("it is too large");
      this.files[name] = readFileSync(path, "utf8");
    } catch (cause) {
      throw new OlError(
        "package_install",
        `Cannot use the host's pip configuration: ${why} names a file that cannot be read, a readable one was wanted`,
        { op: "packages.settings", details: { why, path }, cause, retryable: true },
      );
    }
    const inside = `${INSTALL_FILES_DIR}/${name}`;
    this.#paths.set(path, inside);
    return inside;
  }
}

/** Replaces local directories of `find-links` by where they are mounted. */
function mountLinks(value: string, mounts: CommandMount[]): string {
  const places = value.split(/\s+/).filter((place) => place !== "");
  const kept = places.flatMap((place) => {
    if (/^(?!file:)[a-z][\w+.-]*:\/\//i.test(place)) return [place];
    const source = place.startsWith("file:") ? fileURLToPath(place) : place;
    if (statSync(source, { throwIfNoEntry: false })?.isDirectory() !== true) return [];
    const target = LINK_TARGETS[mounts.length];
    if (target === undefined) {
      throw new OlError(
        "package_install",
        `Cannot use the host's pip configuration: "find-links" names more than ${LINK_TARGETS.length} local directories, the most that are supported`,
        { op: "packages.settings" },
      );
    }
    mounts.push({ source, target, readOnly: true });
    return [target];
  });
  return kept.join("\n");
}

/**
 * @param env the worker's environment
 * @param mirror the one index to use, whatever the host's configuration names; null: what that names
 * @returns what the installer sandbox gets so that pip finds the same indexes as on the host
 * @throws {OlError} package_install where the configuration names a file that cannot be read
 */
export function collectPipSettings(
  env: Readonly<Record<string, string | undefined>>,
  mirror: string | null = null,
): PipSettings {
  const shelf = new FileShelf();
  const mounts: CommandMount[] = [];
  const inside: Record<string, string> = {};
  const constraints: string[] = [];
  const lines: string[] = ["[global]", ...(mirror === null ? [] : [`index-url = ${mirror}`])];
  for (const [name, raw] of effectiveOptions(env)) {
    // A second index beside the mirror could offer a higher version of a package that is only in the mirror.
    if (mirror !== null && SOURCES.has(name)) continue;
    let value = raw.trim();
    if (FILE_OPTIONS.has(name)) {
      const paths = name === "constraint" ? value.split(/\s+/) : [value];
      const shown = paths.map((path) => (path.includes("://") ? path : shelf.add(path, name)));
      if (name === "constraint") constraints.push(...shown);
      value = shown.join("\n");
    } else if (name === "find-links") {
      value = mountLinks(value, mounts);
    }
    if (value !== "") lines.push(`${name} = ${value.replaceAll(/\s*\n\s*/g, "\n  ")}`);
  }
  for (const name of PROXY_VARIABLES) {
    for (const key of [name, name.toUpperCase()]) {
      const value = env[key];
      if (value !== undefined && value !== "") inside[key] = value;
    }
  }
  for (const key of CERTIFICATE_VARIABLES) {
    const path = env[key];
    if (path !== undefined && path !== "") inside[key] = shelf.add(path, key);
  }
  const conf = `${lines.join("\n")}\n`;
  return {
    env: { ...inside, PIP_CONFIG_FILE: `${INSTALL_FILES_DIR}/pip.conf` },
    files: { ...shelf.files, "pip.conf": conf },
    mounts,
    identity: JSON.stringify([
      conf,
      constraints.map((path) => shelf.files[basename(path)] ?? path),
      mounts.map(({ source }) => source),
    ]),
  };
}
