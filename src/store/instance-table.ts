import { FragmentBytes } from './fragment-bytes.ts';
import type { EncodedText, HashKey, TextCodec } from './fragment-bytes.ts';
import { hashName } from './name-hash.ts';
import { RowIndex } from './row-index.ts';
import type { IndexedRows } from './row-index.ts';

/** What a row holds, as it is put in and read out. */
export interface InstanceRow {
  /** The canonical JSON of the instance; it begins with the id. */
  readonly fragment: string;
  /** Which of its owner's registrations this is; rises with each. */
  readonly stamp: number;
  /** The session, or lease, that registered it. */
  readonly owner: number;
}

/** Rows of one block of columns. */
const blockRows = 16_384;
const blockShift = 14;
const blockMask: number = blockRows - 1;
/** No row: the end of a list. */
const none = 0xffff_ffff;
/** The highest bit of a length says that the text is ASCII. */
const asciiBit = 0x8000_0000;
const quote = 0x22;
const backslash = 0x5c;
/** What each fragment begins with. */
const idAt = '{"id":"'.length;

/** Columns of numbers: a row costs 48 bytes and its text, and the garbage collector sees neither. */
class Block {
  readonly hash: Uint32Array = new Uint32Array(blockRows);
  readonly list: Uint32Array = new Uint32Array(blockRows);
  readonly tag: Uint32Array = new Uint32Array(blockRows);
  readonly next: Uint32Array = new Uint32Array(blockRows);
  readonly previous: Uint32Array = new Uint32Array(blockRows);
  readonly text: Uint32Array = new Uint32Array(blockRows);
  readonly length: Uint32Array = new Uint32Array(blockRows);
  readonly stamp: Float64Array = new Float64Array(blockRows);
  readonly owner: Float64Array = new Float64Array(blockRows);
}

/**
 * Instances of many lists (of services, or of sessions) as rows of numbers, their contents as bytes outside the JavaScript heap. A row is
 * found by its list, a tag, and its id; rows of a list keep the order in which they came.
 */
export class InstanceTable implements IndexedRows {
  readonly #bytes: FragmentBytes;
  readonly #index: RowIndex = new RowIndex(this);
  readonly #blocks: Block[] = [];
  #rows = 0;
  #freeRow = none;
  #count = 0;
  #lists = 0;
  #freeLists: number[] = [];

  readonly #hashKey: HashKey;

  constructor(codec: TextCodec) {
    this.#bytes = new FragmentBytes(codec);
    this.#hashKey = codec.hashKey;
  }

  /** Rows held. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of texts held. */
  get usedBytes(): number {
    return this.#bytes.usedBytes;
  }

  measure(fragment: string): number {
    return this.#bytes.measure(fragment);
  }

  /** Whether a fragment can be added without coming to more than `bytesMax` bytes of texts, used or taken. */
  hasRoom(fragment: string, bytesMax: number): boolean {
    return this.#bytes.hasRoom(this.#bytes.measure(fragment), bytesMax);
  }

  /** A number for a list; it may be used again after {@link releaseList}. */
  claimList(): number {
    return this.#freeLists.pop() ?? this.#lists++;
  }

  /** The list has no rows any more. */
  releaseList(list: number): void {
    this.#freeLists.push(list);
  }

  /** The row, or -1. */
  find(list: number, tag: number, id: string): number {
    return this.#index.find(hashName(this.#hashKey, list, tag, id), list, tag, id);
  }

  hashOf(row: number): number {
    return this.#blockOf(row).hash[row & blockMask]!;
  }

  isAt(row: number, list: number, tag: number, id: string): boolean {
    const block = this.#blockOf(row);
    const at = row & blockMask;
    if (block.list[at] !== list || block.tag[at] !== tag) return false;
    return this.#bytes.holds(block.text[at]!, idAt, id) ?? this.idOf(row) === id;
  }

  /** Puts a row after `last` of its list (-1: it is the first). It must not be there yet. */
  add(list: number, tag: number, id: string, { fragment, stamp, owner }: InstanceRow, last: number): number {
    const length = this.#bytes.measure(fragment);
    const row = this.#addRow(list, tag, id, last);
    const block = this.#blockOf(row);
    const at = row & blockMask;
    block.text[at] = this.#bytes.store(fragment, length);
    block.length[at] = length === fragment.length ? length + asciiBit : length;
    this.note(row, { stamp, owner });
    return row;
  }

  /** As {@link add} does, without making a string of the text. */
  addEncoded(
    list: number,
    tag: number,
    id: string,
    text: EncodedText,
    claim: Omit<InstanceRow, 'fragment'>,
    last: number,
  ): number {
    const row = this.#addRow(list, tag, id, last);
    const block = this.#blockOf(row);
    const at = row & blockMask;
    const length = text.end - text.start;
    block.text[at] = this.#bytes.storeEncoded(text);
    block.length[at] = text.isAscii ? length + asciiBit : length;
    this.note(row, claim);
    return row;
  }

  /** A row that is found and linked; what it holds is filled in by the caller. */
  #addRow(list: number, tag: number, id: string, last: number): number {
    const row = this.#takeRow();
    const block = this.#blockOf(row);
    const at = row & blockMask;
    const hash = hashName(this.#hashKey, list, tag, id);
    block.hash[at] = hash;
    block.list[at] = list;
    // A column that only ever holds zeros is never written, and memory that is never written is never taken.
    if (block.tag[at] !== tag) block.tag[at] = tag;
    block.next[at] = none;
    block.previous[at] = last === -1 ? none : last;
    if (last !== -1) this.#blockOf(last).next[last & blockMask] = row;
    this.#index.add(hash, row);
    this.#count += 1;
    return row;
  }

  /** Gives a row other contents. The id stays. */
  replace(row: number, { fragment, stamp, owner }: InstanceRow): void {
    const block = this.#blockOf(row);
    const at = row & blockMask;
    const oldLength = lengthOf(block, at);
    const length = this.#bytes.measure(fragment);
    if (FragmentBytes.fits(oldLength, length)) {
      this.#bytes.overwrite(block.text[at]!, fragment, length);
    } else {
      this.#bytes.free(block.text[at]!, oldLength);
      block.text[at] = this.#bytes.store(fragment, length);
    }
    block.length[at] = length === fragment.length ? length + asciiBit : length;
    this.note(row, { stamp, owner });
  }

  /** Takes a row away. Returns its neighbours in the list: -1 where there is none. */
  remove(row: number): { readonly previous: number; readonly next: number } {
    const block = this.#blockOf(row);
    const at = row & blockMask;
    const previous = this.previousOf(row);
    const next = this.nextOf(row);
    if (previous !== -1) this.#blockOf(previous).next[previous & blockMask] = block.next[at]!;
    if (next !== -1) this.#blockOf(next).previous[next & blockMask] = block.previous[at]!;
    this.#index.remove(block.hash[at]!, row);
    this.#bytes.free(block.text[at]!, lengthOf(block, at));
    block.next[at] = this.#freeRow;
    this.#freeRow = row;
    this.#count -= 1;
    return { previous, next };
  }

  /** The content stays as it is. */
  note(row: number, { stamp, owner }: Omit<InstanceRow, 'fragment'>): void {
    const block = this.#blockOf(row);
    const at = row & blockMask;
    block.stamp[at] = stamp;
    if (block.owner[at] !== owner) block.owner[at] = owner;
  }

  nextOf(row: number): number {
    const next = this.#blockOf(row).next[row & blockMask]!;
    return next === none ? -1 : next;
  }

  previousOf(row: number): number {
    const previous = this.#blockOf(row).previous[row & blockMask]!;
    return previous === none ? -1 : previous;
  }

  tagOf(row: number): number {
    return this.#blockOf(row).tag[row & blockMask]!;
  }

  stampOf(row: number): number {
    return this.#blockOf(row).stamp[row & blockMask]!;
  }

  ownerOf(row: number): number {
    return this.#blockOf(row).owner[row & blockMask]!;
  }

  /** Bytes of a row's text. */
  bytesOf(row: number): number {
    return lengthOf(this.#blockOf(row), row & blockMask);
  }

  fragmentOf(row: number): string {
    const block = this.#blockOf(row);
    const at = row & blockMask;
    return this.#bytes.read(block.text[at]!, lengthOf(block, at), block.length[at]! >= asciiBit);
  }

  /** Gives the bytes of a row's text, where they lie; they are the caller's only during the call. */
  visitText<T>(row: number, take: (bytes: Uint8Array, start: number, end: number) => T): T {
    const block = this.#blockOf(row);
    const at = row & blockMask;
    return this.#bytes.visit(block.text[at]!, lengthOf(block, at), take);
  }

  decode(text: EncodedText): string {
    return this.#bytes.decode(text);
  }

  /** The id of an instance, from its canonical JSON. */
  readId(text: EncodedText): string {
    const { bytes, start, end } = text;
    for (let at = start + idAt; at < end; at++) {
      const byte = bytes[at]!;
      if (byte === quote) return this.decode({ bytes, start: start + idAt, end: at, isAscii: true });
      if (byte === backslash || byte > 0x7e) break;
    }
    return readId(this.decode(text));
  }

  idOf(row: number): string {
    return readId(this.fragmentOf(row));
  }

  read(row: number): InstanceRow {
    return { fragment: this.fragmentOf(row), stamp: this.stampOf(row), owner: this.ownerOf(row) };
  }

  #blockOf(row: number): Block {
    return this.#blocks[row >>> blockShift]!;
  }

  #takeRow(): number {
    const row = this.#freeRow;
    if (row !== none) {
      this.#freeRow = this.#blockOf(row).next[row & blockMask]!;
      return row;
    }
    if (this.#rows === this.#blocks.length * blockRows) this.#blocks.push(new Block());
    return this.#rows++;
  }
}

/** The id of an instance, from its canonical JSON. */
export function readId(fragment: string): string {
  let end = fragment.indexOf('"', idAt);
  // A quote after an odd number of backslashes is part of the id.
  while (isEscapedAt(fragment, end)) end = fragment.indexOf('"', end + 1);
  const id = fragment.slice(idAt, end);
  return id.includes('\\') ? (JSON.parse(`"${id}"`) as string) : id;
}

function isEscapedAt(text: string, quote: number): boolean {
  let backslashes = 0;
  while (text.charCodeAt(quote - 1 - backslashes) === 0x5c) backslashes += 1;
  return backslashes % 2 === 1;
}

function lengthOf(block: Block, at: number): number {
  return block.length[at]! & ~asciiBit;
}
