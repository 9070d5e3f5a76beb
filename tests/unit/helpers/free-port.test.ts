import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";

import { freePorts } from "../../helpers/free-port.ts";

test("freePorts() gives ports that no connection gets for its own end", async () => {
  const range = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8");
  const firstEphemeral = Number(range.split(/\s/)[0]);
  for (let round = 0; round < 20; round++) {
    expect((await freePorts(3)) + 2).toBeLessThan(firstEphemeral);
  }
});

test("freePorts() leaves out what somebody listens on", async () => {
  const first = await freePorts();
  const listener = Bun.listen({ hostname: "127.0.0.1", port: first, socket: { data: () => {} } });
  try {
    const others = await Promise.all(Array.from({ length: 50 }, () => freePorts()));
    expect(others).not.toContain(first);
  } finally {
    listener.stop(true);
  }
});
