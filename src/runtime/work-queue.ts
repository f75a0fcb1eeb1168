/** Something that may be too much for one turn of the event loop. */
export interface Job {
  readonly isDone: boolean;
  /** Does a part that costs about this many steps, and at least one. Returns what it cost. */
  run(steps: number): number;
}

export interface WorkQueueOptions {
  /** What is done in one turn; a step is worth some microseconds. */
  readonly stepsPerTurn: number;
  /** Runs a task in a later turn. */
  readonly schedule: (task: () => void) => void;
  /** There was more to do than one turn has room for. */
  readonly onPutOff: () => void;
}

/** Jobs, done in their order. What one turn has room for is done at once; the rest waits for the next turns, and everything else has its own in between. */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #jobs: Set<Job> = new Set();
  #stepsLeft: number;
  #isScheduled = false;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#stepsLeft = options.stepsPerTurn;
  }

  /** Jobs that wait. */
  get size(): number {
    return this.#jobs.size;
  }

  add(job: Job): void {
    if (this.#jobs.size === 0) this.#work(job);
    if (!job.isDone) this.#jobs.add(job);
  }

  #work(job: Job): void {
    while (this.#stepsLeft > 0 && !job.isDone) this.#stepsLeft -= Math.max(1, job.run(this.#stepsLeft));
    if (!job.isDone) this.#options.onPutOff();
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#options.schedule(() => {
      this.#beginTurn();
    });
  }

  #beginTurn(): void {
    this.#isScheduled = false;
    this.#stepsLeft = this.#options.stepsPerTurn;
    for (const job of this.#jobs) {
      if (this.#stepsLeft <= 0) return;
      this.#work(job);
      if (job.isDone) this.#jobs.delete(job);
    }
  }
}
