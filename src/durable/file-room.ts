import { closeSync, fstatSync, ftruncateSync, openSync, statSync, writeSync } from 'node:fs';
import path from 'node:path';

import { isFullAt, readFileBound, readFileLimit, toStorageError } from './storage-fault.ts';
import { StorageError } from './store-backend.ts';

/** A new file, with its tables and nothing in them, has less. */
const newFileBytesMax = 262_144;
/** The file grows by so much at a time, if there is room for it. */
const growthBytes = 1_048_576;
/** What is put leaves so much for what is deleted. */
const reserveBytes = 131_072;

/**
 * Room for a file that somebody else writes, who must not meet a disk without any: zeros are written behind what is used before it is needed. On a file system that
 * writes no block twice (Btrfs, ZFS), zeros are no promise.
 */
export class FileRoom {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  /** Whether `bytes` more than `used` can be written without asking for room. */
  has(used: number, bytes: number, isPut: boolean): boolean {
    const { size } = statSync(this.#file);
    const limit = readFileLimit() ?? Infinity;
    return used + bytes + (isPut ? reserveBytes : 0) <= Math.min(size, limit);
  }

  /** Sees to it that they can; throws if there is no room. */
  reserve(used: number, bytes: number, isPut: boolean): void {
    const least = used + bytes + (isPut ? reserveBytes : 0);
    const limit = readFileLimit();
    if (limit !== undefined && least > limit)
      throw new StorageError('full', `nothing can be written: no file may have more than ${limit} bytes (ulimit -f)`);
    const descriptor = openFile(this.#file);
    try {
      const { size } = fstatSync(descriptor);
      if (least <= size) return;
      if (tryGrow(descriptor, size, Math.min(least + growthBytes, limit ?? Infinity)) === undefined) return;
      const error = tryGrow(descriptor, size, least);
      if (error !== undefined) throw toStorageError(error, 'nothing can be written', this.#file);
    } finally {
      closeSync(descriptor);
    }
  }
}

function openFile(file: string): number {
  try {
    return openSync(file, 'r+');
  } catch (error) {
    throw toStorageError(error, 'nothing can be written', file);
  }
}

/** The file is as long as before if it fails; returns why. */
function tryGrow(descriptor: number, size: number, wanted: number): unknown {
  const zeros = Buffer.alloc(Math.min(growthBytes, wanted - size));
  try {
    for (let at = size; at < wanted;) at += writeSync(descriptor, zeros, 0, Math.min(zeros.length, wanted - at), at);
    return undefined;
  } catch (error) {
    ftruncateSync(descriptor, size);
    return error;
  }
}

/** Before a new file is made: LMDB writes it as it opens it, and its binding corrupts the heap where that fails again and again. Throws if there is no room for it. */
export function requireRoomForNew(file: string): void {
  const bound = readFileBound(file);
  if (bound !== undefined && bound < newFileBytesMax)
    throw new StorageError('full', `${file} cannot be made: no file may have more than ${bound} bytes (ulimit -f)`);
  if (isFullAt(path.dirname(file), newFileBytesMax))
    throw new StorageError('full', `${file} cannot be made: the disk has no room for it`);
}
