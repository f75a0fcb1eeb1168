import { closeSync, constants, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { access, mkdir } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { Server } from 'node:net';
import path from 'node:path';

import { DataFolderError } from './data-folder-error.ts';

const socketName = 'lock.sock';
/** Says whose lock it is, for people. */
const holderName = 'lock.pid';
/** How often it is tried to take over a lock whose holder is gone: another process may try the same. */
const attemptsMax = 5;

/**
 * Keeps other processes off a folder: a socket in it that listens as long as this process lives, however it ends. It is found by its name in the folder, so it works
 * for containers that share one, too; where the file system has no sockets, or must not be written to, there is no lock.
 */
export class FolderLock {
  readonly #server: Server | undefined;
  readonly #folder: string;

  private constructor(folder: string, server: Server | undefined) {
    this.#folder = folder;
    this.#server = server;
  }

  /** Rejects with a {@link DataFolderError} if another process, or another server of this one, has it. */
  static async take(folder: string): Promise<FolderLock> {
    if (process.platform === 'win32') return new FolderLock(folder, undefined);
    try {
      await mkdir(folder, { recursive: true });
      await access(folder, constants.R_OK);
    } catch {
      // The store says why, and goes on without.
      return new FolderLock(folder, undefined);
    }
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const server = await inFolder(folder, (name) => listen(name));
      if (server === 'impossible') return new FolderLock(folder, undefined);
      if (server !== 'taken') {
        nameHolder(folder);
        return new FolderLock(folder, server);
      }
      const isTaken = await inFolder(folder, isHeld);
      if (isTaken ?? isHolderRunning(folder))
        throw new DataFolderError(`${folder} is in use by ${describeHolder(folder)}`);
      if (isTaken === undefined || !(await removeStale(folder))) return new FolderLock(folder, undefined);
    }
    throw new DataFolderError(`${folder} is being taken by another process`);
  }

  release(): void {
    if (this.#server === undefined) return;
    rmSync(path.join(this.#folder, holderName), { force: true });
    rmSync(path.join(this.#folder, socketName), { force: true });
    this.#server.close();
  }
}

/** The path of a socket has room for some hundred characters only, so it is named through the folder's descriptor where the system knows those. */
async function inFolder<T>(folder: string, use: (socket: string) => Promise<T>): Promise<T> {
  if (process.platform !== 'linux') return use(path.join(folder, socketName));
  const descriptor = openSync(folder, 'r');
  try {
    return await use(`/proc/self/fd/${descriptor}/${socketName}`);
  } finally {
    closeSync(descriptor);
  }
}

function listen(socket: string): Promise<Server | 'taken' | 'impossible'> {
  const server = createServer((peer) => peer.destroy());
  server.unref();
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'EADDRINUSE' ? 'taken' : 'impossible');
    });
    server.listen(socket, () => {
      resolve(server);
    });
  });
}

/** Whether somebody listens; a process that is suspended does. Undefined: this process must not ask. */
function isHeld(socket: string): Promise<boolean | undefined> {
  return new Promise((resolve) => {
    const probe = connect(socket, () => {
      resolve(true);
      probe.destroy();
    });
    probe.once('error', (error: NodeJS.ErrnoException) => {
      // Too many that ask at once are an answer as well.
      resolve(error.code === 'EACCES' ? undefined : error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT');
    });
  });
}

/**
 * Removes the socket of a process that is gone: not by its name, which another that starts now may just have given to its own. Resolves to whether it could be
 * tried: in a folder that must not be written to, nobody else will.
 */
async function removeStale(folder: string): Promise<boolean> {
  const stale = `${socketName}.${process.pid}.stale`;
  try {
    renameSync(path.join(folder, socketName), path.join(folder, stale));
  } catch (error) {
    // Or else another has removed it.
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
  const isLive = await inFolder(folder, (socket) => isHeld(socket.replace(socketName, stale)));
  if (isLive !== false) renameSync(path.join(folder, stale), path.join(folder, socketName));
  else rmSync(path.join(folder, stale), { force: true });
  return true;
}

/** The lock holds without it. */
function nameHolder(folder: string): void {
  try {
    writeFileSync(path.join(folder, holderName), `${process.pid}\n`);
  } catch {
    // Where there is no room for it the store finds that out, and says so; an old name would be a wrong one.
    rmSync(path.join(folder, holderName), { force: true });
  }
}

/** Throws if nobody has left a name. */
function readHolder(folder: string): number {
  return Number(readFileSync(path.join(folder, holderName), 'utf8'));
}

/** A socket of another user may be left over, and cannot be asked: only a process that is gone has certainly let go of it. */
function isHolderRunning(folder: string): boolean {
  try {
    process.kill(readHolder(folder), 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

function describeHolder(folder: string): string {
  try {
    const pid = readHolder(folder);
    return pid === process.pid ? `another server of this process, ${pid}` : `process ${pid}`;
  } catch {
    return 'another process';
  }
}
