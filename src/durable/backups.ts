import type { ServerConfig } from '../config/config.ts';
import type { Failure } from '../protocol/errors.ts';
import { backupBlockBytes, BackupWriter } from './backup-format.ts';
import { durableTables } from './commits.ts';
import type { BackupOrigin, BackupPart } from './commits.ts';
import type { StoreBackend, StoreSnapshot } from './store-backend.ts';

/** A backup that is being read. */
interface OpenBackup {
  readonly number: number;
  readonly snapshot: StoreSnapshot;
  readonly writer: BackupWriter;
  /** The table that is read next, as an index; its number of tables: only the end is missing. */
  table: number;
  from: string;
  hasEnded: boolean;
  readAtMs: number;
}

/** How long a caller is asked to wait while another makes a backup, in milliseconds. */
const retryAfterMs = 1000;

/**
 * Backups of what is stored at one moment, handed out part by part as they are read. One at a time: a snapshot keeps what is deleted meanwhile, so that one which nobody
 * reads must not stay.
 */
export class Backups {
  readonly #limits: Pick<ServerConfig, 'backupIdleTimeoutMs'>;
  #open: OpenBackup | undefined;
  #last = 0;

  constructor(limits: Pick<ServerConfig, 'backupIdleTimeoutMs'>) {
    this.#limits = limits;
  }

  begin(backend: Pick<StoreBackend, 'takeSnapshot'>, origin: BackupOrigin, nowMs: number): BackupPart | Failure {
    if (this.#open !== undefined) return { code: 'busy', message: 'another backup is being made', retryAfterMs };
    const snapshot = backend.takeSnapshot();
    const writer = new BackupWriter();
    this.#last += 1;
    const number = this.#last;
    this.#open = { number, snapshot, writer, table: 0, from: '', hasEnded: false, readAtMs: nowMs };
    return { backup: number, part: writer.begin({ ...origin, version: snapshot.lastVersion }) };
  }

  read(number: number, nowMs: number): BackupPart | Failure {
    const backup = this.#open;
    if (backup?.number !== number) return { code: 'not_found', message: 'the backup has been given up' };
    backup.readAtMs = nowMs;
    if (!backup.hasEnded) return { backup: number, part: readPart(backup) };
    this.end(number);
    return { backup: number, part: undefined };
  }

  end(number: number): void {
    if (this.#open?.number === number) this.close();
  }

  /** Gives up what nobody has read for too long. */
  tick(nowMs: number): void {
    if (this.#open !== undefined && nowMs - this.#open.readAtMs >= this.#limits.backupIdleTimeoutMs) this.close();
  }

  close(): void {
    this.#open?.snapshot.close();
    this.#open = undefined;
  }
}

function readPart(backup: OpenBackup): Uint8Array {
  const { snapshot, writer } = backup;
  let table = durableTables[backup.table];
  while (table !== undefined) {
    const { rows, next } = snapshot.read({ table, from: backup.from, to: '', bytesMax: backupBlockBytes });
    backup.from = next ?? '';
    if (next === undefined) backup.table += 1;
    if (rows.length > 0) return writer.addRows(table, rows);
    table = durableTables[backup.table];
  }
  backup.hasEnded = true;
  return writer.end();
}
