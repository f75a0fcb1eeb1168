import { nameService } from './population.ts';

/** What a push or the answer to a subscription says, without its instances: those follow through {@link readMarks}. */
export interface PushHead {
  readonly service: number;
  readonly count: number;
  /** Undefined: a snapshot. */
  readonly from: number | undefined;
  readonly to: number;
}

const markKey = Buffer.from('"n":"');
const removeKey = Buffer.from('"remove":[');
const answerStart = '{"jsonrpc":"2.0","id":';
/** Shorter than any instance: in what is left no other one can stand. */
const instanceBytesMin = 60;
const idBytes = nameService(0).length;
const quote = 0x22;
const comma = 0x2c;
const zero = 0x30;

/** Reads the pushes of one namespace. They are not parsed: that would make the load generator the bottleneck. */
export class PushReader {
  readonly #prefix: string;
  readonly #nameAt: number;
  readonly #countAt: number;
  #isFormChecked = false;

  constructor(namespace: string) {
    this.#prefix = `{"jsonrpc":"2.0","method":"service.changed","params":{"namespace":"${namespace}","group":"DEFAULT","service":"`;
    this.#nameAt = this.#prefix.length + 2;
    this.#countAt = this.#prefix.length + idBytes + '","count":'.length;
  }

  readHead(bytes: Buffer, start: number, end: number): PushHead {
    if (!this.#isFormChecked) this.#checkForm(bytes, start, end);
    const service = readDigits(bytes, start + this.#nameAt, 8);
    const countAt = start + this.#countAt;
    const count = readNumber(bytes, countAt);
    let at = skipDigits(bytes, countAt) + 2;
    // `from` or `snapshot`: the first letter says which.
    if (bytes[at] === 0x73)
      return { service, count, from: undefined, to: readNumber(bytes, at + '"snapshot":true,"to":'.length - 1) };
    at += 'from":'.length;
    const from = readNumber(bytes, at);
    return { service, count, from, to: readNumber(bytes, skipDigits(bytes, at) + ',"to":'.length) };
  }

  /** The places of the fields are taken for granted afterwards, so the first push is looked at whole. */
  #checkForm(bytes: Buffer, start: number, end: number): void {
    const text = bytes.toString('utf8', start, end);
    const form = new RegExp(
      `^${this.#prefix.replaceAll(/[{}.[\]]/g, String.raw`\$&`)}s-\\d{8}","count":\\d+,("from":\\d+,"to":\\d+,"put":\\[|"snapshot":true,"to":\\d+,"instances":\\[)`,
    );
    if (!form.test(text))
      throw new Error(`the server encodes pushes in a form that this suite does not know: ${text.slice(0, 300)}`);
    this.#isFormChecked = true;
  }
}

/** Calls back for each instance: its number, and the mark that it carries. */
export function readMarks(
  bytes: Buffer,
  start: number,
  end: number,
  take: (instance: number, mark: number) => void,
): void {
  for (let at = start; end - at >= instanceBytesMin;) {
    const found = bytes.indexOf(markKey, at);
    if (found === -1 || found >= end) return;
    const digitsAt = found + markKey.length;
    take(readDigits(bytes, digitsAt, 8), readDigits(bytes, digitsAt + 9, 10));
    at = digitsAt + 19;
  }
}

/** Calls back for each instance that a delta takes away. */
export function readRemoved(bytes: Buffer, start: number, end: number, take: (instance: number) => void): void {
  // `"remove":[]}}` ends a delta that removes nothing.
  if (bytes[end - 4] === 0x5b) return;
  const found = bytes.lastIndexOf(removeKey, end);
  if (found < start) return;
  for (let at = found + removeKey.length; bytes[at] === quote; at += idBytes + 3) {
    take(readDigits(bytes, at + 3, 8));
    if (bytes[at + idBytes + 2] !== comma) return;
  }
}

/** Answers carry an id, notifications a method. */
export function isAnswer(bytes: Buffer, start: number): boolean {
  return bytes[start + 18] === 0x69;
}

/** The id of an answer, and where what follows it begins. */
export function readAnswer(bytes: Buffer, start: number): { readonly id: number; readonly isResult: boolean } {
  const at = start + answerStart.length;
  return { id: readNumber(bytes, at), isResult: bytes[skipDigits(bytes, at) + 2] === 0x72 };
}

const instancesKey = Buffer.from('"instances":[');
/** In the answer to a subscription it begins within the first so many bytes. */
const answerHeadBytes = 120;

/** Whether the answer to a subscription says what has changed since the version that was held, rather than what there is. */
export function isDifference(bytes: Buffer, start: number, end: number): boolean {
  return !bytes.subarray(start, Math.min(end, start + answerHeadBytes)).includes(instancesKey);
}

const versionKey = Buffer.from('"version":');

/** The version in the answer to a subscription. */
export function readVersion(bytes: Buffer, start: number): number {
  return readNumber(bytes, bytes.indexOf(versionKey, start) + versionKey.length);
}

function readDigits(bytes: Buffer, at: number, length: number): number {
  let value = 0;
  for (let i = at; i < at + length; i += 1) value = value * 10 + bytes[i]! - zero;
  return value;
}

function readNumber(bytes: Buffer, at: number): number {
  let value = 0;
  for (let i = at; isDigit(bytes[i]!); i += 1) value = value * 10 + bytes[i]! - zero;
  return value;
}

function skipDigits(bytes: Buffer, at: number): number {
  let end = at;
  while (isDigit(bytes[end]!)) end += 1;
  return end;
}

function isDigit(byte: number): boolean {
  return byte >= zero && byte <= 0x39;
}
