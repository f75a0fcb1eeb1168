import { closeSync, openSync, readSync } from 'node:fs';

import { frameHeadBytes, framePayloadBytesMax, isWhole, readFrameHead } from './frame.ts';
import { readSegmentHead, segmentHeadBytesMax } from './segment-head.ts';
import type { SegmentHead } from './segment-head.ts';

/** Bytes that are read from the disk at a time. */
const readBytes = 1_048_576;

/** Why no more is read of a segment, if that is not its end. */
export interface SegmentDamage {
  /** Where the first frame begins that is not whole, in bytes. */
  readonly at: number;
  readonly reason: string;
}

/** Reads the head of a segment alone. */
export function readHeadOf(path: string): { readonly head: SegmentHead } | { readonly failure: string } {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(segmentHeadBytesMax);
    return readSegmentHead(bytes.subarray(0, readSync(file, bytes, 0, bytes.length, 0)));
  } finally {
    closeSync(file);
  }
}

/**
 * Reads a segment from its beginning, frame by frame, in memory of one frame: up to its end, or the first frame that is torn or damaged, since what follows it may
 * only be true with it.
 */
export class SegmentReader {
  readonly #file: number;
  /** What has been read from the file, from `#at` on not yet from this. */
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  /** Where the bytes begin in the file. */
  #base = 0;
  #isWhollyRead = false;
  damage: SegmentDamage | undefined;
  readonly head: SegmentHead | undefined;

  constructor(path: string) {
    this.#file = openSync(path, 'r');
    this.#fill(segmentHeadBytesMax);
    const beginning = readSegmentHead(this.#bytes);
    if ('failure' in beginning) {
      this.damage = { at: 0, reason: beginning.failure };
      return;
    }
    this.head = beginning.head;
    this.#at = beginning.at;
  }

  /** Bytes of the file that have been taken so far. */
  get position(): number {
    return this.#base + this.#at;
  }

  /**
   * The payload of the next frame, which is the reader's until the next call; `skipped`: of a frame about slots that `isWanted` does not want, unread; undefined: there is no
   * more.
   */
  next(isWanted: (slotMin: number, slotMax: number) => boolean): Buffer | 'skipped' | undefined {
    if (this.damage !== undefined) return undefined;
    this.#fill(frameHeadBytes);
    const left = this.#bytes.length - this.#at;
    if (left === 0) return undefined;
    const head = readFrameHead(this.#bytes, this.#at);
    if (head === undefined) {
      this.#noteDamage(left < frameHeadBytes ? 'it ends in the head of a frame' : 'the head of a frame is damaged');
      return undefined;
    }
    this.#fill(frameHeadBytes + head.length);
    const payloadAt = this.#at + frameHeadBytes;
    const end = payloadAt + head.length;
    if (end > this.#bytes.length) {
      this.#noteDamage('it ends in a frame');
      return undefined;
    }
    const payload = this.#bytes.subarray(payloadAt, end);
    const isTaken = isWanted(head.slotMin, head.slotMax);
    if (isTaken && !isWhole(payload, head)) {
      this.#noteDamage('a frame is damaged');
      return undefined;
    }
    this.#at = end;
    return isTaken ? payload : 'skipped';
  }

  /** What was read is not what it should be, though its checksum is right. */
  refuse(reason: string): void {
    this.#noteDamage(reason);
  }

  close(): void {
    closeSync(this.#file);
  }

  #noteDamage(reason: string): void {
    this.damage = { at: this.position, reason };
  }

  /** Reads on until there are so many bytes from the present place on, or the file ends. */
  #fill(wanted: number): void {
    const left = this.#bytes.length - this.#at;
    if (left >= wanted || this.#isWhollyRead) return;
    const size = Math.max(readBytes, Math.min(wanted, framePayloadBytesMax + frameHeadBytes));
    const bytes = Buffer.allocUnsafeSlow(left + size);
    this.#bytes.copy(bytes, 0, this.#at);
    this.#base += this.#at;
    this.#at = 0;
    let length = left;
    while (length < wanted && !this.#isWhollyRead) {
      const read = readSync(this.#file, bytes, length, bytes.length - length, null);
      if (read === 0) this.#isWhollyRead = true;
      length += read;
    }
    this.#bytes = bytes.subarray(0, length);
  }
}
