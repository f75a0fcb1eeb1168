/**
 * A cache of the last known lists in files, for Node.
 * @module
 */
import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

import { serviceKey } from '../protocol/service-key.ts';
import type { Instance, ServiceName } from '../protocol/types.ts';
import { OptionError } from './errors.ts';
import type { CachedList, ListCache } from './list-cache.ts';

/** Options of {@link FileCache}. */
export interface FileCacheOptions {
  /** The number of lists, one file each; beyond that the list saved longest ago that this client does not use is deleted. By default 1000. */
  readonly listsMax?: number;
  /** A list with more bytes is neither saved nor read. By default 33554432, 32 MiB. */
  readonly listBytesMax?: number;
}

const format = 'slotcast-list';
const formatVersion = 1;
const suffix = '.list';
const partSuffix = '.part';
/** So many instances are worded, or read, in one turn of the event loop. */
const sliceInstances = 500;
const sliceBytes = 1_048_576;
const digestLineBytes = 65;
/** What another process has begun and not finished within this was left by one that died. */
const partLifeMs = 60_000;

interface Head extends Omit<CachedList, 'instances'> {
  readonly format: string;
  readonly formatVersion: number;
  readonly count: number;
}

/**
 * Keeps lists in a folder, which it creates, one file for each service: a header line, a line for each instance, and a line with the
 * SHA-256 of everything before it. Files are replaced atomically, so a crash leaves either the old or the new one. Several processes may share
 * a folder if they subscribe to the same services with the same filters; otherwise each needs its own.
 */
export class FileCache implements ListCache {
  readonly #folder: string;
  readonly #listsMax: number;
  readonly #listBytesMax: number;
  /** Files of lists that this client has to do with. */
  readonly #used: Set<string> = new Set();
  /** One list is written at a time; of each service only the latest one waits. */
  readonly #waiting: Map<string, CachedList> = new Map();
  #writing: Promise<void> = Promise.resolve();
  #prepared: Promise<void> | undefined;

  /** Throws `OptionError`. */
  constructor(folder: string, options: FileCacheOptions = {}) {
    if (typeof folder !== 'string' || folder === '') throw new OptionError('folder', 'the path of a folder');
    this.#folder = folder;
    this.#listsMax = readBound('listsMax', options.listsMax ?? 1000);
    this.#listBytesMax = readBound('listBytesMax', options.listBytesMax ?? 32 * 1_048_576);
  }

  async load(service: ServiceName): Promise<CachedList | undefined> {
    const name = nameFile(service);
    this.#used.add(name);
    const file = await openToRead(join(this.#folder, name));
    if (file === undefined) return undefined;
    try {
      const stats = await file.stat();
      if (!stats.isFile()) throw new Error(`${name} is not a file`);
      if (stats.size > this.#listBytesMax) {
        throw new Error(`${name} has ${stats.size} bytes; listBytesMax is ${this.#listBytesMax}`);
      }
      return await readList(await file.readFile(), name);
    } finally {
      await file.close();
    }
  }

  async save(list: CachedList): Promise<void> {
    const name = nameFile(list.service);
    this.#used.add(name);
    const isWaiting = this.#waiting.has(name);
    this.#waiting.set(name, list);
    if (isWaiting) return;
    const writing = this.#writing.then(async () => {
      const latest = this.#waiting.get(name);
      this.#waiting.delete(name);
      if (latest !== undefined) await this.#write(name, latest);
    });
    // The next one is written whatever became of this one, which its caller is told.
    this.#writing = writing.catch(() => undefined);
    await writing;
  }

  async #write(name: string, list: CachedList): Promise<void> {
    this.#prepared ??= this.#prepare();
    try {
      await this.#prepared;
    } catch (error) {
      // The disk may be there the next time.
      this.#prepared = undefined;
      throw error;
    }
    await this.#makeRoom(name);
    const part = join(this.#folder, `${name}.${randomUUID()}${partSuffix}`);
    const file = await open(part, 'wx', 0o600);
    try {
      try {
        await writeList(file, list, this.#listBytesMax);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(part, join(this.#folder, name));
    } catch (error) {
      await removeIfThere(part);
      throw error;
    }
  }

  /** Makes the folder, and removes what a process left that died while it wrote. */
  async #prepare(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#folder)) {
      if (!/^[0-9a-f]{40}\.list\.[0-9a-f-]{36}\.part$/.test(name)) continue;
      const path = join(this.#folder, name);
      const writtenMs = await writtenAt(path);
      if (writtenMs !== undefined && Date.now() - writtenMs > partLifeMs) await removeIfThere(path);
    }
  }

  /** Only a list that is new needs room. */
  async #makeRoom(name: string): Promise<void> {
    const names = (await readdir(this.#folder)).filter((each) => /^[0-9a-f]{40}\.list$/.test(each));
    if (names.includes(name) || names.length < this.#listsMax) return;
    const others: { readonly name: string; readonly writtenMs: number }[] = [];
    for (const each of names) {
      if (this.#used.has(each)) continue;
      others.push({ name: each, writtenMs: (await writtenAt(join(this.#folder, each))) ?? 0 });
    }
    others.sort((a, b) => a.writtenMs - b.writtenMs);
    const deregisterCalls = others.slice(0, names.length - this.#listsMax + 1);
    if (names.length - deregisterCalls.length >= this.#listsMax) {
      throw new Error(`there are ${names.length} lists in use; listsMax is ${this.#listsMax}`);
    }
    for (const each of deregisterCalls) await removeIfThere(join(this.#folder, each.name));
  }
}

/** A digest, since the name of a service may hold what means something in a path. */
function nameFile(service: ServiceName): string {
  return `${createHash('sha256').update(serviceKey(service)).digest('hex').slice(0, 40)}${suffix}`;
}

async function writeList(file: FileHandle, { instances, ...rest }: CachedList, bytesMax: number): Promise<void> {
  const hash = createHash('sha256');
  let bytes = digestLineBytes;
  const write = async (text: string): Promise<void> => {
    bytes += Buffer.byteLength(text);
    if (bytes > bytesMax) throw new Error(`the list has more than ${bytesMax} bytes, which is listBytesMax`);
    hash.update(text);
    await file.writeFile(text);
  };
  await write(`${JSON.stringify({ format, formatVersion, ...rest, count: instances.length } satisfies Head)}\n`);
  for (let next = 0; next < instances.length; next += sliceInstances) {
    const slice = instances.slice(next, next + sliceInstances);
    await write(slice.map((instance) => `${JSON.stringify(instance)}\n`).join(''));
  }
  await file.writeFile(`${hash.digest('hex')}\n`);
}

/** Throws with the reason if it is no list, or a damaged one. What the list says is checked by the client. */
async function readList(bytes: Buffer, name: string): Promise<CachedList> {
  const end = bytes.lastIndexOf('\n', -2) + 1;
  const hash = createHash('sha256');
  for (let next = 0; next < end; next += sliceBytes) {
    hash.update(bytes.subarray(next, Math.min(end, next + sliceBytes)));
    await setImmediate();
  }
  if (hash.digest('hex') !== bytes.toString('utf8', end, bytes.length - 1)) {
    throw new Error(`${name} is damaged, or is not a list of this cache`);
  }
  const headEnd = bytes.indexOf('\n');
  const head = JSON.parse(bytes.toString('utf8', 0, headEnd)) as Head;
  const { format: itsFormat, formatVersion: itsVersion, count, ...rest } = head;
  if (itsFormat !== format || itsVersion !== formatVersion) throw new Error(`${name} is of another format`);
  const instances: Instance[] = [];
  for (let next = headEnd + 1; next < end;) {
    const lineEnd = bytes.indexOf('\n', next);
    instances.push(JSON.parse(bytes.toString('utf8', next, lineEnd)) as Instance);
    next = lineEnd + 1;
    if (instances.length % sliceInstances === 0) await setImmediate();
  }
  if (instances.length !== count) throw new Error(`${name} has ${instances.length} instances instead of ${count}`);
  return { ...rest, instances };
}

/** Undefined if there is none. Follows no link, and waits for no pipe. */
async function openToRead(path: string): Promise<FileHandle | undefined> {
  // Where a system has no such flag it counts as none.
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  return await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch(passOverMissing);
}

async function writtenAt(path: string): Promise<number | undefined> {
  return (await stat(path).catch(passOverMissing))?.mtimeMs;
}

/** Another process may have been faster. */
async function removeIfThere(path: string): Promise<void> {
  await unlink(path).catch(passOverMissing);
}

function passOverMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}

function readBound(name: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1) {
    throw new OptionError(name, 'an integer from 1 on');
  }
  return value;
}
