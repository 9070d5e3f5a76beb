/**
 * Program whose own executable, argv[2], is removed while it runs, and which then starts itself
 * again; the second one, told by argv[3], says who it is.
 */

import { existsSync, rmSync } from "node:fs";

const [, , executable = "", stage] = process.argv;

if (stage === "again") {
  process.stdout.write(JSON.stringify({ argv0: process.argv0, exists: existsSync(executable) }));
} else {
  rmSync(executable);
  const command = ["/proc/self/exe", Bun.main, executable, "again"];
  const child = Bun.spawn(command, { argv0: "ol-again", stdio: ["ignore", "inherit", "inherit"] });
  process.exitCode = await child.exited;
}
