/** Signatures and chunked bodies of the embedded store, attacked and fuzzed. */

import { afterAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import * as fc from "fast-check";
import type { WireRequest } from "../../../src/registry/store/request.ts";
import {
  EMPTY_SHA256,
  type Scope,
  sha256Hex,
  signChunk,
  signingKey,
  signRequest,
  signTrailer,
} from "../../../src/registry/store/sigv4.ts";
import { TempDir } from "./archives.ts";
import {
  codeOf,
  type Draft,
  KEYS,
  once,
  openStore,
  presigned,
  SCOPE,
  signed,
} from "./store-client.ts";

const KEY = signingKey(KEYS.secretKey, SCOPE);

const temp = new TempDir();
afterAll(() => temp[Symbol.dispose]());
const { handle } = openStore(temp.path);

async function outcome(wire: WireRequest): Promise<string> {
  return codeOf(await handle(wire));
}

describe("sigv4", () => {
  test("signRequest() gives the signature of AWS's published example", () => {
    const scope: Scope = { time: "20130524T000000Z", region: "us-east-1", service: "s3" };
    const headers: Record<string, string> = {
      host: "examplebucket.s3.amazonaws.com",
      range: "bytes=0-9",
      "x-amz-content-sha256": EMPTY_SHA256,
      "x-amz-date": scope.time,
    };
    const signature = signRequest(
      signingKey("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", scope),
      scope,
      {
        method: "GET",
        path: "/test.txt",
        query: [],
        signedHeaders: Object.keys(headers),
        header: (name) => headers[name] ?? null,
        payloadHash: EMPTY_SHA256,
      },
    );
    expect(signature).toBe("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  });
});

describe("authentication", () => {
  test("a well signed request is carried out", async () => {
    expect(await outcome(signed({ body: "data" }))).toBe("200");
  });

  const at = (time: string): Scope => ({ ...SCOPE, time });
  const refused: [string, Draft, string][] = [
    ["no signature", { tamper: (h) => delete h["authorization"] }, "AccessDenied"],
    [
      "another method",
      {
        tamper: (h) =>
          (h["authorization"] = signed({ method: "GET" }).headers["authorization"] as string),
      },
      "SignatureDoesNotMatch",
    ],
    [
      "another path",
      {
        tamper: (h) =>
          (h["authorization"] = signed({ path: "/registry/x" }).headers["authorization"] as string),
      },
      "SignatureDoesNotMatch",
    ],
    ["another host", { tamper: (h) => (h["host"] = "elsewhere") }, "SignatureDoesNotMatch"],
    ["another body", { body: "evil", payloadHash: sha256Hex("good") }, "XAmzContentSHA256Mismatch"],
    [
      "another hash",
      { tamper: (h) => (h["x-amz-content-sha256"] = sha256Hex("evil")) },
      "SignatureDoesNotMatch",
    ],
    [
      "an x-amz header put in",
      { tamper: (h) => (h["x-amz-copy-source"] = "/registry/k") },
      "AccessDenied",
    ],
    [
      "a time put in",
      { tamper: (h) => (h["x-amz-date"] = "20260102T030406Z") },
      "SignatureDoesNotMatch",
    ],
    ["a clock 16 minutes behind", { scope: at("20260102T024800Z") }, "RequestTimeTooSkewed"],
    ["a clock 16 minutes ahead", { scope: at("20260102T032006Z") }, "RequestTimeTooSkewed"],
    ["another service", { scope: { ...SCOPE, service: "ec2" } }, "AuthorizationHeaderMalformed"],
    [
      "an unknown key",
      { tamper: (h) => (h["authorization"] = (h["authorization"] ?? "").replace("=AK/", "=XX/")) },
      "InvalidAccessKeyId",
    ],
    [
      "another algorithm",
      { tamper: (h) => (h["authorization"] = "AWS AK:x") },
      "AuthorizationHeaderMalformed",
    ],
    [
      "a field twice",
      { tamper: (h) => (h["authorization"] += ", Signature=x") },
      "AuthorizationHeaderMalformed",
    ],
    ["no hash", { tamper: (h) => delete h["x-amz-content-sha256"] }, "InvalidRequest"],
    ["a hash that is none", { payloadHash: "nonsense" }, "InvalidArgument"],
    [
      "a body shorter than told",
      { body: "data", headers: { "content-length": "9" } },
      "IncompleteBody",
    ],
    [
      "a body longer than told",
      { body: "data", headers: { "content-length": "2" } },
      "InvalidRequest",
    ],
    [
      "a wrong MD5",
      { body: "data", headers: { "content-md5": "AAAAAAAAAAAAAAAAAAAAAA==" } },
      "BadDigest",
    ],
    [
      "a wrong CRC-32",
      { body: "data", headers: { "x-amz-checksum-crc32": "AAAAAA==" } },
      "BadDigest",
    ],
  ];
  test.each(refused)("%s is refused and changes nothing", async (_what, draft, code) => {
    await handle(signed({ body: "before" }));
    expect(await outcome(signed({ body: "after", ...draft }))).toBe(code);
    const after = await handle(signed({ method: "HEAD" }));
    expect(after.headers?.["etag"]).toBe(`"${createHash("md5").update("before").digest("hex")}"`);
  });

  test("14 minutes of difference between clocks are borne", async () => {
    expect(await outcome(signed({ scope: at("20260102T025005Z") }))).toBe("200");
    expect(await outcome(signed({ scope: at("20260102T031805Z") }))).toBe("200");
  });

  test("parameters that make another request of it are refused, not ignored", async () => {
    for (const name of ["acl", "tagging", "versionId", "torrent", "unknown"]) {
      for (const method of ["GET", "PUT", "DELETE"]) {
        expect([name, method, await outcome(signed({ method, query: [[name, ""]] }))]).toEqual([
          name,
          method,
          "NotImplemented",
        ]);
      }
    }
  });

  test("no request that was changed in any byte of its signature, path or query passes", async () => {
    const good = signed({ method: "GET", query: [["x-id", "GetObject"]] });
    const spellings = ["authorization", "target"] as const;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...spellings),
        fc.nat(),
        fc.integer({ min: 33, max: 126 }),
        async (where, position, char) => {
          const text = where === "target" ? good.target : (good.headers["authorization"] as string);
          const index = position % text.length;
          const changed = text.slice(0, index) + String.fromCharCode(char) + text.slice(index + 1);
          fc.pre(changed !== text);
          const wire: WireRequest =
            where === "target"
              ? { ...good, target: changed, body: once("") }
              : { ...good, headers: { ...good.headers, authorization: changed }, body: once("") };
          const reply = await handle(wire);
          // Letters of names of fields and headers may change case; nothing that is signed may.
          if (reply.status === 200) expect(changed.toLowerCase()).toBe(text.toLowerCase());
          else expect(reply.status).toBeOneOf([400, 403]);
        },
      ),
      { numRuns: 500 },
    );
  }, 60_000);

  test("any request at all is answered with a status, never with an exception or a 500", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"),
        fc.string({ unit: "binary" }),
        fc.dictionary(
          fc.constantFrom("authorization", "x-amz-date", "host", "content-length", "range"),
          fc.string(),
        ),
        fc.uint8Array(),
        async (method, target, headers, body) => {
          const reply = await handle({ method, target: `/${target}`, headers, body: once(body) });
          expect(reply.status).toBeOneOf([400, 403]);
        },
      ),
      { numRuns: 300 },
    );
  }, 60_000);
});

describe("presigned URLs", () => {
  function head(extra: Record<string, string> = {}, tamper = (text: string) => text): WireRequest {
    const wire = presigned("HEAD", "/registry", extra);
    return { ...wire, target: tamper(wire.target) };
  }

  const cases: [string, WireRequest, string][] = [
    ["is accepted", head(), "200"],
    [
      "with a longer life put in",
      head({}, (url) => url.replace("Expires=60", "Expires=90")),
      "SignatureDoesNotMatch",
    ],
    ["that has expired", head({ "X-Amz-Date": "20260102T030304Z" }), "AccessDenied"],
    ["from the future", head({ "X-Amz-Date": "20260102T032106Z" }), "AccessDenied"],
    [
      "of over seven days",
      head({ "X-Amz-Expires": "604801" }),
      "AuthorizationQueryParametersError",
    ],
    [
      "with a parameter twice",
      head({}, (url) => `${url}&X-Amz-Expires=90`),
      "AuthorizationQueryParametersError",
    ],
    [
      "for another bucket",
      head({}, (url) => url.replace("/registry", "/registr2")),
      "SignatureDoesNotMatch",
    ],
  ];
  test.each(cases)("one %s", async (_what, wire, code) => {
    expect(await outcome(wire)).toBe(code);
  });
});

describe("aws-chunked bodies", () => {
  const STREAM = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";

  /** A body in signed chunks, as a client makes it once its request is signed. */
  function chunkedRequest(
    chunks: string[],
    options: { trailer?: [string, string]; edit?: (body: string) => string; decoded?: number } = {},
  ): WireRequest {
    const total = chunks.join("").length;
    const wire = signed({
      payloadHash: options.trailer ? `${STREAM}-TRAILER` : STREAM,
      headers: {
        "x-amz-decoded-content-length": String(options.decoded ?? total),
        ...(options.trailer ? { "x-amz-trailer": options.trailer[0] } : {}),
      },
    });
    let previous = /Signature=(\w+)/.exec(wire.headers["authorization"] as string)?.[1] as string;
    let body = "";
    for (const chunk of [...chunks, ""]) {
      previous = signChunk(KEY, SCOPE, previous, sha256Hex(chunk));
      body += `${chunk.length.toString(16)};chunk-signature=${previous}\r\n`;
      if (chunk !== "") body += `${chunk}\r\n`;
    }
    if (options.trailer !== undefined) {
      const line = options.trailer.join(":");
      body += `${line}\r\nx-amz-trailer-signature:${signTrailer(KEY, SCOPE, previous, sha256Hex(`${line}\n`))}\r\n`;
    }
    body = (options.edit ?? ((text) => text))(`${body}\r\n`);
    return { ...wire, body: once(body) };
  }

  const md5: [string, string] = [
    "x-amz-checksum-sha256",
    createHash("sha256").update("onetwo").digest("base64"),
  ];
  const cases: [string, WireRequest, string][] = [
    ["with right signatures", chunkedRequest(["one", "two"]), "200"],
    ["with a signed trailer", chunkedRequest(["one", "two"], { trailer: md5 }), "200"],
    ["of no data", chunkedRequest([]), "200"],
    [
      "with other data",
      chunkedRequest(["one", "two"], { edit: (b) => b.replace("two", "twx") }),
      "SignatureDoesNotMatch",
    ],
    [
      "with another trailer",
      chunkedRequest(["one", "two"], {
        trailer: md5,
        edit: (b) => b.replace(md5[1].slice(0, 5), "AAAAA"),
      }),
      "SignatureDoesNotMatch",
    ],
    ["with a wrong checksum", chunkedRequest(["one", "twx"], { trailer: md5 }), "BadDigest"],
    [
      "without its trailer",
      chunkedRequest(["one", "two"], {
        trailer: md5,
        edit: (b) => b.replace(/x-amz-checksum[^\r]*\r\n/, ""),
      }),
      "SignatureDoesNotMatch",
    ],
    [
      "that is cut within a chunk",
      chunkedRequest(["one", "two"], { edit: (b) => b.slice(0, 90) }),
      "IncompleteBody",
    ],
    [
      "that is cut before its last chunk",
      chunkedRequest(["one", "two"], { edit: (b) => b.slice(0, b.indexOf("\r\n0;") + 2) }),
      "IncompleteBody",
    ],
    ["shorter than announced", chunkedRequest(["one"], { decoded: 6 }), "IncompleteBody"],
    ["longer than announced", chunkedRequest(["one", "two"], { decoded: 3 }), "InvalidRequest"],
    [
      "with data after its end",
      chunkedRequest(["one"], { edit: (b) => `${b}x` }),
      "InvalidRequest",
    ],
    [
      "without signatures",
      chunkedRequest(["one"], { edit: (b) => b.replace(/;chunk-signature=\w+/g, "") }),
      "InvalidRequest",
    ],
    [
      "with an endless line",
      chunkedRequest(["one"], { edit: () => "a".repeat(100_000) }),
      "InvalidRequest",
    ],
  ];
  test.each(cases)("one %s", async (_what, wire, code) => {
    expect(await outcome(wire)).toBe(code);
  });

  test("chunks may not change places, and data arrives however it is cut", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ minLength: 1, maxLength: 20, unit: "grapheme-ascii" }), {
          maxLength: 5,
        }),
        fc.integer({ min: 1, max: 40 }),
        async (chunks, step) => {
          const wire = chunkedRequest(chunks);
          let body = "";
          for await (const part of wire.body) body += Buffer.from(part).toString("latin1");
          async function* cut(): AsyncGenerator<Uint8Array> {
            for (let at = 0; at < body.length; at += step)
              yield Buffer.from(body.slice(at, at + step));
          }
          const reply = await handle({ ...wire, body: cut() });
          expect(codeOf(reply)).toBe("200");
          const etag = createHash("md5").update(chunks.join("")).digest("hex");
          expect(reply.headers?.["etag"]).toBe(`"${etag}"`);
        },
      ),
      { numRuns: 100 },
    );
    const swapped = chunkedRequest(["one", "two"], {
      edit: (body) => {
        const [one, two, ...rest] = body.split(/(?<=\r\n(?:one|two)\r\n)/);
        return [two, one, ...rest].join("");
      },
    });
    expect(await outcome(swapped)).toBe("SignatureDoesNotMatch");
  }, 60_000);
});
