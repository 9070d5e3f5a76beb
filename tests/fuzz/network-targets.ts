/** Bytes from the network: HTTP to a running worker, requests and signatures to the handler store. */

import { S3Client } from "bun";
import * as fc from "fast-check";
import { connect } from "node:net";

import { serveStore, type StoreServer } from "../../src/registry/store/server.ts";
import { type TempDir, tempDir } from "../helpers/temp-dir.ts";
import { startWorker, type TestWorker } from "../helpers/worker.ts";
import { type Target, target } from "./target.ts";

const KEYS = { accessKey: "FUZZACCESS", secretKey: "fuzz/secret+key" } as const;
const SILENCE_MS = 3_000;

function demand(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

/** Sends bytes and returns what comes back until the peer closes or is silent. */
function exchange(port: number, request: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect({ host: "127.0.0.1", port });
    const done = (): void => {
      socket.destroy();
      resolve(text);
    };
    socket.setTimeout(SILENCE_MS, done);
    socket.on("error", done);
    socket.on("close", done);
    socket.on("data", (data) => {
      text += data.toString("latin1");
    });
    socket.write(request);
  });
}

const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1] ?? 0);

const method = fc.constantFrom("GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "BREW");
const piece = fc.oneof(
  fc.constantFrom("run", "runLambda", "status", "echo", "..", ".", "%2e%2e", "%2f", "%00", "%", ""),
  fc.constantFrom("%ff", "%c0%ae", "?a=b", "#x", "\\", "*", "//", "http://example.org/run/echo"),
  fc.string({ maxLength: 20 }),
  fc.string({ maxLength: 200, unit: "binary-ascii" }),
);
const httpPath = fc.array(piece, { maxLength: 5 }).map((parts) => `/${parts.join("/")}`);
const header = fc.constantFrom(
  "content-length: 3",
  "content-length: -1",
  "content-length: 99999999999999999999",
  "transfer-encoding: chunked",
  "expect: 100-continue",
  "x-request-id: \u00fc",
  "host: a/b",
  "connection: close",
  "content-encoding: gzip",
);

/** Whatever is asked, the worker answers with a status that is the caller's fault, and lives. */
function workerPaths(worker: TestWorker): Target {
  const property = fc.asyncProperty(
    method,
    httpPath,
    fc.array(header, { maxLength: 3 }),
    fc.string({ maxLength: 20 }),
    async (verb, path, headers, body) => {
      const lines = [
        `${verb} ${path} HTTP/1.1`,
        "host: localhost",
        "connection: close",
        ...headers,
      ];
      const request = Buffer.from(`${lines.join("\r\n")}\r\n\r\n${body}`, "latin1");
      const answer = await exchange(worker.port, request);
      const status = statusOf(answer);
      // Silence (0) is an answer to a request that never ends.
      // 505: the runtime's parser takes what follows a blank or a NUL for the version.
      demand(status < 500 || status === 505, `${status}: ${answer.slice(0, 300)}`);
      demand(!answer.includes(worker.cluster), "the answer shows a path of the host");
      const next = await worker.call("echo", 1);
      demand(next.status === 200 && next.text === "1", `the next call got ${next.status}`);
    },
  );
  return target("http", 20, property);
}

/** No request without a signature of ours is served; none breaks the store. */
function storeRequests(store: StoreServer): Target {
  const property = fc.asyncProperty(
    method,
    httpPath,
    fc.option(fc.string({ maxLength: 80 })),
    fc.option(fc.constantFrom("20300101T000000Z", "now", "")),
    async (verb, path, authorization, date) => {
      const lines = [`${verb} ${path} HTTP/1.1`, `host: 127.0.0.1:${store.port}`];
      const scope = `${KEYS.accessKey}/20300101/us-east-1/s3/aws4_request`;
      if (authorization !== null) {
        lines.push(`authorization: AWS4-HMAC-SHA256 Credential=${scope},${authorization}`);
      }
      if (date !== null) lines.push(`x-amz-date: ${date}`);
      const request = Buffer.from(`${lines.join("\r\n")}\r\nconnection: close\r\n\r\n`, "latin1");
      const status = statusOf(await exchange(store.port, request));
      demand(status === 0 || (status >= 300 && status < 500), `${verb} ${path} got ${status}`);
    },
  );
  return target("store requests", 40, property);
}

/** A signed URL of which one character is another is refused. */
function signatures(client: S3Client): Target {
  const property = fc.asyncProperty(
    fc.nat(),
    fc.constantFrom(...Array.from("abcdefXYZ0189-_.~")),
    async (at, character) => {
      const url = client.presign("signed/object.txt", { expiresIn: 600, method: "GET" });
      const good = await fetch(url);
      demand(good.status === 200 && (await good.text()) === "content", `signed: ${good.status}`);
      const start = url.indexOf("/", 8) + 1;
      const index = start + (at % (url.length - start));
      // The two digits of an escape may be written in two ways; separators make another URL.
      if (/[%?&=/]/.test(url.slice(index - 2, index + 1)) || url[index] === character) return;
      const changed = url.slice(0, index) + character + url.slice(index + 1);
      const { status } = await fetch(changed);
      demand(status >= 400 && status < 500, `${status} for ${changed.slice(start)}`);
    },
  );
  return target("signatures", 40, property);
}

/** The targets and what they run against. */
export interface NetworkTargets {
  readonly targets: readonly Target[];
  close(): Promise<void>;
}

/** Starts a worker and a store. */
export async function networkTargets(): Promise<NetworkTargets> {
  const worker = await startWorker({ limits: { mem_mb: 64 } });
  let store: StoreServer | null = null;
  const temp: TempDir = tempDir("ol-fuzz-store-");
  const close = async (): Promise<void> => {
    await store?.stop();
    temp.remove();
    await worker.stop();
  };
  try {
    worker.lambda("echo", "def handler(event):\n    return event\n");
    store = await serveStore(
      { dir: temp.join("store"), credentials: KEYS, buckets: ["registry"] },
      { bind: "127.0.0.1", port: 0 },
    );
    const client = new S3Client({
      accessKeyId: KEYS.accessKey,
      secretAccessKey: KEYS.secretKey,
      bucket: "registry",
      endpoint: store.url,
    });
    await client.write("signed/object.txt", "content");
    const targets = [workerPaths(worker), storeRequests(store), signatures(client)];
    return { targets, close };
  } catch (error) {
    await close();
    throw error;
  }
}
