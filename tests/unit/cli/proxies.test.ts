import { describe, expect, test } from "bun:test";
import { keepLoopbackFromProxies } from "../../../src/cli/proxies.ts";

const after = (env: Record<string, string>): Record<string, string | undefined> => {
  const copy: Record<string, string | undefined> = { ...env };
  keepLoopbackFromProxies(copy);
  return copy;
};

describe("keepLoopbackFromProxies()", () => {
  test("leaves an environment without a proxy alone", () => {
    expect(after({ NO_PROXY: "a" })).toEqual({ NO_PROXY: "a" });
    expect(after({ HTTP_PROXY: "" })).toEqual({ HTTP_PROXY: "" });
  });

  test("adds this machine to what both spellings name", () => {
    const list = "a.example,b.example,localhost,127.0.0.1,::1";
    expect(after({ https_proxy: "x", NO_PROXY: "a.example", no_proxy: " b.example," })).toEqual({
      https_proxy: "x",
      NO_PROXY: list,
      no_proxy: list,
    });
    expect(after({ ALL_PROXY: "x" })["NO_PROXY"]).toBe("localhost,127.0.0.1,::1");
    const twice = after(after({ HTTP_PROXY: "x" }) as Record<string, string>);
    expect(twice["no_proxy"]).toBe("localhost,127.0.0.1,::1");
  });

  test("leaves a star alone", () => {
    expect(after({ HTTP_PROXY: "x", NO_PROXY: "*" })).toEqual({ HTTP_PROXY: "x", NO_PROXY: "*" });
  });
});
