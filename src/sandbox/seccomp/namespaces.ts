/** Kinds of namespaces, as clone, unshare and setns name them. */

/** Mounts. */
export const CLONE_NEWNS = 0x00020000;
const CLONE_NEWCGROUP = 0x02000000;
const CLONE_NEWUTS = 0x04000000;
const CLONE_NEWIPC = 0x08000000;
/** Ids and capabilities. */
export const CLONE_NEWUSER = 0x10000000;
/** Processes. */
export const CLONE_NEWPID = 0x20000000;
/** Networks. */
export const CLONE_NEWNET = 0x40000000;

/** What a sandbox unshares at once: `NAMESPACES` in `sandbox.py`. */
export const CLONE_NEW_OWN = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

/** All of them that clone knows; NEWTIME exists in clone3 and unshare only. */
export const CLONE_NEW_ANY = CLONE_NEW_OWN | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
