import type { BatchAnswers } from './batch-answers.ts';
import type { LargeFrame } from './large-frame.ts';
import type { Incoming } from './requests.ts';
import type { Session } from './session.ts';

/** Entries of one frame, of which some have been carried out. */
export interface LineBatch {
  readonly answers: BatchAnswers;
  readonly entries: readonly Incoming[];
  next: number;
}

/** Frames of one session that have come and have not been carried out. */
export interface Line {
  readonly session: Session;
  /** Those before `at` are done. */
  frames: string[];
  at: number;
  bytes: number;
  /** The present frame, if it is large and not all of it has been read. */
  reading: LargeFrame | undefined;
  /** Of the present frame, once all of it has been read. */
  batch: LineBatch | undefined;
  /** Called when nothing of it is left. */
  onEnd: (() => void) | undefined;
}

/** The lines of all sessions of a host, in the order of their turns. What is in them is forgotten with the connection that it came on. */
export class IntakeLines {
  readonly #lines: Map<Session, Line> = new Map();
  #bytes = 0;

  get size(): number {
    return this.#lines.size;
  }

  /** What waits of all sessions. */
  get bytes(): number {
    return this.#bytes;
  }

  has(session: Session): boolean {
    return this.#lines.has(session);
  }

  /** The line of a session, which begins behind the others if there is none. */
  obtain(session: Session): Line {
    let line = this.#lines.get(session);
    if (line === undefined) {
      line = { session, frames: [], at: 0, bytes: 0, reading: undefined, batch: undefined, onEnd: undefined };
      this.#lines.set(session, line);
    }
    return line;
  }

  /** Whether a line has neither come to its end nor been forgotten. */
  isHere(line: Line): boolean {
    return this.#lines.get(line.session) === line;
  }

  /** May be iterated while lines come and go. */
  all(): IterableIterator<Line> {
    return this.#lines.values();
  }

  moveBack(line: Line): void {
    this.#lines.delete(line.session);
    this.#lines.set(line.session, line);
  }

  count(line: Line, bytes: number): void {
    line.bytes += bytes;
    this.#bytes += bytes;
  }

  /** All of it is done. */
  end(line: Line): void {
    this.#lines.delete(line.session);
    line.onEnd?.();
  }

  /** Runs a task once nothing of a session waits, at once if nothing does. */
  whenEnded(session: Session, run: () => void): void {
    const line = this.#lines.get(session);
    if (line === undefined) run();
    else line.onEnd = run;
  }

  /** The session's connection has gone: what has not been carried out is as if it had not arrived. */
  forget(session: Session): void {
    const line = this.#lines.get(session);
    if (line === undefined) return;
    this.count(line, -line.bytes);
    this.end(line);
  }
}
