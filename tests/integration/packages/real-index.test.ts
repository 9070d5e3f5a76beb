/** A few small packages from the real index, installed afresh each time: wheels, and one source distribution. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { canInstall, Workbench } from "./fixture.ts";

const TIMEOUT_MS = 180_000;

describe.skipIf(!canInstall)("PipInstaller on the real index", () => {
  let bench: Workbench;
  beforeEach(() => {
    bench = new Workbench();
  });
  afterEach(() => {
    bench.close();
  });

  test(
    "installs wheels with native code and dependencies",
    async () => {
      const installer = await bench.open();
      const packages = "requests==2.32.3\nmarkupsafe==2.1.5\n";
      const found = await installer.ensure(bench.code({ "packages.txt": packages }), "v1");
      const program =
        "import requests, markupsafe._speedups; print(requests.__version__, markupsafe.escape('<'))";
      expect(await bench.python(found, program)).toBe("2.32.3 &lt;");
      expect(installer.stats()).toEqual({ hits: 0, misses: 1, failures: 0 });
    },
    TIMEOUT_MS,
  );

  test(
    "builds a source distribution, in a sandbox of its own",
    async () => {
      const installer = await bench.open();
      const packages = "docopt==0.6.2\nsix==1.16.0\n";
      const found = await installer.ensure(bench.code({ "packages.txt": packages }), "v1");
      expect(bench.runner.modes.toSorted()).toEqual(["probe", "resolve", "source", "wheels"]);
      expect(await bench.python(found, "import docopt, six; print(docopt.__version__)")).toBe(
        "0.6.2",
      );
    },
    TIMEOUT_MS,
  );
});
