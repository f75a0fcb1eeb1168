/** Gathers the answers of a batch, in the order of its requests. */
export class BatchAnswers {
  readonly #parts: string[] = [];
  readonly #send: (answers: readonly string[]) => void;
  readonly charactersMax: number;
  #characters = 0;
  #waiting = 1;
  #afterSending: (() => void)[] = [];

  constructor(charactersMax: number, send: (answers: readonly string[]) => void) {
    this.charactersMax = charactersMax;
    this.#send = send;
  }

  get isWaiting(): boolean {
    return this.#waiting > 0;
  }

  /** Whether an answer of this length still fits. */
  hasRoom(characters: number): boolean {
    return this.#characters + characters <= this.charactersMax;
  }

  /** Runs a task once the batch has been answered. */
  defer(task: () => void): void {
    this.#afterSending.push(task);
  }

  /** Makes room for one answer. */
  reserve(): number {
    this.#waiting += 1;
    return this.#parts.push('') - 1;
  }

  fill(place: number, answer: string): void {
    this.#parts[place] = answer;
    this.#characters += answer.length;
    this.#settle();
  }

  /** All requests have been read. */
  close(): void {
    this.#settle();
  }

  #settle(): void {
    this.#waiting -= 1;
    // A batch of notifications alone is not answered at all.
    if (this.#waiting > 0) return;
    if (this.#parts.length > 0) this.#send(this.#parts);
    for (const task of this.#afterSending) task();
  }
}
