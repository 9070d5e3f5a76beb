/** `ol completion`: completion scripts for shells, made from the commands themselves. */

import { defineCommand } from "citty";
import type { ArgDef, ArgsDef } from "citty";
import { GLOBAL_FLAGS, usageError } from "./args.ts";
import { COMMANDS } from "./commands.ts";
import { print } from "./output.ts";

/** One command as a completion script needs it. */
interface Completable {
  readonly name: string;
  readonly summary: string;
  readonly flags: readonly {
    readonly name: string;
    readonly description: string;
    readonly takesValue: boolean;
  }[];
}

async function completables(): Promise<Completable[]> {
  const found: Completable[] = [];
  for (const [name, entry] of COMMANDS) {
    if (entry.hidden === true) continue;
    const args = ((await entry.load()).default.args ?? {}) as ArgsDef;
    const flags = Object.entries<ArgDef>({ ...args, ...GLOBAL_FLAGS })
      .filter(([, definition]) => definition.type !== "positional")
      .map(([flag, definition]) => ({
        name: flag,
        description: definition.description ?? "",
        takesValue: definition.type !== "boolean",
      }));
    found.push({ name, summary: entry.summary, flags });
  }
  return found;
}

const PROGRAMS = ["ol", "admin"] as const;

function renderBash(commands: readonly Completable[]): string {
  const cases = commands.map(({ name, flags }) => {
    const words = flags.map((flag) => `--${flag.name}${flag.takesValue ? "=" : ""}`).join(" ");
    return `    ${name}) words="${words}" ;;\n`;
  });
  return (
    `_ol() {\n  local words current="\${COMP_WORDS[COMP_CWORD]}"\n  COMPREPLY=()\n` +
    `  if [ "$COMP_CWORD" -eq 1 ]; then\n` +
    `    COMPREPLY=($(compgen -W "${commands.map((it) => it.name).join(" ")} help" -- "$current"))\n` +
    `    return\n  fi\n  case "\${COMP_WORDS[1]}" in\n${cases.join("")}    *) return ;;\n  esac\n` +
    `  case "$current" in\n    -*) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;\n` +
    `    *) COMPREPLY=($(compgen -f -- "$current")) ;;\n  esac\n` +
    `  [[ "\${COMPREPLY[0]}" == *= ]] && compopt -o nospace\n}\n` +
    `complete -o filenames -F _ol ${PROGRAMS.join(" ")}\n`
  );
}

/** Inside single quotes of a shell. */
const quote = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;

function renderZsh(commands: readonly Completable[]): string {
  const list = commands.map((it) => `    ${quote(`${it.name}:${it.summary}`)}\n`).join("");
  const cases = commands.map(({ name, flags }) => {
    const specs = flags.map((flag) => {
      const text = flag.description.replaceAll(/[[\]:]/g, " ");
      return quote(
        `--${flag.name}${flag.takesValue ? "=" : ""}[${text}]${flag.takesValue ? ":value:_files" : ""}`,
      );
    });
    return `    ${name}) _arguments ${specs.join(" ")} '*:file:_files' ;;\n`;
  });
  return (
    `#compdef ${PROGRAMS.join(" ")}\n_ol() {\n  local -a commands=(\n${list}  )\n` +
    `  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n` +
    `  local name=$words[2]\n  shift words\n  (( CURRENT-- ))\n` +
    `  case $name in\n${cases.join("")}  esac\n}\ncompdef _ol ${PROGRAMS.join(" ")}\n`
  );
}

function renderFish(commands: readonly Completable[]): string {
  const lines: string[] = [];
  for (const program of PROGRAMS) {
    for (const { name, summary, flags } of commands) {
      lines.push(
        `complete -c ${program} -n __fish_use_subcommand -f -a ${name} -d ${quote(summary)}\n`,
      );
      for (const flag of flags) {
        const value = flag.takesValue ? " -r" : "";
        lines.push(
          `complete -c ${program} -n '__fish_seen_subcommand_from ${name}' -l ${flag.name}${value} ` +
            `-d ${quote(flag.description)}\n`,
        );
      }
    }
  }
  return lines.join("");
}

const SHELLS = new Map([
  ["bash", renderBash],
  ["zsh", renderZsh],
  ["fish", renderFish],
]);

export default defineCommand({
  meta: {
    description:
      'Prints a completion script: eval "$(ol completion bash)", and the same for zsh;\n' +
      "ol completion fish | source",
  },
  args: {
    shell: { type: "positional", required: true, description: [...SHELLS.keys()].join(", ") },
  },
  async run({ args }): Promise<void> {
    const render = SHELLS.get(args.shell);
    if (render === undefined) {
      const known = [...SHELLS.keys()].join(", ");
      throw usageError(`Cannot complete for ${JSON.stringify(args.shell)}: known are ${known}`);
    }
    print(render(await completables()));
  },
});
