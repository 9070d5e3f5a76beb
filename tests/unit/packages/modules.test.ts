import { expect, test } from "bun:test";
import {
  DISTRIBUTION_IMPORTS_MAX_COUNT,
  MODULE_NAME_MAX_CHARS,
} from "../../../src/common/package-limits.ts";
import { moduleNames, recordPaths } from "../../../src/packages/modules.ts";

const regular = () => false;

test("recordPaths() keeps what lies below the modules' directory", () => {
  const text =
    'a/__init__.py,sha256=x,1\n"b,c.py",,\n../../bin/tool,,\n/etc/x,,\na/../../y.py,,\n\nd.py,,\r\n';
  expect(recordPaths(text)).toEqual(["a/__init__.py", "b,c.py", "d.py"]);
});

test.each([
  ["requests", ["requests/__init__.py", "requests/api.py"], ["requests"], ["requests"]],
  ["pillow", ["PIL/__init__.py", "pillow.libs/x.so"], ["PIL"], ["PIL"]],
  ["six", ["six.py", "six-1.0.dist-info/RECORD"], ["six"], ["six"]],
  [
    "cffi",
    ["cffi/__init__.py", "_cffi_backend.cpython-311-x86_64-linux-gnu.so"],
    ["_cffi_backend", "cffi"],
    ["cffi"],
  ],
  ["pyyaml", ["_yaml/__init__.py", "yaml/__init__.py"], ["_yaml", "yaml"], ["yaml"]],
  ["matplotlib", ["matplotlib/__init__.py", "pylab.py"], ["matplotlib", "pylab"], ["matplotlib"]],
  [
    "protobuf",
    ["google/protobuf/__init__.py", "google/_upb/_m.abi3.so"],
    ["google._upb._m", "google.protobuf"],
    ["google.protobuf"],
  ],
  ["attrs", ["attr/__init__.py", "attrs/__init__.py"], ["attr", "attrs"], ["attrs"]],
  ["scikit-learn", ["sklearn/__init__.py", "sklearn/tests/__init__.py"], ["sklearn"], ["sklearn"]],
  [
    "untidy",
    ["lib_untidy/__init__.py", "tests/__init__.py"],
    ["lib_untidy", "tests"],
    ["lib_untidy"],
  ],
  ["zope.interface", ["zope/interface/__init__.py"], ["zope.interface"], ["zope.interface"]],
  ["data-only", ["share/x.json", "a-b/x.py"], [], []],
])("moduleNames() of %s", (distribution, paths, modules, imports) => {
  expect(moduleNames(distribution, paths, regular)).toEqual({ modules, imports });
});

test("moduleNames() looks into packages that declare a namespace in their __init__", () => {
  const paths = ["ns/__init__.py", "ns/part/__init__.py"];
  expect(moduleNames("ns-part", paths, (name) => name === "ns").modules).toEqual(["ns.part"]);
});

test("moduleNames() bounds what is imported ahead of need, not what is importable", () => {
  const long = "x".repeat(MODULE_NAME_MAX_CHARS + 1);
  const paths = Array.from({ length: 200 }, (_, index) => `m${index}.py`);
  const found = moduleNames("many", [`${long}.py`, ...paths], () => false);
  expect(found.modules).toHaveLength(201);
  expect(found.imports).toHaveLength(DISTRIBUTION_IMPORTS_MAX_COUNT);
  expect(found.imports).not.toContain(long);
});
