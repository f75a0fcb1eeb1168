import { slotCount, slotOf } from '../slots/slot.ts';

/** What becomes of a key when the session that holds it ends. */
export type LockEnd = 'release' | 'delete';

/**
 * A key as its partition holds it. The value is base64 text rather than bytes: it crosses threads and JSON as it is, equal values are equal texts, and only HTTP callers need it decoded.
 * That costs a third more memory, within a bound.
 */
export interface KeyRow {
  readonly key: string;
  /** Canonical base64. */
  readonly value: string;
  /** An unsigned number of 64 bits, in decimal: many are beyond what a number can hold exactly. */
  readonly flags: string;
  readonly createVersion: number;
  readonly modifyVersion: number;
  /** How often it has been acquired. */
  readonly lockIndex: number;
  /** The commit by which its holder acquired it, which rises with each holder; 0: nobody holds it. */
  readonly fence: number;
  /** Whose it is: names a session without saying its secret; empty: nobody's. */
  readonly holder: string;
  readonly onEnd: LockEnd;
  readonly lockDelayMs: number;
}

/** What of a key is in the store's payload: the store keeps versions itself. `fence`: 0 with a holder: the commit that wrote it. */
export type KeyContent = Omit<KeyRow, 'key' | 'createVersion' | 'modifyVersion'>;

const ends = ['release', 'delete'] as const;
/** Flags, lock index, fence, lock delay, what becomes of it, and how long the holder's name is. */
const headerBytes = 8 + 8 + 8 + 4 + 1 + 1;

/** Rows of one slot lie together, so that a partition loads its slots as ranges. */
export function storeKeyOf(key: string): string {
  return `${startOfSlot(slotOf(key))}${key}`;
}

export function readStoreKey(storeKey: string): string {
  return storeKey.slice(storeKey.indexOf('/') + 1);
}

/** What the rows of a slot begin with. */
export function startOfSlot(slot: number): string {
  return `${String(slot).padStart(String(slotCount).length, '0')}/`;
}

/** What comes after all rows of a slot: `0` is the character after `/`. */
export function endOfSlot(slot: number): string {
  return `${startOfSlot(slot).slice(0, -1)}0`;
}

/** Big-endian numbers, the name of the holder in UTF-8, then the value's bytes. */
export function encodeContent(content: KeyContent): Uint8Array {
  const holder = Buffer.from(content.holder);
  const value = Buffer.from(content.value, 'base64');
  const bytes = Buffer.alloc(headerBytes + holder.length + value.length);
  bytes.writeBigUInt64BE(BigInt(content.flags), 0);
  bytes.writeBigUInt64BE(BigInt(content.lockIndex), 8);
  bytes.writeBigUInt64BE(BigInt(content.fence), 16);
  bytes.writeUInt32BE(content.lockDelayMs, 24);
  bytes.writeUInt8(ends.indexOf(content.onEnd), 28);
  bytes.writeUInt8(holder.length, 29);
  holder.copy(bytes, headerBytes);
  value.copy(bytes, headerBytes + holder.length);
  return bytes;
}

/** Throws if these are not the bytes of a key. */
export function decodeContent(payload: Uint8Array): KeyContent {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  const onEnd = ends[bytes.readUInt8(28)];
  const valueAt = headerBytes + bytes.readUInt8(29);
  if (onEnd === undefined || valueAt > bytes.length) throw new Error('not the content of a key');
  return {
    value: bytes.toString('base64', valueAt),
    flags: bytes.readBigUInt64BE(0).toString(),
    lockIndex: Number(bytes.readBigUInt64BE(8)),
    fence: Number(bytes.readBigUInt64BE(16)),
    holder: bytes.toString('utf8', headerBytes, valueAt),
    onEnd,
    lockDelayMs: bytes.readUInt32BE(24),
  };
}

/** A row as the store gave it. */
export function restoreRow(
  key: string,
  content: KeyContent,
  { createVersion, modifyVersion }: Pick<KeyRow, 'createVersion' | 'modifyVersion'>,
): KeyRow {
  const fence = content.holder !== '' && content.fence === 0 ? modifyVersion : content.fence;
  return { ...content, key, fence, createVersion, modifyVersion };
}

/** What a row counts for, in bytes: about what it takes in memory. */
export function weighRow({ key, value, holder }: KeyRow): number {
  return rowOverheadBytes + key.length + value.length + holder.length;
}

const rowOverheadBytes = 200;
