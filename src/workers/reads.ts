import type { ListCache } from '../push/list-cache.ts';
import { emptyList, encodeClosed, encodeDifference } from '../push/push-encoding.ts';
import { readVariant } from '../push/variant.ts';
import { takeMarkOff } from '../store/instance-mark.ts';
import type { ServiceInstances } from '../store/service-instances.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import type { ListPage, ServiceStore } from '../store/service-store.ts';
import type { ClaimJournal } from './claim-journal.ts';
import type { HostFlows } from './host-flows.ts';
import { fromPartition, toFields } from './messages.ts';
import type { Emit, FromRecord, PartitionLimits, ToRecord } from './messages.ts';
import type { PartitionClock } from './partition-clock.ts';
import { leapOver } from './shown-versions.ts';
import type { ShownVersions } from './shown-versions.ts';
import { keyWork } from './turn-work.ts';
import type { TurnWork } from './turn-work.ts';
import type { Watches } from './watches.ts';

export interface ReadsParts {
  readonly limits: PartitionLimits;
  readonly emit: Emit;
  readonly turn: TurnWork;
  readonly store: ServiceStore;
  readonly lists: ListCache;
  readonly shown: ShownVersions;
  readonly flows: HostFlows;
  readonly watches: Watches;
  readonly journal: ClaimJournal | undefined;
}

/**
 * Answers what hosts ask of services: the list of one, with a subscription or without, and pages of all. An answer waits until there is room for it on its host,
 * and what it needs has been prepared, which may take turns; each `prepare…` says whether that is so, and nothing is done before.
 */
export class Reads {
  readonly #parts: ReadsParts;
  /** Pages of services that hosts have asked for, as far as they have come: one for each, since what it asked for next waits behind it. */
  readonly #pages: Map<number, ListPage> = new Map();

  constructor(parts: ReadsParts) {
    this.#parts = parts;
  }

  prepareQuery(host: number, record: ToRecord<'query'>): boolean {
    const at = toFields.query;
    return this.#parts.flows.hasAnswerRoom(host) && this.#isTakenApart(record[at.key], record[at.filter]);
  }

  query(host: number, record: ToRecord<'query'>): void {
    const at = toFields.query;
    const service = this.#parts.store.get(record[at.key]);
    this.#answer(
      host,
      this.#readState(record[at.request], service ?? record[at.key], record[at.filter]),
      record[at.room],
    );
  }

  prepareSubscription(host: number, record: ToRecord<'subscribe'>): boolean {
    const at = toFields.subscribe;
    const { filter } = readVariant(record[at.variant]);
    return this.#parts.flows.hasAnswerRoom(host) && this.#isTakenApart(record[at.key], filter);
  }

  /** A subscription that its host knows of from the partition's life before. */
  prepareInterest(record: ToRecord<'restoreInterest'>): boolean {
    const at = toFields.restoreInterest;
    return this.#isTakenApart(record[at.key], readVariant(record[at.variant]).filter);
  }

  subscribe(host: number, record: ToRecord<'subscribe'>, clock: PartitionClock): void {
    const at = toFields.subscribe;
    const request = record[at.request];
    const key = record[at.key];
    const variant = record[at.variant];
    const { watches } = this.#parts;
    if (!this.#hasRoomForFilter(key, variant)) {
      this.#refuseFilter(host, request, key);
      return;
    }
    const wasInterested = watches.find(key)?.isWantedBy(host, variant) === true;
    const watched = watches.obtain(key);
    const interest = watched.addInterest(host, variant);
    const { service } = watched;
    const since = record[at.since];
    const changed = since > 0 ? service.changedSince(since) : undefined;
    // It was issued in another life, and the versions of this one must be above it. If the clock has not gone back they are.
    if (changed === undefined && since >= service.version) {
      service.raise(leapOver(since, clock));
      this.#parts.journal?.noteRaised(service);
    }
    const answer: ListAnswer =
      changed === undefined
        ? this.#readState(request, service, interest.variant.filter)
        : [fromPartition.resumed, request, since, service.version, encodeDifference(service, changed, interest.view)];
    if (this.#answer(host, answer, record[at.room])) watched.noteSnapshotTaken(interest);
    else if (!wasInterested) watches.dropInterest(host, key, variant);
  }

  /** With a prefix that few have, all groups are looked at. */
  preparePage(host: number, record: ToRecord<'list'>): boolean {
    const { flows, store, turn } = this.#parts;
    if (!flows.hasAnswerRoom(host)) return false;
    const at = toFields.list;
    const query = {
      namespace: record[at.namespace],
      prefix: record[at.prefix],
      after: record[at.after],
      limit: record[at.limit],
    };
    const page = this.#pages.get(host) ?? store.beginPage(query);
    this.#pages.set(host, page);
    store.fillPage(page, query, () => {
      if (turn.isOver()) return false;
      turn.spend(keyWork);
      return true;
    });
    return page.next === undefined;
  }

  list(host: number, record: ToRecord<'list'>): void {
    const page = this.#pages.get(host);
    if (page === undefined) throw new Error('a page that was not prepared');
    this.#pages.delete(host);
    const { services } = page;
    this.#parts.flows.noteAnswer(host, services.length * keyWork);
    const fields = services.flatMap(({ key, instances }) => [key, instances]);
    this.#parts.emit(host, fromPartition.listed, record[toFields.list.request], fields);
  }

  /** Who claims what, the claim that shows first. */
  inspect(host: number, record: ToRecord<'inspect'>): void {
    const at = toFields.inspect;
    const { store, emit, flows, turn } = this.#parts;
    const key = record[at.key];
    const instances = store.get(key)?.instances;
    const claims: (string | number)[] = [];
    let characters = 0;
    for (const id of instances === undefined ? [] : idsOf(instances, record[at.id])) {
      for (const { owner, stamp, isShown } of instances?.claims(id) ?? []) {
        const fragment = takeMarkOff(instances?.claimOf(id, owner)?.fragment ?? '');
        claims.push(owner, key, id, fragment, stamp, isShown ? 0 : 1);
        characters += fragment.length;
      }
      turn.spend(keyWork);
      if (claims.length / claimFields >= record[at.limit]) break;
    }
    flows.noteAnswer(host, characters);
    emit(host, fromPartition.inspected, record[at.request], claims);
  }

  /** The host has gone; the next one under its number starts from the beginning. */
  detach(host: number): void {
    this.#pages.delete(host);
  }

  /** A service's instances have been parsed for a filter that is neither kept up nor known from before. */
  #isTakenApart(key: string, filter: string): boolean {
    if (filter === '') return true;
    const { store, watches, lists, turn } = this.#parts;
    const service = store.get(key);
    if (service === undefined || watches.find(key)?.findView(filter) !== undefined) return true;
    return lists.takeApart(service, turn.isOver);
  }

  #hasRoomForFilter(key: string, variant: string): boolean {
    if (readVariant(variant).filter === '') return true;
    const known = this.#parts.watches.find(key);
    return known?.has(variant) === true || (known?.filteredCount ?? 0) < this.#parts.limits.filtersPerServiceMax;
  }

  #refuseFilter(host: number, request: number, key: string): void {
    const max = this.#parts.limits.filtersPerServiceMax;
    const message = `${key} is subscribed with ${max} different filters`;
    this.#parts.emit(
      host,
      fromPartition.refused,
      request,
      'limit_exceeded',
      message,
      'filtersPerServiceMax',
      max,
      '',
      0,
    );
  }

  /** `service`: its key, if nothing is known of it here. */
  #readState(request: number, service: ServiceRecord | string, filter: string): ListAnswer {
    const { store, shown, watches, lists } = this.#parts;
    if (typeof service === 'string') {
      const list = emptyList + encodeClosed(store.overlayOf(service)?.isClosed === true);
      return [fromPartition.state, request, store.versionFloor, 0, list];
    }
    shown.keepAbove(service);
    const view = filter === '' ? undefined : watches.find(service.key)?.findView(filter);
    const { count, text } = lists.encode(service, filter, view);
    return [fromPartition.state, request, service.version, count, text];
  }

  /** Answers with a list, if there is room for it; else says how much it needs. */
  #answer(host: number, answer: ListAnswer, room: number): boolean {
    const { emit, flows, turn } = this.#parts;
    const [, request, , , text] = answer;
    if (text.length > room) {
      emit(host, fromPartition.oversize, request, text.length);
      return false;
    }
    if (flows.noteAnswerText(host, text)) turn.spend(text.length);
    emit(host, ...answer);
    return true;
  }
}

/** Fields of a claim in a record. */
const claimFields = 6;

/** `wanted`: one instance; empty: all. */
function* idsOf(instances: ServiceInstances, wanted: string): Generator<string> {
  if (wanted !== '') yield wanted;
  else for (const [id] of instances) yield id;
}

/** Both end with a text. */
type ListAnswer = FromRecord<'state'> | FromRecord<'resumed'>;
