/** Places for keys: a power of two. Of more services than fit, some keys are decoded again each time. */
const places: number = 2 ** 17;
/** Where a key may be beside its own place: names can be made up that share a hash, and must not cost more. */
const neighbours = 4;

/** Decodes keys. Those that were decoded before are the same text again, whose hash is known to whoever looks them up; making new ones would cost several times as much. */
export class KeyReader {
  readonly #keys: (string | undefined)[] = Array.from({ length: places });
  readonly #hashes: Int32Array = new Int32Array(places);

  /** `isAscii`: each byte is a character. */
  read(bytes: Buffer, start: number, end: number, isAscii: boolean): string {
    if (!isAscii) return bytes.toString('utf8', start, end);
    let hash = end - start;
    for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x0100_0193);
    hash ^= hash >>> 15;
    for (let probe = 0; probe < neighbours; probe++) {
      const place = (hash + probe) & (places - 1);
      const known = this.#keys[place];
      if (known === undefined) return this.#keep(place, hash, bytes.toString('latin1', start, end));
      if (this.#hashes[place] === hash && isText(known, bytes, start, end)) return known;
    }
    return this.#keep(hash & (places - 1), hash, bytes.toString('latin1', start, end));
  }

  #keep(place: number, hash: number, key: string): string {
    this.#keys[place] = key;
    this.#hashes[place] = hash;
    return key;
  }
}

function isText(text: string, bytes: Buffer, start: number, end: number): boolean {
  if (text.length !== end - start) return false;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== bytes[start + i]) return false;
  return true;
}
