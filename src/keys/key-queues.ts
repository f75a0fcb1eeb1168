/** What takes its turn on some keys. */
export interface Ticket {
  /** Each once. */
  readonly keys: readonly string[];
  /** Of its keys, those on which others are before it. */
  blockedBy: number;
}

/**
 * For each key, who works on it and who waits, in the order in which they came. A ticket enters the queues of all its keys at once, so tickets cannot wait for each other in a circle.
 * Whoever commits stays at the head until its commit is answered: nobody reads or changes a key whose change may or may not be on disk.
 */
export class KeyQueues<T extends Ticket> {
  readonly #queues: Map<string, T[]> = new Map();

  isFree(keys: readonly string[]): boolean {
    return keys.every((key) => !this.#queues.has(key));
  }

  /** Keys on which somebody works. */
  busyKeys(): IterableIterator<string> {
    return this.#queues.keys();
  }

  /** Returns whether it is first on all its keys. */
  enter(ticket: T): boolean {
    ticket.blockedBy = 0;
    for (const key of ticket.keys) {
      const queue = this.#queues.get(key);
      if (queue === undefined) this.#queues.set(key, [ticket]);
      else {
        queue.push(ticket);
        ticket.blockedBy += 1;
      }
    }
    return ticket.blockedBy === 0;
  }

  /** The ticket, first on all its keys, is done. Returns those that are first on all of theirs now. */
  leave(ticket: T): T[] {
    const freed: T[] = [];
    for (const key of ticket.keys) {
      const queue = this.#queues.get(key);
      if (queue?.[0] !== ticket) throw new Error(`not the first on its key: ${key}`);
      queue.shift();
      const next = queue[0];
      if (next === undefined) {
        this.#queues.delete(key);
        continue;
      }
      next.blockedBy -= 1;
      if (next.blockedBy === 0) freed.push(next);
    }
    return freed;
  }
}
