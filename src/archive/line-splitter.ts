import { archiveLimits } from '../protocol/limits.ts';
import { ArchiveError } from './archive-error.ts';

const newline = 0x0a;

/** Divides bytes into lines of UTF-8, wherever its parts were divided. Lines end with LF, or CRLF; they are counted from 1. A byte order mark before the first is passed over: editors add one. */
export class LineSplitter {
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  readonly #onLine: (line: string, number: number) => void;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #number = 0;

  constructor(onLine: (line: string, number: number) => void) {
    this.#onLine = onLine;
  }

  /** @throws ArchiveError for a line that is too long, or no UTF-8. */
  write(part: Uint8Array): void {
    let from = 0;
    for (let end = part.indexOf(newline); end >= 0; end = part.indexOf(newline, from)) {
      this.#append(part.subarray(from, end));
      this.#finishLine();
      from = end + 1;
    }
    this.#append(part.subarray(from));
  }

  /** The last line need not end. */
  end(): void {
    if (this.#pendingBytes > 0) this.#finishLine();
  }

  #append(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes > archiveLimits.lineBytesMax)
      throw new ArchiveError(`line ${this.#number + 1} is longer than ${archiveLimits.lineBytesMax} bytes`);
    // What was read may be overwritten by what is read next.
    this.#pending.push(Uint8Array.from(bytes));
  }

  #finishLine(): void {
    this.#number += 1;
    const bytes = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    let line: string;
    try {
      line = this.#decoder.decode(bytes);
    } catch (error) {
      throw new ArchiveError(`line ${this.#number} is not UTF-8`, { cause: error });
    }
    if (this.#number === 1 && line.startsWith('\uFEFF')) line = line.slice(1);
    this.#onLine(line.endsWith('\r') ? line.slice(0, -1) : line, this.#number);
  }
}
