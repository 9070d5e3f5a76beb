import { describe, expect, test } from "bun:test";
import type { ArgsDef } from "citty";
import * as fc from "fast-check";
import { normaliseArgs } from "../../../src/cli/args.ts";
import { OlError } from "../../../src/common/errors.ts";

const ARGS = {
  cluster: { type: "string" },
  "num-workers": { type: "string", alias: "n", default: "1" },
  port: { type: "string", alias: ["p"] },
  json: { type: "boolean" },
  color: { type: "boolean", default: true },
} as const satisfies ArgsDef;

const WITH_POSITIONALS = {
  ...ARGS,
  name: { type: "positional" },
  event: { type: "positional", required: false },
} as const satisfies ArgsDef;

const raw = (argv: readonly string[], args: ArgsDef = ARGS): string[] =>
  normaliseArgs("workers", args, argv).rawArgs;

function refusal(argv: readonly string[], args: ArgsDef = ARGS): string {
  try {
    normaliseArgs("workers", args, argv);
  } catch (error) {
    expect(error).toBeInstanceOf(OlError);
    expect((error as OlError).code).toBe("usage");
    return (error as OlError).message;
  }
  throw new Error("nothing was refused");
}

describe("normaliseArgs()", () => {
  test.each([
    [["--cluster=x"]],
    [["--cluster", "x"]],
    [["-cluster=x"]],
    [["-cluster", "x"]],
    [["-cluster=y", "--cluster", "x"]],
  ])("takes %j as one and the same", (argv) => {
    expect(raw(argv)).toEqual(["--cluster=x", "--"]);
  });

  test("knows short forms, joined or not", () => {
    expect(raw(["-n", "3", "-p=9"])).toEqual(["--num-workers=3", "--port=9", "--"]);
    expect(raw(["--n=3"])).toEqual(["--num-workers=3", "--"]);
  });

  test("keeps equals signs, spaces, dashes, newlines and nothing in values", () => {
    expect(raw(["-cluster=a=b"])).toEqual(["--cluster=a=b", "--"]);
    expect(raw(["-cluster", "a b"])).toEqual(["--cluster=a b", "--"]);
    expect(raw(["-cluster=a\nb"])).toEqual(["--cluster=a\nb", "--"]);
    expect(raw(["-cluster="])).toEqual(["--cluster=", "--"]);
    expect(raw(["-cluster", "-odd-directory"])).toEqual(["--cluster=-odd-directory", "--"]);
  });

  test.each([
    [["--json"], true],
    [["-json"], true],
    [["--json=true"], true],
    [["-json=T"], true],
    [["--json=false"], false],
    [["-json=0"], false],
    [["--no-json"], false],
    [["-no-json"], false],
    [["--no-json=false"], true],
  ])("switches %j to %p", (argv, expected) => {
    expect(raw(argv)).toEqual([`--json=${expected}`, "--"]);
  });

  test("does not take the argument after a switch for its value", () => {
    expect(raw(["--json", "hello"], WITH_POSITIONALS)).toEqual(["--json=true", "--", "hello"]);
    expect(refusal(["--json=maybe"])).toContain("true or false is expected");
  });

  test("takes positional arguments anywhere, negative numbers, a lone dash, and all after --", () => {
    expect(raw(["a", "-json", "-5"], WITH_POSITIONALS)).toEqual(["--json=true", "--", "a", "-5"]);
    expect(raw(["a", "-"], WITH_POSITIONALS)).toEqual(["--", "a", "-"]);
    expect(raw(["--", "--json", "-x"], WITH_POSITIONALS)).toEqual(["--", "--json", "-x"]);
  });

  test.each([
    [["--clutser=x"], "Cannot use --clutser: workers has no such flag, did you mean --cluster"],
    [["-prot", "1"], "did you mean --port"],
    [["--num_workers=1"], "did you mean --num-workers"],
    [["-x"], 'Cannot use -x: workers has no such flag, "help workers" lists what there is'],
    [["--frobnicate"], '"help workers" lists what there is'],
    [["--no-cluster"], "workers has no such flag"],
    [["--=x"], "workers has no such flag"],
    [["--constructor"], "workers has no such flag"],
    [["-cluster"], "Cannot use --cluster: it needs a value"],
    [["-p"], "Cannot use -p: it needs a value"],
    [["-cluster", "--json"], "Cannot use --cluster: it needs a value"],
    [["-cluster", "--"], "Cannot use --cluster: it needs a value"],
    [
      ["x"],
      'Cannot use "x": workers takes no arguments beside its flags, did you mean --cluster=x',
    ],
  ])("refuses %j", (argv, expected) => {
    expect(refusal(argv)).toContain(expected);
  });

  test("refuses missing and surplus positional arguments and missing flags", () => {
    expect(refusal([], WITH_POSITIONALS)).toBe("Cannot run workers: NAME is missing");
    expect(refusal(["a", "b", "c"], WITH_POSITIONALS)).toContain("takes 2 arguments");
    const required = { config: { type: "string", required: true } } as const satisfies ArgsDef;
    expect(refusal([], required)).toBe("Cannot run workers: --config is missing");
  });

  test("gives help and verbose to the caller, not to the command", () => {
    const result = normaliseArgs("workers", WITH_POSITIONALS, ["-h", "--verbose", "-cluster=x"]);
    expect(result).toEqual({ rawArgs: ["--cluster=x", "--"], help: true, verbose: true });
  });

  test("gives back any value unchanged, in any of the four forms", () => {
    const form = fc.constantFrom("-", "--");
    fc.assert(
      fc.property(form, fc.string(), (dashes, value) => {
        expect(raw([`${dashes}cluster=${value}`])).toEqual([`--cluster=${value}`, "--"]);
        const isOther =
          value === "--" ||
          /^--?(cluster|n|num-workers|p|port|json|color|h|help|verbose)(=|$)/.test(value);
        fc.pre(!isOther);
        expect(raw([`${dashes}cluster`, value])).toEqual([`--cluster=${value}`, "--"]);
      }),
    );
  });

  test("either gives a canonical line or refuses, whatever is typed", () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { maxLength: 6 }), (argv) => {
        try {
          expect(raw(argv, WITH_POSITIONALS)).toContain("--");
        } catch (error) {
          expect(error).toBeInstanceOf(OlError);
        }
      }),
    );
  });
});
