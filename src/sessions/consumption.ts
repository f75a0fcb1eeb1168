/** What all sessions of a host may owe. */
export interface ConsumptionBounds {
  /** Sent and not read; from there on the session is behind, and gets no pushes. */
  readonly unconsumedBytesMax: number;
  /** From there on it is to be closed: what answers to its own requests may come to. */
  readonly closeBytesMax: number;
}

/** Marks in a session's allowance: so much finer than the allowance is what is known of its reading. */
const marksPerAllowance = 8;
/** Positions wrap around, so that they stay small integers. No session can owe so much. */
const positionMask = 0x3fff_ffff;

/**
 * How much of what one session was sent it has read. `send` does not tell: the kernels of both ends take megabytes before it
 * complains. So after this many bytes a ping follows whose payload, the mark, is how far had been sent; its pong comes once the client has
 * read all of that. A pong for a later mark stands for those before it.
 */
export class Consumption {
  readonly #bounds: ConsumptionBounds;
  #sent = 0;
  /** Of `sent`, the last frame: one is sent whole, however large. */
  #lastBytes = 0;
  /** The last mark. */
  #marked = 0;
  #consumed = 0;
  /** It owes too much: pushes for it are not sent until it has read what it was sent. */
  isBehind = false;
  /** When it last read anything while behind, or fell behind; on the host's clock. */
  progressAtMs = 0;

  constructor(bounds: ConsumptionBounds) {
    this.#bounds = bounds;
  }

  get unconsumedBytes(): number {
    return (this.#sent - this.#consumed) & positionMask;
  }

  /** Whether some of what was sent lies behind no mark. */
  get isUnmarked(): boolean {
    return this.#sent !== this.#marked;
  }

  /** More than even its own requests may leave unread, before the last frame. */
  get isExcessive(): boolean {
    return this.unconsumedBytes - this.#lastBytes >= this.#bounds.closeBytesMax;
  }

  /** Judges by what has been sent so far. Once behind it stays so until {@link acknowledge} says otherwise. */
  judge(): boolean {
    if (!this.isBehind && this.unconsumedBytes >= this.#bounds.unconsumedBytesMax) this.isBehind = true;
    return this.isBehind;
  }

  /** Whether a mark belongs behind this many bytes more. */
  isMarkDue(bytes: number): boolean {
    return ((this.#sent + bytes - this.#marked) & positionMask) * marksPerAllowance >= this.#bounds.unconsumedBytesMax;
  }

  noteSent(bytes: number): void {
    this.#sent = (this.#sent + bytes) & positionMask;
    this.#lastBytes = bytes;
  }

  /** The mark that a ping sent now carries. */
  get mark(): string {
    return String(this.#sent);
  }

  /** A ping with {@link mark} has been handed to the socket. */
  noteMarked(): void {
    this.#marked = this.#sent;
  }

  /** A pong came. One that is of no ping of ours, or old, says nothing. Returns whether the session is behind no longer. */
  acknowledge(mark: string, nowMs: number): boolean {
    const position = readMark(mark);
    const advanced = (position - this.#consumed) & positionMask;
    if (position < 0 || advanced === 0 || advanced > this.unconsumedBytes) return false;
    this.#consumed = position;
    this.progressAtMs = nowMs;
    // What lies behind the last mark is less than one is worth.
    if (!this.isBehind || this.unconsumedBytes * marksPerAllowance >= this.#bounds.unconsumedBytesMax) return false;
    this.isBehind = false;
    return true;
  }
}

function readMark(mark: string): number {
  return /^\d{1,10}$/.test(mark) ? Number(mark) : -1;
}
