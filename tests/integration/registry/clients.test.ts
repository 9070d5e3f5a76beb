/** The embedded store under real S3 clients that nobody here wrote. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { randomFillSync } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Clock } from "../../../src/common/clock.ts";
import { INSTALL_TIMEOUT_MS, npmClients, pythonClients } from "./clients/install.ts";
import { FaultyProxy } from "./faulty-proxy.ts";
import { failureOf, KEYS, RegistryFixture } from "./fixture.ts";
import { scaled } from "../../helpers/wait-for.ts";

setDefaultTimeout(scaled(180_000));

const fixture = new RegistryFixture();
let endpoint = "";
let bin = "";
let npm: NodeJS.Require;

beforeAll(async () => {
  endpoint = (await fixture.startStore()).url;
  bin = await pythonClients();
  npm = createRequire(await npmClients());
}, INSTALL_TIMEOUT_MS);

afterAll(() => fixture[Symbol.asyncDispose]());

/** A file of random bytes. */
function randomFile(name: string, sizeBytes: number): string {
  const path = join(fixture.dir, name);
  writeFileSync(path, randomFillSync(Buffer.alloc(sizeBytes)));
  return path;
}

const sameFiles = (a: string, b: string): boolean => readFileSync(a).equals(readFileSync(b));

test("boto3: objects, listings, multipart, checksums, signatures", async () => {
  const script = join(import.meta.dir, "clients/boto.py");
  const child = Bun.spawn([join(bin, "python"), script, endpoint, KEYS.accessKey, KEYS.secretKey], {
    stdout: "pipe",
    stderr: "pipe",
    env: { PATH: process.env["PATH"], AWS_EC2_METADATA_DISABLED: "true" },
  });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  expect({ out: out.trim(), err }).toEqual({ out: "all done", err: "" });
});

describe("signatures of boto3", () => {
  /** Runs a step with a client `s3` and the bucket's name `b`; the result is what it prints. */
  async function boto(url: string, step: string): Promise<string> {
    const script = [
      "import boto3, sys",
      "from botocore.client import Config",
      "from botocore.exceptions import ClientError",
      `s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1",`,
      `  aws_access_key_id="${KEYS.accessKey}", aws_secret_access_key="${KEYS.secretKey}",`,
      `  config=Config(signature_version="s3v4", retries={"max_attempts": 1}))`,
      `b = "registry"`,
      step,
    ].join("\n");
    const child = Bun.spawn([join(bin, "python"), "-c", script, url], {
      stdout: "pipe",
      stderr: "inherit",
      env: { PATH: process.env["PATH"], AWS_EC2_METADATA_DISABLED: "true" },
    });
    const out = await child.stdout.text();
    expect(await child.exited).toBe(0);
    return out.trim();
  }

  test("expire: a URL after its life, a header when clocks differ", async () => {
    await using own = new RegistryFixture();
    let aheadMs = 0;
    const clock: Clock = { nowUs: () => 0, wallMs: () => Date.now() + aheadMs };
    const { url } = await own.startStore(0, clock);
    const signed = await boto(
      url,
      's3.put_object(Bucket=b, Key="k", Body=b"data")\n' +
        'print(s3.generate_presigned_url("get_object", {"Bucket": b, "Key": "k"}, ExpiresIn=60))',
    );
    expect(await (await fetch(signed)).text()).toBe("data");
    aheadMs = 61_000;
    const expired = await fetch(signed);
    expect([expired.status, await expired.text()]).toEqual([
      403,
      expect.stringContaining("Request has expired"),
    ]);
    aheadMs = 16 * 60_000;
    const code = await boto(
      url,
      'try: s3.get_object(Bucket=b, Key="k")\n' +
        'except ClientError as error: print(error.response["Error"]["Code"])',
    );
    expect(code).toBe("RequestTimeTooSkewed");
  });

  test("do not hold for another body, key or method", async () => {
    await using proxy = await FaultyProxy.start(endpoint);
    await boto(proxy.url, 's3.put_object(Bucket=b, Key="replayed", Body=b"good")');
    const put = proxy.seen.find(({ method }) => method === "PUT");
    const replay = async (target: string, init: RequestInit): Promise<string> => {
      const { connection: _connection, expect: _expect, ...headers } = put?.headers ?? {};
      // The body as boto3 framed it, so that only what is changed differs.
      const answer = await fetch(endpoint + target, { ...init, headers });
      return /<Code>(\w+)/.exec(await answer.text())?.[1] ?? String(answer.status);
    };
    const body = Buffer.concat(put?.chunks ?? []);
    const evil = Buffer.from(body.toString("latin1").replace("good", "evil"), "latin1");
    expect(evil.equals(body)).toBe(false);
    const target = put?.target ?? "";
    expect(await replay(target, { method: "PUT", body: evil })).toMatch(
      /^(XAmzContentSHA256Mismatch|BadDigest|SignatureDoesNotMatch)$/,
    );
    expect(await replay("/registry/else", { method: "PUT", body })).toBe("SignatureDoesNotMatch");
    expect(await replay(target, { method: "POST", body })).toBe("SignatureDoesNotMatch");
    // The request itself is a good one.
    expect(await replay(target, { method: "PUT", body })).toBe("200");
    const got = await boto(
      endpoint,
      'print(s3.get_object(Bucket=b, Key="replayed")["Body"].read())',
    );
    expect(got).toBe("b'good'");
  });
});

describe("AWS CLI", () => {
  interface Ran {
    readonly out: string;
    readonly status: number;
  }
  async function aws(secret: string, ...args: string[]): Promise<Ran> {
    // Version 1 of the CLI still presigns with the signature of 2006 where it is not told otherwise.
    const config = join(fixture.dir, "aws-config");
    writeFileSync(config, "[default]\ns3 =\n  signature_version = s3v4\n");
    const child = Bun.spawn(
      [
        join(bin, "python"),
        join(bin, "aws"),
        "--endpoint-url",
        endpoint,
        "--region",
        "us-east-1",
        ...args,
      ],
      {
        stdout: "pipe",
        stderr: "pipe",
        env: {
          PATH: process.env["PATH"],
          AWS_ACCESS_KEY_ID: KEYS.accessKey,
          AWS_SECRET_ACCESS_KEY: secret,
          AWS_EC2_METADATA_DISABLED: "true",
          AWS_CONFIG_FILE: config,
          AWS_MAX_ATTEMPTS: "1",
        },
      },
    );
    const [out, err] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    return { out: out + err, status: await child.exited };
  }

  test("s3 cp both ways, small and in parts, ls, presign, rm", async () => {
    for (const sizeBytes of [1000, 20 * 1024 * 1024]) {
      const source = randomFile("up", sizeBytes);
      const target = join(fixture.dir, "down");
      const key = `s3://registry/dir ü/hello-${sizeBytes}`;
      const run = (...args: string[]): Promise<Ran> => aws(KEYS.secretKey, "s3", ...args);
      expect(await run("cp", source, key)).toMatchObject({ status: 0 });
      expect(await run("cp", key, target)).toMatchObject({ status: 0 });
      expect(sameFiles(source, target)).toBe(true);
      expect((await run("ls", "--recursive", "s3://registry/")).out).toContain(
        `dir ü/hello-${sizeBytes}`,
      );
      const url = (await run("presign", key)).out.trim();
      expect((await (await fetch(url)).arrayBuffer()).byteLength).toBe(sizeBytes);
      expect(await run("rm", key)).toMatchObject({ status: 0 });
      expect((await fetch(url)).status).toBe(404);
    }
  });

  test("s3 mb, sync and rb; a wrong secret is refused", async () => {
    const dir = fixture.newDir();
    for (const name of ["a", "b"]) writeFileSync(join(dir, name), name);
    const run = (...args: string[]): Promise<Ran> => aws(KEYS.secretKey, "s3", ...args);
    expect(await run("mb", "s3://other-bucket")).toMatchObject({ status: 0 });
    expect(await run("sync", dir, "s3://other-bucket/x")).toMatchObject({ status: 0 });
    expect((await run("ls", "s3://other-bucket/x/")).out).toMatch(/ a\n.* b\n/);
    expect(await run("rb", "--force", "s3://other-bucket")).toMatchObject({ status: 0 });
    const refused = await aws("wrong", "s3", "ls", "s3://registry/");
    expect(refused.status).not.toBe(0);
    expect(refused.out).toContain("SignatureDoesNotMatch");
  });
});

/** As much of the npm `minio` client as is used here. */
interface MinioClient {
  makeBucket(bucket: string): Promise<void>;
  bucketExists(bucket: string): Promise<boolean>;
  fPutObject(bucket: string, key: string, file: string): Promise<{ etag: string }>;
  fGetObject(bucket: string, key: string, file: string): Promise<void>;
  statObject(bucket: string, key: string): Promise<{ size: number; etag: string }>;
  getPartialObject(
    bucket: string,
    key: string,
    offset: number,
    length: number,
  ): Promise<AsyncIterable<Buffer>>;
  listObjectsV2(
    bucket: string,
    prefix: string,
    recursive: boolean,
  ): AsyncIterable<{ name: string }>;
  presignedGetObject(bucket: string, key: string, seconds: number): Promise<string>;
  presignedPutObject(bucket: string, key: string, seconds: number): Promise<string>;
  removeObject(bucket: string, key: string): Promise<void>;
  removeObjects(bucket: string, keys: string[]): Promise<unknown>;
  removeBucket(bucket: string): Promise<void>;
}

test("minio: signed chunks, parts, ranges, listings, presigned", async () => {
  const { Client } = npm("minio") as { Client: new (options: object) => MinioClient };
  const { port } = new URL(endpoint);
  const client = new Client({ endPoint: "127.0.0.1", port: Number(port), useSSL: false, ...KEYS });
  await client.makeBucket("from-minio");
  expect(await client.bucketExists("from-minio")).toBe(true);
  expect(await client.bucketExists("not-there")).toBe(false);
  const down = join(fixture.dir, "minio-down");
  for (const sizeBytes of [0, 70_000, 70 * 1024 * 1024]) {
    const up = randomFile("minio-up", sizeBytes);
    await client.fPutObject("from-minio", "dir/ü (1)!'*", up);
    await client.fGetObject("from-minio", "dir/ü (1)!'*", down);
    expect(sameFiles(up, down)).toBe(true);
    expect((await client.statObject("from-minio", "dir/ü (1)!'*")).size).toBe(sizeBytes);
  }
  const chunks: Buffer[] = [];
  const part = await client.getPartialObject("from-minio", "dir/ü (1)!'*", 100, 50);
  for await (const chunk of part) chunks.push(chunk);
  expect(Buffer.concat(chunks).equals(readFileSync(down).subarray(100, 150))).toBe(true);
  const put = await client.presignedPutObject("from-minio", "via url", 60);
  expect((await fetch(put, { method: "PUT", body: "data" })).status).toBe(200);
  const get = await client.presignedGetObject("from-minio", "via url", 60);
  expect(await (await fetch(get)).text()).toBe("data");
  const names: string[] = [];
  for await (const item of client.listObjectsV2("from-minio", "", true)) names.push(item.name);
  expect(names).toEqual(["dir/ü (1)!'*", "via url"]);
  await client.removeObject("from-minio", "via url");
  await client.removeObjects("from-minio", ["dir/ü (1)!'*"]);
  await client.removeBucket("from-minio");
});

/** As much of `@aws-sdk` as is used here. */
type AwsCommand = new (input: object) => object;
interface AwsSdk extends Record<"GetObjectCommand", AwsCommand> {
  S3Client: new (options: object) => { send(command: object): Promise<Record<string, unknown>> };
}

test("AWS SDK for JavaScript: trailing checksums of streams, parts, conditions, presigned", async () => {
  const sdk = npm("@aws-sdk/client-s3") as AwsSdk;
  const { Upload } = npm("@aws-sdk/lib-storage") as {
    Upload: new (options: object) => { done(): Promise<unknown> };
  };
  const { getSignedUrl } = npm("@aws-sdk/s3-request-presigner") as {
    getSignedUrl(this: void, client: object, command: object, options: object): Promise<string>;
  };
  const options = {
    endpoint,
    region: "eu-central-1",
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: KEYS.accessKey, secretAccessKey: KEYS.secretKey },
  };
  const client = new sdk.S3Client(options);
  // Otherwise it signs into URLs the checksum of the body that it has not got: that of nothing.
  const signer = new sdk.S3Client({ ...options, requestChecksumCalculation: "WHEN_REQUIRED" });
  const send = (name: `${string}Command`, input: object): Promise<Record<string, unknown>> =>
    client.send(
      new (sdk as unknown as Record<string, AwsCommand>)[name]!({ Bucket: "registry", ...input }),
    );
  const bodyOf = async (answer: Record<string, unknown>): Promise<Buffer> => {
    const body = answer["Body"] as { transformToByteArray(): Promise<Uint8Array> };
    return Buffer.from(await body.transformToByteArray());
  };
  const data = randomFillSync(Buffer.alloc(300_000));
  for (const algorithm of ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]) {
    const file = join(fixture.dir, "sdk-up");
    writeFileSync(file, data);
    const { createReadStream } = await import("node:fs");
    await send("PutObjectCommand", { Key: "k", Body: data, ChecksumAlgorithm: algorithm });
    // A stream's checksum is only known at its end: it comes as a trailer.
    await send("PutObjectCommand", {
      Key: `stream/${algorithm}`,
      Body: createReadStream(file),
      ContentLength: data.length,
      ChecksumAlgorithm: algorithm,
    });
    expect(
      data.equals(await bodyOf(await send("GetObjectCommand", { Key: `stream/${algorithm}` }))),
    ).toBe(true);
  }
  const big = randomFillSync(Buffer.alloc(12 * 1024 * 1024));
  await new Upload({ client, params: { Bucket: "registry", Key: "sdk-big", Body: big } }).done();
  expect(big.equals(await bodyOf(await send("GetObjectCommand", { Key: "sdk-big" })))).toBe(true);
  const head = await send("HeadObjectCommand", { Key: "k" });
  const unchanged = await failureOf(
    send("GetObjectCommand", { Key: "k", IfNoneMatch: head["ETag"] }),
  );
  expect(unchanged).toMatchObject({ $metadata: { httpStatusCode: 304 } });
  const url = await getSignedUrl(
    client,
    new sdk.GetObjectCommand({ Bucket: "registry", Key: "k" }),
    { expiresIn: 60 },
  );
  expect(data.equals(Buffer.from(await (await fetch(url)).arrayBuffer()))).toBe(true);
  await presignedBySdk(
    (name, input) =>
      getSignedUrl(
        signer,
        new (sdk as unknown as Record<string, AwsCommand>)[name]!({ Bucket: "registry", ...input }),
        { expiresIn: 60 },
      ),
    (key) => send("HeadObjectCommand", { Key: key }),
  );
  const listed = await send("ListObjectsV2Command", { Prefix: "stream/", MaxKeys: 2 });
  expect(listed).toMatchObject({ KeyCount: 2, IsTruncated: true });
  const missing = await failureOf(send("GetObjectCommand", { Key: "missing" }));
  expect(missing).toMatchObject({ name: "NoSuchKey" });
  const keys = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"].map((name) => ({
    Key: `stream/${name}`,
  }));
  await send("DeleteObjectsCommand", {
    Delete: { Objects: [...keys, { Key: "k" }, { Key: "sdk-big" }] },
  });
  expect(await send("ListObjectsV2Command", { Prefix: "stream/" })).toMatchObject({ KeyCount: 0 });
});

/** What the SDK presigns it puts into the query, headers included: they must count there. */
async function presignedBySdk(
  sign: (name: `${string}Command`, input: object) => Promise<string>,
  head: (key: string) => Promise<Record<string, unknown>>,
): Promise<void> {
  const put = async (url: string, body = ""): Promise<string> => {
    const answer = await fetch(url, { method: "PUT", body });
    return `${answer.status} ${/<Code>(\w+)/.exec(await answer.text())?.[1] ?? ""}`.trim();
  };
  const metadata = { Key: "signed", Metadata: { who: "me" } };
  expect(await put(await sign("PutObjectCommand", metadata), "body")).toBe("200");
  expect(await head("signed")).toMatchObject({ Metadata: { who: "me" }, ContentLength: 4 });
  const copy = { Key: "signed-copy", CopySource: "/registry/signed" };
  const url = await sign("CopyObjectCommand", copy);
  expect(url).toContain("x-amz-copy-source");
  expect(await put(url)).toBe("200");
  expect(await head("signed-copy")).toMatchObject({ ContentLength: 4 });
  const wrong = { Key: "signed", ChecksumCRC32: "AAAAAA==" };
  expect(await put(await sign("PutObjectCommand", wrong), "else")).toBe("400 BadDigest");
  const tagged = { Key: "signed", Tagging: "a=b" };
  expect(await put(await sign("PutObjectCommand", tagged), "else")).toBe("501 NotImplemented");
  expect(await head("signed")).toMatchObject({ ContentLength: 4 });
}

test("Bun's client: write, ranges, parts, listing, presigned, errors", async () => {
  const client = new Bun.S3Client({
    endpoint,
    bucket: "registry",
    accessKeyId: KEYS.accessKey,
    secretAccessKey: KEYS.secretKey,
  });
  const key = "bun/ü +&=%/x";
  await client.write(key, "hello world");
  expect(await client.file(key).text()).toBe("hello world");
  expect(await client.file(key).slice(6, 11).text()).toBe("world");
  expect(await client.size(key)).toBe(11);
  expect(await client.exists("bun/none")).toBe(false);
  const big = randomFillSync(Buffer.alloc(11 * 1024 * 1024));
  const writer = client.file("bun/big").writer({ partSize: 5 * 1024 * 1024 });
  for (let at = 0; at < big.length; at += 1 << 20)
    await writer.write(big.subarray(at, at + (1 << 20)));
  await writer.end();
  expect(big.equals(Buffer.from(await client.file("bun/big").bytes()))).toBe(true);
  const page = await client.list({ prefix: "bun/" });
  expect(page.contents?.map((item) => item.key)).toEqual(["bun/big", key]);
  const url = client.presign(key, { expiresIn: 60 });
  expect(await (await fetch(url)).text()).toBe("hello world");
  expect(await failureOf(client.file("bun/none").text())).toMatchObject({ code: "NoSuchKey" });
  const wrong = new Bun.S3Client({
    endpoint,
    bucket: "registry",
    accessKeyId: KEYS.accessKey,
    secretAccessKey: "x",
  });
  expect(await failureOf(wrong.write("bun/x", "y"))).toMatchObject({
    code: "SignatureDoesNotMatch",
  });
  await client.delete(key);
  await client.delete("bun/big");
  expect(statSync(join(fixture.dir, "store/tmp")).isDirectory()).toBe(true);
});
