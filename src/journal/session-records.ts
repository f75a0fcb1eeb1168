import type { FrameBuffer } from './frame-buffer.ts';

/** A session that registered something or may hold keys, or a lease: what it takes to hold it again in the next life of the process. */
export interface KeptSession {
  readonly number: number;
  readonly name: string;
  /** Of a lease, the lease. */
  readonly secret: string;
  readonly address: string;
  readonly app?: string;
  /** Of a lease, in milliseconds; undefined: it is a connection's. */
  readonly ttlMs?: number;
  /** It may hold keys. */
  readonly mayHold?: boolean;
  /** What keys name it by, if it continues to hold what another session of its client held. */
  readonly holder?: string;
  /** It has ended while the registry was stopping, which took away nothing of what it held any more. */
  readonly hasEnded?: boolean;
}

/** What is noted of sessions. */
export type SessionNote =
  | { readonly kind: 'kept'; readonly session: KeptSession }
  /** It has ended. */
  | { readonly kind: 'gone'; readonly number: number }
  /** Sessions up to these numbers may have begun, by the hosts where they did. */
  | { readonly kind: 'begun'; readonly sessions: readonly number[] };

const lengthBytes = 4;

/** Writes a note. There are few of them, and none for each registration: they are JSON. */
export function writeSessionNote({ frames }: { readonly frames: FrameBuffer }, text: string): void {
  const length = Buffer.byteLength(text);
  const at = frames.reserve(lengthBytes + length, 0);
  frames.view.setUint32(at, length, true);
  frames.bytes.write(text, at + lengthBytes, length);
}

/** The notes of a payload that is whole, in order. */
export function readSessionNotes(payload: Buffer): SessionNote[] {
  const notes: SessionNote[] = [];
  for (let at = 0; at < payload.length;) {
    const end = at + lengthBytes + payload.readUInt32LE(at);
    notes.push(JSON.parse(payload.toString('utf8', at + lengthBytes, end)) as SessionNote);
    at = end;
  }
  return notes;
}
