/** What others answer: a store that is broken or no store at all, pip in a sandbox where set-up scripts ran. */

import * as fc from "fast-check";
import { mkdirSync, readdirSync } from "node:fs";

import { OlError } from "../../src/common/errors.ts";
import { isLambdaName } from "../../src/common/names.ts";
import { parseReport } from "../../src/packages/report.ts";
import { S3Registry } from "../../src/registry/s3-registry.ts";
import { tempDir } from "../helpers/temp-dir.ts";
import { bundleOf, HANDLER } from "../unit/registry/archives.ts";
import { demand } from "./exchange.ts";
import { type Target, target } from "./target.ts";

function demandCode(error: unknown, ...codes: readonly string[]): void {
  if (!(error instanceof OlError) || !codes.includes(error.code)) throw error;
}

const name = fc.oneof(
  fc.constantFrom("numpy", "../x", "a/b", "A.b_c", "", "-e", "x\n", "é", "a".repeat(300)),
  fc.string({ maxLength: 12 }),
);
const hex = fc.oneof(fc.constantFrom("a".repeat(64), "b".repeat(128), "A".repeat(64), "--x"));
const item = fc.record(
  {
    metadata: fc.record(
      {
        name,
        version: fc.oneof(fc.constantFrom("1.0", "1!2", "../1", "1\n2"), fc.string(), fc.nat()),
        requires_dist: fc.oneof(fc.array(fc.oneof(name, fc.nat())), fc.jsonValue()),
      },
      { requiredKeys: [] },
    ),
    download_info: fc.record(
      {
        url: fc.oneof(fc.webUrl(), fc.constantFrom("file:///etc/x.whl", "x.whl?y#z"), fc.nat()),
        archive_info: fc.record(
          {
            hashes: fc.oneof(
              fc.record({ sha256: hex }),
              fc.record({ sha512: hex }),
              fc.jsonValue(),
            ),
          },
          { requiredKeys: [] },
        ),
      },
      { requiredKeys: [] },
    ),
    is_direct: fc.oneof(fc.boolean(), fc.nat()),
  },
  { requiredKeys: [] },
);
const reportText = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.array(item, { maxLength: 4 }).map((install) => JSON.stringify({ install })),
  },
  { weight: 1, arbitrary: fc.json() },
  { weight: 1, arbitrary: fc.string() },
);

/** What a report names are packages by hash, in directories right below the packages dir. */
const reports = fc.property(reportText, (text) => {
  try {
    const found = parseReport(text, "cpython-311 abi linux");
    const names = new Set(found.map((one) => one.name));
    demand(names.size === found.length, "a name comes twice");
    for (const { dir, hash, requires, version } of found) {
      demand(/^[a-z0-9][A-Za-z0-9.+_-]*$/.test(dir), `the directory ${JSON.stringify(dir)}`);
      demand(/^sha(256|384|512):[0-9a-f]+$/.test(hash), `the hash ${JSON.stringify(hash)}`);
      demand(/^[\w.+!-]+$/.test(version), `the version ${JSON.stringify(version)}`);
      demand(
        requires.every((one) => names.has(one)),
        "it needs what is not there",
      );
    }
  } catch (error) {
    demandCode(error, "package_install");
  }
});

/** One answer of a store. */
interface StoreAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

const GOOD = bundleOf(HANDLER);
const text = fc.oneof(
  fc.constantFrom("lambda", "a%2Fb", "%zz", "%ff", "<b>", "&amp;", "&bad;", "]]>", "-1", "1e400"),
  fc.string({ maxLength: 10 }),
);
const element = fc
  .tuple(fc.constantFrom("Key", "ETag", "Size", "LastModified", "Contents"), text)
  .map(([tag, value]) => `<${tag}>${value}</${tag}>`);
const listing = fc
  .record({
    contents: fc.array(fc.array(element, { maxLength: 4 }), { maxLength: 4 }),
    isTruncated: fc.constantFrom("true", "false", ""),
    token: fc.option(text),
    encoding: fc.constantFrom("url", "none"),
  })
  .map(
    ({ contents, isTruncated, token, encoding }) =>
      `<?xml version="1.0"?><ListBucketResult><EncodingType>${encoding}</EncodingType>` +
      `<IsTruncated>${isTruncated}</IsTruncated>` +
      (token === null ? "" : `<NextContinuationToken>${token}</NextContinuationToken>`) +
      contents.map((all) => `<Contents>${all.join("")}</Contents>`).join("") +
      "</ListBucketResult>",
  );
const storeAnswer: fc.Arbitrary<StoreAnswer> = fc.record({
  status: fc.oneof(
    { weight: 4, arbitrary: fc.constant(200) },
    { weight: 1, arbitrary: fc.constantFrom(204, 206, 301, 304, 307, 400, 403, 404, 412, 501) },
  ),
  headers: fc.dictionary(
    fc.constantFrom(
      "etag",
      "content-encoding",
      "x-amz-meta-sha256",
      "x-amz-checksum-sha256",
      "x-amz-checksum-crc32",
      "x-amz-checksum-type",
      "x-amz-bucket-region",
      "x-amz-server-side-encryption",
      "location",
    ),
    fc.constantFrom(
      '"e"',
      "W/",
      "gzip",
      "a".repeat(64),
      "AAAA",
      "eu-west-1",
      "COMPOSITE",
      "é",
      "/x",
    ),
    { maxKeys: 4 },
  ),
  body: fc.oneof(listing, fc.string(), fc.uint8Array({ maxLength: 300 }), fc.constant(GOOD)),
});

const REGISTRY_CODES = [
  "registry_unavailable",
  "registry_denied",
  "bundle_invalid",
  "lambda_unknown",
];
/** Far longer than a few requests to this machine take, retries included. */
const ENDLESS_MS = 10_000;

/** Starts what calls itself a store. */
function fakeStore(answers: readonly StoreAnswer[]): Bun.Server<undefined> {
  let turn = 0;
  return Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: () => {
      const { status, headers, body } = answers[turn++ % answers.length] as StoreAnswer;
      const hasBody = status !== 204 && status !== 304;
      return new Response(hasBody ? (body as Uint8Array<ArrayBuffer>) : null, { status, headers });
    },
  });
}

/** Whatever a store answers, reading it ends: with what is asked for, or with an error of the registry. */
const storeAnswers = fc.asyncProperty(
  fc.array(storeAnswer, { minLength: 1, maxLength: 4 }),
  fc.constantFrom<"list" | "resolve" | "pull">("list", "resolve", "pull"),
  async (answers, what) => {
    using temp = tempDir("ol-fuzz-");
    mkdirSync(temp.join("out"));
    const store = fakeStore(answers);
    const url = `http://127.0.0.1:${store.port}`;
    const registry = new S3Registry(url, { accessKey: "A", secretKey: "s" }, { stallMs: 2_000 });
    const ask = async (): Promise<void> => {
      if (what === "list") {
        for (const entry of await registry.list()) {
          demand(isLambdaName(entry.name), `a lambda ${JSON.stringify(entry.name)}`);
        }
      } else if (what === "resolve") await registry.resolve("x");
      else await registry.pull("x", { id: "e" }, temp.join("out"));
    };
    const endless = Bun.sleep(ENDLESS_MS).then(() => demand(false, `${what} does not end`));
    try {
      await Promise.race([ask(), endless]);
    } catch (error) {
      demandCode(error, ...REGISTRY_CODES);
      demand(readdirSync(temp.join("out")).length === 0, "something was left in it");
    } finally {
      await store.stop(true);
    }
    demand(readdirSync(temp.path).join() === "out", "something was left beside it");
  },
);

/** Targets of this file. */
export const ANSWER_TARGETS: readonly Target[] = [
  target("pip reports", 300, reports),
  target("store answers", 20, storeAnswers),
];
