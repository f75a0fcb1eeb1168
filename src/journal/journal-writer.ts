import { FrameBuffer } from './frame-buffer.ts';
import type { SegmentHead } from './segment-head.ts';
import type { SegmentName } from './segment-name.ts';
import type { SegmentSink } from './segment-writer.ts';

/** How a journal stands. `cold`: what it had is deleted, and it begins anew later. */
export type JournalState = 'off' | 'warm' | 'cold';

/** What became of it. `complete`: its segments of this life are all that is needed. */
export type JournalEvent =
  | { readonly kind: 'complete' }
  | { readonly kind: 'cold'; readonly reason: string }
  | { readonly kind: 'warm' };

/** Whose state a journal follows. */
export interface JournalSubject {
  /** About how many bytes a segment has that begins with all that there is. */
  readonly liveBytes: () => number;
  /** A segment begins: from now on the first slice is the next. What every segment has is written to the journal's frames here. */
  readonly onBegin: (journal: { readonly frames: FrameBuffer }) => void;
  /** Writes more of what there is, until the journal's frames have `limit` bytes; whether that was all. */
  readonly putSlice: (limit: number) => boolean;
  /** Whether what was written before the segment can be deleted once all that there is has been put into it. */
  readonly mayComplete: () => boolean;
}

export interface JournalWriterOptions {
  readonly subject: JournalSubject;
  readonly sink: SegmentSink;
  /** Of the first segment. */
  readonly name: Omit<SegmentName, 'isComplete'>;
  readonly head: SegmentHead;
  /** Bytes that may wait to be written. */
  readonly bytesWaitingMax: number;
  /** A new segment is begun once the present one has twice what is live, and so many bytes more. */
  readonly garbageBytes?: number;
  readonly onEvent: (event: JournalEvent) => void;
}

/** How long what is noted may gather, in milliseconds, and how many bytes, before it is written. */
const flushAfterMs = 100;
const flushBytes = 1_048_576;
/** Bytes of what there is that are put in at a time, and how often, in milliseconds. */
const sliceBytes = 1_048_576;
const sliceEveryMs = 50;
const garbageFactor = 2;
const garbageBytesUsual: number = 16 * 1_048_576;
/** How long a journal that could not be kept waits before it is begun anew, in milliseconds; it doubles each time. */
const coldMs = 5000;
const coldMaxMs = 60_000;

/** How far a segment is with what there was: `put`: all of it has gathered; `written`: all is in the file. */
type Stage = 'noting' | 'putting' | 'put' | 'written';

/**
 * Keeps a journal: what is noted in {@link frames} is written behind, so nobody waits for it, and what was noted last may be lost. Segments continue each other; now and then one
 * begins that all that there is is put into, bit by bit, while changes go on in between, and then those before it go. If the disk does not keep up, or fails, the
 * journal is given up and begun anew later: none is better than one that lacks something in the middle.
 */
export class JournalWriter {
  readonly #options: JournalWriterOptions;
  #state: JournalState = 'off';
  /** Where records are written; another after each call of {@link proceed}. */
  frames: FrameBuffer = new FrameBuffer();
  #writing: FrameBuffer = new FrameBuffer();
  #isWriting = false;
  #sequence: number;
  /** Bytes of the present segment, and of those before it that are still needed. */
  #segmentBytes = 0;
  #olderBytes = 0;
  /** Undefined: the present segment needs none before it. Another object for each segment. */
  #part: { stage: Stage } | undefined;
  /** What has gathered is the last of its segment. */
  #isTurningOver = false;
  #flushedAtMs = 0;
  #slicedAtMs = 0;
  #coldUntilMs = 0;
  #coldForMs = coldMs;
  #nowMs = 0;
  #onWritten: () => void = () => undefined;

  constructor(options: JournalWriterOptions) {
    this.#options = options;
    this.#sequence = options.name.sequence - 1;
  }

  get state(): JournalState {
    return this.#state;
  }

  /** Of the segments that are needed, in bytes. */
  get bytes(): number {
    return this.#segmentBytes + this.#olderBytes;
  }

  /** Bytes that wait to be written. */
  get waitingBytes(): number {
    return this.frames.size + (this.#isWriting ? this.#writing.size : 0);
  }

  /** When it last moved on, in milliseconds. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /**
   * Begins the first segment of this life. `isEmpty`: there is nothing yet, and everything will be noted until {@link noteWhole}; else what there is is put in over
   * time.
   */
  begin(isEmpty: boolean, nowMs: number): void {
    this.#nowMs = nowMs;
    this.#beginSegment(isEmpty ? 'noting' : 'putting');
  }

  /** All that there is has been noted, if there was nothing when the journal began. */
  noteWhole(): void {
    if (this.#part?.stage === 'noting') this.#part.stage = 'put';
  }

  /** A turn has ended, or time has passed: writes what has gathered, and goes on with what there is. */
  proceed(nowMs: number): void {
    this.#nowMs = nowMs;
    if (this.#state === 'cold' && nowMs >= this.#coldUntilMs && !this.#isWriting) this.#beginAnew();
    if (this.#state !== 'warm') return;
    if (this.#part?.stage === 'putting') this.#putSlice(this.#part);
    const { waitingBytes } = this;
    if (waitingBytes > this.#options.bytesWaitingMax) {
      this.#giveUp(`${waitingBytes} bytes wait to be written`);
      return;
    }
    if (this.#isWriting) return;
    const { size } = this.frames;
    if (size >= flushBytes || (size > 0 && nowMs - this.#flushedAtMs >= flushAfterMs)) this.#write();
    else if (size === 0) this.#noteAllWritten();
    if (this.#isGarbageMuch()) this.#isTurningOver = true;
  }

  /** Writes all that has gathered; resolves when that is done, or has failed, to whether the segments of this life have all that there is. Nothing is written from then on. */
  async end(): Promise<boolean> {
    while (this.#isWriting || (this.#state === 'warm' && this.frames.size > 0)) {
      const written = new Promise<void>((resolve) => {
        this.#onWritten = resolve;
      });
      if (!this.#isWriting) this.#write();
      await written;
    }
    const isWhole = this.#state === 'warm' && (await this.#isOnDisk());
    this.#options.sink.close();
    this.#state = 'off';
    return isWhole;
  }

  /** Whether all that there is has been written, and has come to the disk. */
  #isOnDisk(): Promise<boolean> {
    const stage = this.#part?.stage ?? 'written';
    if (stage === 'noting' || stage === 'putting') return Promise.resolve(false);
    if (stage === 'put' && !this.#options.subject.mayComplete()) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#options.sink.complete((error) => {
        resolve(error === undefined);
      });
    });
  }

  #write(): void {
    [this.frames, this.#writing] = [this.#writing, this.frames];
    this.#flushedAtMs = this.#nowMs;
    this.#isWriting = true;
    const bytes = this.#writing.take();
    const part = this.#part?.stage === 'put' ? this.#part : undefined;
    this.#options.sink.write(bytes, (error) => {
      this.#isWriting = false;
      this.#writing.clear();
      if (this.#state === 'warm') {
        if (error === undefined) this.#noteWritten(bytes.length, part);
        else this.#giveUp(error.message);
      }
      this.#onWritten();
    });
  }

  /** `part`: of which all has been written with this. */
  #noteWritten(bytes: number, part: { stage: Stage } | undefined): void {
    this.#segmentBytes += bytes;
    this.#coldForMs = coldMs;
    if (part !== undefined) this.#complete(part);
    if (this.#isTurningOver) this.#turnOver();
  }

  /** Nothing has gathered, and nothing is being written. */
  #noteAllWritten(): void {
    if (this.#part?.stage === 'put') this.#complete(this.#part);
    if (this.#isTurningOver) this.#turnOver();
  }

  #complete(part: { stage: Stage }): void {
    if (!this.#options.subject.mayComplete()) return;
    part.stage = 'written';
    this.#options.sink.complete((error) => {
      // It has been given up meanwhile, and perhaps begun anew.
      if (this.#part !== part) return;
      if (error !== undefined) {
        this.#giveUp(error.message);
        return;
      }
      this.#part = undefined;
      this.#olderBytes = 0;
      this.#options.onEvent({ kind: 'complete' });
    });
  }

  #isGarbageMuch(): boolean {
    if (this.#part !== undefined || this.#isTurningOver) return false;
    const { garbageBytes = garbageBytesUsual } = this.#options;
    if (this.#segmentBytes <= garbageBytes) return false;
    const { liveBytes, mayComplete } = this.#options.subject;
    return this.#segmentBytes > garbageFactor * liveBytes() + garbageBytes && mayComplete();
  }

  #turnOver(): void {
    this.#isTurningOver = false;
    this.#beginSegment('putting');
  }

  #beginAnew(): void {
    if (this.#beginSegment('putting')) this.#options.onEvent({ kind: 'warm' });
  }

  #beginSegment(stage: Stage): boolean {
    const { sink, name, head, subject } = this.#options;
    this.#sequence += 1;
    try {
      sink.begin({ ...name, sequence: this.#sequence, isComplete: false }, head);
    } catch (error) {
      this.#giveUp(error instanceof Error ? error.message : String(error));
      return false;
    }
    this.#state = 'warm';
    this.#olderBytes += this.#segmentBytes;
    this.#segmentBytes = 0;
    this.#part = { stage };
    subject.onBegin(this);
    return true;
  }

  #putSlice(part: { stage: Stage }): void {
    if (this.#nowMs - this.#slicedAtMs < sliceEveryMs || this.frames.size >= sliceBytes) return;
    this.#slicedAtMs = this.#nowMs;
    if (this.#options.subject.putSlice(this.frames.size + sliceBytes)) part.stage = 'put';
  }

  #giveUp(reason: string): void {
    this.#state = 'cold';
    this.#coldUntilMs = this.#nowMs + this.#coldForMs;
    this.#coldForMs = Math.min(coldMaxMs, this.#coldForMs * 2);
    this.frames.clear();
    this.#part = undefined;
    this.#isTurningOver = false;
    this.#segmentBytes = 0;
    this.#olderBytes = 0;
    this.#options.sink.discard();
    this.#options.onEvent({ kind: 'cold', reason });
  }
}
