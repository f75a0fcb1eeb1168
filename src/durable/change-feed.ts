import type { ServerConfig } from '../config/config.ts';
import type { KeyChange, KeyTarget, StoreNews } from './commits.ts';
import { KeyTargets } from './key-targets.ts';
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
  readonly targets: KeyTargets<true>;
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

  /** Whether a caller that may watch so much may watch this, too. */
  hasRoom(caller: number, target: KeyTarget, watchesMax: number): boolean {
    const watcher = this.#watchers.get(caller);
    return watcher === undefined
      ? watchesMax > 0
      : watcher.targets.size < watchesMax || watcher.targets.get(target) === true;
  }

  /** Begins to tell a caller of something. Returns what has changed after a version, if that is known, and through which version; and how much was looked at for that. */
  watch(
    caller: number,
    target: KeyTarget,
    after: number | undefined,
  ): { version: number; changes: KeyChange[] | undefined; scannedBytes: number } {
    const watcher = this.#watcherOf(caller);
    watcher.targets.set(target, true);
    const version = watcher.toldVersion;
    const isKnown = after === undefined || (after >= this.#logAfter && after <= this.#version);
    const room = this.#options.limits.storeFeedBytesMax - watcher.unreadBytes;
    const first = this.#placeAfter(after ?? version);
    const { changes, bytes } = isKnown ? this.#collect(target, first, version, room) : unknown;
    if (bytes > 0) noteUnread(watcher, version, bytes);
    return { version, changes, scannedBytes: isKnown ? (this.#log.length - first) * changeBytes : 0 };
  }

  unwatch(caller: number, target: KeyTarget): void {
    const watcher = this.#watchers.get(caller);
    if (watcher?.targets.delete(target) === true && watcher.targets.size === 0) this.#watchers.delete(caller);
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
      if (!watcher.targets.hasMatch(change.key.slice(slotChars))) continue;
      changes.push(change);
      bytes += bytesOf(change);
    }
    watcher.toldVersion = through;
    if (changes.length === 0 && !isProgressDue) return;
    watcher.saidVersion = through;
    if (bytes > 0) noteUnread(watcher, through, bytes);
    this.#options.tell(caller, { kind: 'changed', through, changes });
  }

  #watcherOf(caller: number): Watcher {
    let watcher = this.#watchers.get(caller);
    if (watcher === undefined) {
      const toldVersion = this.#version;
      watcher = {
        targets: new KeyTargets(),
        toldVersion,
        saidVersion: toldVersion,
        unread: [],
        unreadBytes: 0,
      };
      this.#watchers.set(caller, watcher);
    }
    return watcher;
  }

  /** Nothing is known if it has more bytes than there is room for. */
  #collect({ kind, name }: KeyTarget, first: number, through: number, room: number): Collected {
    const changes: KeyChange[] = [];
    let bytes = 0;
    for (let at = first; at < this.#log.length; at++) {
      const change = this.#log[at]!;
      if (change.modifyVersion > through) break;
      if (!change.key.startsWith(name, slotChars)) continue;
      if (kind === 'key' && change.key.length !== slotChars + name.length) continue;
      bytes += bytesOf(change);
      if (bytes > room) return unknown;
      changes.push(change);
    }
    return { changes, bytes };
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

/** What is to be said of the past. */
interface Collected {
  readonly changes: KeyChange[] | undefined;
  readonly bytes: number;
}

const unknown: Collected = { changes: undefined, bytes: 0 };

function noteUnread(watcher: Watcher, through: number, bytes: number): void {
  watcher.unread.push({ through, bytes });
  watcher.unreadBytes += bytes;
}

function bytesOf({ key, payload }: KeyChange): number {
  return changeBytes + key.length + (payload?.length ?? 0);
}
