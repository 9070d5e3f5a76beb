/** How much each set of packages was asked for lately: counts that halve with time. */

import type { Clock } from "../common/clock.ts";
import { ZYGOTE_DEMAND_HALF_LIFE_MS, ZYGOTE_PROFILES_MAX_COUNT } from "../common/zygote-limits.ts";
import type { Need } from "./need.ts";

/** A count of events, where older ones weigh less. */
export class DecayingCount {
  #value = 0;
  #atUs: number;
  readonly #clock: Clock;

  /** @param clock where time comes from */
  constructor(clock: Clock) {
    this.#clock = clock;
    this.#atUs = clock.nowUs();
  }

  /** The count now. */
  get value(): number {
    const nowUs = this.#clock.nowUs();
    this.#value *= 2 ** (-(nowUs - this.#atUs) / (ZYGOTE_DEMAND_HALF_LIFE_MS * 1000));
    this.#atUs = nowUs;
    return this.#value;
  }

  /** @param by events that happened now; may be a decayed count of others */
  add(by: number): void {
    this.#value = this.value + by;
  }
}

/** One distinct need with its weight. */
export interface Profile {
  readonly need: Need;
  readonly count: DecayingCount;
}

/** The needs of late, by what they declare; the one not asked for longest is forgotten first. */
export class Demand {
  readonly #clock: Clock;
  readonly #profiles = new Map<string, Profile>();

  /** @param clock where time comes from */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param need of a cold start that happened now */
  note(need: Need): void {
    const known = this.#profiles.get(need.key);
    const profile = { need, count: known?.count ?? new DecayingCount(this.#clock) };
    profile.count.add(1);
    this.#profiles.delete(need.key);
    this.#profiles.set(need.key, profile);
    if (this.#profiles.size > ZYGOTE_PROFILES_MAX_COUNT) {
      const oldest = this.#profiles.keys().next();
      if (!oldest.done) this.#profiles.delete(oldest.value);
    }
  }

  /**
   * @param need a lambda's
   * @param max how many
   * @returns the most asked for that share a unit with it, itself included
   */
  related(need: Need, max: number): readonly Profile[] {
    const found: { profile: Profile; weight: number }[] = [];
    for (const profile of this.#profiles.values()) {
      if (profile.need.key !== need.key && !shares(profile.need, need)) continue;
      found.push({ profile, weight: profile.count.value });
    }
    return found
      .toSorted((a, b) => b.weight - a.weight)
      .slice(0, max)
      .map(({ profile }) => profile);
  }
}

function shares(a: Need, b: Need): boolean {
  for (const key of a.all.keys()) if (b.all.has(key)) return true;
  return false;
}
