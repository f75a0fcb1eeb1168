import type { KeyOperation, Unmet } from '../keys/key-operations.ts';
import type { KeyRow } from '../keys/key-row.ts';
import type { Router } from '../routing/router.ts';
import { slotOf } from '../slots/slot.ts';
import { PendingKeyChange } from './key-requests.ts';
import type { KeyAnswer } from './key-requests.ts';

export interface TransactionOptions {
  readonly router: Router;
  readonly operations: readonly KeyOperation[];
  /** Who acquires keys, or holds them, if that is still to be done: its session may have ended meanwhile. */
  readonly readHolder: () => string;
  /** Unique in the process. */
  readonly nextJoint: () => number;
  /** Runs a task after a time with jitter, longer with each attempt. */
  readonly later: (attempt: number, task: () => void) => void;
  readonly settle: (answer: KeyAnswer) => void;
}

interface Part {
  readonly partition: number;
  /** Where each of its operations is in the whole. */
  readonly places: number[];
  readonly operations: KeyOperation[];
}

/** Attempts of a transaction that meets others on its keys in several partitions. */
const attemptsMax = 8;

/**
 * A transaction on its way: to the one partition that owns its keys or, in parts that are committed together or not at all, to several. Those do not wait for the keys that others
 * work on, as two could wait for each other; they give up, and all is tried again.
 */
export class Transaction {
  readonly #options: TransactionOptions;
  #attempt = 0;

  constructor(options: TransactionOptions) {
    this.#options = options;
  }

  /** Sends it once none of its slots is frozen. */
  begin(): void {
    const { router, operations, settle } = this.#options;
    const keys = operations.map(({ key }) => key);
    router.whenThawed(
      keys,
      () => {
        this.#send();
      },
      (failure) => {
        settle({ kind: 'refused', failure });
      },
    );
  }

  #send(): void {
    const { router, operations, readHolder, settle } = this.#options;
    const parts = this.#split();
    if (parts.length > 1) {
      this.#sendParts(parts);
      return;
    }
    router.ask(
      new PendingKeyChange({
        key: operations[0]!.key,
        build: () => ({ kind: 'transaction', holder: readHolder(), operations }),
        settle,
        reroute: () => {
          this.begin();
        },
      }),
    );
  }

  #split(): Part[] {
    const { router, operations } = this.#options;
    const parts = new Map<number, Part>();
    for (const [place, operation] of operations.entries()) {
      const partition = router.table.ownerOf(slotOf(operation.key));
      const part = parts.get(partition) ?? { partition, places: [], operations: [] };
      parts.set(partition, part);
      part.places.push(place);
      part.operations.push(operation);
    }
    return [...parts.values()];
  }

  #sendParts(parts: readonly Part[]): void {
    const { router, readHolder, nextJoint, settle } = this.#options;
    const links = parts.map(({ partition }) => router.link(partition));
    const full = links.find((link) => link === undefined || link.isFull);
    if (links.includes(undefined) || full !== undefined) {
      settle(refuseBusy);
      return;
    }
    const joint = { id: nextJoint(), partitions: parts.map(({ partition }) => partition) };
    const answers: KeyAnswer[] = [];
    let awaited = parts.length;
    for (const [at, part] of parts.entries()) {
      const take = (answer: KeyAnswer): void => {
        answers[at] = answer;
        awaited -= 1;
        if (awaited === 0) this.#conclude(parts, answers);
      };
      router.askLink(
        links[at]!,
        new PendingKeyChange({
          key: part.operations[0]!.key,
          build: () => ({ kind: 'transaction', holder: readHolder(), operations: part.operations, joint }),
          settle: take,
          // The others give up, too.
          reroute: () => {
            take({ kind: 'conflict' });
          },
        }),
      );
    }
  }

  #conclude(parts: readonly Part[], answers: readonly KeyAnswer[]): void {
    const { settle, later } = this.#options;
    const failure = answers.find(({ kind }) => kind === 'refused');
    if (failure !== undefined) {
      settle(failure);
      return;
    }
    const unmet = parts.flatMap(({ places }, at) => unmetOf(answers[at]!, places)).sort((a, b) => a.index - b.index);
    if (unmet.length > 0) {
      settle({ kind: 'unmet', version: highestVersion(answers), unmet });
      return;
    }
    if (answers.every(({ kind }) => kind === 'done')) {
      const rows: (KeyRow | undefined)[] = [];
      for (const [at, { places }] of parts.entries()) {
        const answer = answers[at]!;
        if (answer.kind === 'done') for (const [i, place] of places.entries()) rows[place] = answer.rows[i];
      }
      settle({ kind: 'done', version: highestVersion(answers), rows });
      return;
    }
    this.#attempt += 1;
    if (this.#attempt === attemptsMax) settle(refuseBusy);
    else {
      later(this.#attempt, () => {
        this.begin();
      });
    }
  }
}

const refuseBusy: KeyAnswer = {
  kind: 'refused',
  failure: { code: 'busy', message: 'others are working on the same keys', retryAfterMs: 200 },
};

function unmetOf(answer: KeyAnswer, places: readonly number[]): Unmet[] {
  if (answer.kind !== 'unmet') return [];
  return answer.unmet.map(({ index, reason }) => ({ index: places[index]!, reason }));
}

function highestVersion(answers: readonly KeyAnswer[]): number {
  return answers.reduce((highest, answer) => Math.max(highest, 'version' in answer ? answer.version : 0), 0);
}
