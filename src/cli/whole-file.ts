import { open, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';

import { AdministrationError } from './exit-codes.ts';

/** Writes a file that has its name only when it is whole, and on disk: one of that name is replaced by a whole one or stays. Resolves to what `write` does. */
export async function writeWholeFile<T>(file: string, write: (handle: FileHandle) => Promise<T>): Promise<T> {
  const unfinished = `${file}.unfinished`;
  const handle = await open(unfinished, 'w');
  try {
    const written = await write(handle);
    await handle.sync();
    await handle.close();
    await rename(unfinished, file);
    return written;
  } catch (error) {
    await handle.close();
    await rm(unfinished, { force: true });
    throw error;
  }
}

/** What a file or a folder meets, in a word or two; `file`: if the system does not say which it was. */
export async function explainFaults<T>(file: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const { code, syscall, path = file } = error as NodeJS.ErrnoException;
    if (code === undefined || syscall === undefined) throw error;
    throw new AdministrationError(`${path}: ${code}`, { cause: error });
  }
}
