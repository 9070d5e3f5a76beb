/** Failures as S3 clients know them: a code, a status, an XML document. */

/** Status of each code that the store answers with. */
const STATUS = {
  AccessDenied: 403,
  AuthorizationHeaderMalformed: 400,
  AuthorizationQueryParametersError: 400,
  BadDigest: 400,
  BucketAlreadyOwnedByYou: 409,
  BucketNotEmpty: 409,
  EntityTooLarge: 400,
  IncompleteBody: 400,
  InternalError: 500,
  InvalidAccessKeyId: 403,
  InvalidArgument: 400,
  InvalidBucketName: 400,
  InvalidDigest: 400,
  InvalidPart: 400,
  InvalidPartOrder: 400,
  InvalidRange: 416,
  InvalidRequest: 400,
  InvalidURI: 400,
  KeyTooLongError: 400,
  MalformedXML: 400,
  MaxMessageLengthExceeded: 400,
  MetadataTooLarge: 400,
  MethodNotAllowed: 405,
  MissingContentLength: 411,
  NoSuchBucket: 404,
  NoSuchKey: 404,
  NoSuchUpload: 404,
  NotImplemented: 501,
  PreconditionFailed: 412,
  RequestTimeTooSkewed: 403,
  SignatureDoesNotMatch: 403,
  SlowDown: 503,
  StorageFull: 507,
  TooManyParts: 400,
  XAmzContentSHA256Mismatch: 400,
} as const;

/** A code of S3's error documents. */
export type S3Code = keyof typeof STATUS;

/** A request that the store refuses or cannot carry out. */
export class S3Error extends Error {
  override readonly name = "S3Error";
  readonly code: S3Code;

  /**
   * @param code row of S3's error table
   * @param message for the client; no secrets, no paths of the host
   */
  constructor(code: S3Code, message: string) {
    super(message);
    this.code = code;
  }

  /** HTTP status of the answer. */
  get status(): number {
    return STATUS[this.code];
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
};

/**
 * @param text any text
 * @returns it for the inside of an XML element; characters that XML cannot hold become U+FFFD
 */
function xmlText(text: string): string {
  return (
    text
      .replace(/[&<>"']/g, (char) => ESCAPES[char] ?? char)
      // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd")
      .replaceAll("\r", "&#13;")
  );
}

/** A nested document: text, a list of same-named elements, or elements; undefined ones are left out. */
export type XmlValue = string | number | boolean | undefined | XmlElements | readonly XmlElements[];

/** Elements in their order. */
export interface XmlElements {
  readonly [name: string]: XmlValue;
}

function render(name: string, value: XmlValue): string {
  if (value === undefined) return "";
  if (Array.isArray(value)) {
    return (value as readonly XmlElements[]).map((item) => render(name, item)).join("");
  }
  const inner =
    typeof value === "object"
      ? Object.entries(value as XmlElements)
          .map(([child, inside]) => render(child, inside))
          .join("")
      : xmlText(String(value));
  return `<${name}>${inner}</${name}>`;
}

const NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/";

/**
 * @param root name of the root element
 * @param content what it holds
 * @returns a whole document in S3's namespace
 */
export function xmlDocument(root: string, content: XmlElements): string {
  const inner = render(root, content).replace(`<${root}>`, `<${root} xmlns="${NAMESPACE}">`);
  return `<?xml version="1.0" encoding="UTF-8"?>\n${inner}`;
}

/**
 * @param error what went wrong
 * @param resource path that was asked for
 * @param requestId id of the answer
 * @returns S3's error document
 */
export function xmlError(error: S3Error, resource: string, requestId: string): string {
  const content = {
    Code: error.code,
    Message: error.message,
    Resource: resource,
    RequestId: requestId,
  };
  return `<?xml version="1.0" encoding="UTF-8"?>\n${render("Error", content)}`;
}
