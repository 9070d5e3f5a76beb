/** `ol setconf`: changes the settings that new workers of a cluster start from. */

import { defineCommand } from "citty";
import { writeFileAtomic } from "../cluster/atomic-file.ts";
import { claimCommands } from "../cluster/claim.ts";
import { errnoNameOf, OlError } from "../common/errors.ts";
import { parseJson, readConfigJson } from "../config/load.ts";
import { mergeConfig, validateConfigFile } from "../config/parse.ts";
import { CLUSTER_ARG, JSON_ARG, openClusterOf } from "./options.ts";
import { print, printJson } from "./output.ts";
import { textOf } from "./secrets.ts";

export default defineCommand({
  meta: {
    description:
      "Merges settings into config/template.json: objects key by key, the rest is replaced, null\n" +
      "brings a default back. Workers that run keep theirs.",
  },
  args: {
    cluster: CLUSTER_ARG,
    settings: {
      type: "positional",
      required: true,
      description: `A JSON object such as '{"max_runners": 4}'; @FILE or - (stdin) for one with secrets`,
    },
    json: JSON_ARG,
  },
  async run({ args }): Promise<void> {
    const paths = await openClusterOf(args.cluster);
    const overrides = parseJson(textOf(args.settings, "the settings"), "the given settings");
    // What is given is checked without the template first, so that a message blames the right one.
    validateConfigFile(mergeConfig({}, overrides), "the given settings");
    const claim = await claimCommands(paths.workers);
    try {
      const merged = mergeConfig(readConfigJson(paths.template), overrides);
      const valid = validateConfigFile(merged, paths.template);
      writeFileAtomic(paths.template, `${JSON.stringify(valid, null, 2)}\n`);
    } catch (error) {
      if (error instanceof OlError) throw error;
      throw new OlError(
        "cluster_invalid",
        `Cannot write ${paths.template}: ${errnoNameOf(error) ?? String(error)}`,
        { op: "cli.setconf", cause: error },
      );
    } finally {
      claim.release();
    }
    // Keys only: among the values are secrets.
    const changed = Object.keys(overrides as object);
    if (args.json) printJson({ template: paths.template, changed });
    else print(`Updated ${paths.template}\n`);
  },
});
