import { KeyHolders } from '../../src/keys/key-holders.ts';
import { KeyQueues } from '../../src/keys/key-queues.ts';
import { LockDelays } from '../../src/keys/lock-delays.ts';
import { SlotLoader } from '../../src/keys/slot-loader.ts';
import { BenchStore, KeyBench } from './key-bench.ts';

/** A mistake that histories of keys must find. */
export interface PlantedKeyBug {
  readonly name: string;
  /** Puts it in; what it returns takes it out again. */
  readonly plant: () => () => void;
}

/** Replaces a method by what `make` makes of it. */
export function replaceMethod<T extends object, K extends keyof T>(
  target: T,
  name: K,
  make: (original: T[K]) => T[K],
): () => void {
  const original = target[name];
  target[name] = make(original);
  return () => {
    target[name] = original;
  };
}

export const plantedKeyBugs: readonly PlantedKeyBug[] = [
  {
    name: 'a commit is lost',
    plant: () =>
      replaceMethod(
        BenchStore.prototype,
        'carryOut',
        (carryOut) =>
          function lose(this: BenchStore) {
            const [request] = this.waiting;
            if (request?.kind !== 'commit' || this.version % 5 !== 4) return carryOut.call(this);
            this.waiting.shift();
            this.version += 1;
            return { kind: 'committed', request: request.request, version: this.version };
          },
      ),
  },
  {
    name: 'a change is acknowledged before it is committed',
    plant: () =>
      replaceMethod(
        KeyBench.prototype,
        'submit',
        (submit) =>
          function hurry(this: KeyBench, operations, holder, joint) {
            const before = this.store.waiting.length;
            const request = submit.call(this, operations, holder, joint);
            const commit = this.store.waiting.at(-1);
            if (this.store.waiting.length > before && commit?.kind === 'commit') {
              const version = this.store.version + this.store.waiting.filter(({ kind }) => kind === 'commit').length;
              this.domain.handleReply({ kind: 'committed', request: commit.request, version }, this.nowMs);
            }
            return request;
          },
      ),
  },
  {
    name: 'a lock is granted twice: whose sessions live is forgotten when a partition is rebuilt',
    plant: () => replaceMethod(KeyHolders.prototype, 'vouch', () => () => undefined),
  },
  {
    name: 'lock delays are ignored',
    plant: () => replaceMethod(LockDelays.prototype, 'isRunning', () => () => false),
  },
  {
    name: 'nobody waits for those who are changing the same key',
    plant: () =>
      replaceMethod(KeyQueues.prototype, 'enter', () => (ticket) => {
        ticket.blockedBy = 0;
        return true;
      }),
  },
  {
    name: 'slots are read before they are loaded',
    plant: () => replaceMethod(SlotLoader.prototype, 'isLoaded', () => () => true),
  },
  {
    name: 'what was in flight when the store ended is taken for not carried out',
    plant: () =>
      replaceMethod(
        SlotLoader.prototype,
        'begin',
        (begin) =>
          function keep(this: SlotLoader, slots) {
            const all = [...slots];
            if (all.length !== 1 || !this.isLoaded(all[0]!)) begin.call(this, all);
          },
      ),
  },
];
