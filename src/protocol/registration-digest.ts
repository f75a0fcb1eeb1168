/**
 * Fingerprints of registrations, by which a client and a server see whether they hold the same ones without sending them. They guard
 * against loss, not against an attacker.
 */

const utf8: TextEncoder = new TextEncoder();

/** Two independent 32-bit hashes of one registration. */
export interface Lanes {
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

/** The digest of a set of registrations, in whatever order they come and go: the sums, modulo 2^32, of the two halves of their hashes. */
export class RegistrationDigest {
  #low = 0;
  #high = 0;

  add(key: string, fragment: string): void {
    this.addLanes(hashLanes(key, fragment));
  }

  addLanes({ low, high }: Lanes): void {
    this.#low = (this.#low + low) >>> 0;
    this.#high = (this.#high + high) >>> 0;
  }

  subtractLanes({ low, high }: Lanes): void {
    this.#low = (this.#low - low) >>> 0;
    this.#high = (this.#high - high) >>> 0;
  }

  /** 16 hexadecimal digits. */
  toString(): string {
    return formatLanes({ low: this.#low, high: this.#high });
  }
}

/** Hashes registrations whose fragments lie somewhere as bytes, without a copy of them. */
export class RegistrationHasher {
  /** The service of the last one. */
  #name = '';
  /** The key of that, a line feed, and room for what completes its last word. */
  #key: Uint8Array = new Uint8Array(0);
  #keyBytes = 0;

  /** The key of the service of the registrations that follow. */
  setKey(name: string): void {
    if (name === this.#name && this.#keyBytes > 0) return;
    const bytesMax = name.length * utf8BytesMax + 1 + wordBytes;
    if (this.#key.length < bytesMax) this.#key = new Uint8Array(bytesMax);
    this.#keyBytes = utf8.encodeInto(name, this.#key).written;
    this.#key[this.#keyBytes] = lineFeed;
    this.#keyBytes += 1;
    this.#name = name;
  }

  /** The text of one registration of the service that was set last, from `start` to `end`. */
  hash(bytes: Uint8Array, start: number, end: number): Lanes {
    const key = this.#key;
    const lanes = new MurmurLanes();
    let at = start;
    let keyEnd = this.#keyBytes;
    while (keyEnd % wordBytes !== 0 && at < end) key[keyEnd++] = bytes[at++]!;
    if (keyEnd % wordBytes === 0) {
      lanes.take(key, 0, keyEnd);
      lanes.finish(bytes, lanes.take(bytes, at, end), end, this.#keyBytes + end - start);
    } else {
      lanes.finish(key, lanes.take(key, 0, keyEnd), keyEnd, this.#keyBytes + end - start);
    }
    return lanes;
  }
}

const lineFeed = 0x0a;
const wordBytes = 4;
/** Of one UTF-16 unit. */
const utf8BytesMax = 3;

function hashLanes(key: string, fragment: string): Lanes {
  const bytes = utf8.encode(`${key}\n${fragment}`);
  const lanes = new MurmurLanes();
  lanes.finish(bytes, lanes.take(bytes, 0, bytes.length), bytes.length, bytes.length);
  return lanes;
}

function formatLanes({ low, high }: Lanes): string {
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
}

/** MurmurHash3_x86_32 by Austin Appleby, which is in the public domain: with two seeds at a time, of bytes that come in parts. */
export class MurmurLanes implements Lanes {
  low: number;
  high: number;

  constructor(lowSeed = 0, highSeed = 1) {
    this.low = lowSeed;
    this.high = highSeed;
  }

  /** Takes the whole words of a part; returns where the rest begins. */
  take(bytes: Uint8Array, start: number, end: number): number {
    let { low, high } = this;
    let at = start;
    for (; at + wordBytes <= end; at += wordBytes) {
      const word = scramble(bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
      low ^= word;
      low = (Math.imul((low << 13) | (low >>> 19), 5) + 0xe654_6b64) | 0;
      high ^= word;
      high = (Math.imul((high << 13) | (high >>> 19), 5) + 0xe654_6b64) | 0;
    }
    this.low = low;
    this.high = high;
    return at;
  }

  /** Takes the last bytes, fewer than a word. `length`: of all parts together. */
  finish(bytes: Uint8Array, start: number, end: number, length: number): void {
    let rest = 0;
    for (let i = end - 1; i >= start; i--) rest = (rest << 8) | bytes[i]!;
    const word = start < end ? scramble(rest) : 0;
    this.low = mixEnd(this.low ^ word, length);
    this.high = mixEnd(this.high ^ word, length);
  }
}

function mixEnd(lane: number, length: number): number {
  let hash = lane ^ length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function scramble(word: number): number {
  const mixed = Math.imul(word, 0xcc9e_2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b87_3593);
}
