import { randomBytes } from 'node:crypto';

import type { EncodedText, TextChunk, TextCodec } from '../store/fragment-bytes.ts';

/** Node's buffers: on short texts three times as fast as TextEncoder and TextDecoder. */
class BufferChunk implements TextChunk {
  readonly bytes: Buffer;

  constructor(size: number) {
    this.bytes = Buffer.alloc(size);
  }

  write(at: number, length: number, text: string, isAscii: boolean): void {
    this.bytes.write(text, at, length, isAscii ? 'latin1' : 'utf8');
  }

  read(at: number, length: number, isAscii: boolean): string {
    return this.bytes.toString(isAscii ? 'latin1' : 'utf8', at, at + length);
  }

  copy(at: number, { bytes, start, end }: EncodedText): void {
    toBuffer(bytes).copy(this.bytes, at, start, end);
  }
}

function toBuffer(bytes: Uint8Array): Buffer {
  return bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

export const textCodec: TextCodec = {
  createChunk: (size) => new BufferChunk(size),
  measure: (text) => Buffer.byteLength(text),
  decode: ({ bytes, start, end, isAscii }) => toBuffer(bytes).toString(isAscii ? 'latin1' : 'utf8', start, end),
  // Another one in each thread, and whenever it starts.
  hashKey: [randomBytes(4).readInt32LE(), randomBytes(4).readInt32LE()],
};
