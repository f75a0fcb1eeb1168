import { RegistrationDigest, RegistrationHasher } from '../protocol/registration-digest.ts';
import type { Lanes } from '../protocol/registration-digest.ts';
import type { TextCodec } from '../store/fragment-bytes.ts';
import { InstanceList } from '../store/instance-list.ts';
import { InstanceTable } from '../store/instance-table.ts';
import type { InstanceRow } from '../store/instance-table.ts';

/** An instance that a session registered: what its partition would be rebuilt from. */
export interface Registration {
  readonly key: string;
  readonly id: string;
  /** The canonical JSON of the instance. */
  readonly fragment: string;
  /** The number of the request that made it. Of several claims to an instance the one with the highest shows (SE7). */
  readonly stamp: number;
}

/** What a registration is called: its service's key and its id. */
export type RegistrationName = Pick<Registration, 'key' | 'id'>;

/** How a registration stands among those of other sessions. */
export interface Standing {
  /** Another session has registered the instance since. */
  readonly isHidden: boolean;
  /** Whether the client knows that, possibly because it was never notified otherwise. */
  readonly isTold: boolean;
}

export type HeldRegistration = Registration & Pick<Standing, 'isHidden'>;

/** A registration on its way to another host; `standing` is what only logs read. */
export type MovedRegistration = Registration & { readonly standing: number };

/** Standings as bits, in the column that names owners in partitions. Nearly always 0, and then never written. */
const hiddenBit = 1;
const toldHiddenBit = 2;
/** The client has been notified since it registered it: the last notice may have been lost. */
const toldBit = 4;
/** It may have been: the client is to be notified again in any case. */
const doubtBit = 8;

/** Where all sessions of a host keep what they registered: outside the JavaScript heap, each service's key once. */
export class HostLog {
  readonly table: InstanceTable;
  readonly keys: KeyNumbers = new KeyNumbers();
  /** Registrations of sessions that a guard holds back. */
  heldCount = 0;
  readonly #hasher: RegistrationHasher = new RegistrationHasher();
  readonly #hashText = (bytes: Uint8Array, start: number, end: number): Lanes => this.#hasher.hash(bytes, start, end);

  constructor(codec: TextCodec) {
    this.table = new InstanceTable(codec);
  }

  /** What a row counts for in the digest of its session. */
  hashRow(row: number, key: string): Lanes {
    this.#hasher.setKey(key);
    return this.table.visitText(row, this.#hashText);
  }
}

/** What one session registered, in the order in which it did: SOFARegistry's compensation, from which a partition is rebuilt. */
export class SessionLog {
  readonly #host: HostLog;
  readonly #list: InstanceList;
  /** Kept up to date: of a text that has only just been stored it costs little, of many that lie far apart in memory much. */
  #digest: RegistrationDigest | undefined;
  #isHeld = false;

  constructor(host: HostLog) {
    this.#host = host;
    this.#list = new InstanceList(host.table);
  }

  get size(): number {
    return this.#list.size;
  }

  /** Whether a guard holds back its session, so that what it has counts among what is held. */
  setHeld(isHeld: boolean): void {
    if (isHeld === this.#isHeld) return;
    this.#isHeld = isHeld;
    this.#host.heldCount += isHeld ? this.size : -this.size;
  }

  has(key: string, id: string): boolean {
    return this.#find(key, id) !== -1;
  }

  get(key: string, id: string): HeldRegistration | undefined {
    const row = this.#find(key, id);
    return row === -1 ? undefined : this.#read(row, key, id);
  }

  stampOf(key: string, id: string): number | undefined {
    const row = this.#find(key, id);
    return row === -1 ? undefined : this.#host.table.stampOf(row);
  }

  /** Puts in a registration, which shows as far as is known. Returns the one that it replaces. */
  set({ key, id, fragment, stamp }: Registration): HeldRegistration | undefined {
    const { table, keys } = this.#host;
    const row = this.#find(key, id);
    if (row === -1) {
      this.#count(this.#list.add(keys.claim(key), id, { fragment, stamp, owner: 0 }), key);
      return undefined;
    }
    const before = this.#read(row, key, id);
    if (before.fragment === fragment) table.note(row, { stamp, owner: 0 });
    else this.#replace(row, key, { fragment, stamp, owner: 0 });
    return before;
  }

  /** Gives what is registered other content, and leaves the rest as it is. */
  revise(key: string, id: string, fragment: string): void {
    const row = this.#find(key, id);
    if (row === -1) return;
    const { table } = this.#host;
    this.#replace(row, key, { fragment, stamp: table.stampOf(row), owner: table.ownerOf(row) });
  }

  standingOf(key: string, id: string): Standing {
    const row = this.#find(key, id);
    const bits = row === -1 ? 0 : this.#host.table.ownerOf(row);
    const isHidden = (bits & hiddenBit) !== 0;
    return { isHidden, isTold: (bits & doubtBit) === 0 && isHidden === ((bits & toldHiddenBit) !== 0) };
  }

  noteHidden(key: string, id: string, isHidden: boolean): void {
    this.#noteBits(key, id, hiddenBit, isHidden ? hiddenBit : 0);
  }

  noteTold(key: string, id: string, isHidden: boolean): void {
    this.#noteBits(key, id, toldHiddenBit | toldBit | doubtBit, isHidden ? toldHiddenBit | toldBit : toldBit);
  }

  /** What the client was last notified of a registration may no longer be true. */
  noteDoubt(key: string, id: string): void {
    this.#noteBits(key, id, doubtBit, doubtBit);
  }

  /** Puts in a registration that comes from another host, as it stood there. */
  setMoved({ key, id, fragment, stamp, standing }: MovedRegistration): void {
    const { keys } = this.#host;
    const row = this.#find(key, id);
    if (row === -1) this.#count(this.#list.add(keys.claim(key), id, { fragment, stamp, owner: standing }), key);
    else this.#replace(row, key, { fragment, stamp, owner: standing });
  }

  /**
   * The client may have missed the last notice, since it comes back over another connection. Returns the registrations of which it is to be notified
   * again: those that are not visible, and those of which it was notified before.
   */
  doubtTold(): RegistrationName[] {
    const { table, keys } = this.#host;
    const doubtful: RegistrationName[] = [];
    for (const row of this.#list.rows()) {
      const bits = table.ownerOf(row);
      if (bits === 0) continue;
      doubtful.push({ key: keys.nameOf(table.tagOf(row)), id: table.idOf(row) });
      table.note(row, { stamp: table.stampOf(row), owner: bits | doubtBit });
    }
    return doubtful;
  }

  #noteBits(key: string, id: string, mask: number, value: number): void {
    const row = this.#find(key, id);
    if (row === -1) return;
    const { table } = this.#host;
    const bits = table.ownerOf(row);
    table.note(row, { stamp: table.stampOf(row), owner: (bits & ~mask) | value });
  }

  /** Returns whether it was there. */
  delete(key: string, id: string): boolean {
    const { keys, table } = this.#host;
    const row = this.#find(key, id);
    if (row === -1) return false;
    this.#digest?.subtractLanes(this.#host.hashRow(row, key));
    const number = table.tagOf(row);
    this.#list.remove(row);
    keys.release(number);
    if (this.#isHeld) this.#host.heldCount -= 1;
    return true;
  }

  #count(row: number, key: string): void {
    this.#digest ??= new RegistrationDigest();
    this.#digest.addLanes(this.#host.hashRow(row, key));
  }

  #replace(row: number, key: string, instance: InstanceRow): void {
    this.#digest?.subtractLanes(this.#host.hashRow(row, key));
    this.#host.table.replace(row, instance);
    this.#count(row, key);
  }

  /** The service of each registration. The log must not change meanwhile. */
  *services(): Generator<string, void, undefined> {
    const { table, keys } = this.#host;
    for (const row of this.#list.rows()) yield keys.nameOf(table.tagOf(row));
  }

  /** The names of all registrations, or of those of services that are wanted, as they are now. */
  names(isWanted: (key: string) => boolean = () => true): RegistrationName[] {
    const { table, keys } = this.#host;
    const names: RegistrationName[] = [];
    for (const row of this.#list.rows()) {
      const key = keys.nameOf(table.tagOf(row));
      if (isWanted(key)) names.push({ key, id: table.idOf(row) });
    }
    return names;
  }

  /** All registrations. The log must not change meanwhile. */
  *values(): Generator<HeldRegistration, void, undefined> {
    for (const { key, id } of this.names()) yield this.get(key, id)!;
  }

  #read(row: number, key: string, id: string): HeldRegistration {
    const { table } = this.#host;
    const isHidden = (table.ownerOf(row) & hiddenBit) !== 0;
    return { key, id, fragment: table.fragmentOf(row), stamp: table.stampOf(row), isHidden };
  }

  /** The first registrations, about this many characters of them, and one at least. */
  head(countMax: number, charactersMax: number): MovedRegistration[] {
    const { table, keys } = this.#host;
    const head: MovedRegistration[] = [];
    let characters = 0;
    for (const row of this.#list.rows()) {
      const [key, id] = [keys.nameOf(table.tagOf(row)), table.idOf(row)];
      const fragment = table.fragmentOf(row);
      head.push({ key, id, fragment, stamp: table.stampOf(row), standing: table.ownerOf(row) });
      characters += fragment.length;
      if (head.length >= countMax || characters >= charactersMax) break;
    }
    return head;
  }

  /** What the session holds, in 16 digits. */
  digest(): string {
    return (this.#digest ?? new RegistrationDigest()).toString();
  }

  #find(key: string, id: string): number {
    if (this.#list.size === 0) return -1;
    const number = this.#host.keys.find(key);
    return number === -1 ? -1 : this.#list.find(number, id);
  }
}

/** Numbers for keys, as long as something uses them. */
class KeyNumbers {
  readonly #numbers: Map<string, number> = new Map();
  readonly #names: string[] = [];
  readonly #uses: number[] = [];
  readonly #free: number[] = [];

  /** The number of a key that is in use, or -1. */
  find(key: string): number {
    return this.#numbers.get(key) ?? -1;
  }

  nameOf(number: number): string {
    return this.#names[number]!;
  }

  /** One use more. */
  claim(key: string): number {
    const known = this.#numbers.get(key);
    if (known !== undefined) {
      this.#uses[known]! += 1;
      return known;
    }
    const number = this.#free.pop() ?? this.#names.length;
    this.#numbers.set(key, number);
    this.#names[number] = key;
    this.#uses[number] = 1;
    return number;
  }

  /** One use less; a number without any may be another key's. */
  release(number: number): void {
    this.#uses[number]! -= 1;
    if (this.#uses[number]! > 0) return;
    this.#numbers.delete(this.#names[number]!);
    this.#names[number] = '';
    this.#free.push(number);
  }
}
