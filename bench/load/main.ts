/** The load generator's process: one plan per line on stdin, one result per line on stdout. */

import { generate } from "./generator.ts";
import type { LoadPlan } from "./plan.ts";

for await (const line of console) {
  // The end of the input comes as an empty line.
  if (line === "") break;
  const reply = await generate(JSON.parse(line) as LoadPlan).then(
    (result) => ({ result }),
    (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }),
  );
  // A write through Bun's file sink is complete whatever its size; process.stdout may be cut short.
  const writer = Bun.stdout.writer();
  await writer.write(`${JSON.stringify(reply)}\n`);
  await writer.flush();
}
