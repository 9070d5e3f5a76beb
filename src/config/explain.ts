/** Turns what TypeBox found wrong with a configuration into sentences: key, value, what is allowed. */

import { tryNearest } from "./nearest.ts";

/** The JSON-schema keywords that `schema.ts` uses, as this file reads them. */
export interface SchemaNode {
  readonly type?: string;
  readonly const?: unknown;
  readonly anyOf?: readonly SchemaNode[];
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly multipleOf?: number;
  readonly default?: unknown;
  readonly description?: string;
  readonly allowed?: string;
  readonly secret?: boolean;
}

/** One finding, as TypeBox's compiler reports it. */
export interface SchemaFinding {
  /** TypeBox's number for the kind of finding. */
  readonly type: number;
  /** JSON pointer to the value. */
  readonly path: string;
  readonly value: unknown;
  readonly schema: SchemaNode;
}

/**
 * TypeBox's number for "Unexpected property", reported with the schema of the object that the key
 * stands in. Elysia does not pass on the enum's name; a unit test notices when the number changes.
 */
const UNEXPECTED_PROPERTY = 42;

/** Longest value that is repeated in a message, in characters. */
const VALUE_SHOWN_MAX_CHARS = 60;

/**
 * @param pointer JSON pointer such as `/limits/mem_mb`
 * @returns the key as a reader writes it: `limits.mem_mb`
 */
function keyOfPointer(pointer: string): string {
  const parts = pointer.split("/").slice(1);
  return parts.map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~")).join(".");
}

/**
 * @param value anything that JSON can hold, and numbers that it cannot
 * @returns it as short text for a message
 */
function showValue(value: unknown): string {
  const shown = typeof value === "number" ? String(value) : (JSON.stringify(value) ?? "undefined");
  return shown.length > VALUE_SHOWN_MAX_CHARS ? `${shown.slice(0, VALUE_SHOWN_MAX_CHARS)}…` : shown;
}

/**
 * @param node schema of one value
 * @returns what it allows, as words that follow "allowed is"
 */
export function describeAllowed(node: SchemaNode): string {
  if (node.allowed !== undefined) return node.allowed;
  if (node.anyOf !== undefined) {
    return node.anyOf.map((option) => showValue(option.const)).join(" or ");
  }
  if (node.type === "number") {
    const kind = node.multipleOf === 1 ? "a whole number" : "a number";
    return `${kind} from ${node.minimum} to ${node.maximum}`;
  }
  if (node.type === "boolean") return "true or false";
  if (node.type === "object") return "a JSON object";
  return node.type === "array" ? "a list" : "a string";
}

function explainUnknown(key: string, parent: SchemaNode): string {
  const known = Object.keys(parent.properties ?? {});
  if (known.length === 0) {
    return `${showValue(key)} cannot be its name, allowed are letters, digits and "_"`;
  }
  const last = key.split(".").at(-1) ?? key;
  const nearest = tryNearest(last, known);
  const prefix = key.slice(0, key.length - last.length);
  return nearest === null
    ? `${showValue(key)} is no key of it, known are ${known.join(", ")}`
    : `${showValue(key)} is no key of it, did you mean "${prefix}${nearest}"`;
}

/**
 * @param finding what TypeBox reported
 * @returns the words after "Cannot use <file>: "
 */
export function explainFinding(finding: SchemaFinding): string {
  const key = keyOfPointer(finding.path);
  if (key === "") return `it holds ${showValue(finding.value)}, allowed is a JSON object`;
  const { schema } = finding;
  if (finding.type === UNEXPECTED_PROPERTY) return explainUnknown(key, schema);
  const value = schema.secret === true ? "(hidden)" : showValue(finding.value);
  return `"${key}" is ${value}, allowed is ${describeAllowed(schema)}`;
}
