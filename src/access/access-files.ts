import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { tokenKeyBytes } from './token.ts';

const keyFile = 'token.key';
const bootstrapFile = 'bootstrap-token';

/** Only its owner may read it. */
const ownerOnly = 0o600;

/** The key by which tokens are hashed: that of the folder, which is made if there is none. `folder` undefined: one for this life of the process. */
export function readTokenKey(folder: string | undefined): Uint8Array {
  const fresh = randomBytes(tokenKeyBytes);
  if (folder === undefined) return fresh;
  const file = path.join(folder, keyFile);
  mkdirSync(folder, { recursive: true });
  try {
    writeFileSync(file, `${fresh.toString('hex')}\n`, { mode: ownerOnly, flag: 'wx' });
    return fresh;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const text = readFileSync(file, 'utf8').trim();
  if (!/^[0-9a-f]{64}$/.test(text)) throw new Error(`${file} is not a key of ${tokenKeyBytes} bytes in hexadecimal`);
  return Buffer.from(text, 'hex');
}

/** Writes the first token where only whoever has started the process can read it; returns the file. */
export function writeBootstrapToken(folder: string, token: string): string {
  const file = path.join(folder, bootstrapFile);
  mkdirSync(folder, { recursive: true });
  // One that is there may be readable by others.
  rmSync(file, { force: true });
  writeFileSync(file, `${token}\n`, { mode: ownerOnly, flag: 'wx' });
  return file;
}
