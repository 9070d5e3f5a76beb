import { describe, expect, spyOn, test } from "bun:test";
import * as fc from "fast-check";
import { OlError } from "../../../src/common/errors.ts";
import {
  MODULE_NAME_MAX_CHARS,
  REQUIREMENT_LINE_MAX_CHARS,
  REQUIREMENTS_MAX_BYTES,
  REQUIREMENTS_MAX_COUNT,
} from "../../../src/common/package-limits.ts";
import { normalizeName, parseRequirements } from "../../../src/packages/requirements.ts";

const lines = (text: string) => parseRequirements(text, "packages.txt").map((r) => r.line);
const failure = (text: string, file: "packages.txt" | "requirements.txt" = "packages.txt") => {
  try {
    parseRequirements(text, file);
  } catch (error) {
    expect(error).toBeInstanceOf(OlError);
    expect((error as OlError).code).toBe("package_install");
    return (error as OlError).message;
  }
  throw new Error(`${JSON.stringify(text)} was taken`);
};

describe("parseRequirements() takes", () => {
  test("the original's import:install form and plain requirements", () => {
    expect(parseRequirements("PIL:pillow==10.4.0\nrequests>=2.31\n", "packages.txt")).toEqual([
      { line: "pillow==10.4.0", name: "pillow", module: "PIL" },
      { line: "requests>=2.31", name: "requests", module: null },
    ]);
  });

  test("comments, blank lines, a byte order mark and all line ends", () => {
    const text = "\uFEFF# head\r\n\r\n  numpy # the array\rpandas\n\t\n#end";
    expect(lines(text)).toEqual(["numpy", "pandas"]);
  });

  test.each([
    ["requests[socks, security] >= 2.8.1 , == 2.8.*", "requests[socks,security]>=2.8.1,==2.8.*"],
    ["name (>=1,<2)", "name>=1,<2"],
    ["torch==2.4.0+cpu", "torch==2.4.0+cpu"],
    ["x===1.0", "x===1.0"],
    [
      "a~=1.1 ; python_version < '3.12' and extra == \"b\"",
      "a~=1.1 ; python_version < '3.12' and extra == \"b\"",
    ],
    ["matplotlib.pyplot:matplotlib", "matplotlib"],
    ["zope.interface", "zope.interface"],
    ["v!=1!2.0rc1", "v!=1!2.0rc1"],
    ["n<=1,", "n<=1"],
  ])("%p", (given, expected) => {
    expect(lines(given)).toEqual([expected]);
  });

  test("a dotted module before the colon", () => {
    expect(parseRequirements("google.protobuf : protobuf", "packages.txt")[0]?.module).toBe(
      "google.protobuf",
    );
  });
});

describe("parseRequirements() refuses", () => {
  test.each([
    ["-e .", "options"],
    ["--index-url https://example.test/simple", "options"],
    ["-r other.txt", "options"],
    ["-c constraints.txt", "options"],
    ["requests==2.31.0 --hash=sha256:00", "hashes"],
    ["requests --install-option=x", "options"],
    ["https://example.test/x.whl", "URLs"],
    ["git+https://example.test/x.git", "URLs"],
    ["name @ https://example.test/x.whl", "URLs"],
    ["name@file:///etc/passwd", "URLs"],
    ["x:name @ https://example.test/x.whl", "URLs"],
    ["./local", "paths"],
    ["/etc/passwd", "paths"],
    ["..", "paths"],
    ["~/x", "paths"],
    ["dir/sub", "paths"],
    ["x.whl", "paths"],
    ["name-1.0.tar.gz", "paths"],
    ["C:\\dir\\x", "paths"],
    ["x: /etc", "paths"],
    ["$(touch x)", "expected a requirement"],
    ["${HOME}", "expected a requirement"],
    ["a; rm -rf x", "options"],
    ["a; import os", "marker"],
    ["a;", "marker"],
    ["a && b", "expected a requirement"],
    ["a | b", "expected a requirement"],
    ["a `id`", "expected a requirement"],
    ["a b", "expected a requirement"],
    ["a=1", "expected a requirement"],
    ["a==1 \\", "paths"],
    ["a==", "expected a requirement"],
    ["1x:y z", "expected a requirement"],
    ["x..y:z", "module"],
    ["\0", "expected a requirement"],
    ["naïve", "expected a requirement"],
  ])("%p, and says why", (line, word) => {
    const message = failure(`ok\n${line}`);
    expect(message).toContain(word);
    expect(message).toContain("line 2 of packages.txt");
  });

  test("import:install in requirements.txt, where pip would not know it", () => {
    expect(failure("PIL:pillow", "requirements.txt")).toContain("requirements.txt");
  });

  test("more requirements than the limit", () => {
    expect(failure("a\n".repeat(REQUIREMENTS_MAX_COUNT + 1))).toContain(
      `${REQUIREMENTS_MAX_COUNT}`,
    );
  });
});

describe("parseRequirements() bounds", () => {
  test("the module before the colon", () => {
    const longest = "m".repeat(MODULE_NAME_MAX_CHARS);
    expect(parseRequirements(`${longest}:six`, "packages.txt")[0]?.module).toBe(longest);
    const message = failure(`ok\nm${longest}:six`);
    expect(message).toContain(`line 2 of packages.txt`);
    expect(message).toContain(`at most ${MODULE_NAME_MAX_CHARS}`);
  });

  test.each([
    ["a module", `${"a".repeat(150_000)}:six`],
    ["a name", "a".repeat(REQUIREMENT_LINE_MAX_CHARS + 1)],
    ["extras", `six[${"a,".repeat(REQUIREMENT_LINE_MAX_CHARS)}b]`],
    ["versions", `six${"<1,".repeat(REQUIREMENT_LINE_MAX_CHARS)}`],
    ["a marker", `six ; ${"not ".repeat(REQUIREMENT_LINE_MAX_CHARS)}`],
  ])("the line, whatever makes it long: %s", (_, line) => {
    const message = failure(`ok\n${line}`);
    expect(message).toContain("line 2 of packages.txt");
    expect(message).toContain(`at most ${REQUIREMENT_LINE_MAX_CHARS}`);
    expect(message.length).toBeLessThan(300);
  });

  test("no comment and no white space around a line", () => {
    const long = REQUIREMENT_LINE_MAX_CHARS * 2;
    expect(lines(`${" ".repeat(long)}six${"\t".repeat(long)}# ${"why ".repeat(long)}`)).toEqual([
      "six",
    ]);
    expect(lines("a #b # c")).toEqual(["a"]);
  });

  // Quadratic patterns are no danger on short texts: what counts is what the patterns get to see.
  const filled = (part: string) => part.repeat(Math.floor(REQUIREMENTS_MAX_BYTES / part.length));
  test.each([
    " ",
    "\t#",
    "#",
    "\r",
    "\n",
    "\r\n",
    "a",
    "a ",
    "[",
    "a[",
    ",",
    ";",
    "a; ",
    "-",
    ".",
    "a:",
  ])("what a regular expression sees of a file full of %j", (part) => {
    const seen: number[] = [];
    const exec: unknown = Reflect.get(RegExp.prototype, "exec");
    const spy = spyOn(RegExp.prototype, "exec").mockImplementation(function (
      this: RegExp,
      text: string,
    ) {
      seen.push(text.length);
      return Reflect.apply(exec as () => RegExpExecArray | null, this, [text]);
    });
    try {
      parseRequirements(filled(part), "packages.txt");
    } catch (error) {
      expect(error).toBeInstanceOf(OlError);
    } finally {
      spy.mockRestore();
    }
    expect(Math.max(0, ...seen)).toBeLessThanOrEqual(REQUIREMENT_LINE_MAX_CHARS);
    expect(seen.length).toBeLessThanOrEqual(16 * REQUIREMENT_LINE_MAX_CHARS);
  });
});

test("parseRequirements() passes nothing that pip would not take for a named requirement", () => {
  const character = fc.constantFrom(..."ab1-_.[]()<>=!~;:,@/\\ #$`'\"&|{}%\n\r\t\0é*+".split(""));
  fc.assert(
    fc.property(fc.string({ unit: character, maxLength: 40 }), (text) => {
      let parsed;
      try {
        parsed = parseRequirements(text, "packages.txt");
      } catch (error) {
        expect(error).toBeInstanceOf(OlError);
        return;
      }
      for (const { line, name } of parsed) {
        expect(line).toMatch(/^[A-Za-z0-9][^\n\r\0$`&|\\#@/{}%]*$/);
        expect(line.split(";")[0]).not.toMatch(/\s--?\w|:/);
        expect(name).toBe(normalizeName(name));
      }
    }),
    { numRuns: 3000 },
  );
});
