import { isSame } from './view.ts';
import type { Difference, Span } from './view.ts';

/**
 * Merges differences that nobody has read yet into one. What came and went in between leaves nothing, so it never holds more than
 * the list that was last read and the list as it is, however slow the reader.
 */
export class Conflation {
  readonly #spans: Map<string, Span> = new Map();

  get isEmpty(): boolean {
    return this.#spans.size === 0;
  }

  add(difference: Difference): void {
    for (const { before, after } of difference) {
      const id = (after ?? before)?.id;
      if (id === undefined) continue;
      const known = this.#spans.get(id);
      const first = known === undefined ? before : known.before;
      if (isSame(first, after)) this.#spans.delete(id);
      else this.#spans.set(id, { before: first, after });
    }
  }

  /** The merged difference; leaves nothing behind. */
  take(): Difference {
    const difference = [...this.#spans.values()];
    this.#spans.clear();
    return difference;
  }
}
