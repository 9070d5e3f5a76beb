/**
 * Where lambda code comes from, whatever the store is. `lambda/` asks `resolve` at most once per
 * `registry_cache_ms` and name, and `pull`s when the version changed.
 */

/** One immutable state of a lambda's code in the registry. */
export interface RegistryVersion {
  /** Opaque; different bytes have different ids (an ETag, a digest of names, sizes and times). */
  readonly id: string;
}

/** A lambda as `ol lambdas` shows it. */
export interface RegistryEntry {
  readonly name: string;
  readonly version: string;
  readonly sizeBytes: number;
  /** Milliseconds since 1970. */
  readonly modifiedMs: number;
}

/** A store of lambda code. */
export interface Registry {
  /**
   * @param name a valid lambda name
   * @param known the version in use, for a conditional request
   * @returns the current version, or null where the registry has no such lambda
   * @throws {OlError} registry_unavailable, registry_denied, bundle_invalid
   */
  resolve(name: string, known?: RegistryVersion): Promise<RegistryVersion | null>;
  /**
   * Writes the code of that version into an existing, empty directory: regular files and
   * directories only.
   * @returns the version that was really written (the store may have moved on since `resolve`)
   * @throws {OlError} registry_unavailable, registry_denied, bundle_invalid
   */
  pull(name: string, version: RegistryVersion, destDir: string): Promise<RegistryVersion>;
  /** @returns everything that the registry holds, by name */
  list(): Promise<readonly RegistryEntry[]>;
}

/** A version that was uploaded. */
export interface UploadedVersion extends RegistryVersion {
  /** Where a directory that was written by hand, and had the lambda's name, is kept. */
  readonly keptDir?: string;
}

/** How far an upload is. */
export type UploadProgress = (sentBytes: number, totalBytes: number) => void;

/** What the commands `upload` and `remove` need beside reading. */
export interface RegistryWriter {
  /**
   * Makes a bundle the current version of a lambda, whole or not at all.
   * @param name a valid lambda name
   * @param bundlePath the `.tar.gz`, already checked
   * @param onProgress told after each piece
   * @returns the version that it has now
   * @throws {OlError} registry_unavailable, registry_denied
   */
  put(name: string, bundlePath: string, onProgress?: UploadProgress): Promise<UploadedVersion>;
  /**
   * @param name a valid lambda name
   * @returns whether there was such a lambda
   * @throws {OlError} registry_unavailable, registry_denied
   */
  remove(name: string): Promise<boolean>;
}
