/**
 * Which operation a request asks for. A query parameter that an operation does not know makes the
 * request another one in S3 (`?acl`, `?tagging`, `?versionId=…`), so it is refused, never ignored.
 */

import { STORE_PAGE_MAX_KEYS } from "../../common/limits.ts";
import type { PayloadCheck } from "./auth.ts";
import { xmlBody, xmlChildren, xmlChildText } from "./body.ts";
import { listObjects } from "./listing.ts";
import { copyObject, getObject, putObject } from "./object-routes.ts";
import { type Reply, xmlReply } from "./reply.ts";
import type { S3Request } from "./request.ts";
import { S3Error, type XmlElements, xmlDocument } from "./s3-error.ts";
import {
  abortUpload,
  completeUpload,
  createUpload,
  listParts,
  listUploads,
  uploadPart,
  type UploadContext,
} from "./upload-routes.ts";

type Operation = (
  context: UploadContext,
  request: S3Request,
  check: PayloadCheck,
) => Reply | Promise<Reply>;

interface Route {
  readonly method: string;
  readonly target: "service" | "bucket" | "object";
  /** Parameters that must be there. */
  readonly needs: readonly string[];
  /** Parameters that may be there. */
  readonly takes: readonly string[];
  readonly run: Operation;
}

const LISTING = ["prefix", "delimiter", "max-keys", "encoding-type", "fetch-owner"];
const LISTING_ANY = [...LISTING, "marker", "list-type", "continuation-token", "start-after"];
const UPLOADS = ["prefix", "delimiter", "max-uploads", "encoding-type", "key-marker"];
const PARTS = ["max-parts", "part-number-marker"];

const route = (
  method: string,
  target: Route["target"],
  needs: readonly string[],
  takes: readonly string[],
  run: Operation,
): Route => ({ method, target, needs, takes, run });

/** Routes with needs come before those without. */
const ROUTES: readonly Route[] = [
  route("GET", "service", [], ["max-buckets", "prefix"], ({ store }) =>
    listBuckets(store.buckets()),
  ),
  route("GET", "bucket", ["location"], [], ({ store }, { bucket }) => {
    store.requireBucket(bucket);
    return xmlReply(xmlDocument("LocationConstraint", {}));
  }),
  route("GET", "bucket", ["versioning"], [], ({ store }, { bucket }) => {
    store.requireBucket(bucket);
    return xmlReply(xmlDocument("VersioningConfiguration", {}));
  }),
  route("GET", "bucket", ["uploads"], [...UPLOADS, "upload-id-marker"], listUploads),
  route("GET", "bucket", [], LISTING_ANY, ({ store }, request) =>
    xmlReply(listObjects(store, request)),
  ),
  route("HEAD", "bucket", [], [], ({ store }, { bucket }) => {
    store.requireBucket(bucket);
    return { status: 200, headers: { "x-amz-bucket-region": "us-east-1" } };
  }),
  route("PUT", "bucket", [], [], ({ store }, { bucket }) => {
    store.createBucket(bucket);
    return { status: 200, headers: { location: `/${bucket}` } };
  }),
  route("DELETE", "bucket", [], [], ({ store }, { bucket }) => {
    store.deleteBucket(bucket);
    return { status: 204 };
  }),
  route("POST", "bucket", ["delete"], [], deleteObjects),
  route("POST", "object", ["uploads"], [], createUpload),
  route("POST", "object", ["uploadId"], [], completeUpload),
  route("PUT", "object", ["partNumber", "uploadId"], [], (context, request, check) => {
    refuseCopy(request);
    return uploadPart(context, request, check);
  }),
  route("PUT", "object", [], [], ({ store, nowMs }, request, check) =>
    request.headers.has("x-amz-copy-source")
      ? copyObject(store, request, nowMs)
      : putObject(store, request, check, nowMs),
  ),
  route("GET", "object", ["uploadId"], PARTS, listParts),
  route("GET", "object", [], [], ({ store }, request) => getObject(store, request)),
  route("HEAD", "object", [], [], ({ store }, request) => getObject(store, request)),
  route("DELETE", "object", ["uploadId"], [], abortUpload),
  route("DELETE", "object", [], [], ({ store }, { bucket, key }) => {
    store.delete(bucket, key);
    return { status: 204 };
  }),
];

/** Parameters that say nothing about the operation. */
function isNeutral(name: string): boolean {
  return name === "x-id" || /^x-amz-/i.test(name) || name.startsWith("response-");
}

/**
 * @param context store and uploads
 * @param request that was authenticated
 * @param check for its body
 * @returns the answer
 * @throws {S3Error} of the operation; NotImplemented, MethodNotAllowed
 */
export async function dispatch(
  context: UploadContext,
  request: S3Request,
  check: PayloadCheck,
): Promise<Reply> {
  const target = request.bucket === "" ? "service" : request.key === "" ? "bucket" : "object";
  const names = request.query.map(([name]) => name).filter((name) => !isNeutral(name));
  const candidates = ROUTES.filter(
    (item) => item.target === target && item.method === request.method,
  );
  if (candidates.length === 0) {
    throw new S3Error("MethodNotAllowed", "The method is not allowed here");
  }
  const found = candidates.find(
    ({ needs, takes }) =>
      needs.every((name) => names.includes(name)) &&
      names.every((name) => needs.includes(name) || takes.includes(name)),
  );
  if (found === undefined) {
    throw new S3Error("NotImplemented", "This store has no such operation");
  }
  return found.run(context, request, check);
}

function refuseCopy(request: S3Request): void {
  if (!request.headers.has("x-amz-copy-source")) return;
  throw new S3Error("NotImplemented", "Parts cannot be copied from objects");
}

function listBuckets(buckets: readonly { name: string; createdMs: number }[]): Reply {
  return xmlReply(
    xmlDocument("ListAllMyBucketsResult", {
      Owner: { ID: "openlambda", DisplayName: "openlambda" },
      Buckets: {
        Bucket: buckets.map(({ name, createdMs }) => ({
          Name: name,
          CreationDate: new Date(createdMs).toISOString(),
        })),
      },
    }),
  );
}

async function deleteObjects(
  context: UploadContext,
  request: S3Request,
  check: PayloadCheck,
): Promise<Reply> {
  context.store.requireBucket(request.bucket);
  const document = await xmlBody(request, check);
  const keys = xmlChildren(document, "Object").map((object) => xmlChildText(object, "Key"));
  if (keys.length > STORE_PAGE_MAX_KEYS || keys.includes(undefined)) {
    throw new S3Error("MalformedXML", `Wanted at most ${STORE_PAGE_MAX_KEYS} objects with keys`);
  }
  const quiet = xmlChildText(document, "Quiet")?.toLowerCase() === "true";
  const deleted: XmlElements[] = [];
  for (const key of keys as string[]) {
    context.store.delete(request.bucket, key);
    if (!quiet) deleted.push({ Key: key });
  }
  return xmlReply(xmlDocument("DeleteResult", { Deleted: deleted }));
}
