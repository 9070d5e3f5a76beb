/** The SOCK engine against the contract: sandboxes from the root zygote, and from the import cache's. */

import { describeEngine } from "../engine-contract.ts";
import { startSockBench } from "./sock-bench.ts";

const cannotRun = process.getuid?.() !== 0;

describeEngine("sock, fresh", () => startSockBench({ base: "host" }), cannotRun);
describeEngine(
  "sock, from a zygote",
  () => startSockBench({ base: "host", fromZygote: true }),
  cannotRun,
);
