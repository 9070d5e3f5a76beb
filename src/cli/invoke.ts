/** `ol invoke`: calls a lambda from the shell. */

import { readSync } from "node:fs";
import { defineCommand } from "citty";
import { errnoNameOf, OlError } from "../common/errors.ts";
import { INVOKE_INPUT_MAX_BYTES } from "../common/limits.ts";
import { requireLambdaName } from "../common/names.ts";
import { usageError } from "./args.ts";
import { CLUSTER_ARG, JSON_ARG, openClusterOf } from "./options.ts";
import { print, printError } from "./output.ts";
import { type KnownWorker, listKnownWorkers } from "./running-workers.ts";
import { forTerminal } from "./text.ts";
import { describeFetchError, workerUrl } from "./worker-client.ts";

const STDIN = 0;
const READ_CHUNK_BYTES = 64 * 1024;

function readStdin(): Uint8Array<ArrayBuffer> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let total = 0;
  for (;;) {
    const chunk = Buffer.alloc(READ_CHUNK_BYTES);
    let length = 0;
    try {
      length = readSync(STDIN, chunk);
    } catch (error) {
      // A non-blocking descriptor with nothing there yet; the writer is slow, not gone.
      if (errnoNameOf(error) !== "EAGAIN") throw error;
      Bun.sleepSync(1);
      continue;
    }
    if (length === 0) return new Uint8Array(Buffer.concat(chunks));
    total += length;
    if (total > INVOKE_INPUT_MAX_BYTES) {
      throw usageError(
        `Cannot read the event: stdin holds more than ${INVOKE_INPUT_MAX_BYTES} bytes`,
      );
    }
    chunks.push(chunk.subarray(0, length));
  }
}

const bytesOf = (text: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(new TextEncoder().encode(text));

/** The event as typed or piped; the worker gets the very bytes. */
function readEvent(argument: string | undefined): Uint8Array<ArrayBuffer> {
  if (argument === undefined) {
    return process.stdin.isTTY ? bytesOf("null") : readStdin();
  }
  try {
    JSON.parse(argument);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw usageError(`Cannot use ${JSON.stringify(argument.slice(0, 60))} as event: ${reason}`);
  }
  return bytesOf(argument);
}

/** Calls the lambda on one worker after another, in random order, until one takes the connection. */
async function callAnyWorker(
  workers: readonly KnownWorker[],
  name: string,
  body: Uint8Array<ArrayBuffer>,
): Promise<Response> {
  const start = Math.floor(Math.random() * workers.length);
  const reasons: string[] = [];
  for (const offset of workers.keys()) {
    const known = workers[(start + offset) % workers.length];
    if (known === undefined) continue;
    try {
      return await fetch(`${workerUrl(known.address)}/run/${name}`, {
        method: "POST",
        body,
        headers: { "content-type": "application/json" },
        redirect: "manual",
        keepalive: false,
        // How long a lambda may run is the worker's to say.
        timeout: false,
      } as RequestInit);
    } catch (error) {
      const reason = describeFetchError(error, 0);
      reasons.push(`${known.worker.name} ${reason}`);
      // Only a call that cannot have begun may be made again elsewhere.
      if (reason !== "connection refused") break;
    }
  }
  const why = reasons.length === 0 ? 'none runs, start one with "ol workers"' : reasons.join(", ");
  throw new OlError("worker_unreachable", `Cannot call ${name}: no worker answers (${why})`, {
    op: "cli.invoke",
  });
}

/** The lambda's JSON goes in as text: decoding it would change large numbers. */
function jsonReport(response: Response, text: string): string {
  const facts = {
    status: response.status,
    requestId: response.headers.get("x-request-id"),
    start: response.headers.get("x-ol-start"),
    serverTiming: response.headers.get("server-timing"),
  };
  const rest = response.ok
    ? `"result":${text.trim() === "" ? "null" : text.trim()}`
    : `"error":${JSON.stringify({ code: response.headers.get("x-ol-error"), message: text })}`;
  return `${JSON.stringify(facts).slice(0, -1)},${rest}}\n`;
}

const withNewline = (text: string): string => (text.endsWith("\n") ? text : `${text}\n`);

export default defineCommand({
  meta: {
    description:
      "Calls a lambda on a running worker and prints its result. Exit status 1 where it failed.",
  },
  args: {
    cluster: CLUSTER_ARG,
    name: { type: "positional", required: true, description: "The lambda" },
    event: {
      type: "positional",
      required: false,
      description: "The event as JSON; default: stdin, or null at a terminal",
    },
    json: JSON_ARG,
  },
  async run({ args }): Promise<number> {
    requireLambdaName(args.name);
    const paths = await openClusterOf(args.cluster);
    const event = readEvent(args.event);
    const workers = listKnownWorkers(paths).filter((worker) => worker.pid !== null);
    const response = await callAnyWorker(workers, args.name, event);
    const text = await response.text();
    if (args.json) print(jsonReport(response, text));
    else if (response.ok) print(forTerminal(withNewline(text), process.stdout.isTTY));
    else printError(forTerminal(withNewline(text), process.stderr.isTTY));
    return response.ok ? 0 : 1;
  },
});
