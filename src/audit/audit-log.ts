import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';

import type { ServerConfig } from '../config/config.ts';
import { toStorageError } from '../durable/storage-fault.ts';
import type { Failure } from '../protocol/errors.ts';
import type { AuditSummary } from '../protocol/http-results.ts';
import { formatAuditFileName } from './audit-file-name.ts';
import {
  auditFilePath,
  listAuditFiles,
  makeAuditFolder,
  openAuditFile,
  readLastFile,
  removeOldest,
} from './audit-files.ts';
import type { LastFile } from './audit-files.ts';
import { encodeRecord } from './audit-record.ts';
import type { AuditRecord } from './audit-record.ts';
import type { AuditState } from './audit-state.ts';
import { chainStart, sealLine } from './hash-chain.ts';
import type { ChainHead } from './hash-chain.ts';
import { hashTorn, serverRecord } from './server-records.ts';

/** What operators should know. */
export type AuditEvent =
  | { readonly kind: 'begun' | 'rotated' | 'ended'; readonly file: string; readonly head: ChainHead }
  | { readonly kind: 'torn'; readonly file: string; readonly bytes: number }
  | { readonly kind: 'damaged'; readonly file: string }
  | { readonly kind: 'removed'; readonly files: readonly string[] }
  | { readonly kind: 'failed'; readonly message: string; readonly isRequired: boolean }
  | { readonly kind: 'recovered'; readonly leftOut: number };

export interface AuditLogOptions {
  /** In which its files are; it is made if it is missing. */
  readonly folder: string;
  readonly config: Pick<
    ServerConfig,
    'auditFileBytesMax' | 'auditFilesMax' | 'auditQueueBytesMax' | 'auditRequired' | 'storeRetryMaxMs'
  >;
  readonly state: AuditState;
  readonly readWallMs: () => number;
  readonly onEvent: (event: AuditEvent) => void;
}

export interface AuditCounts {
  /** Lines that are in a file. */
  readonly lines: number;
  /** Acts that are in none, since there was no room for them, and refusals that were too many. */
  readonly leftOut: number;
  /** Times that the disk has refused lines. */
  readonly failures: number;
}

/** Where lines are appended. */
interface OpenFile {
  readonly number: number;
  readonly handle: FileHandle;
  /** Up to the end of its last line. */
  bytes: number;
}

/** The first wait before the disk is tried again, in milliseconds; it doubles until `storeRetryMaxMs`. */
const retryMinMs = 250;
/** How long lines that nobody waits for may wait for others, in milliseconds. */
const gatherMs = 5;
/** Characters that are written at once: to seal them takes the main thread some milliseconds. */
const chunkCharactersMax = 262_144;
/** What the queue takes of acts that were under way when the disk failed, in `auditQueueBytesMax`. */
const overrun = 2;

/**
 * The audit log: appends lines to the last of its files, chained by their hashes. What waits is written at once, and synchronized with the disk at once if
 * somebody waits for that, otherwise with the next tick. What the disk refuses waits, within bounds, until it takes it.
 */
export class AuditLog {
  readonly #options: AuditLogOptions;
  /** Bodies of lines, in their order. They are sealed when they are written. */
  #queue: string[] = [];
  #queueCharacters = 0;
  /** Lines of all that have been taken, and of those that are in a file and on disk. */
  #taken = 0;
  #written = 0;
  #waiting: { readonly line: number; readonly settle: () => void }[] = [];
  #isSyncDue = false;
  #hasUnsynced = false;
  #head: ChainHead = chainStart;
  #file: OpenFile | undefined;
  /** Where the file ends that is to be opened again. */
  #resumeAt: { readonly number: number; readonly bytes: number } | undefined;
  #lastNumber = 0;
  /** The file whose last line the life before had not written whole. */
  #torn: LastFile | undefined;
  #lines = 0;
  #leftOut = 0;
  #failures = 0;
  /** Acts that the queue had no room for since the last line was written. */
  #gap = 0;
  #hasFailed = false;
  #message = '';
  #retryMs = retryMinMs;
  #retryAtMs = 0;
  #nowMs = 0;
  #isWriting = false;
  #isBegun = false;
  /** Runs until what has gathered is written. */
  #gathering: NodeJS.Timeout | undefined;
  #isClosed = false;
  #idle: (() => void)[] = [];

  constructor(options: AuditLogOptions) {
    this.#options = options;
  }

  /** Why nothing may be done that must be noted; undefined: it may. */
  get refusal(): Failure | undefined {
    return this.#options.state.refusal;
  }

  /** The last line is the last that is in a file. */
  get summary(): AuditSummary {
    return { state: this.#hasFailed ? 'failing' : 'on', ...this.#head };
  }

  get counts(): AuditCounts {
    return { lines: this.#lines, leftOut: this.#leftOut, failures: this.#failures };
  }

  /** Continues what the life before has written. If that cannot be done yet, resolves all the same: {@link tick} tries again. */
  begin(): Promise<void> {
    this.#take(encodeRecord(serverRecord('server.start'), this.#options.readWallMs()));
    return this.#write();
  }

  /** Resolves when its line is on disk, or waits for a disk that refuses it. */
  async note(record: AuditRecord): Promise<void> {
    if (!this.#take(encodeRecord(record, this.#options.readWallMs()))) return;
    const line = this.#taken;
    this.#isSyncDue = true;
    this.#schedule();
    if (this.#hasFailed) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push({ line, settle: resolve });
    });
  }

  /** What a thread has noted in one turn. `leftOut`: refusals that were too many to be noted. */
  takeBatch(bodies: readonly string[], leftOut: number): void {
    this.#leftOut += leftOut;
    for (const body of bodies) this.#take(body);
    this.#schedule();
  }

  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    if (this.#hasFailed && nowMs < this.#retryAtMs) return;
    if (this.#hasUnsynced) this.#isSyncDue = true;
    if (this.#queue.length > 0 || this.#isSyncDue || this.#hasFailed) void this.#write();
  }

  /** Writes what waits, if the disk takes it. */
  async stop(): Promise<void> {
    if (this.#isClosed || (!this.#isBegun && !this.#hasFailed)) return;
    await this.note(serverRecord('server.stop'));
    await this.#write();
    this.#isClosed = true;
    await this.#close();
    this.#tell('ended');
  }

  /** Whether there was room for it. */
  #take(body: string): boolean {
    const { auditQueueBytesMax: max, auditRequired } = this.#options.config;
    const isFull = this.#queueCharacters + body.length > (auditRequired ? overrun * max : max);
    if (isFull || this.#isClosed) {
      this.#leftOut += 1;
      this.#gap += 1;
      return false;
    }
    this.#queue.push(body);
    this.#queueCharacters += body.length;
    this.#taken += 1;
    if (this.#queueCharacters > max) this.#judge();
    return true;
  }

  /** Tells all threads whether acts are to be refused. */
  #judge(): void {
    const { state, config } = this.#options;
    const isFull = this.#queueCharacters > config.auditQueueBytesMax;
    state.setRefusing(config.auditRequired && (this.#hasFailed || isFull));
  }

  /** What is taken in one turn, or in some milliseconds if nobody waits for it, is written together. */
  #schedule(): void {
    if (this.#isWriting || this.#hasFailed || this.#queue.length === 0) return;
    if (this.#isSyncDue) {
      setImmediate(() => {
        void this.#write();
      });
    } else {
      // Each write costs as much as tens of lines.
      this.#gathering ??= setTimeout(() => {
        void this.#write();
      }, gatherMs);
    }
  }

  /** Resolves when nothing is left to be written, or the disk has refused it. */
  async #write(): Promise<void> {
    if (this.#isClosed) return;
    if (this.#isWriting) {
      await new Promise<void>((resolve) => {
        this.#idle.push(resolve);
      });
      return;
    }
    this.#isWriting = true;
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    try {
      if (!this.#isBegun) await this.#resume();
      await this.#drain();
      this.#recover();
    } catch (error) {
      await this.#fail(error);
    }
    this.#isWriting = false;
    for (const resolve of this.#idle.splice(0)) resolve();
    this.#schedule();
  }

  async #drain(): Promise<void> {
    this.#file ??= await this.#reopen();
    do {
      if (this.#queue.length > 0) await this.#writeChunk(this.#file);
      if (this.#isSyncDue) {
        await this.#sync(this.#file);
        this.#hasUnsynced = false;
        this.#settle(this.#written);
        // What has come meanwhile, and nobody waits for, has time.
        this.#isSyncDue = this.#waiting.length > 0;
      }
      if (this.#file.bytes >= this.#options.config.auditFileBytesMax) this.#file = await this.#rotate(this.#file);
    } while (this.#isSyncDue || this.#queueCharacters >= chunkCharactersMax);
  }

  async #sync({ handle, bytes }: OpenFile): Promise<void> {
    const { nlink, size } = await handle.stat();
    if (nlink === 0 || size !== bytes) throw new Error('somebody else has removed or changed the file');
    await handle.datasync();
  }

  async #writeChunk(file: OpenFile): Promise<void> {
    const count = this.#countChunk();
    const bodies = this.#queue.slice(0, count);
    const gap = this.#gap;
    const noted = gap === 0 ? bodies : [this.#describeGap(gap), ...bodies];
    await this.#append(file, noted);
    this.#gap -= gap;
    this.#queue = this.#queue.slice(count);
    this.#queueCharacters -= bodies.reduce((sum, body) => sum + body.length, 0);
    this.#written += count;
    this.#judge();
  }

  #countChunk(): number {
    let characters = 0;
    let count = 0;
    for (const body of this.#queue) {
      if (count > 0 && characters + body.length > chunkCharactersMax) break;
      characters += body.length;
      count += 1;
    }
    return count;
  }

  #describeGap(acts: number): string {
    return encodeRecord(serverRecord('audit.gap', { leftOut: acts }), this.#options.readWallMs());
  }

  /** The chain goes on only with what the file has taken whole. */
  async #append(file: OpenFile, bodies: readonly string[]): Promise<void> {
    let head = this.#head;
    const lines = bodies.map((body) => {
      const sealed = sealLine(head, body);
      head = sealed.head;
      return sealed.line;
    });
    const bytes = Buffer.from(lines.join(''));
    // From here on its end is not known until all of it is there.
    this.#resumeAt = { number: file.number, bytes: file.bytes };
    await file.handle.appendFile(bytes);
    file.bytes += bytes.length;
    this.#resumeAt = { number: file.number, bytes: file.bytes };
    this.#hasUnsynced = true;
    this.#head = head;
    this.#lines += bodies.length;
  }

  #settle(through: number): void {
    const done = this.#waiting.filter(({ line }) => line <= through);
    if (done.length === 0) return;
    this.#waiting = this.#waiting.filter(({ line }) => line > through);
    for (const { settle } of done) settle();
  }

  /** Finds where the life before has come to. */
  async #resume(): Promise<void> {
    const { folder } = this.#options;
    await makeAuditFolder(folder);
    const numbers = await listAuditFiles(folder);
    let last: LastFile | undefined;
    for (const number of numbers.toReversed()) {
      const found = await readLastFile(folder, number);
      last ??= found;
      if (found.isDamaged) this.#options.onEvent({ kind: 'damaged', file: formatAuditFileName(number) });
      if (found.head === undefined) continue;
      this.#head = found.head;
      break;
    }
    this.#lastNumber = last?.number ?? 0;
    const isUsable = last !== undefined && !last.isDamaged;
    if (isUsable) {
      this.#resumeAt = { number: last!.number, bytes: last!.bytes };
      if (last!.torn.length > 0) this.#torn ??= last;
    }
    this.#file = await this.#reopen();
    this.#isBegun = true;
    if (this.#torn !== undefined) this.#noteTorn(this.#torn);
    this.#tell('begun');
  }

  #noteTorn({ number, torn }: LastFile): void {
    const file = formatAuditFileName(number);
    const target = { file, bytes: torn.length, sha256: hashTorn(torn) };
    const body = encodeRecord(serverRecord('audit.torn', target), this.#options.readWallMs());
    this.#queue.unshift(body);
    this.#queueCharacters += body.length;
    this.#taken += 1;
    this.#options.onEvent({ kind: 'torn', file, bytes: torn.length });
  }

  /** The file that was written last or, if it is not what it was, the next one. */
  async #reopen(): Promise<OpenFile> {
    const { folder } = this.#options;
    await makeAuditFolder(folder);
    const at = this.#resumeAt;
    if (at === undefined) return this.#create(this.#lastNumber + 1);
    const handle = await openAuditFile(folder, at.number, at.bytes);
    if (handle === undefined) return this.#create(at.number + 1);
    const file = { number: at.number, handle, bytes: at.bytes };
    this.#lastNumber = at.number;
    if (at.bytes === 0) await this.#begin(file);
    return file;
  }

  async #create(number: number): Promise<OpenFile> {
    const handle = await openAuditFile(this.#options.folder, number, 0);
    if (handle === undefined) throw new Error('a file has less than nothing');
    this.#lastNumber = number;
    const file = { number, handle, bytes: 0 };
    await this.#begin(file);
    return file;
  }

  /** Its first line names the last hash of the file before. */
  async #begin(file: OpenFile): Promise<void> {
    const target = { file: formatAuditFileName(file.number), after: this.#head.hash };
    try {
      await this.#append(file, [encodeRecord(serverRecord('audit.file', target), this.#options.readWallMs())]);
    } catch (error) {
      await file.handle.close();
      throw error;
    }
  }

  async #rotate(file: OpenFile): Promise<OpenFile> {
    const { folder, config, onEvent } = this.#options;
    await this.#sync(file);
    await file.handle.close();
    this.#file = undefined;
    const next = await this.#create(file.number + 1);
    this.#file = next;
    this.#tell('rotated');
    const removed = await removeOldest(folder, config.auditFilesMax);
    if (removed.length > 0) onEvent({ kind: 'removed', files: removed.map((number) => formatAuditFileName(number)) });
    return next;
  }

  #tell(kind: 'begun' | 'rotated' | 'ended'): void {
    this.#options.onEvent({ kind, file: formatAuditFileName(this.#lastNumber), head: this.#head });
  }

  #recover(): void {
    this.#retryMs = retryMinMs;
    if (!this.#hasFailed) return;
    this.#hasFailed = false;
    this.#judge();
    this.#options.onEvent({ kind: 'recovered', leftOut: this.#leftOut });
  }

  async #fail(error: unknown): Promise<void> {
    const { folder, config, onEvent } = this.#options;
    await this.#close();
    const file = auditFilePath(folder, Math.max(1, this.#lastNumber));
    const { message } = toStorageError(error, `the audit log in ${path.basename(folder)}`, file);
    this.#failures += 1;
    if (!this.#hasFailed || message !== this.#message)
      onEvent({ kind: 'failed', message, isRequired: config.auditRequired });
    this.#hasFailed = true;
    this.#message = message;
    this.#retryAtMs = this.#nowMs + this.#retryMs;
    this.#retryMs = Math.min(2 * this.#retryMs, config.storeRetryMaxMs);
    this.#judge();
    // What they have asked for is done: only its lines wait.
    this.#settle(Number.POSITIVE_INFINITY);
  }

  async #close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    try {
      await file?.handle.close();
    } catch {
      // What it has not taken is written again.
    }
  }
}
