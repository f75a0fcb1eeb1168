import { frameHeadBytes, framePayloadBytesMax, sealFrame } from './frame.ts';

/** Bytes of a buffer at first. */
const startBytes = 65_536;
/** A frame is sealed once its payload has so many bytes; a single record may exceed it. */
const frameBytes: number = 262_144;

/** Frames that gather to be written, in one buffer that grows. */
export class FrameBuffer {
  #bytes: Buffer = Buffer.allocUnsafeSlow(startBytes);
  /** Shares the memory of the bytes. */
  #view: DataView = viewOf(this.#bytes);
  #frameAt = 0;
  #at: number = frameHeadBytes;
  #slotMin = 0xffff;
  #slotMax = 0;

  /** Bytes gathered so far; 0: nothing. */
  get size(): number {
    return this.#at === this.#frameAt + frameHeadBytes ? this.#frameAt : this.#at;
  }

  get bytes(): Buffer {
    return this.#bytes;
  }

  get view(): DataView {
    return this.#view;
  }

  /** Where a record of so many bytes about a slot may be written, all of them. */
  reserve(length: number, slot: number): number {
    if (length > framePayloadBytesMax) throw new Error(`a record of ${length} bytes is longer than a frame`);
    if (this.#at - this.#frameAt >= frameBytes) this.#seal();
    const at = this.#at;
    if (at + length > this.#bytes.length) this.#grow(at + length);
    this.#at = at + length;
    if (slot < this.#slotMin) this.#slotMin = slot;
    if (slot > this.#slotMax) this.#slotMax = slot;
    return at;
  }

  /** Seals what has gathered, and gives its bytes, which are the buffer's until {@link clear}. */
  take(): Buffer {
    this.#seal();
    return this.#bytes.subarray(0, this.#frameAt);
  }

  clear(): void {
    this.#frameAt = 0;
    this.#at = frameHeadBytes;
    // One that had to be large once is not kept for ever.
    if (this.#bytes.length <= frameBytes * 8) return;
    this.#bytes = Buffer.allocUnsafeSlow(startBytes);
    this.#view = viewOf(this.#bytes);
  }

  #seal(): void {
    const length = this.#at - this.#frameAt - frameHeadBytes;
    if (length === 0) return;
    sealFrame(this.#bytes, this.#frameAt, length, [this.#slotMin, this.#slotMax]);
    this.#frameAt = this.#at;
    this.#at += frameHeadBytes;
    this.#slotMin = 0xffff;
    this.#slotMax = 0;
    if (this.#at > this.#bytes.length) this.#grow(this.#at);
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, needed));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
    this.#view = viewOf(larger);
  }
}

function viewOf({ buffer, byteOffset, length }: Buffer): DataView {
  return new DataView(buffer, byteOffset, length);
}
