import type { Failure } from '../../protocol/errors.ts';
import type { HttpAnswer } from '../../transport/transport.ts';

/** How large answers are taken to be before any has come, in characters. */
const firstGuess = 8 * 1_048_576;
/** What is left of the guess after an answer that was smaller. */
const decay = 0.9;

/**
 * Reads over HTTP whose answers may be large: as many at a time as answers of the sizes that came lately fit into the bound, and at least one. The rest
 * wait in their order, so that many who ask for a large list at once do not have it made for all of them before the first has begun to read.
 */
export class PacedReads {
  readonly #charactersMax: number;
  readonly #waiting: Set<() => void> = new Set();
  #underWay = 0;
  #guess: number = firstGuess;

  constructor(charactersMax: number) {
    this.#charactersMax = charactersMax;
  }

  async run(read: () => Promise<HttpAnswer | Failure>): Promise<HttpAnswer | Failure> {
    if (!this.#hasRoom) await new Promise<void>((resolve) => this.#waiting.add(resolve));
    this.#underWay += 1;
    try {
      const answer = await read();
      const characters = 'body' in answer ? answer.body.length : 0;
      this.#guess = Math.max(characters, this.#guess * decay);
      return answer;
    } finally {
      this.#underWay -= 1;
      this.#wake();
    }
  }

  get #hasRoom(): boolean {
    return this.#underWay === 0 || (this.#underWay + 1) * this.#guess <= this.#charactersMax;
  }

  #wake(): void {
    let room = Math.max(1, Math.floor(this.#charactersMax / this.#guess)) - this.#underWay;
    for (const resolve of this.#waiting) {
      if (room <= 0) return;
      room -= 1;
      this.#waiting.delete(resolve);
      resolve();
    }
  }
}
