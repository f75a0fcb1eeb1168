import type { ClaimName } from '../store/service-instances.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import type { ServiceStore } from '../store/service-store.ts';
import type { BatchProgress } from './batch-progress.ts';
import { fromPartition, toFields } from './messages.ts';
import type { Emit, ToRecord } from './messages.ts';
import type { Pushes } from './pushes.ts';
import { recallingHost } from './session-numbers.ts';
import type { SessionOrigins } from './session-numbers.ts';
import { claimWork, lookWork } from './turn-work.ts';
import type { TurnWork } from './turn-work.ts';

export interface ClaimRecallsParts {
  readonly emit: Emit;
  readonly turn: TurnWork;
  readonly store: ServiceStore;
  readonly progress: BatchProgress;
  readonly pushes: Pick<Pushes, 'unpushedSince'>;
  readonly origins: SessionOrigins;
}

/** One host's recall, as far as it has come. */
interface Recall {
  /** The part that is being made. */
  request: number;
  /** The service that was begun last; empty: none. */
  key: string;
  /** Its claims that are still to be given, the next one last. They are looked up when their turn comes: other hosts may hide or show them meanwhile. */
  names: ClaimName[];
  claims: (string | number)[];
  isWhole: boolean;
  /** When it was begun, by the monotonic clock, in milliseconds. */
  readonly atMs: number;
}

/**
 * Tells hosts that have just begun what the partition holds for their sessions: compensation from the partition to the host. A part is what one turn has time for. Services are looked
 * through in the order of their keys, so others may come and go between two parts. A part that is asked for again, in another life of the partition, begins with
 * its service: then claims may come twice. The last part says no more than that it is the last, once all that had changed before the first has been pushed: of what the thread
 * that has died had changed, nobody else could tell it again if the partition died, too.
 */
export class ClaimRecalls {
  readonly #parts: ClaimRecallsParts;
  readonly #recalls: Map<number, Recall> = new Map();

  constructor(parts: ClaimRecallsParts) {
    this.#parts = parts;
  }

  /** Continues a part until the turn is over, or nothing is left; false if there is nothing to send yet. */
  prepare(host: number, record: ToRecord<'recall'>): boolean {
    const at = toFields.recall;
    const request = record[at.request];
    const owner = record[at.host];
    const after = record[at.after];
    let recall = this.#recalls.get(host);
    if (recall?.request !== request) {
      if (recall === undefined || after === '' || after !== recall.key) recall = this.#begin(after, owner);
      recall.request = request;
      this.#recalls.set(host, recall);
    }
    if (!recall.isWhole) this.#proceed(recall, owner);
    return recall.claims.length > 0 || this.#isOver(recall);
  }

  /** Whether one that had nothing to tell has something by now. */
  get hasDue(): boolean {
    for (const recall of this.#recalls.values()) if (recall.request > 0 && this.#isOver(recall)) return true;
    return false;
  }

  #isOver({ isWhole, claims, atMs }: Recall): boolean {
    return isWhole && claims.length === 0 && this.#parts.pushes.unpushedSince() > atMs;
  }

  recall(host: number, record: ToRecord<'recall'>): void {
    const recall = this.#recalls.get(host);
    if (recall === undefined) throw new Error('a part that was not prepared');
    const { claims, key } = recall;
    const isLast = claims.length === 0;
    recall.claims = [];
    // It is not asked for again before the next part.
    recall.request = 0;
    if (isLast) this.#recalls.delete(host);
    this.#parts.emit(host, fromPartition.recalled, record[toFields.recall.request], claims, isLast ? '' : key);
  }

  /** The host has gone; the next one under its number starts from the beginning. */
  detach(host: number): void {
    this.#recalls.delete(host);
  }

  #begin(key: string, owner: number): Recall {
    const service = this.#parts.store.get(key);
    const names = service === undefined ? [] : this.#namesOf(service, owner);
    return { request: 0, key, names, claims: [], isWhole: false, atMs: this.#parts.progress.atMs };
  }

  #proceed(recall: Recall, owner: number): void {
    this.#give(recall);
    if (this.#parts.turn.isOver()) return;
    for (const service of this.#parts.store.listedAfter(recall.key)) {
      recall.key = service.key;
      recall.names = this.#namesOf(service, owner);
      this.#give(recall);
      if (this.#parts.turn.isOver()) return;
    }
    recall.isWhole = true;
  }

  /** All of a service at once, since rows may move between turns; to look at one costs next to nothing. */
  #namesOf({ instances }: ServiceRecord, host: number): ClaimName[] {
    const { origins } = this.#parts;
    this.#parts.turn.spend(lookWork * (1 + instances.size + instances.hiddenCount));
    // That one lives as long as the process: what it recalls is of lives before.
    const isWanted =
      host === recallingHost
        ? (session: number): boolean => origins.isOfBefore(session)
        : (session: number): boolean => origins.hostOf(session) === host;
    return instances.namesOf(isWanted).toReversed();
  }

  #give(recall: Recall): void {
    const { key, names, claims } = recall;
    const instances = this.#parts.store.get(key)?.instances;
    while (names.length > 0 && !this.#parts.turn.isOver()) {
      const { id, owner } = names.pop()!;
      const claim = instances?.claimOf(id, owner);
      // It may have been dropped meanwhile, for too many others.
      if (claim === undefined) continue;
      claims.push(owner, key, id, claim.fragment, claim.stamp, claim.isShown ? 0 : 1);
      this.#parts.turn.spend(claimWork + claim.fragment.length);
    }
  }
}
