/** Listings of stores that are broken: found by the fuzzer. */

import { describe, expect, test } from "bun:test";

import { S3_LISTING_PAGES_MAX } from "../../../src/common/limits.ts";
import { S3Registry } from "../../../src/registry/s3-registry.ts";
import { failureOf, KEYS } from "./fixture.ts";

/** One page; `next` is the token of the page after it. */
const page = (keys: readonly string[], next: string | null): string =>
  `<?xml version="1.0"?><ListBucketResult><EncodingType>url</EncodingType>` +
  `<IsTruncated>${next !== null}</IsTruncated>` +
  (next === null ? "" : `<NextContinuationToken>${next}</NextContinuationToken>`) +
  keys.map((key) => `<Contents><Key>${key}</Key><ETag>"e"</ETag></Contents>`).join("") +
  "</ListBucketResult>";

/** A store that answers every listing so, and counts them. */
class ListingStore implements AsyncDisposable {
  turns = 0;
  readonly #server: Bun.Server<undefined>;

  constructor(pageOf: (turn: number) => string) {
    const fetch = (): Response => new Response(pageOf(this.turns++));
    this.#server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch });
  }

  get registry(): S3Registry {
    return new S3Registry(this.#server.url.href, KEYS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }
}

describe("list()", () => {
  test("ends where a store refers from a page to the same page", async () => {
    await using store = new ListingStore(() => page(["a"], "again"));
    expect(await failureOf(store.registry.list())).toMatchObject({
      code: "registry_unavailable",
      message: expect.stringContaining("does not come to an end"),
    });
    expect(store.turns).toBe(2);
  });

  test("ends where a store always has another page", async () => {
    await using store = new ListingStore((turn) => page([], `page-${turn}`));
    expect(await failureOf(store.registry.list())).toMatchObject({
      code: "registry_unavailable",
    });
    expect(store.turns).toBe(S3_LISTING_PAGES_MAX);
  });

  test("leaves out a key whose escapes are none", async () => {
    await using store = new ListingStore(() => page(["%zz", "good", "%ff"], null));
    expect((await store.registry.list()).map(({ name }) => name)).toEqual(["good"]);
  });

  test("follows pages to the last one", async () => {
    await using store = new ListingStore((turn) =>
      page([`l${turn}`], turn < 3 ? `p${turn}` : null),
    );
    const names = (await store.registry.list()).map(({ name }) => name);
    expect(names).toEqual(["l0", "l1", "l2", "l3"]);
  });
});
