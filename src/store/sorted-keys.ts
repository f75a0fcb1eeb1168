import { compareBytes } from './byte-order.ts';

/** A chunk of more keys is halved: what an insertion moves stays small. */
const chunkKeysMax = 256;

/** Keys in the order of their bytes, kept up as they come and go: a page costs its length, and a key the logarithm of their number. */
export class SortedKeys {
  /** None is empty. */
  readonly #chunks: string[][] = [];

  /** It must not be there yet. */
  add(key: string): void {
    const at = Math.max(0, this.#chunkOf(key));
    const chunk = this.#chunks[at];
    if (chunk === undefined) {
      this.#chunks.push([key]);
      return;
    }
    chunk.splice(placeIn(chunk, key), 0, key);
    if (chunk.length > chunkKeysMax) this.#chunks.splice(at + 1, 0, chunk.splice(chunkKeysMax / 2));
  }

  /** It must be there. */
  delete(key: string): void {
    const at = this.#chunkOf(key);
    const chunk = this.#chunks[at];
    const place = chunk === undefined ? -1 : placeIn(chunk, key);
    if (chunk?.[place] !== key) throw new Error(`not a key: ${key}`);
    chunk.splice(place, 1);
    if (chunk.length === 0) this.#chunks.splice(at, 1);
  }

  /** The keys from `start` on, itself included. They must not change meanwhile. */
  *from(start: string): Generator<string, void, undefined> {
    let at = Math.max(0, this.#chunkOf(start));
    let place = this.#chunks.length === 0 ? 0 : placeIn(this.#chunks[at]!, start);
    for (; at < this.#chunks.length; at++) {
      for (const chunk = this.#chunks[at]!; place < chunk.length; place++) yield chunk[place]!;
      place = 0;
    }
  }

  /** The last chunk that begins with this key or one before it; -1 if all begin after it. */
  #chunkOf(key: string): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareBytes(this.#chunks[middle]![0]!, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** Where the key is, or belongs. */
function placeIn(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(keys[middle]!, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
