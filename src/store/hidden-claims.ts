import { InstanceList } from './instance-list.ts';
import { readId } from './instance-table.ts';
import type { InstanceRow, InstanceTable } from './instance-table.ts';
import { persistentOwner } from './persistent-owner.ts';

type ClaimHead = Pick<InstanceRow, 'stamp' | 'owner'>;

/**
 * Claims to the instances of one service that do not show (SE7), in rows beside those that do: each session's older registration of an instance that another
 * one has registered since. Of one instance they have the tags 1, 2, … without a gap, in no order, so each look at them costs as many steps as it has claims.
 */
export class HiddenClaims {
  readonly #table: InstanceTable;
  readonly #list: InstanceList;
  #bytes = 0;

  constructor(table: InstanceTable) {
    this.#table = table;
    this.#list = new InstanceList(table);
  }

  /** Of all instances of the service. */
  get size(): number {
    return this.#list.size;
  }

  /** Bytes of their texts, and one more for each. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Of one instance. */
  count(id: string): number {
    let count = 0;
    while (this.#list.find(count + 1, id) !== -1) count += 1;
    return count;
  }

  /** The stamp of a session's claim, or undefined if it has none. */
  stampOf(id: string, owner: number): number | undefined {
    const tag = this.#find(id, owner);
    return tag === 0 ? undefined : this.#table.stampOf(this.#list.find(tag, id));
  }

  /** A session's claim, or undefined if it has none. */
  get(id: string, owner: number): InstanceRow | undefined {
    const tag = this.#find(id, owner);
    return tag === 0 ? undefined : this.#table.read(this.#list.find(tag, id));
  }

  /** The session must not have one yet. */
  add(id: string, claim: InstanceRow): void {
    this.#bytes += this.#table.bytesOf(this.#list.add(this.count(id) + 1, id, claim)) + 1;
  }

  /** Returns whether it was there. */
  remove(id: string, owner: number): boolean {
    const tag = this.#find(id, owner);
    if (tag === 0) return false;
    this.#take(tag, id);
    return true;
  }

  takeNewest(id: string): InstanceRow | undefined {
    return this.#takeBest(id, ({ stamp }, best) => best === undefined || stamp > best.stamp);
  }

  /** Of those that sessions have: what is persistent stays. */
  takeOldest(id: string): InstanceRow | undefined {
    return this.#takeBest(
      id,
      ({ stamp, owner }, best) => owner !== persistentOwner && (best === undefined || stamp < best.stamp),
    );
  }

  *of(id: string): Generator<InstanceRow, void, undefined> {
    for (let tag = 1; ; tag++) {
      const row = this.#list.find(tag, id);
      if (row === -1) return;
      yield this.#table.read(row);
    }
  }

  /** The rows of all of them. They must not change meanwhile. */
  rows(): Iterable<number> {
    return this.#list.rows();
  }

  *[Symbol.iterator](): Generator<[id: string, claim: InstanceRow], void, undefined> {
    for (const row of this.#list.rows()) {
      const claim = this.#table.read(row);
      yield [readId(claim.fragment), claim];
    }
  }

  clear(): void {
    this.#list.clear();
    this.#bytes = 0;
  }

  /** The tag of a session's claim, or 0. */
  #find(id: string, owner: number): number {
    for (let tag = 1; ; tag++) {
      const row = this.#list.find(tag, id);
      if (row === -1) return 0;
      if (this.#table.ownerOf(row) === owner) return tag;
    }
  }

  #takeBest(id: string, isBetter: (claim: ClaimHead, best: ClaimHead | undefined) => boolean): InstanceRow | undefined {
    let bestTag = 0;
    let best: ClaimHead | undefined;
    for (let tag = 1; ; tag++) {
      const row = this.#list.find(tag, id);
      if (row === -1) break;
      const claim = { stamp: this.#table.stampOf(row), owner: this.#table.ownerOf(row) };
      if (!isBetter(claim, best)) continue;
      bestTag = tag;
      best = claim;
    }
    return bestTag === 0 ? undefined : this.#take(bestTag, id);
  }

  /** The last one moves into the gap. */
  #take(tag: number, id: string): InstanceRow {
    const row = this.#list.find(tag, id);
    const taken = this.#table.read(row);
    this.#bytes -= this.#table.bytesOf(row) + 1;
    const last = this.count(id);
    if (last !== tag) this.#table.replace(row, this.#table.read(this.#list.find(last, id)));
    this.#list.delete(last, id);
    return taken;
  }
}
