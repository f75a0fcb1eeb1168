import { crc32 } from 'node:zlib';

/**
 * A frame of a journal: its head, and a payload of records. Numbers are little-endian.
 *
 * | bytes | what |
 * |---|---|
 * | 4 | length of the payload |
 * | 2, 2 | the lowest and the highest slot that its records are about |
 * | 4 | CRC-32 of the payload |
 * | 4 | CRC-32 of the 12 bytes before |
 */
export const frameHeadBytes = 16;

/** Bytes of a payload. Whoever reads a journal has room for one frame. */
export const framePayloadBytesMax: number = 8 * 1_048_576;

/** What a frame says of itself. */
export interface FrameHead {
  /** In bytes. */
  readonly length: number;
  readonly slotMin: number;
  readonly slotMax: number;
  readonly checksum: number;
}

/** Writes the head of a frame whose payload follows it in the same bytes. */
export function sealFrame(bytes: Buffer, at: number, length: number, slots: readonly [min: number, max: number]): void {
  const payloadAt = at + frameHeadBytes;
  bytes.writeUInt32LE(length, at);
  bytes.writeUInt16LE(slots[0], at + 4);
  bytes.writeUInt16LE(slots[1], at + 6);
  bytes.writeUInt32LE(crc32(bytes.subarray(payloadAt, payloadAt + length)), at + 8);
  bytes.writeUInt32LE(crc32(bytes.subarray(at, at + 12)), at + 12);
}

/** The head at a place; undefined: there is none, or it is damaged. */
export function readFrameHead(bytes: Buffer, at: number): FrameHead | undefined {
  if (at + frameHeadBytes > bytes.length) return undefined;
  if (crc32(bytes.subarray(at, at + 12)) !== bytes.readUInt32LE(at + 12)) return undefined;
  const length = bytes.readUInt32LE(at);
  if (length === 0 || length > framePayloadBytesMax) return undefined;
  return {
    length,
    slotMin: bytes.readUInt16LE(at + 4),
    slotMax: bytes.readUInt16LE(at + 6),
    checksum: bytes.readUInt32LE(at + 8),
  };
}

/** Whether a payload is what its frame was sealed with. */
export function isWhole(payload: Buffer, { checksum }: FrameHead): boolean {
  return crc32(payload) === checksum;
}
