import type { BatchAnswers } from './batch-answers.ts';
import type { IntakeLines, Line, LineBatch } from './intake-lines.ts';
import { LargeFrame } from './large-frame.ts';
import { readFrame } from './requests.ts';
import type { Frame, Incoming } from './requests.ts';
import type { Session } from './session.ts';

export interface IntakeOptions {
  readonly lines: IntakeLines;
  readonly batchEntriesMax: number;
  /** What is read and carried out in one turn. A text's characters stand for its bytes. */
  readonly sliceBytes: number;
  /** What may wait of one session. */
  readonly sessionBytesMax: number;
  /** Runs a task in a later turn. */
  readonly schedule: (task: () => void) => void;
  /** There was more to do than one turn has room for. */
  readonly onPutOff: (session: Session) => void;
  /** More waits than may: the session is to be closed. */
  readonly onOverrun: (session: Session) => void;
  readonly carryOut: (session: Session, frame: Frame) => void;
  readonly beginBatch: (session: Session) => BatchAnswers;
  readonly take: (session: Session, incoming: Incoming, batch: BatchAnswers) => void;
  /** Sends the answers of this turn. */
  readonly flush: () => void;
}

/** A frame of so small a part of a slice is read at once. */
const smallShare = 2;
/** Where sessions have more waiting together than one may, so large a part of the rest is done in each turn: it cannot grow without end. */
const crowdShare = 4;
/** To carry out a request costs as much as to read this many characters, and a frame that waits takes as much memory in addition to its text. */
const frameBytes = 256;

/**
 * What clients send faster than it can be carried out without keeping others waiting: large frames, many small ones at a time, and whatever comes behind those.
 * Sessions take turns, and the frames of each are carried out in their order. What has not been carried out when a connection breaks is as if it had not arrived; one that is
 * closed in order ends behind it.
 */
export class Intake {
  readonly #options: IntakeOptions;
  readonly #lines: IntakeLines;
  readonly #smallBytes: number;
  #left: number;
  #isScheduled = false;
  #isWorking = false;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#lines = options.lines;
    this.#left = options.sliceBytes;
    this.#smallBytes = options.sliceBytes / smallShare;
  }

  /** Whether a frame, the next of its session, is to be added here; else it is carried out at once. */
  isFor(session: Session, text: string): boolean {
    session.readBytes += text.length + frameBytes;
    return (
      session.readBytes > this.#options.sliceBytes ||
      text.length > this.#smallBytes ||
      (this.#lines.size > 0 && this.#lines.has(session))
    );
  }

  add(session: Session, text: string): void {
    const line = this.#lines.obtain(session);
    line.frames.push(text);
    this.#lines.count(line, text.length + frameBytes);
    if (line.bytes > this.#options.sessionBytesMax) this.#options.onOverrun(session);
    else this.#work();
  }

  #work(): void {
    // What is carried out may bring in more, which has its turn behind it.
    if (this.#isWorking) return;
    this.#isWorking = true;
    for (const line of this.#lines.all()) {
      if (this.#left <= 0) break;
      // Behind the others, if it is not done.
      this.#lines.moveBack(line);
      this.#proceed(line);
    }
    this.#isWorking = false;
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#options.schedule(() => {
      this.#isScheduled = false;
      this.#beginTurn();
    });
  }

  #beginTurn(): void {
    const { sliceBytes, sessionBytesMax } = this.#options;
    const excess = this.#lines.bytes - sessionBytesMax;
    this.#left = Math.max(sliceBytes, Math.ceil(excess / crowdShare));
    if (this.#lines.size === 0) return;
    this.#work();
    this.#options.flush();
  }

  #proceed(line: Line): void {
    // What is carried out may end the session.
    while (this.#left > 0 && this.#lines.isHere(line)) this.#step(line);
    if (this.#lines.isHere(line)) this.#options.onPutOff(line.session);
  }

  #step(line: Line): void {
    const { session, frames } = line;
    const text = frames[line.at]!;
    if (line.batch !== undefined) this.#takeSome(line, line.batch);
    else if (text.length <= this.#smallBytes) {
      this.#left -= text.length + frameBytes;
      this.#options.carryOut(session, readFrame(text, this.#options.batchEntriesMax));
    } else this.#readSome(line, text);
    if (line.batch !== undefined || line.reading !== undefined || !this.#lines.isHere(line)) return;
    this.#lines.count(line, -text.length - frameBytes);
    line.at += 1;
    if (line.at === frames.length) this.#lines.end(line);
    else if (line.at * 2 > frames.length) {
      line.frames = frames.slice(line.at);
      line.at = 0;
    }
  }

  #readSome(line: Line, text: string): void {
    line.reading ??= new LargeFrame(text, this.#options.batchEntriesMax);
    this.#left -= line.reading.read(this.#left) + frameBytes;
    const { frame } = line.reading;
    if (frame === undefined) return;
    line.reading = undefined;
    if (frame.kind !== 'batch') this.#options.carryOut(line.session, frame);
    else line.batch = { answers: this.#options.beginBatch(line.session), entries: frame.entries, next: 0 };
  }

  #takeSome(line: Line, batch: LineBatch): void {
    const { answers, entries } = batch;
    while (this.#left > 0 && batch.next < entries.length && this.#lines.isHere(line)) {
      this.#left -= frameBytes;
      batch.next += 1;
      this.#options.take(line.session, entries[batch.next - 1]!, answers);
    }
    if (batch.next < entries.length) return;
    line.batch = undefined;
    answers.close();
  }
}
