/** FAULTS C: clients that hang up, stall or come in thousands; and the end of a server. */

import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { OlError } from "../../../src/common/errors.ts";
import { scaled, waitFor } from "../../helpers/wait-for.ts";
import { type Harness, startHarness } from "./harness.ts";
import { RawClient, requestText, statusOf } from "./raw-client.ts";

setDefaultTimeout(scaled(60_000));

let harness: Harness;

afterEach(() => harness.stop());

const RUN_HEAD = "POST /run/wait HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";

function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

async function refusesConnections(port: number): Promise<boolean> {
  try {
    const client = await RawClient.open(port);
    client.terminate();
    return false;
  } catch {
    return true;
  }
}

/** Adds a lambda that answers when told to, and says when it was entered and aborted. */
function addWaiter(target: Harness) {
  const entered = Promise.withResolvers<void>();
  const release = Promise.withResolvers<unknown>();
  const aborted = Promise.withResolvers<void>();
  target.service.lambdas.set("wait", (_event, { signal }) => {
    signal.addEventListener("abort", () => aborted.resolve());
    entered.resolve();
    return release.promise;
  });
  return { entered: entered.promise, aborted: aborted.promise, release: release.resolve };
}

describe("a client that hangs up", () => {
  test("during the run aborts the call's signal", async () => {
    harness = await startHarness();
    const waiter = addWaiter(harness);
    const client = await RawClient.open(harness.port);
    client.send(`${RUN_HEAD}1`);
    await waiter.entered;
    client.terminate();
    await waiter.aborted;
    waiter.release(1);
    expect((await fetch(`${harness.url}/status`)).status).toBe(200);
  });

  test("is seen by a signal that is first looked at after that", async () => {
    harness = await startHarness();
    const entered = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<void>();
    const seen = Promise.withResolvers<boolean>();
    harness.service.lambdas.set("late", async (_event, request) => {
      entered.resolve();
      await gone.promise;
      seen.resolve(request.signal.aborted);
    });
    // A second waiter's abort shows that the server has noticed hang-ups up to this point.
    const waiter = addWaiter(harness);
    const late = await RawClient.open(harness.port);
    const probe = await RawClient.open(harness.port);
    late.send(RUN_HEAD.replace("wait", "late") + "1");
    probe.send(`${RUN_HEAD}1`);
    await Promise.all([entered.promise, waiter.entered]);
    late.terminate();
    probe.terminate();
    await waiter.aborted;
    await Bun.sleep(0);
    gone.resolve();
    waiter.release(1);
    expect(await seen.promise).toBe(true);
  });

  test("before its body is complete runs nothing", async () => {
    harness = await startHarness();
    const client = await RawClient.open(harness.port);
    client.send("POST /run/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
    client.terminate();
    const answer = await fetch(`${harness.url}/run/echo`, { method: "POST", body: "7" });
    expect(await answer.text()).toBe("7");
    expect(harness.service.requests.length).toBe(1);
  });

  test("after the run, before reading a large answer, leaks nothing", async () => {
    harness = await startHarness();
    harness.service.lambdas.set("large", () => "x".repeat(8_000_000));
    const before = openDescriptors();
    for (let n = 0; n < 20; n += 1) {
      const client = await RawClient.open(harness.port);
      client.send(RUN_HEAD.replace("wait", "large") + "1");
      await client.until("a beginning", ({ received }) => received.length > 0);
      client.terminate();
    }
    const answer = await fetch(`${harness.url}/run/large`, { method: "POST", body: "1" });
    expect((await answer.text()).length).toBe(8_000_002);
    await waitFor(() => openDescriptors() <= before + 4, "descriptors come back");
  });
});

describe("many connections", () => {
  test("5,000 idle ones leave the server answering, and their descriptors come back", async () => {
    harness = await startHarness();
    const before = openDescriptors();
    const clients: RawClient[] = [];
    for (let n = 0; n < 5_000; n += 100) {
      clients.push(
        ...(await Promise.all(Array.from({ length: 100 }, () => RawClient.open(harness.port)))),
      );
    }
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        fetch(`${harness.url}/run/echo`, { method: "POST", body: String(n) }).then((a) => a.text()),
      ),
    );
    expect(answers).toEqual(Array.from({ length: 20 }, (_, n) => String(n)));
    const last = clients.at(-1);
    last?.send(requestText("GET", "/status"));
    expect(statusOf((await last?.rest()) ?? "")).toBe(200);
    for (const client of clients) client.terminate();
    await waitFor(() => openDescriptors() <= before + 40, "descriptors come back");
  });
});

describe("stop()", () => {
  test("answers what is in flight, refuses new connections, then settles", async () => {
    harness = await startHarness();
    const waiter = addWaiter(harness);
    const client = await RawClient.open(harness.port);
    client.send(`${RUN_HEAD}1`);
    await waiter.entered;
    const stopped = harness.stop();
    await waitFor(() => refusesConnections(harness.port), "new connections are refused");
    expect(await Promise.race([stopped, Promise.resolve("still running")])).toBe("still running");
    waiter.release("done");
    await stopped;
    const answer = await client.rest();
    expect(answer).toContain('"done"');
  });

  test("does not wait for idle, half-sent or half-read connections for ever", async () => {
    harness = await startHarness();
    harness.service.lambdas.set("large", () => "x".repeat(8_000_000));
    const clients = await Promise.all([1, 2, 3].map(() => RawClient.open(harness.port)));
    clients[0]?.send("GET /sta");
    clients[1]?.send("POST /run/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1");
    clients[2]?.send("GET /status HTTP/1.1\r\nHost: a\r\n\r\n");
    await clients[2]?.until("answer", ({ received }) => received.includes("ready"));
    await harness.stop();
    await Promise.all(clients.map((client) => client.rest()));
  });

  test("is idempotent and frees the port", async () => {
    harness = await startHarness();
    await Promise.all([harness.stop(), harness.stop()]);
    const next = await startHarness({ workerPort: harness.port });
    expect(next.port).toBe(harness.port);
    await next.stop();
  });
});

describe("startServer()", () => {
  test("throws port_taken when the port is in use", async () => {
    harness = await startHarness();
    const second = startHarness({ workerPort: harness.port });
    const error = await second.then(
      () => null,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(OlError);
    expect((error as OlError).code).toBe("port_taken");
    expect((error as OlError).message).toContain(String(harness.port));
  });

  test("throws worker_start for an address that is not of this host", async () => {
    harness = await startHarness();
    const error = await startHarness({ bind: "192.0.2.1" }).then(
      () => null,
      (thrown: unknown) => thrown,
    );
    expect((error as OlError).code).toBe("worker_start");
  });
});
