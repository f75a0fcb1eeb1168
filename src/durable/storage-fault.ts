import { readFileSync, statSync, statfsSync } from 'node:fs';
import path from 'node:path';

import { StorageError } from './store-backend.ts';
import type { StorageFault } from './store-backend.ts';

/** A disk, or what a process may write to a file, with less room is full: a group of commits may need that much. */
const roomBytesMin = 1_048_576;

/** A file is larger than the process may write. */
const efbig = 27;

/** Of operating systems and LMDB, with what they mean here. */
const faults: Readonly<Record<string | number, StorageFault>> = {
  ENOSPC: 'full',
  EDQUOT: 'full',
  EFBIG: 'full',
  EROFS: 'read_only',
  EACCES: 'read_only',
  EPERM: 'read_only',
  ENOENT: 'missing',
  ENOTDIR: 'missing',
  28: 'full',
  122: 'full',
  [efbig]: 'full',
  30: 'read_only',
  13: 'read_only',
  1: 'read_only',
  2: 'missing',
  20: 'missing',
  [-30_792]: 'full',
  [-30_797]: 'damaged',
  [-30_796]: 'damaged',
  [-30_793]: 'damaged',
};

/** `file`: where it happened. */
export function toStorageError(error: unknown, what: string, file: string): StorageError {
  if (error instanceof StorageError) return error;
  const { code, message } = error as { readonly code?: string | number; readonly message?: string };
  const fault = (code === undefined ? undefined : faults[code]) ?? 'failed';
  // LMDB calls it an error of the device if a part of what it writes has still found room.
  const bound = fault === 'failed' || code === efbig || code === 'EFBIG' ? readFileBound(file) : undefined;
  const isFull = bound !== undefined || (fault === 'failed' && isFullAt(path.dirname(file), roomBytesMin));
  const why =
    bound === undefined ? (message ?? String(error)) : `no file may have more than ${bound} bytes (ulimit -f)`;
  return new StorageError(isFull ? 'full' : fault, `${what}: ${why}`, { cause: error });
}

/** How large a file of this process may become, in bytes, if this one nearly is, or will soon be; undefined: that is not what is wrong, or nobody knows. */
export function readFileBound(file: string): number | undefined {
  try {
    const limit = readFileLimit();
    if (limit === undefined) return undefined;
    const { size } = statSync(file, { throwIfNoEntry: false }) ?? { size: 0 };
    return size + roomBytesMin > limit ? limit : undefined;
  } catch {
    // Other systems do not say; what has failed is said all the same.
    return undefined;
  }
}

/** How large a file of this process may become, in bytes; undefined: as large as it likes, or nobody knows. */
export function readFileLimit(): number | undefined {
  try {
    const [, text] = /^Max file size +(\d+) /m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return text === undefined ? undefined : Number(text);
  } catch {
    // Other systems do not say.
    return undefined;
  }
}

export function isFullAt(folder: string, bytesMin: number): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize < bytesMin;
  } catch {
    // It says nothing about the failure that is looked into.
    return false;
  }
}
