/** Operations of multipart uploads. */

import type { PayloadCheck } from "./auth.ts";
import { CHECKSUM_HEADERS, CHECKSUM_PREFIX } from "./checksum.ts";
import { checkedBody, xmlBody, xmlChildren, xmlChildText } from "./body.ts";
import { putPrecondition } from "./conditions.ts";
import { objectHeaders, withStaged } from "./object-routes.ts";
import type { ObjectStore } from "./object-store.ts";
import { type Reply, xmlReply } from "./reply.ts";
import { queryValue, type S3Request } from "./request.ts";
import { S3Error, xmlDocument } from "./s3-error.ts";
import { claimsOfPart, UploadChecksums } from "./upload-checksums.ts";
import type { Upload, Uploads, WantedPart } from "./uploads.ts";

/** What the operations work on. */
export interface UploadContext {
  readonly store: ObjectStore;
  readonly uploads: Uploads;
  readonly nowMs: number;
}

function theUpload(context: UploadContext, request: S3Request): Upload {
  const id = queryValue(request, "uploadId") ?? "";
  return context.uploads.get(id, request.bucket, request.key);
}

/**
 * @param context store and uploads
 * @param request POST `?uploads`
 * @returns the answer with the upload's id
 * @throws {S3Error} NoSuchBucket, SlowDown
 */
export function createUpload(context: UploadContext, request: S3Request): Reply {
  const { bucket, key } = request;
  context.store.requireBucket(bucket);
  const headers = objectHeaders(request);
  const id = context.uploads.begin({ bucket, key, headers, createdMs: context.nowMs });
  return xmlReply(
    xmlDocument("InitiateMultipartUploadResult", { Bucket: bucket, Key: key, UploadId: id }),
  );
}

/**
 * @param context store and uploads
 * @param request PUT `?partNumber&uploadId`
 * @param check of `authenticate`
 * @returns the answer with the part's ETag
 * @throws {S3Error} NoSuchUpload and those of `checkedBody`
 */
export async function uploadPart(
  context: UploadContext,
  request: S3Request,
  check: PayloadCheck,
): Promise<Reply> {
  const upload = theUpload(context, request);
  const number = queryValue(request, "partNumber") ?? "";
  if (!/^\d{1,5}$/.test(number)) throw new S3Error("InvalidArgument", "partNumber is not a number");
  const etag = await withStaged(context.store, async (staged) => {
    for await (const chunk of checkedBody(request, check)) await staged.write(chunk);
    return context.uploads.addPart(upload, Number(number), staged);
  });
  return { status: 200, headers: { etag: `"${etag}"` } };
}

/**
 * @param context store and uploads
 * @param request POST `?uploadId` with the list of parts
 * @param check of `authenticate`
 * @returns the answer; the same again where the request is repeated, as clients do that lost it
 * @throws {S3Error} NoSuchUpload, InvalidPart, BadDigest, MalformedXML
 */
export async function completeUpload(
  context: UploadContext,
  request: S3Request,
  check: PayloadCheck,
): Promise<Reply> {
  const { uploads } = context;
  const { bucket, key } = request;
  const id = queryValue(request, "uploadId") ?? "";
  if (uploads.tryFinished(id, bucket, key) === null) uploads.get(id, bucket, key);
  // Checksums in the headers are those of the object.
  const wanted = wantedParts(await xmlBody(request, check, ["content-md5"]));
  const etag =
    uploads.tryFinished(id, bucket, key) ??
    (await uploads.once(uploads.get(id, bucket, key), (upload) =>
      joinParts(context, request, upload, wanted),
    ));
  return xmlReply(
    xmlDocument("CompleteMultipartUploadResult", {
      Location: `/${bucket}/${key}`,
      Bucket: bucket,
      Key: key,
      ETag: `"${etag}"`,
    }),
  );
}

function wantedParts(document: unknown): WantedPart[] {
  return xmlChildren(document, "Part").map((part) => ({
    number: Number(xmlChildText(part, "PartNumber")),
    etag: (xmlChildText(part, "ETag") ?? "").replaceAll('"', ""),
    claims: claimsOfPart((element) => xmlChildText(part, element)),
  }));
}

/** @returns the ETag of the object that the parts have become */
async function joinParts(
  { store, uploads, nowMs }: UploadContext,
  request: S3Request,
  upload: Upload,
  wanted: readonly WantedPart[],
): Promise<string> {
  const { bucket, key, headers } = upload;
  const claims = CHECKSUM_HEADERS.filter((name) => name.startsWith(CHECKSUM_PREFIX)).flatMap(
    (name) => {
      const value = request.headers.get(name);
      return value === undefined ? [] : [[name, value] as const];
    },
  );
  const checksums = new UploadChecksums(
    new Map(claims),
    request.headers.get("x-amz-checksum-type"),
  );
  const size = request.headers.get("x-amz-mp-object-size");
  return withStaged(store, async (staged) => {
    const etag = await uploads.assemble(upload, wanted, staged, checksums);
    if (size !== undefined && Number(size) !== staged.sizeBytes) {
      throw new S3Error("InvalidRequest", `The parts have ${staged.sizeBytes} bytes together`);
    }
    const precondition = putPrecondition(request);
    await store.commit(staged, { bucket, key, etag, headers, modifiedMs: nowMs, precondition });
    uploads.finish(upload, etag);
    return etag;
  });
}

/**
 * @param context store and uploads
 * @param request DELETE `?uploadId`
 * @returns the answer
 * @throws {S3Error} NoSuchUpload
 */
export function abortUpload(context: UploadContext, request: S3Request): Reply {
  context.uploads.end(theUpload(context, request));
  return { status: 204 };
}

/**
 * @param context store and uploads
 * @param request GET `?uploadId`
 * @returns the parts that have arrived, on one page
 * @throws {S3Error} NoSuchUpload
 */
export function listParts(context: UploadContext, request: S3Request): Reply {
  const upload = theUpload(context, request);
  return xmlReply(
    xmlDocument("ListPartsResult", {
      Bucket: upload.bucket,
      Key: upload.key,
      UploadId: upload.id,
      IsTruncated: false,
      Part: context.uploads.parts(upload).map((part) => ({
        PartNumber: part.number,
        LastModified: new Date(upload.createdMs).toISOString(),
        ETag: `"${part.etag}"`,
        Size: part.size,
      })),
    }),
  );
}

/**
 * @param context store and uploads
 * @param request GET `?uploads`
 * @returns the uploads under way, on one page
 * @throws {S3Error} NoSuchBucket
 */
export function listUploads(context: UploadContext, request: S3Request): Reply {
  context.store.requireBucket(request.bucket);
  const prefix = queryValue(request, "prefix") ?? "";
  return xmlReply(
    xmlDocument("ListMultipartUploadsResult", {
      Bucket: request.bucket,
      Prefix: prefix,
      IsTruncated: false,
      Upload: context.uploads.list(request.bucket, prefix).map((upload) => ({
        Key: upload.key,
        UploadId: upload.id,
        Initiated: new Date(upload.createdMs).toISOString(),
      })),
    }),
  );
}
