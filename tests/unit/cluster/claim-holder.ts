/** Program for the tests of claims: takes argv[2], says so, and holds it until it is killed. */

import { OlError } from "../../../src/common/errors.ts";
import { claimWorkerDir } from "../../../src/cluster/claim.ts";

try {
  claimWorkerDir(process.argv[2] ?? "");
  // The claim must hold although nobody keeps it.
  Bun.gc(true);
  process.stdout.write("held\n");
  setInterval(() => undefined, 60_000);
} catch (error) {
  process.stdout.write(`${error instanceof OlError ? error.code : String(error)}\n`);
}
