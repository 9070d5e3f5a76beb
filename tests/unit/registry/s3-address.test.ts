import { describe, expect, test } from "bun:test";
import { OlError } from "../../../src/common/errors.ts";
import { parseS3Address } from "../../../src/registry/s3-address.ts";

describe("parseS3Address()", () => {
  test.each([
    ["http://127.0.0.1:9000", ["http://127.0.0.1:9000", "registry", "", "us-east-1"]],
    ["localhost:9000", ["http://localhost:9000", "registry", "", "us-east-1"]],
    [
      "https://s3.eu-west-1.amazonaws.com/b",
      ["https://s3.eu-west-1.amazonaws.com", "b", "", "eu-west-1"],
    ],
    [
      "https://s3.us-gov-west-1.amazonaws.com",
      ["https://s3.us-gov-west-1.amazonaws.com", "registry", "", "us-gov-west-1"],
    ],
    ["https://minio.example/team/a%20b/", ["https://minio.example", "team", "a b/", "us-east-1"]],
  ])("reads %s", (server, [endpoint, bucket, prefix, region]) => {
    expect(parseS3Address(server)).toEqual({ endpoint, bucket, prefix, region } as never);
  });

  test.each([[""], ["ftp://x"], ["http://"], ["http://user:pass@x"], ["http://x/?a=b"], ["a b"]])(
    "refuses %j without repeating it",
    (server) => {
      try {
        parseS3Address(server);
        expect.unreachable();
      } catch (error) {
        expect(error).toBeInstanceOf(OlError);
        expect((error as OlError).code).toBe("config_invalid");
        expect((error as OlError).message).not.toContain("pass");
      }
    },
  );
});
