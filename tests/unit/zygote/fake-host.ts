/** A `ZygoteHost` without processes: imports cost what a table says, and rules are checked as it goes. */

import type { ImportUnit, InstalledPackages } from "../../../src/packages/contract.ts";
import type { ZygoteHost, ZygoteSpec } from "../../../src/zygote/contract.ts";

interface Zygote {
  readonly parent: string | null;
  readonly imports: ReadonlySet<string>;
  readonly spec: ZygoteSpec;
  handlers: number;
}

/** Import time and memory of one module. */
export interface ModuleCost {
  readonly us: number;
  readonly bytes: number;
}

export const MIB = 1 << 20;

export class FakeHost implements ZygoteHost {
  readonly zygotes = new Map<string, Zygote>();
  readonly costs = new Map<string, ModuleCost>();
  /** Modules whose import raises. */
  readonly broken = new Set<string>();
  /** Ids that were ended while something lived in them. */
  readonly violations: string[] = [];
  creations = 0;
  /** Waited for before a creation ends. */
  gate: Promise<void> = Promise.resolve();
  /** Everything that was asked for, in order. */
  readonly specs: ZygoteSpec[] = [];
  readonly #making = new Map<string, (error: Error) => void>();

  cost(module: string): ModuleCost {
    return this.costs.get(module) ?? { us: 100_000, bytes: 10 * MIB };
  }

  async createZygote(parent: string | null, spec: ZygoteSpec): Promise<{ importUs: number }> {
    const above = parent === null ? null : this.zygotes.get(parent);
    if (above === undefined) throw new Error(`no zygote ${parent}`);
    this.creations += 1;
    this.specs.push(spec);
    const cancelled = Promise.withResolvers<never>();
    this.#making.set(spec.id, cancelled.reject);
    try {
      await Promise.race([this.gate, cancelled.promise]);
    } finally {
      this.#making.delete(spec.id);
    }
    if (spec.imports.some((module) => this.broken.has(module))) throw new Error("import raised");
    const imports = new Set([...(above?.imports ?? []), ...spec.imports]);
    this.zygotes.set(spec.id, { parent, imports, spec, handlers: 0 });
    return { importUs: spec.imports.reduce((sum, module) => sum + this.cost(module).us, 0) };
  }

  async destroyZygote(id: string): Promise<void> {
    this.#making.get(id)?.(new Error("it was ended while it was made"));
    if (this.zygotes.has(id) && this.liveSandboxes(id) > 0) this.violations.push(id);
    await Promise.resolve();
    this.zygotes.delete(id);
  }

  /** What `kill -9` does: all below goes with it. */
  kill(id: string): void {
    for (const [child, { parent }] of this.zygotes) if (parent === id) this.kill(child);
    this.zygotes.delete(id);
  }

  memoryBytes(id: string): number {
    const imports = this.zygotes.get(id)?.spec.imports ?? [];
    return imports.reduce((sum, module) => sum + this.cost(module).bytes, 0);
  }

  liveSandboxes(id: string): number {
    let alive = this.zygotes.get(id)?.handlers ?? 0;
    for (const { parent } of this.zygotes.values()) if (parent === id) alive += 1;
    return alive;
  }

  /** @returns modules imported in a zygote, its ancestors' included; none for the root */
  importsOf(id: string | null): ReadonlySet<string> {
    return (id === null ? undefined : this.zygotes.get(id)?.imports) ?? new Set();
  }
}

const module = (name: string): string => name.split("@")[0] ?? name;

/**
 * @param declared modules of as many distributions, as `name` or `name@version`
 * @param requires what each of these needs
 * @returns a lambda's packages, as the install cache would give them
 */
export function packages(
  declared: readonly string[],
  requires: Readonly<Record<string, readonly string[]>> = {},
): InstalledPackages {
  const found = new Set<string>();
  const add = (name: string): void => {
    if (found.has(name)) return;
    found.add(name);
    for (const other of requires[name] ?? []) add(other);
  };
  for (const name of declared) add(name);
  const closure = (name: string, into = new Set<string>()): Set<string> => {
    if (into.has(name)) return into;
    into.add(name);
    for (const other of requires[name] ?? []) closure(other, into);
    return into;
  };
  const units: ImportUnit[] = [...found].toSorted().map((name) => ({
    module: module(name),
    dirs: [name, ...[...closure(name)].filter((one) => one !== name).toSorted()],
    declared: declared.includes(name),
    standard: true,
  }));
  return {
    dirs: [...found].toSorted().map((dir) => ({ dir, modules: [module(dir)] })),
    imports: declared.map(module),
    units,
  };
}

export class FakeClock {
  ms = 0;
  nowUs(): number {
    return this.ms * 1000;
  }
  wallMs(): number {
    return this.ms;
  }
}
