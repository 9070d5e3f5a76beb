/**
 * Which operation a request asks for. A query parameter that an operation does not know makes the
 * request another one in S3 (`?acl`, `?tagging`, `?versionId=…`), and so does an `x-amz-` header: both
 * are refused, never ignored.
 */

import { STORE_PAGE_MAX_KEYS } from "../../common/limits.ts";
import {
  HEADER_RULES,
  type HeaderRules,
  refuseUnknownHeaders,
  withHeadersOfQuery,
} from "./amz-headers.ts";
import type { PayloadCheck } from "./auth.ts";
import { xmlBody, xmlChildren, xmlChildText } from "./body.ts";
import { etagPrecondition, putPrecondition } from "./conditions.ts";
import { listObjects } from "./listing.ts";
import { copyObject, getObject, putObject } from "./object-routes.ts";
import { type Reply, xmlReply } from "./reply.ts";
import { requireKey, type S3Request } from "./request.ts";
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
  /** Headers that must be there. */
  readonly needsHeader: string | null;
  /** The `x-amz-` headers that it keeps to. */
  readonly headers: HeaderRules;
  readonly run: Operation;
}

const LISTING = ["prefix", "delimiter", "max-keys", "encoding-type", "fetch-owner"];
const LISTING_ANY = [...LISTING, "marker", "list-type", "continuation-token", "start-after"];
const UPLOADS = ["prefix", "delimiter", "max-uploads", "encoding-type", "key-marker"];
const PARTS = ["max-parts", "part-number-marker"];

const OVERRIDES = [
  "response-cache-control",
  "response-content-disposition",
  "response-content-encoding",
  "response-content-language",
  "response-content-type",
  "response-expires",
];

const route = (
  method: string,
  target: Route["target"],
  needs: readonly string[],
  takes: readonly string[],
  headers: HeaderRules,
  run: Operation,
  needsHeader: string | null = null,
): Route => ({ method, target, needs, takes, headers, run, needsHeader });

const { none, read } = HEADER_RULES;

/** Routes with needs come before those without. */
const ROUTES: readonly Route[] = [
  route("GET", "service", [], ["max-buckets", "prefix"], none, ({ store }) =>
    listBuckets(store.buckets()),
  ),
  route("GET", "bucket", ["location"], [], none, ({ store }, { bucket }) => {
    store.requireBucket(bucket);
    return xmlReply(xmlDocument("LocationConstraint", {}));
  }),
  route("GET", "bucket", ["versioning"], [], none, ({ store }, { bucket }) => {
    store.requireBucket(bucket);
    return xmlReply(xmlDocument("VersioningConfiguration", {}));
  }),
  route("GET", "bucket", ["uploads"], [...UPLOADS, "upload-id-marker"], none, listUploads),
  route("GET", "bucket", [], LISTING_ANY, none, ({ store }, request) =>
    xmlReply(listObjects(store, request)),
  ),
  route("HEAD", "bucket", [], [], none, ({ store }, { bucket }) => {
    store.requireBucket(bucket);
    return { status: 200, headers: { "x-amz-bucket-region": "us-east-1" } };
  }),
  route("PUT", "bucket", [], [], HEADER_RULES.createBucket, ({ store }, { bucket }) => {
    store.createBucket(bucket);
    return { status: 200, headers: { location: `/${bucket}` } };
  }),
  route("DELETE", "bucket", [], [], none, ({ store }, { bucket }) => {
    store.deleteBucket(bucket);
    return { status: 204 };
  }),
  route("POST", "bucket", ["delete"], [], HEADER_RULES.xml, deleteObjects),
  route("POST", "object", ["uploads"], [], HEADER_RULES.createUpload, createUpload),
  route("POST", "object", ["uploadId"], [], HEADER_RULES.completeUpload, completeUpload),
  route("PUT", "object", ["partNumber", "uploadId"], [], HEADER_RULES.uploadPart, uploadPart),
  route(
    "PUT",
    "object",
    [],
    [],
    HEADER_RULES.copy,
    ({ store, nowMs }, request) => copyObject(store, request, nowMs),
    "x-amz-copy-source",
  ),
  route("PUT", "object", [], [], HEADER_RULES.put, ({ store, nowMs }, request, check) =>
    putObject(store, request, check, nowMs),
  ),
  route("GET", "object", ["uploadId"], PARTS, none, listParts),
  route("GET", "object", [], OVERRIDES, read, ({ store }, request) => getObject(store, request)),
  route("HEAD", "object", [], OVERRIDES, read, ({ store }, request) => getObject(store, request)),
  route("DELETE", "object", ["uploadId"], [], none, abortUpload),
  route("DELETE", "object", [], [], none, ({ store }, request) => {
    store.delete(request.bucket, request.key, putPrecondition(request, "delete"));
    return { status: 204 };
  }),
];

/** Parameters that say nothing about the operation. */
function isNeutral(name: string): boolean {
  return name === "x-id" || /^x-amz-/i.test(name);
}

/**
 * @param context store and uploads
 * @param signedRequest that was authenticated
 * @param check for its body
 * @returns the answer
 * @throws {S3Error} of the operation; NotImplemented, MethodNotAllowed
 */
export async function dispatch(
  context: UploadContext,
  signedRequest: S3Request,
  check: PayloadCheck,
): Promise<Reply> {
  const request = withHeadersOfQuery(signedRequest);
  const target = request.bucket === "" ? "service" : request.key === "" ? "bucket" : "object";
  const names = request.query.map(([name]) => name).filter((name) => !isNeutral(name));
  const candidates = ROUTES.filter(
    (item) => item.target === target && item.method === request.method,
  );
  if (candidates.length === 0) {
    throw new S3Error("MethodNotAllowed", "The method is not allowed here");
  }
  const found = candidates.find(
    ({ needs, takes, needsHeader }) =>
      (needsHeader === null || request.headers.has(needsHeader)) &&
      needs.every((name) => names.includes(name)) &&
      names.every((name) => needs.includes(name) || takes.includes(name)),
  );
  if (found === undefined) {
    throw new S3Error("NotImplemented", "This store has no such operation");
  }
  refuseUnknownHeaders(request, found.headers);
  return found.run(context, request, check);
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
  const objects = xmlChildren(document, "Object");
  if (objects.length > STORE_PAGE_MAX_KEYS) {
    throw new S3Error("MalformedXML", `At most ${STORE_PAGE_MAX_KEYS} objects are wanted`);
  }
  const keys = objects.map((object) => {
    const key = xmlChildText(object, "Key");
    if (key === undefined || key === "") throw new S3Error("MalformedXML", "An object has no key");
    requireKey(key);
    return key;
  });
  const quiet = xmlChildText(document, "Quiet")?.toLowerCase() === "true";
  const deleted: XmlElements[] = [];
  const failed: XmlElements[] = [];
  for (const [index, key] of keys.entries()) {
    try {
      deleteOne(context, request.bucket, key, objects[index]);
      if (!quiet) deleted.push({ Key: key });
    } catch (error) {
      if (!(error instanceof S3Error)) throw error;
      failed.push({ Key: key, Code: error.code, Message: error.message });
    }
  }
  return xmlReply(xmlDocument("DeleteResult", { Deleted: deleted, Error: failed }));
}

/** Conditions of an object in the list are kept to; what there is no support for fails that object. */
function deleteOne({ store }: UploadContext, bucket: string, key: string, object: unknown): void {
  const known = new Set(["Key", "ETag"]);
  const other = Object.keys(object as object).find((name) => !known.has(name));
  if (other !== undefined) {
    throw new S3Error("NotImplemented", `This store has nothing that ${other} could ask for`);
  }
  store.delete(bucket, key, etagPrecondition(xmlChildText(object, "ETag"), "delete"));
}
