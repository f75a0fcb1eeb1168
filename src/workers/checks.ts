import { hasCheck, splitCheck } from '../protocol/check-definition.ts';
import type { CheckDefinition } from '../protocol/types.ts';
import type { ListCache } from '../push/list-cache.ts';
import { takeMarkOff } from '../store/instance-mark.ts';
import { persistentOwner } from '../store/persistent-owner.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import type { ServiceStore } from '../store/service-store.ts';
import type { BatchProgress } from './batch-progress.ts';
import type { ClaimJournal } from './claim-journal.ts';
import { fromPartition, toFields } from './messages.ts';
import type { Emit, ToRecord } from './messages.ts';
import type { PartitionClock } from './partition-clock.ts';
import type { Protections } from './protections.ts';
import type { Pushes } from './pushes.ts';
import type { SessionOrigins } from './session-numbers.ts';
import type { ShownVersions } from './shown-versions.ts';
import { claimWork, lookWork } from './turn-work.ts';
import type { TurnWork } from './turn-work.ts';
import type { Watches } from './watches.ts';

export interface ChecksParts {
  readonly emit: Emit;
  readonly turn: TurnWork;
  readonly store: ServiceStore;
  readonly lists: ListCache;
  readonly shown: ShownVersions;
  readonly progress: BatchProgress;
  readonly watches: Watches;
  readonly pushes: Pushes;
  readonly journal: ClaimJournal | undefined;
  readonly protections: Pick<Protections, 'noteChange'>;
  readonly origins: SessionOrigins;
}

/** The main thread's host: it has the checks made. */
const checkingHost = 0;
/** The limit that a claim is dropped for when its instance has been critical for too long. */
const evicted = 'deregisterAfterMs';

/**
 * Which instances that show have a check, and what their checks have found. The main thread has them made, so it is told of each that comes, changes or goes; what it finds
 * all partitions are told, so an instance that comes here has it at once.
 */
export class Checks {
  readonly #parts: ChecksParts;
  /** A look at all checks for one record, as far as it has come. */
  #sweep: { readonly request: number; key: string; ids: string[] } | undefined;

  constructor(parts: ChecksParts) {
    this.#parts = parts;
  }

  /** An instance is about to be registered: if it is new, its check has something to say before its first result. */
  noteComing(key: string, id: string, fragment: string): void {
    const { store } = this.#parts;
    if ((store.get(key)?.instances.find(id) ?? -1) !== -1 || store.hasFound(key, id)) return;
    const { initial = 'passing' } = readCheck(fragment);
    if (initial !== 'passing') store.setFound(key, id, initial);
  }

  /** What shows of an instance has changed; `before`: what was registered of it. */
  noteChange(service: ServiceRecord, id: string, before: string | undefined): void {
    if (!service.instances.mayHaveChecks) return;
    const after = readPlain(service, id);
    const had = before !== undefined && hasCheck(takeMarkOff(before));
    const has = after !== undefined && hasCheck(after);
    if (!had && !has) return;
    if (!has) this.#parts.store.setFound(service.key, id, 'passing');
    this.#parts.emit(checkingHost, fromPartition.check, service.key, id, has ? after : '');
  }

  /** Whoever registered the instance says that it is there; only `ttl` listens. */
  noteHeard(key: string, id: string, fragment: string): void {
    if (readCheck(fragment).kind === 'ttl') this.#parts.emit(checkingHost, fromPartition.heard, key, id);
  }

  /** A check has found something: whoever subscribes is told. */
  judge(record: ToRecord<'judge'>, { wallMicros }: PartitionClock): void {
    const at = toFields.judge;
    const [key, id, health] = [record[at.key], record[at.id], record[at.health]];
    const { store, shown, lists, watches, pushes, progress, journal } = this.#parts;
    progress.noteMutation();
    const service = store.get(key);
    const before = service?.fragmentOf(id);
    store.setFound(key, id, health);
    if (service === undefined || service.fragmentOf(id) === before) return;
    service.advance(id, wallMicros);
    shown.keepAbove(service);
    journal?.noteRaised(service);
    lists.noteChange(service, id);
    const watched = watches.find(key);
    if (watched !== undefined) pushes.noteChange(watched, id, before);
    this.#parts.protections.noteChange(service, id);
  }

  /** The partition is new, and nobody has been told anything by it yet. */
  restore(record: ToRecord<'restoreFound'>): void {
    const at = toFields.restoreFound;
    const { store, lists } = this.#parts;
    const service = store.get(record[at.key]);
    store.setFound(record[at.key], record[at.id], record[at.health]);
    if (service !== undefined) lists.forget(service);
  }

  /** An instance has been critical for too long: the claim that shows is dropped. What is persistent is taken back where it was stored. */
  evict(record: ToRecord<'evict'>, deregister: (key: string, id: string, owner: number) => void): void {
    const at = toFields.evict;
    const [key, id] = [record[at.key], record[at.id]];
    const [claim] = this.#parts.store.get(key)?.instances.claims(id) ?? [];
    if (claim === undefined || claim.owner === persistentOwner) return;
    deregister(key, id, claim.owner);
    const host = this.#parts.origins.hostOf(claim.owner);
    this.#parts.emit(host, fromPartition.claim, claim.owner, key, id, claim.stamp, 'dropped', evicted);
  }

  /** Tells all checks that there are, which may take turns. */
  prepareTelling(record: ToRecord<'tellChecks'>): boolean {
    const request = record[toFields.tellChecks.request];
    if (this.#sweep?.request !== request) this.#sweep = { request, key: '', ids: [] };
    const sweep = this.#sweep;
    const { store, turn } = this.#parts;
    this.#tell(sweep);
    if (turn.isOver()) return false;
    for (const service of store.listedAfter(sweep.key)) {
      turn.spend(lookWork);
      sweep.key = service.key;
      if (service.instances.mayHaveChecks) sweep.ids = service.instances.namesOf(() => true).map(({ id }) => id);
      this.#tell(sweep);
      if (turn.isOver()) return false;
    }
    this.#sweep = undefined;
    return true;
  }

  #tell(sweep: { readonly key: string; readonly ids: string[] }): void {
    const { store, turn, emit } = this.#parts;
    const service = store.get(sweep.key);
    while (sweep.ids.length > 0 && !turn.isOver()) {
      const id = sweep.ids.pop()!;
      turn.spend(claimWork);
      const fragment = service === undefined ? undefined : readPlain(service, id);
      if (fragment !== undefined && hasCheck(fragment))
        emit(checkingHost, fromPartition.check, sweep.key, id, fragment);
    }
  }
}

function readCheck(fragment: string): CheckDefinition {
  return JSON.parse(splitCheck(fragment).check!) as CheckDefinition;
}

/** What is registered of an instance, without what operators have ordered for it. */
function readPlain({ instances }: ServiceRecord, id: string): string | undefined {
  const fragment = instances.fragmentOf(id);
  return fragment === undefined ? undefined : takeMarkOff(fragment);
}
