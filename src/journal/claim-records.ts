import type { FrameBuffer } from './frame-buffer.ts';
import { KeyReader } from './key-reader.ts';

/** The canonical JSON of an instance, where it lies in what was read, which is the reader's. */
export interface ReadFragment {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  readonly isAscii: boolean;
}

/** What a session claims, or claimed: its service's key, and who. */
export interface JournalledClaim {
  readonly fragment: string;
  readonly owner: number;
  readonly stamp: number;
}

/** What becomes of the records of a segment that are read. Keys, ids and fragments are as they were written; fragments are the taker's only during the call. */
export interface ClaimRecordTaker {
  /**
   * The claims of the service follow. `version` 0: they come from another partition, which has them until all have come. `epoch`: of the table that has given the service to this
   * partition, with all that has come of it; 0: it has been this partition's.
   */
  begin(key: string, version: number, epoch: number): void;
  /** A session has this claim. `version`: the service's, with it. */
  put(key: string, fragment: ReadFragment, owner: number, stamp: number, version: number): void;
  /** A session has made the same claim again. */
  restamp(key: string, id: string, owner: number, stamp: number): void;
  /** A session's claim has ended, unless it has made it again after `stamp`. */
  end(key: string, id: string, owner: number, stamp: number, version: number): void;
  /** The service continues from a higher version although nothing has changed. */
  raise(key: string, version: number): void;
  /** No service that has been forgotten had a version above this. */
  floor(version: number): void;
  /** These slots are another's, with all that they hold. */
  giveAway(slots: readonly number[]): void;
}

const kinds = { begin: 1, put: 2, restamp: 3, end: 4, raise: 5, floor: 6, giveAway: 7 } as const;

/** A kind, flags, and the lengths of two texts. */
const startBytes = 8;
const numberBytes = 8;
const asciiKey = 1;
const asciiText = 2;

/** Writes records, each about a service in a slot. */
export class ClaimRecordWriter {
  readonly #journal: { readonly frames: FrameBuffer };

  constructor(journal: { readonly frames: FrameBuffer }) {
    this.#journal = journal;
  }

  begin(slot: number, key: string, version: number, epoch = 0): void {
    this.#write(kinds.begin, slot, key, '', version, 0, epoch);
  }

  put(slot: number, key: string, { fragment, owner, stamp }: JournalledClaim, version: number): void {
    this.#write(kinds.put, slot, key, fragment, version, owner, stamp);
  }

  restamp(slot: number, key: string, id: string, { owner, stamp }: Omit<JournalledClaim, 'fragment'>): void {
    this.#write(kinds.restamp, slot, key, id, 0, owner, stamp);
  }

  end(slot: number, key: string, id: string, claim: Omit<JournalledClaim, 'fragment'>, version: number): void {
    this.#write(kinds.end, slot, key, id, version, claim.owner, claim.stamp);
  }

  raise(slot: number, key: string, version: number): void {
    this.#write(kinds.raise, slot, key, '', version);
  }

  floor(version: number): void {
    const { frames } = this.#journal;
    // What concerns all slots is in a frame that says so.
    frames.reserve(0, 0xffff);
    const at = frames.reserve(startBytes + numberBytes, 0);
    this.#start(frames, at, kinds.floor, 0, 0, 0);
    frames.view.setFloat64(at + startBytes, version, true);
  }

  giveAway(slots: readonly number[]): void {
    const { frames } = this.#journal;
    for (const slot of slots) {
      const at = frames.reserve(startBytes + numberBytes, slot);
      this.#start(frames, at, kinds.giveAway, 0, 0, 0);
      frames.view.setFloat64(at + startBytes, slot, true);
    }
  }

  #write(kind: number, slot: number, key: string, text: string, version: number, owner = 0, stamp = 0): void {
    const keyBytes = Buffer.byteLength(key);
    const textBytes = Buffer.byteLength(text);
    const { frames } = this.#journal;
    const at = frames.reserve(startBytes + 3 * numberBytes + keyBytes + textBytes, slot);
    const { view, bytes } = frames;
    const flags = (keyBytes === key.length ? asciiKey : 0) + (textBytes === text.length ? asciiText : 0);
    this.#start(frames, at, kind, flags, keyBytes, textBytes);
    let next = at + startBytes;
    view.setFloat64(next, version, true);
    view.setFloat64(next + numberBytes, owner, true);
    view.setFloat64(next + 2 * numberBytes, stamp, true);
    next += 3 * numberBytes;
    bytes.write(key, next, keyBytes, keyBytes === key.length ? 'latin1' : 'utf8');
    bytes.write(text, next + keyBytes, textBytes, textBytes === text.length ? 'latin1' : 'utf8');
  }

  #start({ view }: FrameBuffer, at: number, kind: number, flags: number, keyBytes: number, textBytes: number): void {
    view.setUint8(at, kind);
    view.setUint8(at + 1, flags);
    view.setUint16(at + 2, keyBytes, true);
    view.setUint32(at + 4, textBytes, true);
  }
}

/** Reads the records of a payload, in order; whoever calls has checked that it is whole. Throws at a record that this edition does not know. */
export class ClaimRecordReader {
  readonly #taker: ClaimRecordTaker;
  readonly #keys: KeyReader = new KeyReader();

  constructor(taker: ClaimRecordTaker) {
    this.#taker = taker;
  }

  read(payload: Buffer): void {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
    for (let at = 0; at < payload.length;) at = this.#readRecord(payload, view, at);
  }

  #readRecord(payload: Buffer, view: DataView, at: number): number {
    const kind = view.getUint8(at);
    const taker = this.#taker;
    const first = view.getFloat64(at + startBytes, true);
    if (kind === kinds.floor || kind === kinds.giveAway) {
      if (kind === kinds.floor) taker.floor(first);
      else taker.giveAway([first]);
      return at + startBytes + numberBytes;
    }
    const flags = view.getUint8(at + 1);
    const keyAt = at + startBytes + 3 * numberBytes;
    const textAt = keyAt + view.getUint16(at + 2, true);
    const end = textAt + view.getUint32(at + 4, true);
    const key = this.#keys.read(payload, keyAt, textAt, (flags & asciiKey) !== 0);
    const isAscii = (flags & asciiText) !== 0;
    const readText = (): string => payload.toString(isAscii ? 'latin1' : 'utf8', textAt, end);
    const owner = view.getFloat64(at + startBytes + numberBytes, true);
    const stamp = view.getFloat64(at + startBytes + 2 * numberBytes, true);
    switch (kind) {
      case kinds.begin:
        taker.begin(key, first, stamp);
        break;
      case kinds.put:
        taker.put(key, { bytes: payload, start: textAt, end, isAscii }, owner, stamp, first);
        break;
      case kinds.restamp:
        taker.restamp(key, readText(), owner, stamp);
        break;
      case kinds.end:
        taker.end(key, readText(), owner, stamp, first);
        break;
      case kinds.raise:
        taker.raise(key, first);
        break;
      default:
        throw new Error(`a record of kind ${kind}`);
    }
    return end;
  }
}
