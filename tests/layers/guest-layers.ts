/** Layers around what a sandbox inherits and what it says to the worker, and around what installs packages. */

import { edit, type Layer, layer, type NamedTest } from "./layer.ts";

const ZYGOTE = "src/guest/zygote.py";
const KERNEL = "src/guest/kernel.py";
const HANDLER = "src/guest/handler.py";
const COMMAND = "src/guest/command.py";
const CONNECTION = "src/guest/guest-connection.ts";

const A_HANDLER: NamedTest = {
  file: "tests/escape/posture.test.ts",
  name: "posture with network none a handler",
};
const guestUnit = (file: string, name: string): NamedTest => ({
  file: `tests/unit/guest/${file}.test.ts`,
  name,
});
const installer = (name: string): NamedTest => ({
  file: "tests/escape/installer-attempts.test.ts",
  name,
});
const FILTERED_INSTALLER = installer("the filters refuse an installer what they refuse a handler");

const INHERITED: readonly Layer[] = [
  layer(
    "descriptors of the zygote closed in children",
    A_HANDLER,
    ': "net",',
    edit(ZYGOTE, "    os.closerange(free, OPEN_MAX)\n", ""),
  ),
  layer(
    "ring of pinned pages closed in children",
    A_HANDLER,
    '+     "900": "anon_inode:[io_uring]",',
    // Among its low numbers it would be replaced before anything is closed.
    edit(KERNEL, "    return ring\n", "    return os.dup2(ring, 900, inheritable=False)\n"),
    edit(ZYGOTE, "os.closerange(free, OPEN_MAX)", "os.closerange(free, 900)"),
  ),
  layer(
    "environment of the guest's own",
    A_HANDLER,
    '+     "WORKER=',
    edit(
      "src/sandbox/sock/init.ts",
      '"PYTHONDONTWRITEBYTECODE=1"],\n',
      '"PYTHONDONTWRITEBYTECODE=1", `WORKER=${request.workerPid}`],\n',
    ),
  ),
  layer(
    "os.environ cleared after a zygote",
    guestUnit(
      "zygote-parts",
      "warming up rehearse(), rehearse_again() and warm_up() leave no trace but an empty environment",
    ),
    '"LEFT": "over"',
    edit(HANDLER, "        os.environ.clear()\n", "        pass\n"),
  ),
  layer(
    "compiled code sent before the first event",
    {
      file: "tests/escape/frames.test.ts",
      name: "a lambda that sends on its own socket: bytecode that it offers in its first call is used for nobody: its code was sent before",
    },
    '+   ""evil"",',
    edit(HANDLER, "if fresh or not reader.pending():", "if not reader.pending():"),
  ),
  layer(
    "READY once and no more",
    guestUnit(
      "frames",
      "a guest that is ready may not say READY, with a call in flight or without",
    ),
    '+   "ready": 2',
    edit(
      CONNECTION,
      'if (this.#phase === "ready") this.#answered(frame);',
      'if (this.#phase === "ready" && frame.type !== FrameType.READY) this.#answered(frame);',
    ),
  ),
  layer(
    "no byte that nobody asked for",
    guestUnit(
      "frames",
      "a guest that is ready may send nothing that was not asked for, not even the start of it",
    ),
    '-   "protocol_violation",',
    edit(CONNECTION, "if (!isAsked && this.#reader.heldBytes > 0) throw outOfTurn();", ""),
  ),
  layer(
    "bound of what a guest sends",
    guestUnit(
      "frame-reader",
      "push() waits for a payload of the largest size and refuses one byte more unread",
    ),
    'Received: "none"',
    edit("src/guest/wire.ts", "if (length > payloadMax) throw", "if (length < 0) throw"),
  ),
  layer(
    "random numbers of a sandbox's own",
    {
      file: "tests/escape/neighbours.test.ts",
      name: "neighbours: random state: no two sandboxes draw the same",
    },
    "Received: 1",
    // What Python does in every fork, undone.
    edit(
      HANDLER,
      '    numpy_random = sys.modules.get("numpy.random")\n',
      '    __import__("random").seed(7)\n    numpy_random = sys.modules.get("numpy.random")\n',
    ),
  ),
  layer(
    "random numbers of numpy's own",
    guestUnit(
      "zygote-parts",
      "warming up warm_up() seeds numpy anew, where its zygote has imported it",
    ),
    "-   [],",
    edit(HANDLER, "        numpy_random.seed()", "        pass"),
  ),
];

const INSTALLER: readonly Layer[] = [
  layer(
    "early filter of an installer",
    FILTERED_INSTALLER,
    '+   "keyctl": "',
    edit(COMMAND, '    filters["early"].install()\n', ""),
  ),
  layer(
    "late filter of an installer, and its last capability",
    FILTERED_INSTALLER,
    '+   "capset": "EFAULT"',
    edit(COMMAND, '    sandbox.close_off(filters["late"])\n', ""),
  ),
  layer(
    "descriptors of an installer closed, by hand and by exec",
    installer("an installer's program gets its three streams and no other descriptor"),
    "+   3,",
    edit(COMMAND, "        os.closerange(3, 4096)\n", ""),
    edit(ZYGOTE, "os.dup2(fd, 3 + index, inheritable=False)", "os.dup2(fd, 3 + index)"),
  ),
  layer(
    "nosuid and nodev directories of an installer",
    {
      file: "tests/escape/posture-others.test.ts",
      name: "an installer is as closed as a handler, but for the network and its directories",
    },
    "/run/install ro,nosuid,nodev",
    edit(
      "src/sandbox/sock/command-runner.ts",
      "mount.readOnly ? NO_SETUID | MOUNT_ATTR_RDONLY : NO_SETUID;",
      "mount.readOnly ? MOUNT_ATTR_RDONLY : 0n & NO_SETUID;",
    ),
  ),
];

/** All of them. */
export const GUEST_LAYERS: readonly Layer[] = [...INHERITED, ...INSTALLER];
