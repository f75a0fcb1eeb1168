/** What a partition has done in a turn, in characters read and written; other things count for so many. A turn that has done enough ends, so that others have theirs. */
export class TurnWork {
  readonly #max: number;
  #done = 0;

  constructor(max: number) {
    this.#max = max;
  }

  begin(): void {
    this.#done = 0;
  }

  readonly spend = (work: number): void => {
    this.#done += work;
  };

  readonly isOver = (): boolean => this.#done >= this.#max;
}

/** Of a record in addition to what it reads and writes, and of a key that is looked at. */
export const recordWork = 256;
export const keyWork = 256;
/** Of a claim in addition to its text. */
export const claimWork = 256;
/** Of a service that is merely passed by, and of an instance that is passed by or forgotten. */
export const lookWork = 16;
