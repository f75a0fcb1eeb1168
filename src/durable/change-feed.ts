import type { ServerConfig } from '../config/config.ts';
import type { KeyChange, StoreNews } from './commits.ts';
import type { RowChange } from './store-backend.ts';

export interface ChangeFeedOptions {
  readonly limits: Pick<ServerConfig, 'storeLogBytesMax' | 'storeFeedBytesMax'>;
  readonly tell: (caller: number, news: StoreNews) => void;
  /** The last commit before this feed; nothing is known of what changed until then. */
  readonly version: number;
}

/** What a change counts for beside its key and payload, in bytes. */
const changeBytes = 64;
/** Digits of a slot and the stroke behind it: what stands before a key in its row. */
const slotChars = 6;

/** One caller that watches. */
interface Watcher {
  readonly prefixes: Set<string>;
  /** How many of its prefixes have each length: a key is looked up once for each. */
  readonly lengths: Map<number, number>;
  /** It has been told all that it watches through here. */
  toldVersion: number;
  /** And knows that. */
  saidVersion: number;
  /** Told and not read yet: through which version, and how many bytes. */
  readonly unread: { readonly through: number; readonly bytes: number }[];
  unreadBytes: number;
}

/**
 * Tells those who watch of changes of keys, in the order of versions. What a watcher cannot take yet waits in the log, which all share; one that the log has
 * overtaken is told that it has missed something.
 */
export class ChangeFeed {
  readonly #options: ChangeFeedOptions;
  readonly #watchers: Map<number, Watcher> = new Map();
  /** In the order of versions. Those before `#first` are forgotten, and go when they are many. */
  #log: KeyChange[] = [];
  #first = 0;
  #logBytes = 0;
  /** Everything after this is in the log. */
  #logAfter: number;
  #version: number;

  constructor(options: ChangeFeedOptions) {
    this.#options = options;
    this.#logAfter = options.version;
    this.#version = options.version;
  }

  /** A commit has been stored. */
  note(changes: readonly RowChange[], version: number): void {
    for (const { table, key, row } of changes) {
      if (table !== 'keys') continue;
      this.#append({ key, payload: row?.payload, createVersion: row?.createVersion ?? 0, modifyVersion: version });
    }
    this.#version = version;
    while (this.#logBytes > this.#options.limits.storeLogBytesMax) this.#forgetFirst();
  }

  /** How many prefixes a caller watches. */
  countWatches(caller: number): number {
    return this.#watchers.get(caller)?.prefixes.size ?? 0;
  }

  /** Begins to tell a caller of a prefix. Returns what has changed after a version, if that is known, and through which version. */
  watch(
    caller: number,
    prefix: string,
    after: number | undefined,
  ): { version: number; changes: KeyChange[] | undefined } {
    const watcher = this.#watcherOf(caller);
    if (!watcher.prefixes.has(prefix)) {
      watcher.prefixes.add(prefix);
      watcher.lengths.set(prefix.length, (watcher.lengths.get(prefix.length) ?? 0) + 1);
    }
    const version = watcher.toldVersion;
    const isKnown = after === undefined || (after >= this.#logAfter && after <= this.#version);
    return { version, changes: isKnown ? this.#collect(prefix, after ?? version, version) : undefined };
  }

  unwatch(caller: number, prefix: string): void {
    const watcher = this.#watchers.get(caller);
    if (watcher?.prefixes.delete(prefix) !== true) return;
    const count = watcher.lengths.get(prefix.length)! - 1;
    if (count > 0) watcher.lengths.set(prefix.length, count);
    else watcher.lengths.delete(prefix.length);
    if (watcher.prefixes.size === 0) this.#watchers.delete(caller);
  }

  /** A caller has read what it was told through a version. */
  noteRead(caller: number, through: number): void {
    const watcher = this.#watchers.get(caller);
    while (watcher?.unread[0] !== undefined && watcher.unread[0].through <= through) {
      watcher.unreadBytes -= watcher.unread.shift()!.bytes;
    }
  }

  forget(caller: number): void {
    this.#watchers.delete(caller);
  }

  /** Tells all who have room for it what is new to them. `isProgressDue`: those that nothing new concerns, too, so that they can resume from here. */
  tell(isProgressDue: boolean): void {
    for (const [caller, watcher] of this.#watchers) this.#tell(caller, watcher, isProgressDue);
  }

  #tell(caller: number, watcher: Watcher, isProgressDue: boolean): void {
    const { storeFeedBytesMax } = this.#options.limits;
    if (watcher.toldVersion === this.#version && (!isProgressDue || watcher.saidVersion === this.#version)) return;
    if (watcher.unreadBytes >= storeFeedBytesMax) return;
    if (watcher.toldVersion < this.#logAfter) {
      watcher.toldVersion = this.#version;
      watcher.saidVersion = this.#version;
      this.#options.tell(caller, { kind: 'missed', through: this.#version });
      return;
    }
    const changes: KeyChange[] = [];
    let through = this.#version;
    let bytes = 0;
    for (let at = this.#placeAfter(watcher.toldVersion); at < this.#log.length; at++) {
      const change = this.#log[at]!;
      // A commit is told as a whole.
      const last = changes.at(-1);
      if (
        watcher.unreadBytes + bytes >= storeFeedBytesMax &&
        last !== undefined &&
        last.modifyVersion < change.modifyVersion
      ) {
        through = last.modifyVersion;
        break;
      }
      if (!matches(watcher, change.key)) continue;
      changes.push(change);
      bytes += bytesOf(change);
    }
    watcher.toldVersion = through;
    if (changes.length === 0 && !isProgressDue) return;
    watcher.saidVersion = through;
    if (bytes > 0) watcher.unread.push({ through, bytes });
    watcher.unreadBytes += bytes;
    this.#options.tell(caller, { kind: 'changed', through, changes });
  }

  #watcherOf(caller: number): Watcher {
    let watcher = this.#watchers.get(caller);
    if (watcher === undefined) {
      const toldVersion = this.#version;
      watcher = {
        prefixes: new Set(),
        lengths: new Map(),
        toldVersion,
        saidVersion: toldVersion,
        unread: [],
        unreadBytes: 0,
      };
      this.#watchers.set(caller, watcher);
    }
    return watcher;
  }

  /** Undefined: too much to be told at once. */
  #collect(prefix: string, after: number, through: number): KeyChange[] | undefined {
    const changes: KeyChange[] = [];
    let bytes = 0;
    for (let at = this.#placeAfter(after); at < this.#log.length; at++) {
      const change = this.#log[at]!;
      if (change.modifyVersion > through) break;
      if (!change.key.startsWith(prefix, slotChars)) continue;
      bytes += bytesOf(change);
      if (bytes > this.#options.limits.storeFeedBytesMax) return undefined;
      changes.push(change);
    }
    return changes;
  }

  #append(change: KeyChange): void {
    this.#log.push(change);
    this.#logBytes += bytesOf(change);
  }

  #forgetFirst(): void {
    const change = this.#log[this.#first]!;
    this.#logBytes -= bytesOf(change);
    this.#logAfter = change.modifyVersion;
    this.#first += 1;
    if (this.#first * 2 < this.#log.length) return;
    this.#log = this.#log.slice(this.#first);
    this.#first = 0;
  }

  /** Where the first change after a version is. */
  #placeAfter(version: number): number {
    let low = this.#first;
    let high = this.#log.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#log[middle]!.modifyVersion <= version) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function matches({ prefixes, lengths }: Watcher, key: string): boolean {
  for (const length of lengths.keys()) if (prefixes.has(key.slice(slotChars, slotChars + length))) return true;
  return false;
}

function bytesOf({ key, payload }: KeyChange): number {
  return changeBytes + key.length + (payload?.length ?? 0);
}
