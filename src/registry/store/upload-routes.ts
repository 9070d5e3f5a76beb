/** Operations of multipart uploads. */

import type { PayloadCheck } from "./auth.ts";
import { checkedBody, xmlBody, xmlChildren, xmlChildText } from "./body.ts";
import { putPrecondition } from "./conditions.ts";
import { objectHeaders, withStaged } from "./object-routes.ts";
import type { ObjectStore } from "./object-store.ts";
import { type Reply, xmlReply } from "./reply.ts";
import { queryValue, type S3Request } from "./request.ts";
import { S3Error, xmlDocument } from "./s3-error.ts";
import type { Upload, Uploads } from "./uploads.ts";

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
 * @returns the answer
 * @throws {S3Error} NoSuchUpload, InvalidPart, MalformedXML
 */
export async function completeUpload(
  context: UploadContext,
  request: S3Request,
  check: PayloadCheck,
): Promise<Reply> {
  const upload = theUpload(context, request);
  const { bucket, key } = request;
  const wanted = xmlChildren(await xmlBody(request, check), "Part").map((part) => ({
    number: Number(xmlChildText(part, "PartNumber")),
    etag: (xmlChildText(part, "ETag") ?? "").replaceAll('"', ""),
  }));
  const meta = await withStaged(context.store, async (staged) => {
    const etag = await context.uploads.assemble(upload, wanted, staged);
    return context.store.commit(staged, {
      bucket,
      key,
      etag,
      headers: upload.headers,
      modifiedMs: context.nowMs,
      precondition: putPrecondition(request),
    });
  });
  context.uploads.end(upload);
  return xmlReply(
    xmlDocument("CompleteMultipartUploadResult", {
      Location: `/${bucket}/${key}`,
      Bucket: bucket,
      Key: key,
      ETag: `"${meta.etag}"`,
    }),
  );
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
