/** An answer over HTTP that its caller has not taken whole. */
export interface UnreadAnswer {
  /** Bytes of it that have not left. */
  readonly bytesLeft: number;
  /** Of its caller. */
  readonly address: string;
  /** Cuts the connection. */
  cut(): void;
}

export interface UnreadAnswersOptions {
  /** What all of them may come to. */
  readonly bytesMax: number;
  /** How long one may stand still, in milliseconds. */
  readonly stallTimeoutMs: number;
  /** How long one may take, in milliseconds. */
  readonly timeoutMs: number;
  readonly onCut: (address: string) => void;
}

interface Progress {
  readonly endsAtMs: number;
  bytesLeft: number;
  changedAtMs: number;
}

/** Answers over HTTP that wait in the process for slow callers: bounded in bytes, all of them together, and each in time. */
export class UnreadAnswers {
  readonly #options: UnreadAnswersOptions;
  readonly #answers: Map<UnreadAnswer, Progress> = new Map();
  #bytes = 0;

  constructor(options: UnreadAnswersOptions) {
    this.#options = options;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** How many bytes more may wait. One answer may, however large it is. */
  get room(): number {
    return this.#bytes === 0 ? Number.MAX_SAFE_INTEGER : Math.max(0, this.#options.bytesMax - this.#bytes);
  }

  hasRoom(bytes: number): boolean {
    return bytes <= this.room;
  }

  add(answer: UnreadAnswer, nowMs: number): void {
    const { bytesLeft } = answer;
    this.#answers.set(answer, { bytesLeft, changedAtMs: nowMs, endsAtMs: nowMs + this.#options.timeoutMs });
    this.#bytes += bytesLeft;
  }

  /** Some of it has left. */
  note(answer: UnreadAnswer, nowMs: number): void {
    const progress = this.#answers.get(answer);
    if (progress === undefined || progress.bytesLeft === answer.bytesLeft) return;
    this.#bytes += answer.bytesLeft - progress.bytesLeft;
    progress.bytesLeft = answer.bytesLeft;
    progress.changedAtMs = nowMs;
    if (answer.bytesLeft === 0) this.#answers.delete(answer);
  }

  /** All of it has left, or its connection is gone. */
  remove(answer: UnreadAnswer): void {
    const progress = this.#answers.get(answer);
    if (progress === undefined) return;
    this.#answers.delete(answer);
    this.#bytes -= progress.bytesLeft;
  }

  tick(nowMs: number): void {
    for (const [answer, { changedAtMs, endsAtMs }] of this.#answers) {
      if (nowMs - changedAtMs < this.#options.stallTimeoutMs && nowMs < endsAtMs) continue;
      this.remove(answer);
      this.#options.onCut(answer.address);
      answer.cut();
    }
  }
}
