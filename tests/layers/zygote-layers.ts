/** Layers around a zygote of the import cache, and around the root zygote. */

import type { Layer, NamedTest } from "./layer.ts";

const ZYGOTE = "src/guest/zygote.py";
const ENTRY = "src/guest/entry.py";

const posture = (name: string): NamedTest => ({
  file: "tests/escape/zygote-posture.test.ts",
  name,
});
const BOUND = posture(
  "an import-cache zygote at depth 1 is bound by a filter, may gain nothing, and has an id that nobody else has",
);
const ROOT_OF_ITS_OWN = posture(
  "an import-cache zygote at depth 1 is root of its own user namespace only, which maps no id of its ancestors",
);
const IN_PLACE = posture(
  "a package that is imported in a zygote runs with the filter and the limits in place",
);
const DIES: NamedTest = {
  file: "tests/fault/worker-death.test.ts",
  name: "a zygote that is stopped, and so hears of nothing, dies with a worker that is killed",
};

const INSTALL = '        self.filters["zygote"].install()\n';
const IMPORT = '        import_ahead.import_all(request["imports"])\n';
const OWN_DEATH = "    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)\n";

/** All of them. */
export const ZYGOTE_LAYERS: readonly Layer[] = [
  {
    name: "filter of a zygote",
    test: BOUND,
    says: '+   "seccomp": "0"',
    edits: [{ file: ZYGOTE, text: INSTALL, instead: "" }],
  },
  {
    name: "filter of a zygote, before the first import",
    test: IN_PLACE,
    says: '+       "0",',
    edits: [
      { file: ZYGOTE, text: INSTALL, instead: "" },
      { file: ZYGOTE, text: IMPORT, instead: `${IMPORT}${INSTALL}` },
    ],
  },
  {
    name: "no_new_privs of a zygote",
    test: BOUND,
    says: '+   "noNewPrivileges": "0"',
    edits: [
      { file: ZYGOTE, text: "        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)\n", instead: "" },
    ],
  },
  {
    name: "locked memory of a zygote given up before the first import",
    test: IN_PLACE,
    says: "-     65536,",
    edits: [{ file: ZYGOTE, text: "        hot_pages.give_up_locking()\n", instead: "" }],
  },
  {
    name: "user namespace of a zygote",
    test: ROOT_OF_ITS_OWN,
    // The filter of the first one keeps a second one from coming about like that.
    says: "unshare: Operation not permitted",
    edits: [
      {
        file: ZYGOTE,
        text: "kernel.unshare(kernel.CLONE_NEWUSER | sandbox.NAMESPACES | network)",
        instead: "kernel.unshare(sandbox.NAMESPACES | network)",
      },
      {
        file: ZYGOTE,
        text: 'entry.write_id_maps(pid, request["uid"], self.taken_ids, request["ids"])',
        instead: "pass",
      },
    ],
  },
  {
    name: "network namespace of a zygote",
    test: ROOT_OF_ITS_OWN,
    says: '-   "net",',
    edits: [
      {
        file: ZYGOTE,
        text: 'network = kernel.CLONE_NEWNET if request["privateNetwork"] else 0',
        instead: "network = 0",
      },
    ],
  },
  {
    name: "cgroup of a zygote's own",
    test: posture("an import-cache zygote at depth 1 is in a cgroup of its own"),
    says: "until its cgroup holds zygote",
    edits: [{ file: ZYGOTE, text: "            sandbox.join_cgroups(fds[2:])\n", instead: "" }],
  },
  {
    name: "id of a zygote's own",
    test: BOUND,
    says: "Expected: > ",
    edits: [{ file: ENTRY, text: "extents = [(0, own, 1)]", instead: "extents = [(0, 0, 1)]" }],
  },
  {
    name: "ids of ancestors are forgotten",
    test: {
      file: "tests/unit/guest/zygote-parts.test.ts",
      name: "write_id_maps() maps every id to itself but for the own and those of ancestors",
    },
    says: "Property failed",
    edits: [{ file: ENTRY, text: "sorted(set(taken + [own]))", instead: "sorted({own})" }],
  },
  {
    name: "cgroups of a zygote's children go to nobody else",
    test: {
      file: "tests/fault/zygote-cgroups.test.ts",
      name: "a cgroup goes from one child of a zygote to another, and to nobody else's",
    },
    says: "expect(received).toEqual(expected)",
    edits: [
      {
        file: "src/sandbox/sock/guest-process.ts",
        text: "again: this.#parts.shelf ?? true,",
        instead: "again: true,",
      },
    ],
  },
  {
    name: "a zygote's waiting process dies with the worker",
    test: DIES,
    says: "until everything in the worker died with it",
    edits: [
      {
        file: ENTRY,
        text: `${OWN_DEATH}    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)\n`,
        instead: "    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)\n",
      },
    ],
  },
  {
    name: "a zygote dies with its waiting process",
    test: DIES,
    says: "until everything in the worker died with it",
    edits: [
      {
        file: ENTRY,
        text: `    if is_waited_for:\n    ${OWN_DEATH}`,
        instead: "",
      },
    ],
  },
];
