import { hasCheck } from '../protocol/check-definition.ts';
import type { ListCache } from '../push/list-cache.ts';
import { takeMarkOff } from '../store/instance-mark.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import type { ClaimNotice, Refused, ServiceStore, StoreOutcome } from '../store/service-store.ts';
import type { BatchProgress } from './batch-progress.ts';
import type { Checks } from './checks.ts';
import type { ClaimJournal } from './claim-journal.ts';
import { fromPartition, toFields } from './messages.ts';
import type { Emit, ToRecord } from './messages.ts';
import type { PartitionClock } from './partition-clock.ts';
import type { Protections } from './protections.ts';
import type { Pushes } from './pushes.ts';
import type { SessionOrigins } from './session-numbers.ts';
import type { ShownVersions } from './shown-versions.ts';
import type { Watches } from './watches.ts';

export interface ClaimsParts {
  readonly emit: Emit;
  readonly store: ServiceStore;
  readonly lists: ListCache;
  readonly shown: ShownVersions;
  readonly progress: BatchProgress;
  readonly watches: Watches;
  readonly pushes: Pushes;
  /** Undefined: nothing outlives the process. */
  readonly journal: ClaimJournal | undefined;
  readonly origins: SessionOrigins;
  readonly protections: Pick<Protections, 'noteChange'>;
  readonly checks: Checks;
}

/** What sessions register, and how that ends. */
export class Claims {
  readonly #parts: ClaimsParts;
  /** While hosts are sending what they hold: instances that several sessions claim, or did as far as a host knows, by service. */
  readonly #contested: Map<string, Set<string>> = new Map();

  constructor(parts: ClaimsParts) {
    this.#parts = parts;
  }

  register(host: number, record: ToRecord<'register'>, clock: PartitionClock): void {
    const at = toFields.register;
    const request = record[at.request];
    const key = record[at.key];
    const id = record[at.id];
    const { progress, store, journal, checks } = this.#parts;
    progress.noteMutation();
    const fragment = record[at.fragment];
    const claim = { fragment, owner: record[at.session], stamp: request };
    const plain = takeMarkOff(fragment);
    const isChecked = hasCheck(plain);
    if (isChecked) checks.noteComing(key, id, plain);
    const outcome = store.register(key, id, claim, clock.wallMicros);
    this.#answer(host, request, id, outcome);
    if (isChecked && outcome.kind === 'unchanged') checks.noteHeard(key, id, plain);
    journal?.noteRegistration(id, claim, outcome, key);
  }

  reportHealth(host: number, record: ToRecord<'reportHealth'>, clock: PartitionClock): void {
    const at = toFields.reportHealth;
    const [request, key, id, owner] = [record[at.request], record[at.key], record[at.id], record[at.session]];
    const { progress, store, journal, checks } = this.#parts;
    progress.noteMutation();
    const outcome = store.reportHealth(key, id, owner, record[at.health], clock.wallMicros);
    this.#answer(host, request, id, outcome);
    const claim = outcome.kind === 'refused' ? undefined : outcome.service.instances.claimOf(id, owner);
    if (outcome.kind === 'refused' || claim === undefined) return;
    journal?.notePut(outcome.service, claim);
    const plain = takeMarkOff(claim.fragment);
    if (claim.isShown && hasCheck(plain)) checks.noteHeard(key, id, plain);
  }

  deregister(host: number, record: ToRecord<'deregister'>, clock: PartitionClock): void {
    const at = toFields.deregister;
    const request = record[at.request];
    const id = record[at.id];
    const { progress, store } = this.#parts;
    progress.noteMutation();
    const owner = record[at.session];
    const outcome = store.deregister(record[at.key], id, owner, request, clock.wallMicros);
    this.#answer(host, request, id, outcome);
    if (outcome.kind !== 'refused') this.#parts.journal?.noteEnd(outcome.service, id, owner, request);
  }

  withdraw(record: ToRecord<'withdraw'>, clock: PartitionClock): void {
    const at = toFields.withdraw;
    this.#end(record[at.key], record[at.id], record[at.session], clock);
  }

  evict(record: ToRecord<'evict'>, clock: PartitionClock): void {
    this.#parts.checks.evict(record, (key, id, owner) => {
      this.#end(key, id, owner, clock);
    });
  }

  #end(key: string, id: string, owner: number, clock: PartitionClock): void {
    const { progress, store, shown, journal } = this.#parts;
    progress.noteMutation();
    const outcome = store.deregister(key, id, owner, Infinity, clock.wallMicros);
    // It never got this far.
    if (outcome.kind === 'refused') return;
    shown.keepAbove(outcome.service);
    journal?.noteEnd(outcome.service, id, owner, Infinity);
    this.#note(id, outcome);
  }

  remark(record: ToRecord<'remark'>, clock: PartitionClock): void {
    const at = toFields.remark;
    const id = record[at.id];
    const { progress, store, shown, journal } = this.#parts;
    progress.noteMutation();
    const claim = { fragment: record[at.fragment], owner: record[at.session], stamp: record[at.stamp] };
    const outcome = store.remark(record[at.key], id, claim, clock.wallMicros);
    if (outcome === undefined) return;
    shown.keepAbove(outcome.service);
    journal?.notePut(outcome.service, claim);
    this.#note(id, outcome);
  }

  giveUp(host: number, record: ToRecord<'giveUp'>): void {
    const at = toFields.giveUp;
    const request = record[at.request];
    const [key, id, owner] = [record[at.key], record[at.id], record[at.session]];
    const { store, journal } = this.#parts;
    const isGivenUp = store.giveUp(key, id, owner, request);
    const service = isGivenUp ? store.get(key) : undefined;
    if (service !== undefined) journal?.noteEnd(service, id, owner, request);
    this.#parts.emit(host, fromPartition.applied, request, isGivenUp ? 1 : 0);
  }

  /** Rebuilding. */
  restore(record: ToRecord<'restore'>): void {
    const at = toFields.restore;
    const key = record[at.key];
    const id = record[at.id];
    const claim = { fragment: record[at.fragment], owner: record[at.session], stamp: record[at.stamp] };
    const { store, lists, journal } = this.#parts;
    const service = store.obtain(key);
    const dropped = store.restore(service, id, claim);
    journal?.notePut(service, claim);
    for (const notice of dropped) {
      this.#tell(key, id, notice);
      journal?.noteEnd(service, id, notice.owner, notice.stamp);
    }
    lists.noteChange(service, id);
    if (record[at.isHidden] !== 1 && service.instances.hidden === undefined) return;
    const known = this.#contested.get(key) ?? new Set();
    this.#contested.set(key, known.add(id));
  }

  /** Rebuilding is complete. What hosts were informed of by the previous life, or were about to be, may no longer be true. */
  tellContested(): void {
    for (const [key, ids] of this.#contested) {
      for (const id of ids) {
        for (const { owner, stamp, isShown } of this.#parts.store.get(key)?.instances.claims(id) ?? []) {
          this.#tell(key, id, { owner, stamp, state: isShown ? 'shown' : 'hidden', limit: undefined });
        }
      }
    }
    this.#contested.clear();
  }

  #answer(host: number, request: number, id: string, outcome: StoreOutcome): void {
    if (outcome.kind === 'refused') {
      this.#refuse(host, request, outcome);
      return;
    }
    const { service } = outcome;
    this.#parts.shown.keepAbove(service);
    this.#parts.emit(host, fromPartition.applied, request, service.version);
    this.#note(id, outcome);
  }

  #refuse(host: number, request: number, { failure, stands }: Refused): void {
    const { code, message, limit = '', max = 0 } = failure;
    const { fragment = '', stamp = 0 } = stands ?? {};
    this.#parts.emit(host, fromPartition.refused, request, code, message, limit, max, fragment, stamp);
  }

  #note(id: string, outcome: Exclude<StoreOutcome, Refused>): void {
    // Nearly always nobody; a registration is too short to begin a loop for nothing.
    if (outcome.told.length > 0) for (const notice of outcome.told) this.#tell(outcome.service.key, id, notice);
    if (outcome.kind === 'changed') this.#noteChange(outcome.service, id, outcome.before);
  }

  #noteChange(service: ServiceRecord, id: string, before: string | undefined): void {
    const { lists, watches, pushes, store, checks, protections } = this.#parts;
    lists.noteChange(service, id);
    const watched = watches.find(service.key);
    // As it was shown: what its check had found goes with it.
    const shownBefore = service.show(id, before);
    checks.noteChange(service, id, before);
    if (watched !== undefined) pushes.noteChange(watched, id, shownBefore);
    protections.noteChange(service, id);
    if (watched === undefined && service.instances.size === 0) store.forget(service);
  }

  #tell(key: string, id: string, { owner, stamp, state, limit }: ClaimNotice): void {
    const host = this.#parts.origins.hostOf(owner);
    this.#parts.emit(host, fromPartition.claim, owner, key, id, stamp, state, limit ?? '');
  }
}
