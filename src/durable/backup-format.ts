import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib';

import { durableTables } from './commits.ts';
import type { BackupOrigin, DurableRow, DurableTable } from './commits.ts';

/*
 * A backup: eight bytes that say what it is, then blocks. A block is, little-endian: the length of its payload (4 bytes), what kind it is (1), a CRC-32 (4), payload. The checksum
 * covers the number of the block and all else of it, so that one at the wrong place is found; the payload is compressed. The first block says what the backup is, each of the others has rows, and the last
 * one how many there were, with the SHA-256 of all bytes before it. docs/STORAGE.md describes it.
 */
const mark = Buffer.from('SLCBAK01');
const formatVersion = 1;
const headBytes = 9;
const blockKinds = { start: 1, rows: 2, end: 3 } as const;
type BlockKind = (typeof blockKinds)[keyof typeof blockKinds];

/** A block is full when its rows have so many bytes; the last one may exceed it. */
export const backupBlockBytes = 262_144;
/** No block has more, compressed or not: a row has at most half of it. */
const blockBytesMax = 134_217_728;

/** What a backup is of. */
export interface BackupInfo extends BackupOrigin {
  /** The last commit in it: all up to there, and none after it. */
  readonly version: number;
}

/** Rows by table. */
export type RowCounts = Readonly<Record<DurableTable, number>>;

export interface TableRow extends DurableRow {
  readonly table: DurableTable;
}

/** A file that is no backup, or not a whole one as it was written. The message says where. */
export class BackupError extends Error {
  constructor(message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = 'BackupError';
  }
}

function countNone(): Record<DurableTable, number> {
  return Object.fromEntries(durableTables.map((table) => [table, 0])) as Record<DurableTable, number>;
}

/** Writes a backup, block by block. */
export class BackupWriter {
  readonly #hash: Hash = createHash('sha256');
  readonly #counts = countNone();
  #blocks = 0;

  begin(info: BackupInfo): Buffer {
    const start = { format: 'slotcast-backup', formatVersion, ...info };
    return Buffer.concat([this.#note(mark), this.#write(blockKinds.start, Buffer.from(JSON.stringify(start)))]);
  }

  /** Rows of one table, a block of them. */
  addRows(table: DurableTable, rows: readonly DurableRow[]): Buffer {
    this.#counts[table] += rows.length;
    return this.#write(blockKinds.rows, encodeRows(table, rows));
  }

  end(): Buffer {
    const sha256 = this.#hash.copy().digest('hex');
    return this.#write(blockKinds.end, Buffer.from(JSON.stringify({ rows: this.#counts, sha256 })));
  }

  #write(kind: BlockKind, content: Buffer): Buffer {
    const payload = deflateRawSync(content, { level: 1 });
    const head = Buffer.allocUnsafe(headBytes);
    head.writeUInt32LE(payload.length, 0);
    head[4] = kind;
    head.writeUInt32LE(checksumBlock(this.#blocks, head, payload), 5);
    this.#blocks += 1;
    return Buffer.concat([this.#note(head), this.#note(payload)]);
  }

  #note(bytes: Buffer): Buffer {
    this.#hash.update(bytes);
    return bytes;
  }
}

function checksumBlock(number: number, head: Buffer, payload: Buffer): number {
  return crc32(payload, crc32(head.subarray(0, 5), crc32(`block ${number}`)));
}

/** The table's name (1 byte for its length), and for each row: key (2 for its length), versions (8 each, as floats), payload (4 for its length). */
function encodeRows(table: DurableTable, rows: readonly DurableRow[]): Buffer {
  const parts: Uint8Array[] = [Buffer.from([table.length]), Buffer.from(table)];
  for (const { key, createVersion, modifyVersion, payload } of rows) {
    const keyBytes = Buffer.from(key);
    const head = Buffer.allocUnsafe(2 + keyBytes.length + 20);
    head.writeUInt16LE(keyBytes.length, 0);
    head.set(keyBytes, 2);
    let at = head.writeDoubleLE(createVersion, 2 + keyBytes.length);
    at = head.writeDoubleLE(modifyVersion, at);
    head.writeUInt32LE(payload.length, at);
    parts.push(head, payload);
  }
  return Buffer.concat(parts);
}

/** What there is in a backup that was read to its end. */
export interface BackupContent extends BackupInfo {
  readonly rows: RowCounts;
  readonly bytes: number;
}

/** Reads a backup part by part, wherever its bytes were divided, and checks all of it. What it has given out is good, but only the end shows that it was all. */
export class BackupReader {
  readonly #hash: Hash = createHash('sha256');
  readonly #counts = countNone();
  /** What has not been read yet. */
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  /** How many bytes are needed before anything can be read. */
  #wanted = mark.length;
  #blocks = 0;
  /** Where the pending bytes begin. */
  #offset = 0;
  #info: BackupInfo | undefined;
  #hasMark = false;
  #hasEnded = false;

  /** The rows that this part completes. @throws BackupError */
  read(part: Uint8Array): readonly TableRow[] {
    const rows: TableRow[] = [];
    this.#pending.push(Buffer.from(part));
    this.#pendingBytes += part.length;
    while (this.#pendingBytes >= this.#wanted && this.#pendingBytes > 0) {
      if (this.#hasEnded) throw this.#fail('there is more after its end');
      const pending = this.#joinPending();
      if (!this.#hasMark) this.#readMark(pending);
      else if (this.#wanted === headBytes) this.#wanted = this.#readLength(pending);
      else for (const row of this.#readBlock(pending.subarray(0, this.#wanted))) rows.push(row);
    }
    return rows;
  }

  /** @throws BackupError if it is not whole. */
  end(): BackupContent {
    if (!this.#hasMark) throw this.#fail('it is no backup of slotcast');
    if (this.#hasEnded && this.#pendingBytes > 0) throw this.#fail('there is more after its end');
    if (!this.#hasEnded || this.#info === undefined)
      throw new BackupError(
        `it was cut off: it ends at byte ${this.#offset + this.#pendingBytes}, in block ${this.#blocks}`,
      );
    return { ...this.#info, rows: this.#counts, bytes: this.#offset };
  }

  #readMark(pending: Buffer): void {
    if (!pending.subarray(0, mark.length).equals(mark)) throw this.#fail('it is no backup of slotcast');
    this.#hash.update(mark);
    this.#hasMark = true;
    this.#advance(pending, mark.length);
  }

  #readLength(pending: Buffer): number {
    const length = pending.readUInt32LE(0);
    if (length === 0 || length > blockBytesMax) throw this.#fail('it is damaged: no block is so long');
    return headBytes + length;
  }

  #readBlock(block: Buffer): readonly TableRow[] {
    const payload = block.subarray(headBytes);
    if (block.readUInt32LE(5) !== checksumBlock(this.#blocks, block, payload))
      throw this.#fail('it is damaged: the checksum is not that of the block');
    const rows = this.#readContent(block[4], this.#inflate(payload));
    this.#hash.update(block);
    this.#advance(this.#joinPending(), block.length);
    this.#blocks += 1;
    return rows;
  }

  #readContent(kind: number | undefined, content: Buffer): readonly TableRow[] {
    if ((kind === blockKinds.start) !== (this.#blocks === 0))
      throw this.#fail('it is damaged: a block is out of place');
    switch (kind) {
      case blockKinds.start:
        this.#info = this.#readStart(content);
        return [];
      case blockKinds.rows: {
        const rows = this.#readRows(content);
        for (const { table } of rows) this.#counts[table] += 1;
        return rows;
      }
      case blockKinds.end:
        this.#checkEnd(content);
        this.#hasEnded = true;
        return [];
      default:
        throw this.#fail('it is damaged: there is no such kind of block');
    }
  }

  #readStart(content: Buffer): BackupInfo {
    const { formatVersion: found, slotcast, createdAt, version } = this.#readJson(content);
    if (found !== formatVersion)
      throw this.#fail(`its format is ${JSON.stringify(found)}; this version of slotcast reads ${formatVersion}`);
    if (typeof slotcast !== 'string' || typeof createdAt !== 'string' || typeof version !== 'number')
      throw this.#fail('it does not say what it is of');
    return { slotcast, createdAt, version };
  }

  #checkEnd(content: Buffer): void {
    const { rows, sha256 } = this.#readJson(content);
    const counted = rows as Partial<RowCounts> | undefined;
    // One of an earlier version may lack a table.
    if (durableTables.some((table) => (counted?.[table] ?? 0) !== this.#counts[table]))
      throw this.#fail('it is damaged: it has not as many rows as it says');
    if (sha256 !== this.#hash.copy().digest('hex')) throw this.#fail('it is damaged: its SHA-256 is another one');
  }

  #readRows(content: Buffer): TableRow[] {
    const rows: TableRow[] = [];
    try {
      const name = content.toString('utf8', 1, 1 + content.readUInt8(0));
      const table = durableTables.find((each) => each === name);
      if (table === undefined) throw this.#fail(`there is no table ${JSON.stringify(name)}`);
      for (let at = 1 + name.length; at < content.length;) {
        const keyEnd = at + 2 + content.readUInt16LE(at);
        const payloadAt = keyEnd + 20;
        const payloadEnd = payloadAt + content.readUInt32LE(keyEnd + 16);
        if (payloadEnd > content.length) throw new RangeError('a row ends behind its block');
        rows.push({
          table,
          key: content.toString('utf8', at + 2, keyEnd),
          createVersion: content.readDoubleLE(keyEnd),
          modifyVersion: content.readDoubleLE(keyEnd + 8),
          payload: new Uint8Array(content.subarray(payloadAt, payloadEnd)),
        });
        at = payloadEnd;
      }
    } catch (error) {
      throw error instanceof BackupError ? error : this.#fail('it is damaged: its rows cannot be read', error);
    }
    return rows;
  }

  #readJson(content: Buffer): Record<string, unknown> {
    try {
      return JSON.parse(content.toString()) as Record<string, unknown>;
    } catch (error) {
      throw this.#fail('it is damaged: it is not JSON', error);
    }
  }

  #inflate(payload: Buffer): Buffer {
    try {
      return inflateRawSync(payload, { maxOutputLength: blockBytesMax });
    } catch (error) {
      throw this.#fail('it is damaged: it cannot be unpacked', error);
    }
  }

  #joinPending(): Buffer {
    const [first = Buffer.alloc(0), ...more] = this.#pending;
    if (more.length === 0) return first;
    const joined = Buffer.concat(this.#pending);
    this.#pending = [joined];
    return joined;
  }

  #advance(pending: Buffer, bytes: number): void {
    this.#pending = [pending.subarray(bytes)];
    this.#pendingBytes = pending.length - bytes;
    this.#offset += bytes;
    this.#wanted = headBytes;
  }

  #fail(why: string, cause?: unknown): BackupError {
    return new BackupError(`byte ${this.#offset}, block ${this.#blocks}: ${why}`, { cause });
  }
}
