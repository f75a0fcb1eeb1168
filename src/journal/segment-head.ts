import { frameHeadBytes, isWhole, readFrameHead, sealFrame } from './frame.ts';

/** What every segment begins with, so that no other file is taken for one. */
const magic: Buffer = Buffer.from('slotjrnl');
/** Of what follows. One that another edition has written is not read. */
export const journalFormat = 1;

/** What a segment says of itself, in its first frame. */
export interface SegmentHead {
  readonly format: number;
  /** Names the registry and its history. */
  readonly registry: string;
  /** Writers of its kind that there were when its life began. */
  readonly writers: number;
}

export function encodeSegmentHead(head: SegmentHead): Buffer {
  const text = Buffer.from(JSON.stringify(head));
  const bytes = Buffer.alloc(magic.length + frameHeadBytes + text.length);
  magic.copy(bytes);
  text.copy(bytes, magic.length + frameHeadBytes);
  sealFrame(bytes, magic.length, text.length, [0, 0]);
  return bytes;
}

/** What a segment begins with, and where its records do. `failure`: why it is none, or none that can be read. */
export type SegmentBeginning = { readonly head: SegmentHead; readonly at: number } | { readonly failure: string };

/** Of the first bytes of a file. */
export function readSegmentHead(bytes: Buffer): SegmentBeginning {
  if (!bytes.subarray(0, magic.length).equals(magic)) return { failure: 'it does not begin as a segment does' };
  const frame = readFrameHead(bytes, magic.length);
  const at = magic.length + frameHeadBytes;
  if (frame === undefined || at + frame.length > bytes.length) return { failure: 'its head is damaged' };
  const payload = bytes.subarray(at, at + frame.length);
  if (!isWhole(payload, frame)) return { failure: 'its head is damaged' };
  const head = JSON.parse(payload.toString()) as SegmentHead;
  if (head.format !== journalFormat) {
    return { failure: `its format is ${head.format}, and this edition reads ${journalFormat}` };
  }
  return { head, at: at + frame.length };
}

/** Bytes of a file in which its head lies. */
export const segmentHeadBytesMax = 4096;
