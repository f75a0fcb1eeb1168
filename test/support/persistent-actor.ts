import type { PersistentServices } from '../../src/control/persistent-services.ts';
import { serviceKey } from '../../src/protocol/service-key.ts';
import type { Change, Fate, Ledger } from './ledger.ts';
import { describeMark } from './marked-content.ts';
import type { MemoryStore } from './memory-store.ts';
import type { Random } from './random.ts';

export interface PersistentActorOptions {
  readonly persistent: PersistentServices;
  readonly store: MemoryStore;
  readonly ledger: Ledger;
}

interface Target {
  readonly service: string;
  readonly id: string;
}

interface Circumstances {
  readonly nextMark: () => number;
  readonly nowMs: number;
  readonly onDone: (change: Change, version: number) => void;
  readonly onWrong: (wrong: string) => void;
}

const full = { code: 'storage_unavailable', message: 'the disk is full' } as const;

/**
 * A control plane that registers instances for good, and takes them away again. To the ledger it is a client that never leaves. Whenever something is answered, all that has
 * been must be stored: that is what a process that is killed at that moment would find.
 */
export class PersistentActor {
  readonly #options: PersistentActorOptions;
  readonly #fate: Fate = {
    name: 'what is persistent',
    mayLeaveFromMs: Number.POSITIVE_INFINITY,
    isWholeUntilMs: Number.POSITIVE_INFINITY,
    goneByMs: Number.POSITIVE_INFINITY,
  };
  #underWay = 0;
  /** Changes that were done, and that were refused. */
  stored = 0;
  unstored = 0;

  constructor(options: PersistentActorOptions) {
    this.#options = options;
  }

  /** Something is asked for; says what. */
  act(target: Target, random: Random, circumstances: Circumstances): string {
    const { persistent, ledger } = this.#options;
    const { service, id } = target;
    const { nowMs, nextMark } = circumstances;
    if (random.below(3) === 0) {
      const change = ledger.ask('deregister', this.#fate, target, nowMs);
      this.#settle(change, persistent.deregisterPersistent(target), circumstances);
      return `${service} ${id} is deregistered for good`;
    }
    const mark = nextMark();
    const change = ledger.ask('register', this.#fate, { ...target, mark }, nowMs);
    const { color, ...content } = describeMark(mark);
    const instance = { id, host: 'h', port: 1, weight: mark, ...content, metadata: { color } };
    this.#settle(change, persistent.registerPersistent({ service, instance }), circumstances);
    return `${service} ${id} = ${mark} is registered for good`;
  }

  /** The store begins to fail, or ceases to. */
  fail(random: Random): string {
    const { store } = this.#options;
    store.failure = random.below(2) === 0 ? full : undefined;
    return store.failure === undefined ? 'there is room in the store' : 'the store is full';
  }

  /** From now on everything can be stored. */
  allow(): void {
    this.#options.store.failure = undefined;
  }

  /** All is quiet: everything is answered, and what is stored is what is registered. */
  judgeEnd(): void {
    if (this.#underWay > 0) throw new Error(`${this.#underWay} changes of what is persistent were never answered`);
    this.#judgeStored((wrong) => {
      throw new Error(wrong);
    });
  }

  #settle(
    change: Change,
    asked: Promise<{ readonly version: number } | { readonly code: string }>,
    { onDone, onWrong }: Circumstances,
  ): void {
    this.#underWay += 1;
    void asked.then((answer) => {
      this.#underWay -= 1;
      if ('version' in answer) {
        this.stored += 1;
        onDone(change, answer.version);
      } else {
        this.unstored += 1;
        // Else it may or may not have been done.
        if (answer.code !== 'internal') this.#options.ledger.refuse(change);
      }
      this.#judgeStored(onWrong);
    });
  }

  #judgeStored(onWrong: (wrong: string) => void): void {
    const { store, ledger } = this.#options;
    const possessions = ledger.possessionsOf(this.#fate);
    for (const { service, id, marks, isCertain } of possessions) {
      const mark = this.#readMark(service, id);
      if (isCertain ? !marks.includes(mark ?? -1) : mark !== undefined && !marks.includes(mark)) {
        onWrong(
          `${service} ${id} is stored as ${mark ?? 'nothing'}, and was registered for good as ${marks.join(', ')}`,
        );
      }
    }
    const known = new Set(possessions.map(({ service, id }) => nameRow(service, id)));
    for (const name of store.rows.keys()) {
      if (!known.has(name)) onWrong(`${name} is stored, and was deregistered or refused`);
    }
  }

  #readMark(service: string, id: string): number | undefined {
    const row = this.#options.store.rows.get(nameRow(service, id));
    if (row === undefined) return undefined;
    return (JSON.parse(Buffer.from(row.payload).toString()) as { weight: number }).weight;
  }
}

function nameRow(service: string, id: string): string {
  return `instances ${serviceKey({ service })}\n${id}`;
}
