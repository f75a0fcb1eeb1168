import { chainStart, isSealedAfter, readSealedLine } from './hash-chain.ts';
import type { ChainHead, SealedLine } from './hash-chain.ts';

/** Where a chain is broken. `line`: counted from 1. */
export interface ChainBreak {
  readonly file: string;
  readonly line: number;
  readonly why: string;
}

/** The fields of the first line of a file that say which file it follows on. */
interface FileLine {
  readonly what: 'audit.file';
  readonly target: { readonly file: string; readonly after: string };
}

/** Checks the files of an audit log, in their order, line by line. What follows on a break is not judged. */
export class ChainCheck {
  readonly #expected: string | undefined;
  #hasExpected = false;
  #head: ChainHead | undefined;
  #firstSeq: number | undefined;
  #file = '';
  #line = 0;
  #lines = 0;
  #files = 0;
  #tornBytes = 0;
  #break: ChainBreak | undefined;

  /** `expected`: the hash that one of the lines should have. */
  constructor(expected?: string) {
    this.#expected = expected;
  }

  /** Of the last line that was right. */
  get head(): ChainHead {
    return this.#head ?? chainStart;
  }

  /** Of the first line; undefined: there was none. */
  get firstSeq(): number | undefined {
    return this.#firstSeq;
  }

  get lines(): number {
    return this.#lines;
  }

  /** Whether a line has the hash that one should have. */
  get hasExpected(): boolean {
    return this.#hasExpected;
  }

  get firstBreak(): ChainBreak | undefined {
    return this.#break;
  }

  /** Bytes at the end that are no whole line: one that is being written, or was when the process ended. */
  get tornBytes(): number {
    return this.#tornBytes;
  }

  beginFile(file: string): void {
    // Only of the last file the end may be missing.
    if (this.#files > 0 && (this.#line === 0 || this.#tornBytes > 0))
      this.#break ??= { file: this.#file, line: this.#line + 1, why: 'the file ends before its last line does' };
    this.#tornBytes = 0;
    this.#file = file;
    this.#line = 0;
    this.#files += 1;
  }

  /** What follows on its last line. */
  endFile(tornBytes: number): void {
    this.#tornBytes = tornBytes;
  }

  /** The next line, without its end. */
  take(bytes: Uint8Array): void {
    this.#line += 1;
    if (this.#break !== undefined) return;
    const line = readSealedLine(bytes);
    const why = line === undefined ? 'this is no line of an audit log' : this.#judge(line);
    if (why === undefined) {
      this.#lines += 1;
      this.#head = line!.head;
      if (line!.head.hash === this.#expected) this.#hasExpected = true;
      this.#firstSeq ??= line!.head.seq;
    } else this.#break = { file: this.#file, line: this.#line, why };
  }

  #judge(line: SealedLine): string | undefined {
    const head = this.#line === 1 ? this.#beginWith(line) : this.head;
    if (typeof head === 'string') return head;
    if (line.head.seq !== head.seq + 1) return `line ${line.head.seq} follows on line ${head.seq}`;
    return isSealedAfter(line, head.hash) ? undefined : 'its content, or the line before it, is not what it was';
  }

  /** The first line of a file names the hash that it follows on: the files before the first one may have been removed. Returns that, or what is wrong. */
  #beginWith({ content, head }: SealedLine): ChainHead | string {
    const first = readFileLine(content);
    if (first === undefined) return 'the first line of a file must name the file and what it follows on';
    const named = { seq: head.seq - 1, hash: first.target.after };
    if (named.seq === 0 && named.hash !== chainStart.hash) return 'the first line of all follows on another';
    if (this.#head === undefined || this.#head.hash === named.hash) return named;
    return 'it does not follow on the last line of the file before it';
  }
}

function readFileLine(content: Uint8Array): FileLine | undefined {
  try {
    const fields = JSON.parse(`${Buffer.from(content).toString()}}`) as Partial<FileLine>;
    const after: unknown = fields.target?.after;
    return fields.what === 'audit.file' && typeof after === 'string' ? (fields as FileLine) : undefined;
  } catch {
    // Whatever it is, it is not that.
    return undefined;
  }
}
