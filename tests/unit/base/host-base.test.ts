/** The default base: what of the host a lambda can see, and above all what it cannot. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, lstatSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBase, readBaseManifest } from "../../../src/base/base.ts";

let dir: string;
let root: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "ol-base-"));
  await createBase({ spec: "host", dir: join(dir, "base") });
  root = readBaseManifest(join(dir, "base")).root;
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

test("createBase() of the host finds a Python that can be used", () => {
  const manifest = readBaseManifest(join(dir, "base"));
  expect(manifest.kind).toBe("host");
  expect(manifest.python).toMatch(/^\/(usr\/)?bin\/python3$/u);
  expect(manifest.pythonVersion).toMatch(/^3\.\d+\.\d+$/u);
  expect(manifest.binds).toContainEqual({ source: "/usr", target: "/usr" });
});

test("createBase() of the host has nothing at the top but what is listed", () => {
  const allowed = [
    "bin",
    "dev",
    "etc",
    "handler",
    "host",
    "lib",
    "lib32",
    "lib64",
    "libx32",
  ].concat(["packages", "proc", "run", "sbin", "tmp", "usr"]);
  for (const name of readdirSync(root)) expect(allowed).toContain(name);
  for (const name of ["home", "root", "var", "opt", "srv", "mnt", "boot"]) {
    expect(readdirSync(root)).not.toContain(name);
  }
});

test("createBase() of the host copies no file of /etc beyond the list", () => {
  const allowed = new Set(
    ["alternatives", "ca-certificates", "crypto-policies", "gai.conf", "group", "host.conf"].concat(
      ["hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types"],
      ["nsswitch.conf", "os-release", "passwd", "pki", "protocols", "resolv.conf", "services"],
      ["ssl", "timezone"],
    ),
  );
  const found = readdirSync(join(root, "etc"));
  expect(found.filter((name) => !allowed.has(name))).toEqual([]);
  expect(found).not.toContain("shadow");
  expect(readdirSync(join(root, "etc/ssl"))).not.toContain("private");
  expect(readFileSync(join(root, "etc/passwd"), "utf8").split("\n").length).toBe(4);
  expect(readFileSync(join(root, "etc/hosts"), "utf8")).not.toContain("vm");
});

test("createBase() of the host has no bytes of its own in mounted directories", () => {
  for (const name of ["usr", "handler", "packages", "host", "tmp", "proc", "dev", "run"]) {
    expect(readdirSync(join(root, name))).toEqual([]);
  }
});

test("createBase() keeps the manifest out of the root and away from other users", () => {
  expect(readdirSync(root)).not.toContain("base.json");
  expect(statSync(join(dir, "base")).mode & 0o777).toBe(0o700);
  expect(statSync(join(dir, "base/base.json")).mode & 0o777).toBe(0o600);
  expect(statSync(root).mode & 0o777).toBe(0o755);
  expect(lstatSync(join(root, "tmp")).mode & 0o7777).toBe(0o1777);
});
