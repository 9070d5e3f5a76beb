/**
 * Sends a plan's calls and times them. Runs in a process of its own (`main.ts`), so that neither the
 * suite's own work nor its garbage delays a measured call.
 *
 * Latency counts from a call's *intended* start. In an open loop that is fixed before the server is
 * asked, so a server that stalls is charged for every call that came due meanwhile (no coordinated
 * omission).
 */

import { Random } from "../stats/random.ts";
import { zipf } from "../stats/zipf.ts";
import { headerOf, serverTimingUs, type Answer } from "./answer-parser.ts";
import { schedule } from "./arrivals.ts";
import { Connection, type ConnectionEvents } from "./connection.ts";
import type { LoadPlan, LoadResult } from "./plan.ts";
import { RequestMaker } from "./requests.ts";

/** Timers are good to about a millisecond: closer than this to a start, the loop spins instead. */
const SPIN_BELOW_US = 1500;

/** Characters of a failing answer that are kept. */
const FAILURE_CHARS = 600;

const nowUs = (): number => performance.now() * 1000;

interface Call {
  readonly sequence: number;
  readonly path: number;
  readonly intendedUs: number;
  sentUs: number;
}

/** One burst; single use. */
class Burst implements ConnectionEvents {
  readonly #plan: LoadPlan;
  readonly #requests: RequestMaker;
  readonly #pickPath: () => number;
  readonly #nextStart: (() => number) | null;
  readonly #idle: Connection[] = [];
  readonly #waiting: Call[] = [];
  readonly #calls = new Map<number, Call>();
  readonly #done = Promise.withResolvers<void>();
  readonly #result: { -readonly [Key in keyof LoadResult]: LoadResult[Key] } = {
    latencyUs: [],
    lagUs: [],
    refusedUs: [],
    path: [],
    start: [],
    stages: {},
    elapsedUs: 0,
    generatorCpuUs: 0,
    failures: {},
    firstFailure: "",
    inFlightMax: 0,
  };
  #callsMax: number;
  #sequence = 0;
  #startedUs = 0;
  #lastAnswerUs = 0;
  #connections = 0;

  constructor(plan: LoadPlan, run: string) {
    this.#plan = plan;
    this.#callsMax = plan.count;
    this.#requests = new RequestMaker(plan, run);
    const random = new Random(plan.seed);
    let turn = 0;
    this.#pickPath =
      plan.pick.kind === "zipf"
        ? zipf(plan.paths.length, plan.pick.exponent, random.fork("pick"))
        : () => turn++ % plan.paths.length;
    const { arrivals } = plan;
    this.#nextStart =
      arrivals.kind === "closed"
        ? null
        : schedule(arrivals.kind, arrivals.ratePerS, random.fork("arrivals"));
  }

  async run(): Promise<LoadResult> {
    const { arrivals, timeoutMs } = this.#plan;
    this.#connections = arrivals.kind === "closed" ? arrivals.clients : arrivals.connectionsMax;
    for (let i = 0; i < this.#connections; i++) {
      this.#idle.push(await Connection.open(this.#plan.port, this));
    }
    const watchdog = setInterval(() => this.#watch(timeoutMs), Math.min(1000, timeoutMs));
    const cpu = process.cpuUsage();
    this.#startedUs = nowUs();
    this.#lastAnswerUs = this.#startedUs;
    if (this.#nextStart === null) for (const each of this.#idle.splice(0)) this.#sendNext(each);
    else this.#arrive(this.#nextStart, this.#nextStart());
    this.#finishIfOver();
    await this.#done.promise;
    clearInterval(watchdog);
    const used = process.cpuUsage(cpu);
    for (const connection of this.#idle) connection.close();
    return {
      ...this.#result,
      elapsedUs: this.#lastAnswerUs - this.#startedUs,
      generatorCpuUs: used.user + used.system,
    };
  }

  /** Whether no further call is to be started. */
  #over(atUs: number): boolean {
    return (
      this.#sequence >= this.#callsMax || atUs - this.#startedUs >= this.#plan.durationMs * 1000
    );
  }

  #newCall(intendedUs: number): Call {
    const call = { sequence: this.#sequence++, path: this.#pickPath(), intendedUs, sentUs: 0 };
    this.#calls.set(call.sequence, call);
    this.#result.inFlightMax = Math.max(this.#result.inFlightMax, this.#calls.size);
    return call;
  }

  #send(connection: Connection, call: Call): void {
    connection.slot = call.sequence;
    const request = this.#requests.request(call.path, call.sequence);
    call.sentUs = nowUs();
    connection.send(request);
  }

  /** Closed loop: the intended start is now. */
  #sendNext(connection: Connection): void {
    const atUs = nowUs();
    if (this.#over(atUs)) this.#idle.push(connection);
    else this.#send(connection, this.#newCall(atUs));
  }

  /** Open loop: starts every call that is due and comes back for the next. */
  #arrive(nextStart: () => number, firstOffsetUs: number): void {
    let dueUs = this.#startedUs + firstOffsetUs;
    for (;;) {
      if (this.#over(dueUs)) break;
      const aheadUs = dueUs - nowUs();
      if (aheadUs > 0) {
        const again = (): void => this.#arrive(nextStart, dueUs - this.#startedUs);
        if (aheadUs > SPIN_BELOW_US) setTimeout(again, Math.floor((aheadUs - 1000) / 1000));
        else setImmediate(again);
        return;
      }
      const call = this.#newCall(dueUs);
      const connection = this.#idle.pop();
      if (connection === undefined) this.#waiting.push(call);
      else this.#send(connection, call);
      dueUs = this.#startedUs + nextStart();
    }
    this.#callsMax = this.#sequence;
    this.#finishIfOver();
  }

  answered(connection: Connection, answer: Answer): void {
    const atUs = nowUs();
    const call = this.#calls.get(connection.slot);
    if (call === undefined) return this.failed(connection, "answer to no call");
    this.#calls.delete(call.sequence);
    this.#lastAnswerUs = atUs;
    if (answer.status !== 200) {
      if (answer.status === 429) this.#result.refusedUs.push(atUs - call.intendedUs);
      this.#fail(`status ${answer.status}`, answer.body.toString());
    } else if (!this.#requests.belongs(answer.body, call.sequence)) {
      this.#fail("wrong nonce", answer.body.toString("latin1"));
    } else this.#record(call, answer, atUs);
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) this.#send(connection, waiting);
    else if (this.#nextStart === null) this.#sendNext(connection);
    else this.#idle.push(connection);
    this.#finishIfOver();
  }

  #record(call: Call, answer: Answer, atUs: number): void {
    const result = this.#result;
    result.latencyUs.push(atUs - call.intendedUs);
    if (this.#nextStart !== null) result.lagUs.push(call.sentUs - call.intendedUs);
    const { details, starts } = this.#plan;
    if (details || starts) result.start.push(headerOf(answer.head, "x-ol-start"));
    if (!details) return;
    result.path.push(call.path);
    for (const [stage, us] of Object.entries(
      serverTimingUs(headerOf(answer.head, "server-timing")),
    )) {
      (result.stages[stage] ??= []).push(us);
    }
  }

  failed(connection: Connection, reason: string): void {
    this.#calls.delete(connection.slot);
    this.#connections--;
    this.#fail(reason, "");
    if (this.#connections === 0) this.#done.resolve();
    else this.#finishIfOver();
  }

  #fail(reason: string, body: string): void {
    this.#result.failures[reason] = (this.#result.failures[reason] ?? 0) + 1;
    if (this.#result.firstFailure === "") {
      this.#result.firstFailure = `${reason}: ${body.slice(0, FAILURE_CHARS)}`;
    }
  }

  #watch(timeoutMs: number): void {
    const oldest = this.#calls.values().next().value;
    if (oldest === undefined || nowUs() - oldest.intendedUs < timeoutMs * 1000) return;
    this.#fail("timeout", `no answer within ${timeoutMs} ms`);
    this.#done.resolve();
  }

  #finishIfOver(): void {
    if (this.#calls.size === 0 && this.#over(nowUs())) this.#done.resolve();
  }
}

let bursts = 0;

/** Marks the nonces of one burst. */
const nextRun = (): string => `${process.pid.toString(36)}-${(bursts++).toString(36)}`;

/**
 * @param plan what to send
 * @returns one entry per answered call
 * @throws {Error} when nothing listens at the port
 */
export async function generate(plan: LoadPlan): Promise<LoadResult> {
  if (plan.warmupCount > 0) {
    const clients = plan.arrivals.kind === "closed" ? plan.arrivals.clients : 1;
    const arrivals = { kind: "closed", clients } as const;
    // Other draws than those that are measured: else caches would be trained on their own test.
    const seed = `${plan.seed}/warm-up`;
    const count = plan.warmupCount;
    await new Burst({ ...plan, arrivals, count, seed, details: false }, nextRun()).run();
  }
  return await new Burst(plan, nextRun()).run();
}
