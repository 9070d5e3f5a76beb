/** Program that runs another program of ours, argv[2], and waits until it is killed. */

const [, , program = "", ...args] = process.argv;
Bun.spawn([process.execPath, program, ...args], { stdio: ["ignore", "inherit", "inherit"] });
// Nobody may have killed it.
setTimeout(() => process.exit(1), 60_000);
