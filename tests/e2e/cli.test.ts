import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ADMIN, OL, ol } from "../helpers/ol.ts";
import { PROJECT_DIR } from "../helpers/paths.ts";

let temp = "";
beforeAll(() => {
  temp = mkdtempSync(join(tmpdir(), "ol-cli-"));
});
afterAll(() => rmSync(temp, { recursive: true, force: true }));

describe("names and help", () => {
  test.each([["--version"], ["-version"], ["version"], ["-V"]])(
    "%s prints the version",
    async (flag) => {
      const result = await ol([flag]);
      expect(result).toEqual({
        exitCode: 0,
        stdout: expect.stringMatching(/^ol \d+\.\d+\.\d+\n$/),
        stderr: "",
      });
    },
  );

  test("admin is the same program under its second name", async () => {
    expect((await ol(["--version"], { program: ADMIN })).stdout).toMatch(/^admin \d/);
    const help = await ol(["help", "workers"], { program: ADMIN });
    expect(help.stdout).toStartWith("Usage: admin workers");
    expect(help.stdout.slice(12)).toBe((await ol(["help", "workers"])).stdout.slice(9));
  });

  test.each([["--help"], ["-h"], ["help"], ["-help"]])("%s lists the commands", async (flag) => {
    const { exitCode, stdout } = await ol([flag]);
    expect(exitCode).toBe(0);
    for (const name of [
      "new",
      "workers",
      "worker-exec",
      "status",
      "kill",
      "setconf",
      "invoke",
      "logs",
    ]) {
      expect(stdout).toMatch(new RegExp(`^  ${name} +[A-Z]`, "m"));
    }
  });

  test("every command has a help page that names its flags", async () => {
    const overview = (await ol(["help"])).stdout;
    const names = [...overview.matchAll(/^ {2}([a-z-]+) {2,}/gm)].map((match) => match[1] ?? "");
    expect(names.length).toBeGreaterThanOrEqual(9);
    for (const name of names) {
      const { exitCode, stdout } = await ol([name, "--help"]);
      expect({ name, exitCode }).toEqual({ name, exitCode: 0 });
      expect(stdout).toStartWith(`Usage: ol ${name} [options]`);
      expect(stdout).toContain("--verbose");
    }
  });
});

describe("wrong use exits with 2 and one sentence on stderr", () => {
  test.each([
    [["workrs"], 'there is no such command, did you mean "workers"'],
    [["toString"], "there is no such command"],
    [["__proto__"], "there is no such command"],
    [["--cluster=x", "status"], "a command comes first"],
    [["status", "-clutser=x"], "did you mean --cluster"],
    [["status", "--toString"], "status has no such flag"],
    [["status", "--cluster"], "it needs a value"],
    [["workers", "--cluster", "--port=1"], "Cannot use --cluster: it needs a value"],
    [["status"], "--cluster=DIR is missing and OL_CLUSTER is not set"],
    [["kill", "my-cluster"], "did you mean --cluster=my-cluster"],
    [["workers", "--cluster=/x", "-n", "0"], "a whole number from 1 to 256"],
    [["workers", "--cluster=/x", "-n", "-1"], "a whole number from 1 to 256"],
    [["workers", "--cluster=/x", "-p", "65536"], "a whole number from 1 to 65535"],
    [["workers", "--cluster=/x", "-p", "0x50"], "a whole number from 1 to 65535"],
    [["worker-exec"], "--config is missing"],
    [["setconf", "--cluster=/x"], "SETTINGS is missing"],
    [["completion", "tcsh"], "known are bash, zsh, fish"],
  ])("%j", async (args, expected) => {
    const { exitCode, stdout, stderr } = await ol(args);
    expect(stderr).toContain(expected);
    expect(stderr).toStartWith("ol: ");
    expect(stderr.trimEnd()).not.toContain("\n");
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
  });

  test("no command at all shows the overview on stderr", async () => {
    const { exitCode, stdout, stderr } = await ol([]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toContain("Commands:");
  });
});

describe("errors", () => {
  test("have a stack trace only with --verbose", async () => {
    const plain = await ol(["status", "--cluster=/nowhere"]);
    expect(plain.exitCode).toBe(1);
    expect(plain.stderr).not.toContain("    at ");
    const verbose = await ol(["status", "--cluster=/nowhere", "--verbose"]);
    expect(verbose.stderr).toContain("    at ");
    expect(verbose.stderr).toContain("open.ts:");
  });

  test("are one line of JSON with --json", async () => {
    const { exitCode, stdout, stderr } = await ol(["status", "-cluster", "/nowhere", "-json"]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: "cluster_missing", message: expect.stringContaining("/nowhere") },
    });
  });
});

describe("the executable", () => {
  /** Puts a module in a directory under each name that any dependency could ask for. */
  function plantModules(dir: string, evil: string): void {
    const installed = readdirSync(join(PROJECT_DIR, "node_modules")).filter((n) => /^\w/.test(n));
    for (const name of [...installed, "cpu-features", "ssh2", "supports-color", "nan"]) {
      const module = join(dir, "node_modules", name);
      mkdirSync(module, { recursive: true });
      writeFileSync(join(module, "index.js"), evil);
      writeFileSync(join(module, "package.json"), JSON.stringify({ name, main: "index.js" }));
    }
    const native = join(dir, "crypto/build/Release");
    mkdirSync(native, { recursive: true });
    writeFileSync(join(native, "sshcrypto.node"), "not an object file");
  }

  test("needs no other file of ours and runs nothing of the directory it is started in", async () => {
    const dir = join(temp, "alone");
    mkdirSync(dir);
    const pwned = join(temp, "pwned");
    const evil = `require("node:fs").appendFileSync(${JSON.stringify(pwned)}, __filename + "\\n");`;
    plantModules(dir, evil);
    const paths = { "*": ["./evil.ts"] };
    writeFileSync(join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions: { paths } }));
    const main = { name: "evil", type: "module", main: "evil.ts", imports: { "#*": "./evil.ts" } };
    writeFileSync(join(dir, "package.json"), JSON.stringify(main));
    const alone = join(dir, "ol");
    copyFileSync(OL, alone);
    writeFileSync(join(dir, "bunfig.toml"), 'preload = ["./evil.ts"]\n');
    writeFileSync(join(dir, "evil.ts"), evil);
    const before = readdirSync(dir).toSorted();
    writeFileSync(join(dir, ".env"), "OL_CLUSTER=/from-dotenv\n");
    const { stderr, exitCode } = await ol(["status"], { program: alone, cwd: dir });
    expect(exitCode).toBe(2);
    expect(stderr).toContain("OL_CLUSTER is not set");
    expect((await ol(["help"], { program: alone, cwd: dir })).exitCode).toBe(0);
    // These load the most modules, the client of Docker among them; whether they can do their work is no matter.
    await ol(["new", "--cluster=made", "--base=docker:no-such-image"], {
      program: alone,
      cwd: dir,
    });
    await ol(["doctor"], { program: alone, cwd: dir });
    await ol(["kill", "--cluster=."], { program: alone, cwd: dir });
    await ol(["registry", "--cluster=."], { program: alone, cwd: dir });
    await ol(["worker-exec", "--config=tsconfig.json"], { program: alone, cwd: dir });
    expect(existsSync(pwned) ? readFileSync(pwned, "utf8") : "").toBe("");
    expect(readdirSync(dir).toSorted()).toEqual([...before, ".env"].toSorted());
  });

  test("takes the default cluster from OL_CLUSTER, and a flag before it", async () => {
    const env = { OL_CLUSTER: "/from-environment" };
    expect((await ol(["status"], { env })).stderr).toContain("/from-environment");
    expect((await ol(["status", "-cluster", "/flag"], { env })).stderr).toContain("/flag");
  });

  test("ends quietly when its reader goes away", async () => {
    const command = `${OL} completion fish | head -n 1; echo "\${PIPESTATUS[0]}"`;
    const shell = Bun.spawn(["bash", "-c", command], { stdout: "pipe", stderr: "pipe" });
    const [out, errors] = await Promise.all([shell.stdout.text(), shell.stderr.text()]);
    expect(out.split("\n")[0]).toStartWith("complete -c ol");
    expect(["0", "141"]).toContain(out.trim().split("\n")[1] ?? "");
    expect(errors).toBe("");
  });

  test("prints completion that bash accepts and that completes", async () => {
    const script = `eval "$(${OL} completion bash)"; COMP_WORDS=(ol work); COMP_CWORD=1; _ol; echo "\${COMPREPLY[@]}"
      COMP_WORDS=(ol status --cl); COMP_CWORD=2; _ol 2>/dev/null; echo "\${COMPREPLY[@]}"`;
    const shell = Bun.spawn(["bash", "-c", script], { stdout: "pipe", stderr: "pipe" });
    const out = (await shell.stdout.text()).trim().split("\n");
    expect(out).toEqual(["workers worker-exec", "--cluster="]);
  });
});
