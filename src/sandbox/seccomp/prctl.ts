/** What prctl may be asked for: by a handler, while one waits in stock, and by an import-cache zygote. */

import { ALLOW, EPERM, type Verdict } from "./policy.ts";

const PRCTL_ALLOWED = [
  1, // PR_SET_PDEATHSIG
  2, // PR_GET_PDEATHSIG
  3, // PR_GET_DUMPABLE
  4, // PR_SET_DUMPABLE
  7, // PR_GET_KEEPCAPS
  15, // PR_SET_NAME
  16, // PR_GET_NAME
  21, // PR_GET_SECCOMP
  23, // PR_CAPBSET_READ
  27, // PR_GET_SECUREBITS
  29, // PR_SET_TIMERSLACK
  30, // PR_GET_TIMERSLACK
  36, // PR_SET_CHILD_SUBREAPER
  37, // PR_GET_CHILD_SUBREAPER
  38, // PR_SET_NO_NEW_PRIVS
  39, // PR_GET_NO_NEW_PRIVS
  40, // PR_GET_TID_ADDRESS
  41, // PR_SET_THP_DISABLE
  42, // PR_GET_THP_DISABLE
  51, // PR_SVE_GET_VL
  52, // PR_GET_SPECULATION_CTRL
  56, // PR_GET_TAGGED_ADDR_CTRL
  65, // PR_SET_MDWE
  66, // PR_GET_MDWE
  0x41555856, // PR_GET_AUXV
];

/** What a process in stock still has to do to itself: PR_SET_SECCOMP, to install the last filter. */
const PRCTL_SETUP = [22];

/** What the second filter adds to it. */
export const PRCTL_ON_ASSIGNMENT: Verdict = {
  kind: "value",
  arg: 0,
  cases: [{ values: PRCTL_SETUP, verdict: EPERM }],
  otherwise: ALLOW,
};

const allowing = (values: readonly number[]): Verdict => ({
  kind: "value",
  arg: 0,
  cases: [{ values, verdict: ALLOW }],
  otherwise: EPERM,
});

/** prctl of a handler. */
export const PRCTL: Verdict = allowing(PRCTL_ALLOWED);

/** prctl while a process waits in stock. */
export const PRCTL_UNTIL_ASSIGNED: Verdict = allowing([...PRCTL_ALLOWED, ...PRCTL_SETUP]);

/** prctl of an import-cache zygote: also PR_CAPBSET_DROP and PR_CAP_AMBIENT, for its children. */
export const PRCTL_IN_ZYGOTE: Verdict = allowing([...PRCTL_ALLOWED, ...PRCTL_SETUP, 24, 47]);
