import { constants, mkdir, open, readdir, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';

import { formatAuditFileName, readAuditFileName } from './audit-file-name.ts';
import { readSealedLine } from './hash-chain.ts';
import type { ChainHead } from './hash-chain.ts';

/** The file that an audit log ends with. */
export interface LastFile {
  readonly number: number;
  /** Up to the end of its last whole line. */
  readonly bytes: number;
  /** What follows on that: the beginning of a line that was being written. */
  readonly torn: Buffer;
  /** Of its last whole line; undefined: it has none. */
  readonly head: ChainHead | undefined;
  /** It ends with a line that is none of an audit log. */
  readonly isDamaged: boolean;
}

/** How much of the end of a file is read first; the longest line has less. */
const tailBytes = 262_144;
const newline = 0x0a;

/** In a data folder. */
export function auditFolder(dataDir: string): string {
  return path.resolve(dataDir, 'audit');
}

/** Numbers of the files in a folder, rising. */
export async function listAuditFiles(folder: string): Promise<number[]> {
  const names = await readdir(folder);
  return names.flatMap((name) => readAuditFileName(name) ?? []).sort((a, b) => a - b);
}

export function auditFilePath(folder: string, number: number): string {
  return path.join(folder, formatAuditFileName(number));
}

/** Nobody else may read it. */
export async function makeAuditFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
}

/** Reads what a file ends with. */
export async function readLastFile(folder: string, number: number): Promise<LastFile> {
  const file = await open(auditFilePath(folder, number), 'r');
  try {
    const { size } = await file.stat();
    for (let wanted = tailBytes; ; wanted *= 4) {
      const from = Math.max(0, size - wanted);
      const tail = await readFrom(file, from, size - from);
      const end = tail.lastIndexOf(newline) + 1;
      const found = findLastHead(tail.subarray(0, end));
      if (from > 0 && found === undefined) continue;
      const isDamaged = end > 0 && found?.end !== end;
      return { number, bytes: from + end, torn: tail.subarray(end), head: found?.head, isDamaged };
    }
  } finally {
    await file.close();
  }
}

/** The last line of whole ones that is one of an audit log, and where it ends. One that `lines` do not begin with may have been cut. */
function findLastHead(lines: Buffer): { readonly head: ChainHead; readonly end: number } | undefined {
  let end = lines.length;
  while (end > 1) {
    const begin = lines.lastIndexOf(newline, end - 2) + 1;
    const head = readSealedLine(lines.subarray(begin, end - 1))?.head;
    if (head !== undefined) return { head, end };
    end = begin;
  }
  return undefined;
}

async function readFrom(file: FileHandle, from: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes);
  let at = 0;
  while (at < bytes) {
    const { bytesRead } = await file.read(buffer, at, bytes - at, from + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return buffer.subarray(0, at);
}

/** Opens a file to write behind so many bytes of it; what it has beyond them is cut off. Undefined: it has less. */
export async function openAuditFile(folder: string, number: number, bytes: number): Promise<FileHandle | undefined> {
  const name = auditFilePath(folder, number);
  const flags = bytes === 0 ? 'a' : constants.O_WRONLY | constants.O_APPEND;
  const file = await open(name, flags, 0o600).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' && bytes > 0) return undefined;
    throw error;
  });
  if (file === undefined) return undefined;
  try {
    const { size } = await file.stat();
    if (size > bytes) await file.truncate(bytes);
    if (size === 0) await syncFolder(folder);
    if (size >= bytes) return file;
  } catch (error) {
    await file.close();
    throw error;
  }
  await file.close();
  return undefined;
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Removes the oldest files beyond so many; 0: none is removed. Returns their numbers. */
export async function removeOldest(folder: string, filesMax: number): Promise<number[]> {
  if (filesMax === 0) return [];
  const removed = (await listAuditFiles(folder)).slice(0, -filesMax);
  for (const number of removed) await rm(auditFilePath(folder, number), { force: true });
  return removed;
}
