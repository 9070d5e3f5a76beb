/** Mount calls of the worker and of init. Namespaces are per thread: only synchronous code may use these. */

import { check, openLibc, pathArgument } from "./libc.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  MS_BIND,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  SYS_mount_setattr,
  SYS_move_mount,
  SYS_open_tree,
} from "./constants.ts";

const libc = openLibc({
  mount: { args: ["cstring", "cstring", "cstring", "u64", "ptr"], returns: "i32" },
  umount2: { args: ["cstring", "i32"], returns: "i32" },
});
const tree = openLibc({ syscall: { args: ["i64", "i32", "cstring", "u32"], returns: "i64" } });
const attributes = openLibc({
  syscall: { args: ["i64", "i32", "cstring", "u32", "ptr", "u64"], returns: "i64" },
});
const move = openLibc({
  syscall: { args: ["i64", "i32", "cstring", "i32", "cstring", "u32"], returns: "i64" },
});
const pivot = openLibc({ syscall: { args: ["i64", "cstring", "cstring"], returns: "i64" } });

const SYS_pivot_root = process.arch === "arm64" ? 41 : 155;

/**
 * @param source device, directory or file system name
 * @param target where it appears
 * @param type file system type; empty for binds and remounts
 * @param flags `MS_*`
 * @param data mount options as text
 * @throws {SyscallError} any errno of mount(2)
 */
export function mount(
  source: string,
  target: string,
  type: string,
  flags: number,
  data = "",
): void {
  // SAFETY: strings are copied for the call; `options` outlives it.
  const options = Buffer.from(`${data}\0`);
  check(
    "mount",
    () => `${source}, ${target}, ${type}, ${flags}, ${data}`,
    () => libc.mount(pathArgument(source), pathArgument(target), type, flags, options),
  );
}

/**
 * Binds one directory or file onto another, with everything below it where asked.
 * @param recursiveFlag `MS_REC` or 0
 * @throws {SyscallError} any errno of mount(2)
 */
export function bindMount(source: string, target: string, recursiveFlag = 0): void {
  mount(source, target, "", MS_BIND | recursiveFlag);
}

/**
 * Clones a directory's mount without attaching it anywhere.
 * @param path host directory
 * @returns a descriptor of the detached mount, close-on-exec, owned by the caller
 * @throws {SyscallError} any errno of open_tree(2)
 */
export function openTreeClone(path: string): number {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  return check(
    "open_tree",
    () => path,
    () => tree.syscall(SYS_open_tree, AT_FDCWD, pathArgument(path), flags),
  );
}

// struct mount_attr { u64 attr_set, attr_clr, propagation, userns_fd }, on its own ArrayBuffer: it
// does not move when JavaScriptCore compiles the callers.
const mountAttr = new BigUint64Array(new ArrayBuffer(32));

function setAttributes(fd: number, path: string, flags: number, set: bigint): void {
  mountAttr.fill(0n);
  mountAttr[0] = set;
  check(
    "mount_setattr",
    () => `${path === "" ? "detached mount" : path}, set 0x${set.toString(16)}`,
    () => attributes.syscall(SYS_mount_setattr, fd, path, flags, mountAttr, mountAttr.byteLength),
  );
}

/**
 * @param fd a detached mount from `openTreeClone`
 * @param set `MOUNT_ATTR_*`
 * @throws {SyscallError} any errno of mount_setattr(2)
 */
export function setDetachedMountAttributes(fd: number, set: bigint): void {
  setAttributes(fd, "", AT_EMPTY_PATH, set);
}

/**
 * @param path a mount point; every mount below it is changed as well
 * @param set `MOUNT_ATTR_*`
 * @throws {SyscallError} any errno of mount_setattr(2)
 */
export function setMountTreeAttributes(path: string, set: bigint): void {
  setAttributes(AT_FDCWD, pathArgument(path), AT_RECURSIVE, set);
}

/**
 * Makes a directory the root of this mount namespace and drops the old root.
 * @param root a mount point
 * @throws {SyscallError} any errno of pivot_root(2) or umount2(2)
 * @see pivot_root(2), the section on pivot_root(".", ".")
 */
export function pivotInto(root: string): void {
  process.chdir(root);
  check(
    "pivot_root",
    () => root,
    () => pivot.syscall(SYS_pivot_root, ".", "."),
  );
  const MNT_DETACH = 2;
  check(
    "umount2",
    () => "the old root",
    () => libc.umount2(".", MNT_DETACH),
  );
  process.chdir("/");
}

/**
 * Asks for a mount to be attached that is none, which changes nothing: the errno tells whether the
 * call could be made.
 * @throws {SyscallError} always; EBADF where it could
 */
export function moveNoMount(): void {
  const MOVE_MOUNT_F_EMPTY_PATH = 4;
  check(
    "move_mount",
    () => "no mount",
    () => move.syscall(SYS_move_mount, -1, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH),
  );
}

/**
 * Asks for a root that is nowhere, which changes nothing: the errno tells whether the call could be made.
 * @throws {SyscallError} always; ENOENT where it could
 */
export function pivotNowhere(): void {
  check(
    "pivot_root",
    () => "nowhere",
    () => pivot.syscall(SYS_pivot_root, "", ""),
  );
}
