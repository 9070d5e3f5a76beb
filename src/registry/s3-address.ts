/**
 * What the setting `registry_server` names: an S3 endpoint, and, as its path, the bucket and a prefix
 * of keys where they are not the usual ones.
 *
 * | value | endpoint | bucket | prefix |
 * | --- | --- | --- | --- |
 * | `http://127.0.0.1:9000` (or without `http://`) | the same | `registry` | |
 * | `https://s3.eu-west-1.amazonaws.com/my-lambdas` | `https://s3.eu-west-1.amazonaws.com` | `my-lambdas` | |
 * | `https://minio.example/team/prod/` | `https://minio.example` | `team` | `prod/` |
 */

import { OlError } from "../common/errors.ts";

/** Bucket where the address names none. */
export const DEFAULT_BUCKET = "registry";

/** Where lambdas lie in an S3 store. */
export interface S3Address {
  /** Scheme, host and port. */
  readonly endpoint: string;
  readonly bucket: string;
  /** Empty, or ending with a slash. */
  readonly prefix: string;
  readonly region: string;
}

const AWS_HOST = /^s3[.-](?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com(?:\.cn)?$/;

/**
 * @param server value of `registry_server`
 * @returns endpoint, bucket, prefix and region
 * @throws {OlError} config_invalid
 */
export function parseS3Address(server: string): S3Address {
  const text = /^[a-z]+:\/\//i.test(server) ? server : `http://${server}`;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== "" || url.search !== "") {
    throw new OlError(
      "config_invalid",
      "Cannot use the value of registry_server: it is not the address of an S3 endpoint, " +
        'wanted such as "http://127.0.0.1:9000" or "https://s3.eu-west-1.amazonaws.com/my-bucket"',
    );
  }
  const [bucket = "", ...rest] = url.pathname.split("/").filter((part) => part !== "");
  return {
    endpoint: url.origin,
    bucket: bucket === "" ? DEFAULT_BUCKET : bucket,
    prefix: rest.map((part) => `${decodeURIComponent(part)}/`).join(""),
    region: AWS_HOST.exec(url.hostname)?.[1] ?? "us-east-1",
  };
}
