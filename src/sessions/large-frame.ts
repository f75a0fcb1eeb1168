import type { Failure } from '../protocol/errors.ts';
import { protocolLimits } from '../protocol/limits.ts';
import { readPlainRegistration } from './plain-registration.ts';
import { emptyBatch, notJson, readIncoming, refuseEntries, toIncoming } from './requests.ts';
import type { Frame, Incoming } from './requests.ts';

const { requestWeightMax } = protocolLimits;
/** A string may be long at little cost, but each is an object, and each key of an object may be new. */
const stringWeight = 8;

/** Where a value ends that stands in a text, and what it weighs: characters other than white space and strings, and so much for each string. */
interface Extent {
  /** Of the comma or bracket behind it, or of the end of the text. */
  readonly end: number;
  readonly weight: number;
}

/**
 * A large frame, read entry by entry, so that others have their turns in between. Nothing of it is carried out before all of it has been read: a frame that is
 * not JSON does nothing. What cannot be a request, for its size, is not parsed.
 */
export class LargeFrame {
  readonly #text: string;
  readonly #batchEntriesMax: number;
  readonly #entries: Incoming[] = [];
  #at: number;
  #frame: Frame | undefined;

  constructor(text: string, batchEntriesMax: number) {
    this.#text = text;
    this.#batchEntriesMax = batchEntriesMax;
    this.#at = skipBlanks(text, 0);
    if (text[this.#at] === '[') this.#at += 1;
    else this.#frame = readLone(text);
  }

  /** What it holds, once all of it has been read. */
  get frame(): Frame | undefined {
    return this.#frame;
  }

  /** Reads on, one entry at least. Returns how many characters that was, which is more than what is asked for by the rest of an entry. */
  read(characters: number): number {
    const start = this.#at;
    while (this.#frame === undefined && this.#at - start < characters) this.#frame = this.#readEntry();
    return this.#at - start;
  }

  #readEntry(): Frame | undefined {
    const [text, entries, start] = [this.#text, this.#entries, this.#at];
    const registration = readPlainRegistration(text, start);
    const { end, weight } =
      registration === undefined ? measureValue(text, start) : { end: skipBlanks(text, registration.end), weight: 0 };
    this.#at = end + 1;
    const isLast = text[end] === ']';
    if (!isLast && text[end] !== ',') return { kind: 'unreadable', failure: notJson };
    if (isLast && skipBlanks(text, end + 1) !== text.length) return { kind: 'unreadable', failure: notJson };
    if (isLast && entries.length === 0 && weight === 0 && registration === undefined) {
      return { kind: 'unreadable', failure: emptyBatch };
    }
    if (entries.length === this.#batchEntriesMax) {
      return { kind: 'unreadable', failure: refuseEntries('more entries', this.#batchEntriesMax) };
    }
    const incoming = registration === undefined ? readValue(text.slice(start, end), weight) : toIncoming(registration);
    if (incoming === undefined) return { kind: 'unreadable', failure: notJson };
    entries.push(incoming);
    return isLast ? { kind: 'batch', entries } : undefined;
  }
}

const tooLong: Failure = {
  code: 'invalid_request',
  message: `the request is too complex: its weight is above ${requestWeightMax}`,
};

/** What is longer than any request can be is not parsed: that would take long. */
export function refuseLength(text: string): Failure | undefined {
  return text.length > requestWeightMax && measureWhole(text) > requestWeightMax ? tooLong : undefined;
}

function readLone(text: string): Frame {
  const failure = refuseLength(text);
  if (failure !== undefined) return { kind: 'unreadable', failure };
  const incoming = readValue(text, 0);
  return incoming === undefined ? { kind: 'unreadable', failure: notJson } : { kind: 'single', incoming };
}

/** Undefined: it is not JSON. */
function readValue(text: string, weight: number): Incoming | undefined {
  if (weight > requestWeightMax) return { kind: 'invalid', id: null, failure: tooLong };
  try {
    return readIncoming(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function skipBlanks(text: string, start: number): number {
  let at = start;
  while (isBlank(text.charCodeAt(at))) at += 1;
  return at;
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

/** Of several values, or what is none, too. */
function measureWhole(text: string): number {
  let weight = 0;
  for (let at = 0; at < text.length;) {
    const extent = measureValue(text, at);
    weight += extent.weight;
    at = extent.end + 1;
  }
  return weight;
}

/** Looks for the end of a value by its brackets and strings alone: if it is none, parsing it will say so. */
function measureValue(text: string, start: number): Extent {
  let depth = 0;
  let weight = 0;
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (isBlank(code)) continue;
    if (depth === 0 && (code === 0x7d || code === 0x5d || code === 0x2c)) return { end: at, weight };
    weight += 1;
    if (code === 0x22) {
      at = findStringEnd(text, at + 1);
      weight += stringWeight;
    } else if (code === 0x7b || code === 0x5b) depth += 1;
    else if (code === 0x7d || code === 0x5d) depth -= 1;
  }
  // A value that has not ended is no value.
  return { end: text.length, weight: depth === 0 ? weight : Number.NaN };
}

/** Where a string's closing quote is; the end of the text, if it has none. */
function findStringEnd(text: string, start: number): number {
  for (let at = text.indexOf('"', start); at !== -1; at = text.indexOf('"', at + 1)) {
    let escapes = 0;
    while (at - escapes > start && text.charCodeAt(at - escapes - 1) === 0x5c) escapes += 1;
    if (escapes % 2 === 0) return at;
  }
  return text.length;
}
