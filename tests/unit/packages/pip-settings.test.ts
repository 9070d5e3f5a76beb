import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collectPipSettings, parsePipConf } from "../../../src/packages/pip-settings.ts";

let home = "";
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "pip-settings-"));
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

/** No file of this machine takes part. */
const env = (more: Record<string, string> = {}) => ({
  HOME: home,
  XDG_CONFIG_DIRS: join(home, "xdg"),
  ...more,
});
const options = (settings: { files: Readonly<Record<string, string>> }) =>
  parsePipConf(settings.files["pip.conf"] ?? "");
const file = (path: string, text: string) => {
  const full = join(home, path);
  mkdirSync(join(full, ".."), { recursive: true });
  writeFileSync(full, text);
  return full;
};

test("parsePipConf() reads sections, both separators, comments and continued values", () => {
  const text =
    "# c\n; c\n[global]\nindex-url = https://a.test/simple\ntimeout: 60\n[install]\nfind-links =\n    https://b.test\n    https://c.test\n";
  expect([...parsePipConf(text)]).toEqual([
    ["global.index-url", "https://a.test/simple"],
    ["global.timeout", "60"],
    ["install.find-links", "\nhttps://b.test\nhttps://c.test"],
  ]);
});

test("collectPipSettings() lets user files win over shared ones, and variables over both", () => {
  file(
    "xdg/pip/pip.conf",
    "[global]\nindex-url = https://shared.test\nretries = 1\nproxy = http://p.test\n",
  );
  file(".config/pip/pip.conf", "[global]\nindex-url = https://user.test\n[install]\nretries = 2\n");
  const settings = collectPipSettings(
    env({ PIP_PROXY: "http://env.test", PIP_DEFAULT_TIMEOUT: "7" }),
  );
  expect(options(settings).get("global.index-url")).toBe("https://user.test");
  expect(options(settings).get("global.retries")).toBe("2");
  expect(options(settings).get("global.proxy")).toBe("http://env.test");
  expect(options(settings).get("global.timeout")).toBe("7");
  expect(settings.env["PIP_CONFIG_FILE"]).toBe("/run/install/pip.conf");
});

test("collectPipSettings() leaves behind what would change what pip does", () => {
  file(
    ".config/pip/pip.conf",
    "[install]\nuser = true\ntarget = /x\n[global]\nrequire-virtualenv = 1\n",
  );
  const settings = collectPipSettings(env({ PIP_TARGET: "/y", PIP_REQUIREMENT: "z" }));
  const carried = [...options(settings).keys()].join(" ");
  expect(carried).not.toMatch(/user|target|virtualenv|requirement/);
  expect(Object.keys(settings.env)).toEqual(["PIP_CONFIG_FILE"]);
});

test("collectPipSettings() carries certificates as files, each once", () => {
  const cert = file("ca.crt", "CERT");
  const settings = collectPipSettings(
    env({ PIP_CERT: cert, REQUESTS_CA_BUNDLE: cert, SSL_CERT_FILE: cert }),
  );
  const inside = settings.env["SSL_CERT_FILE"] ?? "";
  expect(settings.env["REQUESTS_CA_BUNDLE"]).toBe(inside);
  expect(options(settings).get("global.cert")).toBe(inside);
  expect(settings.files[inside.replace("/run/install/", "")]).toBe("CERT");
  expect(Object.keys(settings.files)).toHaveLength(2);
});

test("collectPipSettings() says which setting names an unreadable certificate", () => {
  expect(() => collectPipSettings(env({ REQUESTS_CA_BUNDLE: join(home, "none") }))).toThrow(
    "REQUESTS_CA_BUNDLE",
  );
});

test("collectPipSettings() mounts local find-links and drops those that are not there", () => {
  const links = join(home, "links");
  mkdirSync(links);
  const settings = collectPipSettings(
    env({ PIP_FIND_LINKS: `https://l.test/ ${links} ${join(home, "none")}` }),
  );
  expect(settings.mounts).toEqual([{ source: links, target: "/handler", readOnly: true }]);
  expect(options(settings).get("global.find-links")).toBe("https://l.test/\n/handler");
});

test("collectPipSettings() refuses more local find-links than it can mount", () => {
  const dirs = ["a", "b", "c"].map((name) => join(home, name));
  for (const dir of dirs) mkdirSync(dir);
  expect(() => collectPipSettings(env({ PIP_FIND_LINKS: dirs.join(" ") }))).toThrow("find-links");
});

test("collectPipSettings() carries proxies in both spellings", () => {
  const settings = collectPipSettings(
    env({ https_proxy: "http://p.test", NO_PROXY: "localhost", HTTP_PROXY: "" }),
  );
  expect(settings.env).toMatchObject({ https_proxy: "http://p.test", NO_PROXY: "localhost" });
  expect(settings.env).not.toHaveProperty("HTTP_PROXY");
});

test("collectPipSettings() reads no file where PIP_CONFIG_FILE is /dev/null", () => {
  file(".config/pip/pip.conf", "[global]\nindex-url = https://user.test\n");
  expect(collectPipSettings(env({ PIP_CONFIG_FILE: "/dev/null" })).files["pip.conf"]).toBe(
    "[global]\n",
  );
});

test("collectPipSettings() lets nothing but the mirror count, where there is one", () => {
  const links = join(home, "links");
  mkdirSync(links);
  file(
    ".config/pip/pip.conf",
    "[global]\nindex-url = https://a.test\nextra-index-url = https://b.test\nretries = 3\n[install]\nno-index = 1\n",
  );
  const given = env({ PIP_FIND_LINKS: links, PIP_EXTRA_INDEX_URL: "https://c.test" });
  const settings = collectPipSettings(given, "https://mirror.test/simple");
  const carried = options(settings);
  expect([...carried.keys()].filter((key) => /index|links/.test(key))).toEqual([
    "global.index-url",
  ]);
  expect(carried.get("global.index-url")).toBe("https://mirror.test/simple");
  expect(carried.get("global.retries")).toBe("3");
  expect(settings.mounts).toEqual([]);
  expect(options(collectPipSettings(given)).get("global.extra-index-url")).toBe("https://c.test");
});

test("collectPipSettings() is another one when the content of a constraint file changes", () => {
  const constraint = file("constraints.txt", "lib<2\n");
  const given = env({ PIP_CONSTRAINT: constraint });
  const before = collectPipSettings(given);
  expect(collectPipSettings(given).identity).toBe(before.identity);
  file("constraints.txt", "lib<3\n");
  const after = collectPipSettings(given);
  expect(after.files["pip.conf"]).toBe(before.files["pip.conf"]);
  expect(after.identity).not.toBe(before.identity);
});

test("collectPipSettings() is another one with another find-links directory in the same place", () => {
  const [one, two] = ["one", "two"].map((name) => join(home, name));
  for (const dir of [one, two]) mkdirSync(dir!);
  const of = (dir: string) => collectPipSettings(env({ PIP_FIND_LINKS: dir })).identity;
  expect(of(one!)).not.toBe(of(two!));
});
