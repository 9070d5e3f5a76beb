/** `ol remove`: deletes a lambda from the cluster's registry. */

import { defineCommand } from "citty";
import { OlError } from "../common/errors.ts";
import { requireLambdaName } from "../common/names.ts";
import { CLUSTER_ARG, JSON_ARG, openClusterOf } from "./options.ts";
import { print, printJson } from "./output.ts";
import { openTemplateRegistry } from "./registry-of.ts";

export default defineCommand({
  meta: {
    description:
      "Deletes a lambda from the cluster's registry. Calls in flight end; later ones answer 404 once\n" +
      "registry_cache_ms has passed.",
  },
  args: {
    cluster: CLUSTER_ARG,
    name: { type: "positional", required: true, description: "The lambda" },
    json: JSON_ARG,
  },
  async run({ args }): Promise<void> {
    requireLambdaName(args.name);
    const paths = await openClusterOf(args.cluster);
    const { registry } = openTemplateRegistry(paths);
    if (!(await registry.remove(args.name))) {
      throw new OlError(
        "lambda_unknown",
        `Cannot remove ${args.name}: the registry has no such lambda, "ol lambdas" lists them`,
        { op: "cli.remove" },
      );
    }
    if (args.json) printJson({ removed: args.name });
    else print(`Removed ${args.name}\n`);
  },
});
