import { describe, expect, test } from "bun:test";
import type { ArgDef, ArgsDef } from "citty";
import { GLOBAL_FLAGS } from "../../../src/cli/args.ts";
import { COMMANDS } from "../../../src/cli/commands.ts";
import { renderCommandHelp, renderOverview } from "../../../src/cli/help.ts";

describe("COMMANDS", () => {
  test.each([...COMMANDS.keys()])(
    "%s has a description, described flags and a run()",
    async (name) => {
      const command = (await COMMANDS.get(name)?.load())?.default;
      expect(command?.run).toBeFunction();
      expect((command?.meta as { description?: string } | undefined)?.description).toMatch(
        /^[A-Z].*\.?$/s,
      );
      const args = Object.entries<ArgDef>((command?.args ?? {}) as ArgsDef);
      const spellings = [...args, ...Object.entries<ArgDef>(GLOBAL_FLAGS)].flatMap(
        ([flag, definition]) => [
          flag,
          ...("alias" in definition && definition.alias !== undefined
            ? [definition.alias].flat()
            : []),
        ],
      );
      expect(new Set(spellings).size).toBe(spellings.length);
      for (const [, definition] of args) expect(definition.description ?? "").not.toBe("");
    },
  );

  test("are all in the overview, but for hidden ones", () => {
    const overview = renderOverview("admin");
    expect(overview).toStartWith("Usage: admin COMMAND");
    for (const [name, { summary, hidden }] of COMMANDS) {
      const line = new RegExp(`^  ${name} +${summary}$`, "m");
      if (hidden === true) expect(overview).not.toMatch(line);
      else expect(overview).toMatch(line);
    }
  });
});

test("renderCommandHelp() shows arguments, flags, short forms and defaults", () => {
  const help = renderCommandHelp("ol", "do", "Does it.", {
    name: { type: "positional", description: "What" },
    rest: { type: "positional", required: false, description: "More" },
    count: { type: "string", alias: "n", default: "1", valueHint: "N", description: "How often" },
    json: { type: "boolean", description: "As JSON" },
  });
  expect(help).toBe(
    "Usage: ol do [options] NAME [REST]\n\nDoes it.\n\nArguments:\n  NAME  What\n  REST  More\n\n" +
      "Options:\n  -n, --count=N  How often (default: 1)\n  --json         As JSON\n" +
      "  --verbose      Show a stack trace where something fails\n  -h, --help     Show this help\n",
  );
});
