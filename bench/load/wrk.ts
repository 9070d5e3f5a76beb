/** wrk as a second opinion on the load generator. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { tryCommand } from "../harness/command.ts";

/** What wrk says of one run. */
export interface WrkResult {
  readonly ratePerS: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly errors: number;
}

/** Said where it is not there. */
export const WRK_MISSING = "wrk is not installed (Debian: apt-get install wrk)";

const POST = `wrk.method = "POST"
wrk.body = '{"nonce": "wrk-000000000000"}'
wrk.headers["Content-Type"] = "application/json"
`;

const REPORT = `done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format('\\n{"ratePerS":%f,"p50Us":%f,"p99Us":%f,"errors":%d}\\n',
    summary.requests / (summary.duration / 1e6), latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
`;

/**
 * @param method with POST goes a small JSON object
 * @param url of one server
 * @param load connections, and for how many whole seconds, at least 1
 * @param dir for wrk's script
 * @returns its figures, or null where wrk is not installed
 * @throws {Error} when wrk fails
 */
export async function wrk(
  method: "GET" | "POST",
  url: string,
  load: { readonly clients: number; readonly seconds: number },
  dir: string,
): Promise<WrkResult | null> {
  if (Bun.which("wrk") === null) return null;
  const script = join(dir, "wrk.lua");
  writeFileSync(script, method === "POST" ? POST + REPORT : REPORT);
  const run = ["wrk", "-t1", `-c${load.clients}`, `-d${load.seconds}s`, "-s", script, url];
  const { exitCode, stdout, stderr } = await tryCommand(run);
  const line = stdout.trim().split("\n").at(-1) ?? "";
  if (exitCode !== 0 || !line.startsWith("{"))
    throw new Error(`Cannot use wrk: ${stderr}${stdout}`);
  return JSON.parse(line) as WrkResult;
}
