import { endsWithCheck, hasCheck } from '../protocol/check-definition.ts';
import type { EncodedText } from './fragment-bytes.ts';
import { HiddenClaims } from './hidden-claims.ts';
import { InstanceList } from './instance-list.ts';
import { isMarked, isMarkedText, offMark, readMark, takeMarkOff } from './instance-mark.ts';
import { readId } from './instance-table.ts';
import type { InstanceRow, InstanceTable } from './instance-table.ts';

/** An instance as its partition holds it: never parsed, only compared and joined. */
export type StoredInstance = InstanceRow;

/** Rows of services are distinguished by their list alone. */
const tag = 0;

/** A session's claim to an instance; of several the newest shows (SE7). */
export interface Claim {
  readonly owner: number;
  readonly stamp: number;
  readonly isShown: boolean;
}

/** Whose claim to which instance. */
export interface ClaimName {
  readonly id: string;
  readonly owner: number;
}

/**
 * The instances of one service, by id, in the order in which they came; rows of the partition's table. An instance is the claim that shows; what others
 * claim is kept aside, which costs nothing as long as nobody does.
 */
export class ServiceInstances {
  readonly #table: InstanceTable;
  readonly #list: InstanceList;
  #hidden: HiddenClaims | undefined;
  /** Whether any of them had a check since there were none: most services never do, and need not look. */
  mayHaveChecks = false;
  /** Of those that show. */
  #bytes = 0;
  #marked = 0;
  #off = 0;

  constructor(table: InstanceTable) {
    this.#table = table;
    this.#list = new InstanceList(table);
  }

  get size(): number {
    return this.#list.size;
  }

  /** Instances that operators have ordered something for, as marks of their texts say. */
  get markedCount(): number {
    return this.#marked;
  }

  /** Those among them that are off. */
  get offCount(): number {
    return this.#off;
  }

  /** Claims that do not show; undefined: there are none, of no instance. */
  get hidden(): HiddenClaims | undefined {
    return this.hiddenCount === 0 ? undefined : this.#hidden;
  }

  get hiddenCount(): number {
    return this.#hidden?.size ?? 0;
  }

  /** Keeps a claim behind the one that shows. The session must not have one yet. */
  hide(id: string, claim: StoredInstance): void {
    this.#hidden ??= new HiddenClaims(this.#table);
    this.#hidden.add(id, claim);
    this.mayHaveChecks ||= hasCheck(takeMarkOff(claim.fragment));
  }

  /** All claims to an instance, the one that shows first. */
  claims(id: string): Claim[] {
    const row = this.find(id);
    if (row === -1) return [];
    const shown = { owner: this.#table.ownerOf(row), stamp: this.#table.stampOf(row), isShown: true };
    const hidden = [...(this.#hidden?.of(id) ?? [])].map(({ owner, stamp }) => ({ owner, stamp, isShown: false }));
    return [shown, ...hidden];
  }

  /** A session's claim to an instance, with its content; undefined: it has none. */
  claimOf(id: string, owner: number): (StoredInstance & { readonly isShown: boolean }) | undefined {
    const row = this.find(id);
    if (row === -1) return undefined;
    if (this.#table.ownerOf(row) === owner) return { ...this.#table.read(row), isShown: true };
    const hidden = this.#hidden?.get(id, owner);
    return hidden === undefined ? undefined : { ...hidden, isShown: false };
  }

  /** The claims of some sessions, whether they show or not. */
  namesOf(isWanted: (owner: number) => boolean): ClaimName[] {
    const names: ClaimName[] = [];
    for (const row of this.#list.rows()) this.#addName(row, isWanted, names);
    for (const row of this.#hidden?.rows() ?? []) this.#addName(row, isWanted, names);
    return names;
  }

  #addName(row: number, isWanted: (owner: number) => boolean, names: ClaimName[]): void {
    const owner = this.#table.ownerOf(row);
    if (isWanted(owner)) names.push({ id: this.#table.idOf(row), owner });
  }

  /** Bytes of all of them as a JSON array, but for its brackets, if the claims that do not show were among them. */
  get bytes(): number {
    return this.#bytes + (this.#hidden?.bytes ?? 0);
  }

  /** Bytes of one of them. */
  bytesOf(row: number): number {
    return this.#table.bytesOf(row);
  }

  /** The row of an instance, or -1. Valid until one goes. */
  find(id: string): number {
    return this.#list.find(tag, id);
  }

  read(row: number): StoredInstance {
    return this.#table.read(row);
  }

  fragmentOf(id: string): string | undefined {
    const row = this.#list.find(tag, id);
    return row === -1 ? undefined : this.#table.fragmentOf(row);
  }

  /** It must not be there yet. */
  add(id: string, instance: StoredInstance): void {
    this.mayHaveChecks ||= hasCheck(takeMarkOff(instance.fragment));
    this.#bytes += this.#table.bytesOf(this.#list.add(tag, id, instance)) + 1;
    if (isMarked(instance.fragment)) this.#tally(instance.fragment, 1);
  }

  /** As {@link add} does, from bytes. */
  addEncoded(id: string, text: EncodedText, claim: Omit<StoredInstance, 'fragment'>): void {
    const { bytes, end } = text;
    this.mayHaveChecks ||= endsWithCheck(bytes[end - 3] ?? 0, bytes[end - 2] ?? 0, bytes[end - 1] ?? 0);
    this.#bytes += this.#table.bytesOf(this.#list.addEncoded(tag, id, text, claim)) + 1;
    if (!isMarkedText(text.bytes, text.start, text.end)) return;
    const fragment = this.#table.decode(text);
    this.#tally(fragment, 1);
    this.mayHaveChecks ||= hasCheck(takeMarkOff(fragment));
  }

  replace(row: number, instance: StoredInstance): void {
    this.mayHaveChecks ||= hasCheck(takeMarkOff(instance.fragment));
    if (this.#marked > 0) this.#tally(this.#table.fragmentOf(row), -1);
    if (isMarked(instance.fragment)) this.#tally(instance.fragment, 1);
    this.#bytes -= this.#table.bytesOf(row);
    this.#table.replace(row, instance);
    this.#bytes += this.#table.bytesOf(row);
  }

  /** The content stays as it is. */
  note(row: number, instance: Omit<StoredInstance, 'fragment'>): void {
    this.#table.note(row, instance);
  }

  /** No other session claims it. */
  delete(id: string): boolean {
    const row = this.#list.find(tag, id);
    if (row === -1) return false;
    if (this.#marked > 0) this.#tally(this.#table.fragmentOf(row), -1);
    this.#bytes -= this.#table.bytesOf(row) + 1;
    this.#list.remove(row);
    return true;
  }

  clear(): void {
    this.#list.clear();
    this.#hidden?.clear();
    this.#hidden = undefined;
    this.#bytes = 0;
    this.mayHaveChecks = false;
    this.#marked = 0;
    this.#off = 0;
  }

  #tally(fragment: string, change: number): void {
    const mark = readMark(fragment);
    if (mark === '') return;
    this.#marked += change;
    if (mark === offMark) this.#off += change;
  }

  *fragments(): Generator<string, void, undefined> {
    for (const row of this.#list.rows()) yield this.#table.fragmentOf(row);
  }

  *[Symbol.iterator](): Generator<[id: string, instance: StoredInstance], void, undefined> {
    for (const row of this.#list.rows()) {
      const instance = this.#table.read(row);
      yield [readId(instance.fragment), instance];
    }
  }
}
