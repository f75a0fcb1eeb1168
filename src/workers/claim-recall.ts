import type { ClaimName } from '../store/service-instances.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import type { ServiceStore } from '../store/service-store.ts';
import { hostOfSession } from './session-numbers.ts';
import { claimWork, lookWork } from './turn-work.ts';
import type { TurnWork } from './turn-work.ts';

/** A part of what sessions of a host have claimed. */
export interface RecalledPart {
  /** Six fields a claim: session, key, id, fragment, stamp, and 1 if it is hidden, else 0. */
  readonly claims: readonly (string | number)[];
  /** Where the next part goes on; empty: this is the last. */
  readonly next: string;
}

/** What is being looked for, whose claims, and where. */
export interface RecallRequest {
  readonly request: number;
  readonly owner: number;
  readonly after: string;
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
}

/**
 * Tells hosts that have just begun what the partition holds for their sessions: compensation from the partition to the host. A part is what one turn has time for. Services are looked
 * through in the order of their keys, so others may come and go between two parts. A part that is asked for again, in another life of the partition, begins with
 * its service: then claims may come twice.
 */
export class ClaimRecalls {
  readonly #store: ServiceStore;
  readonly #turn: TurnWork;
  readonly #recalls: Map<number, Recall> = new Map();

  constructor(store: ServiceStore, turn: TurnWork) {
    this.#store = store;
    this.#turn = turn;
  }

  /** Goes on with a part until the turn is over, or nothing is left; false if there is nothing yet to be taken. */
  fill(host: number, { request, owner, after }: RecallRequest): boolean {
    let recall = this.#recalls.get(host);
    if (recall?.request !== request) {
      if (recall === undefined || after === '' || after !== recall.key) recall = this.#begin(after, owner);
      recall.request = request;
      this.#recalls.set(host, recall);
    }
    this.#goOn(recall, owner);
    return recall.isWhole || recall.claims.length > 0;
  }

  take(host: number): RecalledPart {
    const recall = this.#recalls.get(host);
    if (recall === undefined) throw new Error(`no recall of host ${host} is under way`);
    const { claims, key, isWhole } = recall;
    recall.claims = [];
    if (isWhole) this.#recalls.delete(host);
    return { claims, next: isWhole ? '' : key };
  }

  /** The host has gone; who asks under its number next begins anew. */
  forget(host: number): void {
    this.#recalls.delete(host);
  }

  #begin(key: string, owner: number): Recall {
    const service = this.#store.get(key);
    const names = service === undefined ? [] : this.#namesOf(service, owner);
    return { request: 0, key, names, claims: [], isWhole: false };
  }

  #goOn(recall: Recall, owner: number): void {
    this.#give(recall);
    if (this.#turn.isOver()) return;
    for (const service of this.#store.listedAfter(recall.key)) {
      recall.key = service.key;
      recall.names = this.#namesOf(service, owner);
      this.#give(recall);
      if (this.#turn.isOver()) return;
    }
    recall.isWhole = true;
  }

  /** All of a service at once, since rows may move between turns; to look at one costs next to nothing. */
  #namesOf({ instances }: ServiceRecord, owner: number): ClaimName[] {
    this.#turn.spend(lookWork * (1 + instances.size + instances.hiddenCount));
    return instances.namesOf((session) => hostOfSession(session) === owner).toReversed();
  }

  #give(recall: Recall): void {
    const { key, names, claims } = recall;
    const instances = this.#store.get(key)?.instances;
    while (names.length > 0 && !this.#turn.isOver()) {
      const { id, owner } = names.pop()!;
      const claim = instances?.claimOf(id, owner);
      // It may have been dropped meanwhile, for too many others.
      if (claim === undefined) continue;
      claims.push(owner, key, id, claim.fragment, claim.stamp, claim.isShown ? 0 : 1);
      this.#turn.spend(claimWork + claim.fragment.length);
    }
  }
}
