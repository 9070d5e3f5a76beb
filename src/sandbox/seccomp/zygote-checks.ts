/** The rows for an import-cache zygote that depend on an argument; see `checks.ts`. */

import {
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEW_OWN,
} from "./namespaces.ts";
import { ALLOW, EPERM } from "./policy.ts";
import { PRCTL_IN_ZYGOTE } from "./prctl.ts";
import type { CheckedGroup } from "./checks.ts";

const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MS_BIND = 4096;

/** Calls that a zygote of the import cache needs to enclose children: by the arguments that it makes them with. */
export const IN_ZYGOTE_CHECKED: readonly CheckedGroup[] = [
  {
    reason: "namespaces of a child, of the network that it is given, and of a zygote below",
    verdict: {
      kind: "value",
      arg: 0,
      cases: [
        {
          values: [
            CLONE_NEWPID,
            CLONE_NEWNET,
            CLONE_NEW_OWN,
            CLONE_NEWUSER | CLONE_NEWNS,
            CLONE_NEWUSER | CLONE_NEW_OWN,
            CLONE_NEWUSER | CLONE_NEW_OWN | CLONE_NEWNET,
          ],
          verdict: ALLOW,
        },
      ],
      otherwise: EPERM,
    },
    calls: ["unshare"],
  },
  {
    reason: "back into its own pid namespace after a fork; into the network that a child is given",
    verdict: {
      kind: "value",
      arg: 1,
      cases: [{ values: [CLONE_NEWPID, CLONE_NEWNET], verdict: ALLOW }],
      otherwise: EPERM,
    },
    calls: ["setns"],
  },
  {
    reason: "/proc, scratch space and its second names: nothing that is set-uid or a device",
    verdict: {
      kind: "value",
      arg: 3,
      cases: [
        {
          values: [MS_NOSUID | MS_NODEV | MS_NOEXEC, MS_NOSUID | MS_NODEV, MS_BIND],
          verdict: ALLOW,
        },
      ],
      otherwise: EPERM,
    },
    calls: ["mount"],
  },
  {
    reason: "filters, bounding and ambient sets of a child",
    verdict: PRCTL_IN_ZYGOTE,
    calls: ["prctl"],
  },
];
