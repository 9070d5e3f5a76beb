/**
 * Program that becomes another one, as init does: argv[2] names what, as JSON. Its memory file gets
 * the number that the next program looks for.
 */

import { writeSync } from "node:fs";

import { createMemoryFile, duplicateTo, execve } from "../../../../src/sys/process.ts";
import { collectBeforeCalls } from "../collect.ts";

/** What to become. */
export interface Become {
  readonly path: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly memory: { readonly text: string; readonly number: number };
}

const { path, argv, env, memory } = JSON.parse(process.argv[2] ?? "") as Become;
// Init may become the guest after its runtime has started helper threads.
await Bun.file("/proc/self/stat").text();
const fd = createMemoryFile("test");
writeSync(fd, memory.text);
duplicateTo(fd, memory.number);
writeSync(1, `${process.pid}\n`);
collectBeforeCalls();
execve(path, argv, env);
