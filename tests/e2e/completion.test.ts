/** Completion in the real shells: what appears when the tab key is pressed. */

import { afterEach, beforeEach, expect } from "bun:test";

import { OL } from "../helpers/ol.ts";
import { requires } from "../helpers/requires.ts";
import { type TempDir, tempDir } from "../helpers/temp-dir.ts";
import { waitFor } from "../helpers/wait-for.ts";

const inZsh = requires({ programs: ["zsh"] });
const inFish = requires({ programs: ["fish"] });

let temp: TempDir;
beforeEach(() => {
  temp = tempDir();
});
afterEach(() => temp.remove());

/** A shell at a terminal: what is typed into it and what it shows. */
async function atTerminal(
  argv: string[],
  use: (type: (text: string) => void, shown: () => string) => Promise<void>,
): Promise<void> {
  let seen = "";
  const terminal = new Bun.Terminal({
    cols: 200,
    rows: 50,
    data: (_terminal, bytes) => {
      seen += new TextDecoder().decode(bytes);
    },
  });
  const env = { PATH: process.env["PATH"], HOME: temp.path, TERM: "dumb", PS1: "ready> " };
  const child = Bun.spawn(argv, { terminal, env, cwd: temp.path });
  try {
    await use(
      (text) => terminal.write(text),
      () => seen,
    );
  } finally {
    child.kill("SIGKILL");
    await child.exited;
    terminal.close();
  }
}

inZsh("zsh completes commands and flags, under both names", async () => {
  await atTerminal(["zsh", "-f", "-i"], async (type, shown) => {
    await waitFor(() => shown().includes("ready> "), "zsh is ready");
    // Without a list that it would ask about, and without a bell.
    type("unsetopt zle_bracketed_paste beep; LISTMAX=0; autoload -Uz compinit && compinit -u -D\r");
    type(`eval "$(${OL} completion zsh)" && echo load''ed\r`);
    await waitFor(() => shown().includes("\nloaded"), "the completion is loaded");
    type("ol invo\t");
    await waitFor(() => shown().includes("ol invoke "), "a command is completed");
    type("\u0015admin workers --num\t");
    await waitFor(() => shown().includes("admin workers --num-workers="), "a flag is completed");
    type("\u0015ol status --\t");
    await waitFor(
      () => shown().includes("Cluster directory") && shown().includes("--watch"),
      "flags are listed with what they do",
    );
  });
});

inFish("fish completes commands and flags, under both names", async () => {
  const script = `${OL} completion fish | source; complete -C "$argv"`;
  const complete = async (line: string): Promise<string[]> => {
    const argv = ["fish", "--no-config", "-c", script, line];
    const env = { ...process.env, HOME: temp.path };
    const child = Bun.spawn(argv, { stdout: "pipe", stderr: "pipe", env, cwd: temp.path });
    expect(await child.stderr.text()).toBe("");
    return (await child.stdout.text()).trim().split("\n");
  };
  expect(await complete("ol invo")).toEqual(["invoke\tCall a lambda"]);
  expect(await complete("admin workers --num")).toEqual(["--num-workers\tHow many; default: 1"]);
  expect(await complete("ol status --")).toContain(
    "--json\tPrint JSON, with everything that the workers count",
  );
});
