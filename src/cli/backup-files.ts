import { statSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';

import { formatBytes } from '../bench/report/formatting.ts';
import { resolveConfig } from '../config/config-checking.ts';
import { BackupError, BackupReader } from '../durable/backup-format.ts';
import type { BackupContent } from '../durable/backup-format.ts';
import { durableTables } from '../durable/commits.ts';
import { inspectBackup, restoreBackup } from '../durable/restore.ts';
import { StorageError } from '../durable/store-backend.ts';
import { httpOperations } from '../protocol/http-operations.ts';
import { RegistryCalls } from './administration.ts';
import { AdministrationError } from './exit-codes.ts';
import { formatJson, formatTable, formatText } from './output.ts';
import { ProgressBar } from './progress-bar.ts';
import type { HttpOptions } from './registry.ts';
import { readSettings } from './setting-flags.ts';
import type { SettingFlags } from './setting-flags.ts';
import { explainFaults, writeWholeFile } from './whole-file.ts';

export interface RestoreCommandOptions {
  /** `dataDir` is there. */
  readonly flags: SettingFlags;
  readonly json: boolean;
}

/** Writes a backup of a running registry; the file has its name only when it is whole, and on disk. */
export async function writeBackup(file: string, options: HttpOptions): Promise<void> {
  const content = await explain(file, () => writeWholeFile(file, (handle) => download(handle, options)));
  console.log(options.json ? formatJson(content) : `${describeBackup(content)}\nwritten to ${formatText(file)}`);
}

/** What comes is checked while it is written: a registry that fails meanwhile leaves no file behind. */
async function download(handle: FileHandle, options: HttpOptions): Promise<BackupContent> {
  const calls = new RegistryCalls(options);
  const body = await calls.download(httpOperations.backUp.path);
  const reader = new BackupReader();
  const progress = new ProgressBar(process.stderr, 'backing up');
  let bytes = 0;
  try {
    for await (const part of body) {
      const received = part as Buffer;
      reader.read(received);
      await handle.writeFile(received);
      bytes += received.length;
      progress.show(undefined, formatBytes(bytes));
    }
  } catch (error) {
    if (error instanceof BackupError) throw error;
    throw new AdministrationError(`${calls.base} did not finish the backup`, { cause: error });
  } finally {
    progress.end();
  }
  return reader.end();
}

/** Makes the data folder of a registry out of a backup. */
export async function restoreFile(file: string, { flags, json }: RestoreCommandOptions): Promise<void> {
  const { dataDir, storeBytesMax } = resolveConfig(readSettings(flags).values);
  const progress = new ProgressBar(process.stderr, 'restoring');
  const content = await explain(file, async () => {
    const { size } = statSync(file);
    const onProgress = (bytes: number): void => {
      progress.show(bytes / size, formatBytes(bytes));
    };
    return await restoreBackup({ file, folder: dataDir, storeBytesMax, readWallMs: Date.now, onProgress }).finally(
      () => {
        progress.end();
      },
    );
  });
  console.log(json ? formatJson(content) : `${describeBackup(content)}\nrestored into ${formatText(dataDir)}`);
}

export async function inspectFile(file: string, { json }: { readonly json: boolean }): Promise<void> {
  const content = await explain(file, () => inspectBackup(file));
  console.log(json ? formatJson(content) : describeBackup(content));
}

/** What is wrong with a file or a folder. */
function explain<T>(file: string, run: () => Promise<T>): Promise<T> {
  return explainFaults(file, async () => {
    try {
      return await run();
    } catch (error) {
      if (error instanceof BackupError || error instanceof StorageError)
        throw new AdministrationError(`${file}: ${error.message}`, { cause: error });
      throw error;
    }
  });
}

function describeBackup({ slotcast, createdAt, version, rows, bytes }: BackupContent): string {
  return [
    `a backup of slotcast ${formatText(slotcast)}, made at ${formatText(createdAt)}, up to commit ${version}, of ${formatBytes(bytes)}`,
    formatTable(
      ['TABLE', 'ROWS'],
      durableTables.map((table) => [table, String(rows[table])]),
    ),
  ].join('\n');
}
