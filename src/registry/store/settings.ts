/** `config/registry.json`: what the background process of the store is told; mode 0600, for its keys. */

import { OlError } from "../../common/errors.ts";
import type { Credentials } from "./auth.ts";

/** Name of the file in a cluster's `config` directory. */
export const STORE_SETTINGS_FILE = "registry.json";

/** Directory of the data below a cluster's `registry`; "@" is in no lambda's name. */
export const STORE_DATA_DIR = "@s3";

/** Path that answers without a signature, so that others can see that the store is up. */
export const HEALTH_PATH = "/_status";

/** What a store process needs to know. */
export interface StoreSettings extends Credentials {
  readonly bind: string;
  readonly port: number;
  /** Absolute path of the data. */
  readonly dir: string;
  readonly bucket: string;
}

const KEY = /^[\x21-\x7e]{1,256}$/;

/**
 * @param text an access or secret key
 * @returns whether it can be one: 1 to 256 printable characters without spaces
 */
export function isStoreKey(text: string): boolean {
  return KEY.test(text);
}

/**
 * @param json decoded content of the file
 * @param origin what a message calls it
 * @returns the settings
 * @throws {OlError} config_invalid
 */
export function parseStoreSettings(json: unknown, origin: string): StoreSettings {
  const file = (typeof json === "object" && json !== null ? json : {}) as Record<string, unknown>;
  const text = (key: string): string => {
    const value = file[key];
    if (typeof value === "string" && value !== "") return value;
    throw new OlError("config_invalid", `Cannot use ${origin}: "${key}" is not a text`);
  };
  const port = file["port"];
  if (typeof port !== "number" || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new OlError("config_invalid", `Cannot use ${origin}: "port" is not a port`);
  }
  const settings: StoreSettings = {
    bind: text("bind"),
    port,
    dir: text("dir"),
    bucket: text("bucket"),
    accessKey: text("accessKey"),
    secretKey: text("secretKey"),
  };
  if (isStoreKey(settings.accessKey) && isStoreKey(settings.secretKey)) return settings;
  throw new OlError("config_invalid", `Cannot use ${origin}: a key has characters that none has`);
}
