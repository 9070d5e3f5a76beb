/** Ends zygotes: the least useful per byte first, leaves before parents, never one that is in use. */

import type { ZygoteHost } from "./contract.ts";
import type { Candidate } from "./planner.ts";
import type { ZygoteNode, ZygoteTree } from "./tree.ts";

/** A newcomer must be this many times as useful as what it displaces, or two would take turns. */
const DISPLACE_FACTOR = 1.5;
/** A newcomer must have been asked for this often of late before something is ended for it. */
const DISPLACE_WEIGHT_MIN = 1.5;
/** Smaller measurements are noise. */
const MEMORY_MIN_BYTES = 1 << 20;

/** Keeps a tree of zygotes within its budget. */
export class Evictor {
  readonly #tree: ZygoteTree;
  readonly #host: ZygoteHost;
  readonly #onEnded: () => void;
  readonly #ending = new Set<Promise<void>>();
  readonly #budgetBytes: number;
  /** Of zygotes that are out of the tree and not gone yet. */
  #endingBytes = 0;
  #evictions = 0;

  /**
   * @param tree whose zygotes to end
   * @param host who ends them
   * @param budgetBytes what all zygotes together may take
   * @param onEnded called when one has ended
   */
  constructor(tree: ZygoteTree, host: ZygoteHost, budgetBytes: number, onEnded: () => void) {
    this.#onEnded = onEnded;
    this.#tree = tree;
    this.#host = host;
    this.#budgetBytes = budgetBytes;
  }

  /** Zygotes ended for memory. */
  get evictions(): number {
    return this.#evictions;
  }

  /** Memory of all zygotes as last measured, in bytes. */
  get usedBytes(): number {
    return this.#tree.nodes().reduce((sum, node) => sum + node.memoryBytes, 0);
  }

  /** The same with what is still on its way out. */
  get heldBytes(): number {
    return this.usedBytes + this.#endingBytes;
  }

  /** Reads the memory of every zygote. */
  measure(): void {
    for (const node of this.#tree.nodes()) node.memoryBytes = this.#host.memoryBytes(node.id);
  }

  /** @returns whether nothing hangs on it */
  isIdle(node: ZygoteNode): boolean {
    if (node.children.size > 0 || node.pins > 0 || node.isKept) return false;
    return this.#host.liveSandboxes(node.id) === 0;
  }

  /**
   * @param bytes how much is to be freed
   * @returns the least useful zygotes which only their sandboxes hold, as many as it takes
   */
  heldBySandboxes(bytes: number): readonly string[] {
    const held = this.#tree
      .nodes()
      .filter((node) => node.children.size === 0 && node.pins === 0 && !node.isKept)
      .toSorted((a, b) => density(a) - density(b));
    const found: string[] = [];
    let missing = bytes;
    for (const node of held) {
      if (missing <= 0) break;
      found.push(node.id);
      missing -= node.memoryBytes;
    }
    return found;
  }

  /** Ends what exceeds the budget, as far as it is not in use. */
  shrink(): void {
    this.measure();
    this.free(this.usedBytes - this.#budgetBytes);
  }

  /**
   * @param bytes how much to free
   * @returns how much that was, in bytes
   */
  free(bytes: number): number {
    let freed = 0;
    while (freed < bytes) {
      const victim = this.#worst(new Set(), null);
      if (victim === null) break;
      freed += victim.memoryBytes;
      this.#evict(victim);
    }
    return freed;
  }

  /**
   * Frees memory for a zygote that is clearly more useful than what it displaces; all or nothing.
   * @param bytes how much it lacks
   * @param candidate what it is
   * @returns whether there is room now
   */
  freeFor(bytes: number, candidate: Candidate): boolean {
    if (candidate.weight < DISPLACE_WEIGHT_MIN) return false;
    const victims = new Set<ZygoteNode>();
    let freed = 0;
    while (freed < bytes) {
      const victim = this.#worst(victims, candidate.parent);
      if (victim === null || density(victim) * DISPLACE_FACTOR > candidate.density) return false;
      victims.add(victim);
      freed += victim.memoryBytes;
    }
    for (const victim of victims) this.#evict(victim);
    return true;
  }

  /** @param node that another has replaced, or that is given up */
  retire(node: ZygoteNode): void {
    if (this.#tree.get(node.id) !== node) return;
    node.retired = true;
    this.endRetired();
  }

  /** Ends what was replaced and is no longer used. */
  endRetired(): void {
    for (const node of this.#tree.nodes()) if (node.retired && this.isIdle(node)) this.#evict(node);
  }

  /** @param node that is out of the tree already */
  end(node: ZygoteNode): void {
    const ending = this.#endNow(node).finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }

  async #endNow(node: ZygoteNode): Promise<void> {
    const { memoryBytes } = node;
    this.#endingBytes += memoryBytes;
    try {
      await this.#host.destroyZygote(node.id);
    } catch {
      // The host reports what it cannot end; it is out of the tree in any case.
    }
    this.#endingBytes -= memoryBytes;
    this.#onEnded();
    // Only now can its parent be without anything alive.
    if (this.usedBytes > this.#budgetBytes) this.shrink();
  }

  /** @returns when everything that was to end has ended */
  async settled(): Promise<void> {
    while (this.#ending.size > 0) await Promise.all(this.#ending);
  }

  /** @returns the least useful one that could go now, or null */
  #worst(gone: ReadonlySet<ZygoteNode>, except: ZygoteNode | null): ZygoteNode | null {
    let worst: ZygoteNode | null = null;
    for (const node of this.#tree.nodes()) {
      if (node === except || gone.has(node)) continue;
      if (worst !== null && density(node) >= density(worst)) continue;
      if (this.isIdle(node)) worst = node;
    }
    return worst;
  }

  #evict(node: ZygoteNode): void {
    // Its users fall back to its parent, which is then that much more useful.
    node.parent?.demand.add(node.demand.value);
    for (const removed of this.#tree.removeSubtree(node)) this.end(removed);
    this.#evictions += 1;
  }
}

/** Import time saved of late, in microseconds per byte. */
function density(node: ZygoteNode): number {
  if (node.retired) return 0;
  return (node.demand.value * node.importUs) / Math.max(MEMORY_MIN_BYTES, node.memoryBytes);
}
