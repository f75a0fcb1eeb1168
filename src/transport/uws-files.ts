import { createHash } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';

/** What the files of the socket library must be: those that are loaded, with their SHA-256. */
export interface Pins {
  /** The file that Node resolves the import to, from the package's folder. */
  readonly entry: string;
  /** By path from the package's folder. */
  readonly files: Readonly<Record<string, string>>;
}

/** A file of the socket library is not the one that is pinned. It has not been loaded. */
export class PinError extends Error {
  override readonly name: string = 'PinError';
}

/** What tells a file from another that took its place, without reading it. */
type Stamp = string;

/** Where threads that are started later find what has been hashed. */
const stampsKey = 'slotcast: stamps of verified files';

/** Which library Node would load here, and for which ABI. */
export interface UwsPlace {
  readonly entry: string;
  readonly binary: string;
}

export function findUws(): UwsPlace {
  const { platform, arch, versions } = process;
  return {
    entry: fileURLToPath(import.meta.resolve('uWebSockets.js')),
    binary: `uws_${platform}_${arch}_${versions.modules}.node`,
  };
}

/**
 * Hashes what is about to be loaded, and compares it with the pins: the scripts of the library and its binary for this platform, once per process: threads compare only which
 * files they are. Resolves to a check to be made after loading. Throws {@link PinError} on a mismatch, and what the library itself would throw where it has no binary.
 *
 * It detects files that were damaged, or delivered by somebody else, not an attacker who may write to the folder of the installation: that one can also change this check. A file that
 * is exchanged between the check and loading has run before `confirm` notices it.
 */
export async function verifyUws(pins: Pins, { entry, binary }: UwsPlace): Promise<{ confirm(): Promise<void> }> {
  const root = entry.slice(0, -pins.entry.length);
  if (path.join(root, pins.entry) !== entry) throw new PinError(`${entry} is not pinned`);
  const names = Object.keys(pins.files);
  const wanted = names.find((name) => path.posix.basename(name) === binary);
  // A file of that name may be there, but it would not be one that anybody has looked at.
  if (wanted === undefined) throw new Error(`uWebSockets.js has no ${binary}`);
  const loaded = [...names.filter((name) => !name.endsWith('.node')), wanted];
  const known = readStamps();
  const stamps = new Map<string, Stamp>();
  for (const name of loaded) {
    const file = path.join(root, name);
    stamps.set(file, await verifyFile(file, pins.files[name] ?? '', known.get(file)));
  }
  setEnvironmentData(stampsKey, [...known, ...stamps] as never);
  return {
    async confirm() {
      for (const [file, stamp] of stamps) {
        if (stampOf(await stat(file, { bigint: true })) === stamp) continue;
        throw new Error(`${file} was changed while it was being loaded: nothing of this process can be trusted`);
      }
    },
  };
}

/** Resolves to the stamp of what was hashed. */
async function verifyFile(file: string, pin: string, known: Stamp | undefined): Promise<Stamp> {
  let handle;
  try {
    handle = await open(file);
  } catch (error) {
    throw new PinError(`${file} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  try {
    const stamp = stampOf(await handle.stat({ bigint: true }));
    if (stamp === known) return stamp;
    const hash = createHash('sha256')
      .update(await handle.readFile())
      .digest('hex');
    if (hash !== pin) throw new PinError(`${file} has the SHA-256 ${hash}, and ${pin} is pinned`);
    return stamp;
  } finally {
    await handle.close();
  }
}

interface FileFacts {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

function stampOf({ dev, ino, size, mtimeNs, ctimeNs }: FileFacts): Stamp {
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
}

function readStamps(): Map<string, Stamp> {
  return new Map(getEnvironmentData(stampsKey) as unknown as [string, Stamp][] | undefined);
}
