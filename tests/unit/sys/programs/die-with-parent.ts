/** Program that asks to end with its parent, says who it is, and waits for that. */

import { PR_SET_PDEATHSIG, SIGKILL } from "../../../../src/sys/constants.ts";
import { prctl } from "../../../../src/sys/process.ts";

prctl(PR_SET_PDEATHSIG, SIGKILL);
process.stdout.write(`${process.pid}\n`);
// Nobody may have killed it.
setTimeout(() => process.exit(1), 60_000);
