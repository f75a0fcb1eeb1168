/** A text in UTF-8 that lies among other bytes. */
export interface EncodedText {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** Each byte is a character. */
  readonly isAscii: boolean;
}

/** Bytes outside the JavaScript heap. */
export interface TextChunk {
  readonly bytes: Uint8Array;
  /** Writes a text of `length` bytes in UTF-8. `isAscii`: each character is one byte. */
  write(at: number, length: number, text: string, isAscii: boolean): void;
  read(at: number, length: number, isAscii: boolean): string;
  copy(at: number, text: EncodedText): void;
}

/** What hashes of names that clients choose are keyed with: two random words of 32 bits, which nobody outside the process learns. */
export type HashKey = readonly [number, number];

/** How text becomes bytes and back, and what hashes of it are keyed with; given from outside, since what is fast and random depends on the runtime. */
export interface TextCodec {
  createChunk(size: number): TextChunk;
  /** Bytes of a text in UTF-8. */
  measure(text: string): number;
  decode(text: EncodedText): string;
  readonly hashKey: HashKey;
}

/** Bytes of a chunk. No text may be longer. */
const chunkBytes: number = 2 ** 18;
/** Blocks begin at multiples of this many bytes, so that a reference of 32 bits reaches 64 GiB, and the smallest has room for what a free one says of itself. */
const unitBytes = 16;
const unitWords: number = unitBytes / Uint32Array.BYTES_PER_ELEMENT;
const chunkUnits: number = chunkBytes / unitBytes;
const quote = 0x22;
const backslash = 0x5c;
/** The reference that leads nowhere. */
const none = 0xffff_ffff;
const chunksMax: number = Math.floor(none / chunkUnits);

/** Sizes of blocks up to this are exact, above it sixteen for each doubling: a text that changes a little keeps its place. */
const exactUnits = 16;
const classesBits = 4;
/** Where a free block has the next one of its size, the one before, and its size; the last also in its last word. */
const nextWord = 0;
const previousWord = 1;
const sizeWord = 2;
/** Words of a bit for each size. */
const sizeWords: number = chunkUnits / 32 + 1;

/** A chunk, and what is free in it. */
interface Slab {
  readonly chunk: TextChunk;
  /** The same memory as words: what free blocks say of themselves. */
  readonly words: Uint32Array;
  /** A bit for each unit that is the first or the last of a free block; so whoever is freed sees whether a neighbour is free. */
  readonly ends: Uint32Array;
}

/**
 * Texts as bytes outside the JavaScript heap: the garbage collector neither marks nor moves them. Slabs of one size; free blocks in a list for each size,
 * joined with free neighbours as they are freed, and the smallest that is large enough is used again. A slab is taken only when no free block is large enough, and
 * given back when all of it is free and another one is, too.
 */
export class FragmentBytes {
  readonly #codec: TextCodec;
  /** Undefined: given back, and its number is free. */
  readonly #slabs: (Slab | undefined)[] = [];
  #freeNumbers: number[] = [];
  #slabCount = 0;
  /** Slabs of which all is free. */
  #emptyCount = 0;
  /** The first free block of each size, in units. */
  readonly #free: Uint32Array = new Uint32Array(chunkUnits + 1).fill(none);
  /** A bit for each size of which there are free blocks, and one for each word of those that is not 0. */
  readonly #sizes: Uint32Array = new Uint32Array(sizeWords);
  readonly #groups: Uint32Array = new Uint32Array(Math.ceil(sizeWords / 32));
  /** The block that is being cut up, in units; it is in no list. */
  #next = 0;
  #end = 0;
  #used = 0;

  constructor(codec: TextCodec) {
    this.#codec = codec;
  }

  /** Bytes in blocks that are in use. */
  get usedBytes(): number {
    return this.#used * unitBytes;
  }

  /** Bytes of slabs. */
  get takenBytes(): number {
    return this.#slabCount * chunkBytes;
  }

  /** Whether a text of `length` bytes can be stored without coming to more than `max` bytes, used or taken. The first slab is free. */
  hasRoom(length: number, max: number): boolean {
    if (this.#used * unitBytes >= max) return false;
    const { takenBytes } = this;
    if (takenBytes + chunkBytes <= max || takenBytes === 0) return true;
    const units = unitsOf(length);
    return this.#end - this.#next >= units || this.#findSize(units) !== none;
  }

  /** Stores a text of `length` bytes, and says where. */
  store(text: string, length: number): number {
    const reference = this.#take(unitsOf(length));
    this.#slabOf(reference).chunk.write(byteOf(reference), length, text, length === text.length);
    return reference;
  }

  storeEncoded(text: EncodedText): number {
    const reference = this.#take(unitsOf(text.end - text.start));
    this.#slabOf(reference).chunk.copy(byteOf(reference), text);
    return reference;
  }

  decode(text: EncodedText): string {
    return this.#codec.decode(text);
  }

  measure(text: string): number {
    return this.#codec.measure(text);
  }

  /** Whether a text of `oldLength` bytes may be replaced by one of `newLength` in place. */
  static fits(oldLength: number, newLength: number): boolean {
    return unitsOf(oldLength) === unitsOf(newLength);
  }

  overwrite(reference: number, text: string, length: number): void {
    this.#slabOf(reference).chunk.write(byteOf(reference), length, text, length === text.length);
  }

  /** `length` and `isAscii` as they were when it was stored. */
  read(reference: number, length: number, isAscii: boolean): string {
    return this.#slabOf(reference).chunk.read(byteOf(reference), length, isAscii);
  }

  /** Gives what is stored as bytes, where they lie. */
  visit<T>(reference: number, length: number, take: (bytes: Uint8Array, start: number, end: number) => T): T {
    const start = byteOf(reference);
    return take(this.#slabOf(reference).chunk.bytes, start, start + length);
  }

  /**
   * Whether a quoted JSON string, whose first character is `offset` bytes into what is stored, is this one. Undefined if that takes more than comparing
   * bytes, because of characters that JSON escapes or that are more than a byte.
   */
  holds(reference: number, offset: number, text: string): boolean | undefined {
    const { bytes } = this.#slabOf(reference).chunk;
    const start = byteOf(reference) + offset;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code < 0x20 || code > 0x7e || code === quote || code === backslash) return undefined;
      if (bytes[start + i] !== code) return false;
    }
    return bytes[start + text.length] === quote;
  }

  free(reference: number, length: number): void {
    const units = unitsOf(length);
    this.#used -= units;
    this.#put(reference, units);
  }

  #take(units: number): number {
    this.#used += units;
    if (this.#free[units] !== none) return this.#pop(units);
    if (this.#end - this.#next < units) this.#openRegion(units);
    const reference = this.#next;
    this.#next += units;
    return reference;
  }

  /** Finds at least this many units to cut blocks from: a larger free block, or a new slab. */
  #openRegion(units: number): void {
    const rest = this.#end - this.#next;
    const restAt = this.#next;
    this.#next = 0;
    this.#end = 0;
    if (rest > 0) this.#put(restAt, rest);
    const size = this.#findSize(units);
    if (size === none) {
      this.#next = this.#addSlab();
      this.#end = this.#next + chunkUnits;
    } else {
      this.#next = this.#pop(size);
      this.#end = this.#next + size;
    }
  }

  #addSlab(): number {
    const number = this.#freeNumbers.pop() ?? this.#slabs.length;
    if (number >= chunksMax) throw new Error(`more than ${chunksMax} chunks`);
    const chunk = this.#codec.createChunk(chunkBytes);
    const { buffer, byteOffset } = chunk.bytes;
    const words = new Uint32Array(buffer, byteOffset, chunkBytes / Uint32Array.BYTES_PER_ELEMENT);
    this.#slabs[number] = { chunk, words, ends: new Uint32Array(chunkUnits / 32) };
    this.#slabCount += 1;
    return number * chunkUnits;
  }

  /** The smallest size from `least` on of which there is a free block, or `none`. */
  #findSize(least: number): number {
    const word = least >>> 5;
    const bits = this.#sizes[word]! & (0xffff_ffff << (least & 31));
    if (bits !== 0) return word * 32 + lowestBit(bits);
    for (let group = (word + 1) >>> 5; group < this.#groups.length; group++) {
      let words = this.#groups[group]!;
      if (group === (word + 1) >>> 5) words &= 0xffff_ffff << ((word + 1) & 31);
      if (words === 0) continue;
      const at = group * 32 + lowestBit(words);
      return at * 32 + lowestBit(this.#sizes[at]!);
    }
    return none;
  }

  /** Makes a block free, together with those beside it that are. */
  #put(reference: number, units: number): void {
    const number = (reference / chunkUnits) | 0;
    const base = number * chunkUnits;
    const slab = this.#slabs[number]!;
    let start = reference - base;
    let end = start + units;
    if (start > 0 && isMarked(slab, start - 1)) {
      const left = slab.words[start * unitWords - 1]!;
      start -= left;
      this.#unlink(slab, base + start, left);
    }
    if (end < chunkUnits && isMarked(slab, end)) {
      const right = slab.words[end * unitWords + sizeWord]!;
      this.#unlink(slab, base + end, right);
      end += right;
    }
    if (end - start === chunkUnits && this.#emptyCount > 0) {
      this.#slabs[number] = undefined;
      this.#freeNumbers.push(number);
      this.#slabCount -= 1;
      return;
    }
    this.#link(slab, base + start, end - start);
  }

  #pop(units: number): number {
    const reference = this.#free[units]!;
    this.#unlink(this.#slabOf(reference), reference, units);
    return reference;
  }

  #link(slab: Slab, reference: number, units: number): void {
    const at = reference % chunkUnits;
    const { words } = slab;
    const next = this.#free[units]!;
    const first = at * unitWords;
    words[first + nextWord] = next;
    words[first + previousWord] = none;
    words[first + sizeWord] = units;
    words[(at + units) * unitWords - 1] = units;
    if (next !== none) this.#slabOf(next).words[wordOf(next) + previousWord] = reference;
    this.#free[units] = reference;
    const word = units >>> 5;
    this.#sizes[word]! |= 1 << (units & 31);
    this.#groups[word >>> 5]! |= 1 << (word & 31);
    markEnd(slab, at);
    markEnd(slab, at + units - 1);
    if (units === chunkUnits) this.#emptyCount += 1;
  }

  #unlink(slab: Slab, reference: number, units: number): void {
    const at = reference % chunkUnits;
    const next = slab.words[at * unitWords + nextWord]!;
    const previous = slab.words[at * unitWords + previousWord]!;
    if (next !== none) this.#slabOf(next).words[wordOf(next) + previousWord] = previous;
    if (previous === none) this.#free[units] = next;
    else this.#slabOf(previous).words[wordOf(previous) + nextWord] = next;
    if (this.#free[units] === none) {
      const word = units >>> 5;
      this.#sizes[word]! &= ~(1 << (units & 31));
      if (this.#sizes[word] === 0) this.#groups[word >>> 5]! &= ~(1 << (word & 31));
    }
    clearEnd(slab, at);
    clearEnd(slab, at + units - 1);
    if (units === chunkUnits) this.#emptyCount -= 1;
  }

  #slabOf(reference: number): Slab {
    return this.#slabs[(reference / chunkUnits) | 0]!;
  }
}

function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

function isMarked({ ends }: Slab, unit: number): boolean {
  return (ends[unit >>> 5]! & (1 << (unit & 31))) !== 0;
}

function markEnd({ ends }: Slab, unit: number): void {
  ends[unit >>> 5]! |= 1 << (unit & 31);
}

function clearEnd({ ends }: Slab, unit: number): void {
  ends[unit >>> 5]! &= ~(1 << (unit & 31));
}

function wordOf(reference: number): number {
  return (reference % chunkUnits) * unitWords;
}

function byteOf(reference: number): number {
  return (reference % chunkUnits) * unitBytes;
}

function unitsOf(length: number): number {
  if (length > chunkBytes) throw new Error(`a text of ${length} bytes is longer than a chunk`);
  const units = Math.max(1, Math.ceil(length / unitBytes));
  if (units <= exactUnits) return units;
  const step = 1 << (31 - Math.clz32(units) - classesBits);
  return Math.ceil(units / step) * step;
}
