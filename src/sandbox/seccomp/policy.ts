/** The vocabulary of `table.ts`: what can be said about a system call. Knows nothing of BPF. */

/** What becomes of a call. */
export type Action =
  | { readonly kind: "allow" }
  /** It is not run; the caller sees this error. */
  | { readonly kind: "errno"; readonly errno: number }
  /** The whole process dies by SIGSYS. */
  | { readonly kind: "kill" };

/** What is decided by one argument. */
export type Check =
  /** By the value of 32 bits of an argument, after masking. */
  | {
      readonly kind: "value";
      /** Position of the argument, 0 to 5. */
      readonly arg: number;
      /** Which of its bits, where it is as wide as a pointer; default the low 32. */
      readonly half?: "high";
      /** Bits that count; default all 32. */
      readonly mask?: number;
      readonly cases: readonly { readonly values: readonly number[]; readonly verdict: Verdict }[];
      readonly otherwise: Verdict;
    }
  /** By whether any of some bits is set in an argument's low 32 bits. */
  | {
      readonly kind: "bits";
      readonly arg: number;
      readonly mask: number;
      readonly set: Verdict;
      readonly clear: Verdict;
    };

/** An action, or a question whose answer is one. */
export type Verdict = Action | Check;

/** Lets the call through. */
export const ALLOW: Action = { kind: "allow" };

/** Operation not permitted: the answer to whatever a sandbox must not do. */
export const EPERM: Action = { kind: "errno", errno: 1 };

/** Inappropriate ioctl: what a file says that does not know a request. */
export const ENOTTY: Action = { kind: "errno", errno: 25 };

/** No such call: makes programs fall back to an older one. */
export const ENOSYS: Action = { kind: "errno", errno: 38 };

/** The end of the process. */
export const KILL: Action = { kind: "kill" };

/**
 * @param verdict any
 * @returns whether it is final
 */
export function isAction(verdict: Verdict): verdict is Action {
  return verdict.kind === "allow" || verdict.kind === "errno" || verdict.kind === "kill";
}

/**
 * @param a one action
 * @param b another
 * @returns whether both mean the same
 */
export function sameAction(a: Action, b: Action): boolean {
  return a.kind === b.kind && (a.kind !== "errno" || (b.kind === "errno" && a.errno === b.errno));
}
