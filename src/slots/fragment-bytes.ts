/** Bytes outside the JavaScript heap. */
export interface TextChunk {
  readonly bytes: Uint8Array;
  /** Writes a text of `length` bytes in UTF-8. `isAscii`: each character is one byte. */
  write(at: number, length: number, text: string, isAscii: boolean): void;
  read(at: number, length: number, isAscii: boolean): string;
}

/** How text becomes bytes and back; given from outside, since what is fast depends on the runtime. */
export interface TextCodec {
  createChunk(size: number): TextChunk;
  /** Bytes of a text in UTF-8. */
  measure(text: string): number;
}

/** Bytes of a chunk. No text may be longer. */
const chunkBytes: number = 2 ** 18;
/** Blocks begin at multiples of this many bytes, so that a reference of 32 bits reaches 32 GiB. */
const unitBytes = 8;
const chunkUnits: number = chunkBytes / unitBytes;
const quote = 0x22;
const backslash = 0x5c;
/** The reference that leads nowhere. */
const none = 0xffff_ffff;
const chunksMax: number = Math.floor(none / chunkUnits);

/** Sizes of blocks up to this are exact, above it sixteen for each doubling: blocks of texts that grow a little are of use to one another. */
const exactUnits = 16;
const classesBits = 4;

/**
 * Texts as bytes outside the JavaScript heap: the garbage collector neither marks nor moves them. Chunks of one size, blocks of a few sizes of whole
 * units, free blocks in a list for each size. A chunk is taken only when no free block is large enough, and none is ever given back.
 */
export class FragmentBytes {
  readonly #codec: TextCodec;
  readonly #chunks: TextChunk[] = [];
  /** The same memory, as the links of free blocks. */
  readonly #links: Uint32Array[] = [];
  /** The first free block of each size, in units. */
  readonly #free: Uint32Array = new Uint32Array(chunkUnits + 1).fill(none);
  /** A bit for each size of which there are free blocks. */
  readonly #sizes: Uint32Array = new Uint32Array(chunkUnits / 32 + 1);
  /** The rest of the latest chunk, or of a large free block, in units. */
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

  /** Stores a text of `length` bytes, and says where. */
  store(text: string, length: number): number {
    const units = unitsOf(length);
    const reference = this.#take(units);
    this.#used += units;
    this.#chunkOf(reference).write(byteOf(reference), length, text, length === text.length);
    return reference;
  }

  measure(text: string): number {
    return this.#codec.measure(text);
  }

  /** Whether a text of `oldLength` bytes may be replaced by one of `newLength` in place. */
  static fits(oldLength: number, newLength: number): boolean {
    return unitsOf(oldLength) === unitsOf(newLength);
  }

  overwrite(reference: number, text: string, length: number): void {
    this.#chunkOf(reference).write(byteOf(reference), length, text, length === text.length);
  }

  /** `length` and `isAscii` as they were when it was stored. */
  read(reference: number, length: number, isAscii: boolean): string {
    return this.#chunkOf(reference).read(byteOf(reference), length, isAscii);
  }

  /** Gives what is stored as bytes, where they lie. */
  visit(reference: number, length: number, take: (bytes: Uint8Array, start: number, end: number) => void): void {
    const start = byteOf(reference);
    take(this.#chunkOf(reference).bytes, start, start + length);
  }

  /**
   * Whether a quoted JSON string, whose first character is `offset` bytes into what is stored, is this one. Undefined if that takes more than comparing
   * bytes, because of characters that JSON escapes or that are more than a byte.
   */
  holds(reference: number, offset: number, text: string): boolean | undefined {
    const { bytes } = this.#chunkOf(reference);
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
    if (this.#free[units] !== none) return this.#pop(units);
    if (this.#end - this.#next < units) {
      this.#openRegion(units);
    }
    const reference = this.#next;
    this.#next += units;
    return reference;
  }

  /** Finds at least so many units to cut blocks from: a larger free block, or a new chunk. */
  #openRegion(units: number): void {
    if (this.#end > this.#next) this.#put(this.#next, this.#end - this.#next);
    const size = this.#findSize(units + 1);
    if (size === none) {
      this.#next = this.#addChunk();
      this.#end = this.#next + chunkUnits;
    } else {
      this.#next = this.#pop(size);
      this.#end = this.#next + size;
    }
  }

  #addChunk(): number {
    if (this.#chunks.length >= chunksMax) throw new Error(`more than ${chunksMax} chunks`);
    const chunk = this.#codec.createChunk(chunkBytes);
    const count = this.#chunks.push(chunk);
    const { buffer, byteOffset } = chunk.bytes;
    this.#links.push(new Uint32Array(buffer, byteOffset, chunkBytes / Uint32Array.BYTES_PER_ELEMENT));
    return (count - 1) * chunkUnits;
  }

  /** The smallest size from `least` on of which there is a free block, or `none`. */
  #findSize(least: number): number {
    const sizes = this.#sizes;
    let bits = sizes[least >>> 5]! & (0xffff_ffff << (least & 31));
    for (let word = least >>> 5; ; bits = sizes[word]!) {
      if (bits !== 0) return word * 32 + 31 - Math.clz32(bits & -bits);
      word += 1;
      if (word >= sizes.length) return none;
    }
  }

  #put(reference: number, units: number): void {
    this.#sizes[units >>> 5] = this.#sizes[units >>> 5]! | (1 << (units & 31));
    this.#links[(reference / chunkUnits) | 0]![byteOf(reference) >>> 2] = this.#free[units]!;
    this.#free[units] = reference;
  }

  #pop(units: number): number {
    const reference = this.#free[units]!;
    const next = this.#links[(reference / chunkUnits) | 0]![byteOf(reference) >>> 2]!;
    this.#free[units] = next;
    if (next === none) this.#sizes[units >>> 5] = this.#sizes[units >>> 5]! & ~(1 << (units & 31));
    return reference;
  }

  #chunkOf(reference: number): TextChunk {
    return this.#chunks[(reference / chunkUnits) | 0]!;
  }
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
