import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { givenKeys, withoutKeys } from "../../../src/cli/secrets.ts";
import { tempDir } from "../../helpers/temp-dir.ts";

describe("givenKeys()", () => {
  const none = { "access-key": undefined, "secret-key": undefined };
  const env = { OL_ACCESS_KEY: "ea", OL_SECRET_KEY: "es" };

  test("takes flags before the environment, and neither as neither", () => {
    expect(givenKeys(none, {})).toEqual({ accessKey: undefined, secretKey: undefined });
    expect(givenKeys(none, { OL_ACCESS_KEY: "" }).accessKey).toBeUndefined();
    expect(givenKeys(none, env)).toEqual({ accessKey: "ea", secretKey: "es" });
    expect(givenKeys({ ...none, "access-key": "fa" }, env).accessKey).toBe("fa");
  });

  test("reads a file without the end of its line, and says what it could not read", () => {
    using dir = tempDir();
    const file = dir.join("key");
    writeFileSync(file, "secret\r\n");
    expect(givenKeys({ ...none, "secret-key": `@${file}` }, {}).secretKey).toBe("secret");
    const missing = { ...none, "secret-key": "@/nonexistent" };
    expect(() => givenKeys(missing, {})).toThrow("Cannot read --secret-key from /nonexistent");
    expect(() => givenKeys({ "access-key": "-", "secret-key": "-" }, {})).toThrow("two keys");
  });

  test("withoutKeys() leaves nothing of them to other processes", () => {
    expect(withoutKeys({ ...env, PATH: "/bin" })).toEqual({ PATH: "/bin" });
  });
});
