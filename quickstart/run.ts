/**
 * `npm run quickstart`: from a fresh clone to the first answer of a lambda. Uses what a user would
 * type, the compiled `bin/ol` and HTTP; can be run again while its worker is up.
 */

import { cpSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";

const ROOT = join(import.meta.dir, "..");
const OL = join(ROOT, "bin/ol");
const CLUSTER = join(ROOT, ".cache/quickstart");
const HANDLERS = join(import.meta.dir, "handlers");
const FIRST_PORT = 8080;
const PORTS_TRIED = 20;

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}

/** Runs `bin/ol` and shows what it says. */
function ol(args: readonly string[], shown = true): { exitCode: number; output: string } {
  if (shown) console.log(`$ ol ${args.join(" ")}`);
  const result = Bun.spawnSync([OL, ...args], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const output = `${result.stdout.toString()}${result.stderr.toString()}`.trimEnd();
  if (shown && output !== "") console.log(output);
  return { exitCode: result.exitCode, output };
}

function freePort(): number {
  for (let port = FIRST_PORT; port < FIRST_PORT + PORTS_TRIED; port++) {
    try {
      const server = Bun.listen({ hostname: "127.0.0.1", port, socket: { data: () => {} } });
      server.stop(true);
      return port;
    } catch {
      // Taken: the next one.
    }
  }
  return fail(
    `Ports ${FIRST_PORT} to ${FIRST_PORT + PORTS_TRIED - 1} are all taken; free one of them.`,
  );
}

/** The port of the worker that an earlier quickstart left running, or null. */
function runningPort(): number | null {
  const { exitCode, output } = ol(["status", `--cluster=${CLUSTER}`], false);
  const match = /localhost:(\d+)\/status => ready/.exec(output);
  return exitCode === 0 && match !== null ? Number(match[1]) : null;
}

function makeCluster(): void {
  if (!existsSync(CLUSTER)) {
    mkdirSync(join(CLUSTER, ".."), { recursive: true });
    if (ol(["new", `--cluster=${relative(process.cwd(), CLUSTER)}`]).exitCode !== 0)
      process.exit(1);
  }
  cpSync(HANDLERS, join(CLUSTER, "registry"), { recursive: true });
  console.log(`Lambdas: ${readdirSync(HANDLERS).join(", ")} (copied into the cluster's registry/)`);
}

function startWorker(): number {
  const running = runningPort();
  if (running !== null) {
    console.log(`The worker of an earlier quickstart answers on port ${running}.`);
    return running;
  }
  ol(["kill", `--cluster=${CLUSTER}`], false);
  const port = freePort();
  const started = ol([
    "workers",
    `--cluster=${relative(process.cwd(), CLUSTER)}`,
    `--port=${port}`,
  ]);
  if (started.exitCode !== 0) process.exit(started.exitCode);
  return port;
}

async function callHello(port: number): Promise<void> {
  const url = `http://localhost:${port}/runLambda/hello`;
  const body = '{"name": "Alice"}';
  console.log(`$ curl -X POST ${url} -d '${body}'`);
  const response = await fetch(url, { method: "POST", body });
  const answer = await response.text();
  console.log(answer);
  if (response.status !== 200 || answer !== '"Hello, Alice!"') {
    fail(`The lambda answered with status ${response.status}; see ${CLUSTER}/logs/worker-0.out`);
  }
}

function explainNext(port: number): void {
  const cluster = relative(process.cwd(), CLUSTER);
  console.log(`
What to type next:
  curl -X POST localhost:${port}/runLambda/echo -d '{"any": ["JSON"]}'
  $EDITOR ${cluster}/registry/hello/lambda_func.py     # change it: the next calls run the new code
  bin/ol logs --cluster=${cluster} scratch             # what a lambda printed
  bin/ol status --cluster=${cluster}
  bin/ol kill --cluster=${cluster}                     # stop the worker`);
}

if (process.getuid?.() !== 0) fail("The sandboxes need root: run this with sudo.");
if (!existsSync("/usr/bin/python3")) fail("There is no /usr/bin/python3: apt-get install python3");
makeCluster();
const port = startWorker();
await callHello(port);
explainNext(port);
