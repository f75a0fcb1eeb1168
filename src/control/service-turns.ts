/** Something that waits for its turn. `id` undefined: it concerns all instances of the service. */
interface WaitingTurn {
  readonly id: string | undefined;
  readonly start: () => void;
}

interface ServiceQueue {
  readonly waiting: WaitingTurn[];
  /** Instances that something is being done with. */
  readonly running: Set<string>;
  /** Something is being done with all of them. */
  isExclusive: boolean;
}

/**
 * Keeps in their order what concerns the same instance, and what concerns a whole service apart from all else about that. Nothing overtakes what waits for the same
 * service, so nobody waits for ever.
 */
export class ServiceTurns {
  readonly #queues: Map<string, ServiceQueue> = new Map();

  /** Does something when its turn comes. `id` undefined: with the whole service. Resolves to what came of it. */
  async run<T>(key: string, id: string | undefined, work: () => Promise<T>): Promise<T> {
    await this.#enter(key, id);
    try {
      return await work();
    } finally {
      this.#leave(key, id);
    }
  }

  #enter(key: string, id: string | undefined): Promise<void> {
    let queue = this.#queues.get(key);
    if (queue === undefined) {
      queue = { waiting: [], running: new Set(), isExclusive: false };
      this.#queues.set(key, queue);
    }
    const { waiting } = queue;
    return new Promise((resolve) => {
      waiting.push({ id, start: resolve });
      this.#startNext(key, queue);
    });
  }

  #leave(key: string, id: string | undefined): void {
    const queue = this.#queues.get(key);
    if (queue === undefined) throw new Error(`nobody has a turn with ${key}`);
    if (id === undefined) queue.isExclusive = false;
    else queue.running.delete(id);
    this.#startNext(key, queue);
  }

  #startNext(key: string, queue: ServiceQueue): void {
    const { waiting, running } = queue;
    for (let next = waiting[0]; next !== undefined && mayStart(queue, next); next = waiting[0]) {
      waiting.shift();
      if (next.id === undefined) queue.isExclusive = true;
      else running.add(next.id);
      next.start();
    }
    if (waiting.length + running.size === 0 && !queue.isExclusive) this.#queues.delete(key);
  }
}

function mayStart({ running, isExclusive }: ServiceQueue, { id }: WaitingTurn): boolean {
  if (isExclusive) return false;
  return id === undefined ? running.size === 0 : !running.has(id);
}
