import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
} from 'node:fs';
import path from 'node:path';

import { BackupError, BackupReader } from './backup-format.ts';
import type { BackupContent, TableRow } from './backup-format.ts';
import { LmdbBackend } from './lmdb-backend.ts';
import type { RowChange } from './store-backend.ts';
import { leapAhead, storeFileName } from './store-file.ts';

/** Calls back with how many bytes of the file have been read. */
type OnProgress = (bytes: number) => void;

/** Reads a backup to its end, and so checks all of it. Rejects with a {@link BackupError}, or with what reading the file meets. */
export async function inspectBackup(
  file: string,
  onRows: (rows: readonly TableRow[]) => void = () => undefined,
  onProgress: OnProgress = () => undefined,
): Promise<BackupContent> {
  const reader = new BackupReader();
  let bytes = 0;
  for await (const part of createReadStream(file, { highWaterMark: 262_144 })) {
    onRows(reader.read(part as Uint8Array));
    bytes += (part as Uint8Array).length;
    onProgress(bytes);
  }
  return reader.end();
}

export interface RestoreOptions {
  readonly file: string;
  /** Does not exist, or is empty. */
  readonly folder: string;
  /** Of the store, as `storeBytesMax`. */
  readonly storeBytesMax: number;
  /** Milliseconds since the epoch: versions continue above all that there can have been. */
  readonly readWallMs: () => number;
  readonly onProgress?: OnProgress;
}

/**
 * Makes the folder of a store out of a backup. All of the file is checked before anything is written, and the folder is there only when all of it is on disk. Rejects
 * with a {@link BackupError}, or with what the file or the folder meets.
 */
export async function restoreBackup({
  file,
  folder,
  storeBytesMax,
  readWallMs,
  onProgress,
}: RestoreOptions): Promise<BackupContent> {
  const target = path.resolve(folder);
  checkEmpty(target);
  const content = await inspectBackup(file);
  const parent = path.dirname(target);
  mkdirSync(parent, { recursive: true });
  // Beside it, so that it only needs another name.
  const unfinished = mkdtempSync(path.join(parent, `.${path.basename(target)}-restoring-`));
  try {
    const restored = await fillStore(unfinished, {
      file,
      folder,
      storeBytesMax,
      readWallMs,
      ...(onProgress && { onProgress }),
    });
    if (restored.version !== content.version) throw new BackupError('the file has changed while it was read');
    checkEmpty(target);
    if (existsSync(target)) rmdirSync(target);
    renameSync(unfinished, target);
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    throw error;
  }
  return content;
}

async function fillStore(
  folder: string,
  { file, storeBytesMax, readWallMs, onProgress }: RestoreOptions,
): Promise<BackupContent> {
  const backend = new LmdbBackend(path.join(folder, storeFileName), storeBytesMax);
  try {
    const content = await inspectBackup(
      file,
      (rows) => {
        if (rows.length > 0) backend.commit(rows.map(toChange), 0);
      },
      onProgress,
    );
    // Only now it is a store in which commits go on: above those that came after the backup, by which clients and what fences protect may go.
    backend.commit([], leapAhead(content.version, readWallMs()));
    return content;
  } finally {
    backend.close();
  }
}

function toChange({ table, key, ...row }: TableRow): RowChange {
  return { table, key, row };
}

function checkEmpty(folder: string): void {
  if (existsSync(folder) && readdirSync(folder).length > 0)
    throw new BackupError(`${folder} is not empty: a backup is restored into a new folder only`);
}
