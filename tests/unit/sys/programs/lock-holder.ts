/** Program that locks the file argv[2], says so, and holds it until it is killed. */

import { openSync } from "node:fs";

import { tryLock } from "../../../../src/sys/flock.ts";

const fd = openSync(process.argv[2] ?? "", "a");
process.stdout.write(tryLock(fd) ? "held\n" : "refused\n");
// Nobody may have killed it.
setTimeout(() => process.exit(1), 60_000);
