import { createReadStream, statSync } from 'node:fs';

import { AdministrationError } from './exit-codes.ts';

/** A file to read, part by part. */
export interface DumpSource {
  /** For messages. */
  readonly name: string;
  /** Undefined: nobody knows beforehand, as of a pipe. */
  readonly bytes: number | undefined;
  readonly parts: AsyncIterable<Uint8Array>;
}

/** `-` is what is piped in. */
export function openDump(file: string): DumpSource {
  if (file === '-') return { name: 'standard input', bytes: undefined, parts: process.stdin };
  try {
    const stat = statSync(file);
    return { name: file, bytes: stat.isFile() ? stat.size : undefined, parts: readParts(file) };
  } catch (error) {
    throw describeFault(file, error);
  }
}

async function* readParts(file: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const part of createReadStream(file)) yield part as Uint8Array;
  } catch (error) {
    throw describeFault(file, error);
  }
}

/** A file that cannot be read or written, with why. */
function describeFault(file: string, error: unknown): AdministrationError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new AdministrationError(`${file}: ${code ?? message}`, { cause: error });
}
