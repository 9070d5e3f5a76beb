/**
 * The executable's entry: looks at the arguments and loads what they need, nothing else. The hidden `__init` must
 * stay alone in its process, so it is told apart here, before any other module of ours is loaded.
 */

const [, , command, argument] = process.argv;

if (command === "__init") {
  // oxlint-disable-next-line no-restricted-imports -- a static import is what the rule is about
  const { runInit } = await import("./sandbox/sock/init.ts");
  runInit(argument ?? "");
} else {
  // oxlint-disable-next-line no-restricted-imports -- a static import is what the rule is about
  const { runCli } = await import("./cli/run.ts");
  process.exit(await runCli(process.argv0, process.argv.slice(2)));
}
