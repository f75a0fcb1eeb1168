/**
 * Fingerprints of registrations, by which a client and a server see whether they hold the same ones without sending them. They guard
 * against loss, not against an attacker.
 */

const utf8: TextEncoder = new TextEncoder();

/** Two independent 32-bit hashes of one registration. */
interface Lanes {
  readonly low: number;
  readonly high: number;
}

/**
 * The hash of one registration, 16 hexadecimal digits: MurmurHash3 (x86, 32 bits) with seed 1, then with seed 0, of the UTF-8 bytes of the
 * service's key `namespace/group/service`, a line feed, and the instance's canonical JSON.
 */
export function hashRegistration(key: string, fragment: string): string {
  return formatLanes(hashLanes(key, fragment));
}

/** The digest of a set of registrations, in whatever order they are added: the sums, modulo 2^32, of the two halves of their hashes. */
export class RegistrationDigest {
  #low = 0;
  #high = 0;

  add(key: string, fragment: string): void {
    const { low, high } = hashLanes(key, fragment);
    this.#low = (this.#low + low) >>> 0;
    this.#high = (this.#high + high) >>> 0;
  }

  /** 16 hexadecimal digits. */
  toString(): string {
    return formatLanes({ low: this.#low, high: this.#high });
  }
}

function hashLanes(key: string, fragment: string): Lanes {
  const bytes = utf8.encode(`${key}\n${fragment}`);
  return { low: murmur3(bytes, 0), high: murmur3(bytes, 1) };
}

function formatLanes({ low, high }: Lanes): string {
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
}

/** MurmurHash3_x86_32 by Austin Appleby, which is in the public domain. */
export function murmur3(bytes: Uint8Array, seed: number): number {
  const { length } = bytes;
  const tail = length & ~3;
  let hash = seed;
  for (let i = 0; i < tail; i += 4) {
    const word = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    hash ^= scramble(word);
    hash = Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe654_6b64;
  }
  let rest = 0;
  for (let i = length - 1; i >= tail; i--) rest = (rest << 8) | bytes[i]!;
  if (tail < length) hash ^= scramble(rest);
  hash ^= length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function scramble(word: number): number {
  const mixed = Math.imul(word, 0xcc9e_2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b87_3593);
}
