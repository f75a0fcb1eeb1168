import type { MessagePort } from 'node:worker_threads';

import type { ErrorCode } from '../protocol/errors.ts';
import type { ClaimState, StoreLimits } from '../store/service-store.ts';

/** A service on its way from one partition to another, or a part of it: together everything that its owner knows of it. What is not in lists comes with the last. */
export interface ServiceParcel {
  readonly key: string;
  readonly version: number;
  readonly isFirst: boolean;
  readonly isLast: boolean;
  /** Four fields a claim: id, fragment, owner, stamp. An instance that several sessions claim comes once for each. */
  readonly instances: readonly (string | number)[];
  /** The change log, if one is kept: the version it begins after, then a version and an id for each change. */
  readonly log: { readonly base: number; readonly entries: readonly (string | number)[] } | undefined;
  /** If it is watched: of each variant the version that its subscribers were brought to, and the hosts that have some. */
  readonly watch:
    | readonly { readonly variant: string; readonly pushedVersion: number; readonly hosts: readonly number[] }[]
    | undefined;
}

export interface PartitionLimits extends StoreLimits {
  readonly coalesceWindowMinMs: number;
  readonly coalesceWindowMaxMs: number;
  readonly changeLogEntriesMax: number;
  /** Variants with a filter, of one service. */
  readonly filtersPerServiceMax: number;
  /** Push text under way to one host, in characters; beyond it changes go on being merged. */
  readonly pushCharactersInFlightMax: number;
  /** Text of answers under way to one host, in characters; beyond it what the host asks waits. */
  readonly answerCharactersInFlightMax: number;
  /** What is done in one turn, in characters read and written; other things count for so many. */
  readonly partitionTurnWorkMax: number;
}

/**
 * Everything that crosses between a session host and a partition. Records are laid end to end in one flat array per turn: cloning
 * numbers and strings in bulk costs a fraction of cloning objects, and instances never cross as objects. A record's first field
 * tells its kind, the kind its length.
 */
export const toPartition = {
  register: 1,
  deregister: 2,
  withdraw: 3,
  subscribe: 4,
  loseInterest: 5,
  query: 6,
  list: 7,
  restore: 9,
  rewatch: 10,
  restored: 11,
  handOver: 12,
  takeOver: 13,
  measure: 14,
  retell: 15,
  goOn: 16,
  fence: 17,
  raiseFloor: 18,
  forget: 19,
  giveUp: 20,
} as const;

/**
 * Host to partition. `request` is the number of what the host waits for. All hosts of the process draw from one sequence when a request comes, so it serves
 * as a registration's stamp; a request keeps it when it has to be sent again.
 */
export type ToPartition =
  | [kind: typeof toPartition.register, request: number, session: number, key: string, id: string, fragment: string]
  | [kind: typeof toPartition.deregister, request: number, session: number, key: string, id: string]
  /** The session's claim ends without having been asked for: the session is over. No answer. */
  | [kind: typeof toPartition.withdraw, session: number, key: string, id: string]
  /** The session is lost, and its claim ends if another hides it: 1 as the version of `applied`, else 0. */
  | [kind: typeof toPartition.giveUp, request: number, session: number, key: string, id: string]
  /**
   * `since` 0: a snapshot is wanted. Variants go by their text. `room`: characters that the answer may have; if it has more, nothing is done, and it is answered with
   * `oversize`.
   */
  | [kind: typeof toPartition.subscribe, request: number, key: string, variant: string, since: number, room: number]
  | [kind: typeof toPartition.loseInterest, key: string, variant: string]
  /** `filter`: its canonical text, or empty. */
  | [kind: typeof toPartition.query, request: number, key: string, filter: string, room: number]
  | [kind: typeof toPartition.list, request: number, namespace: string, prefix: string, after: string, limit: number]
  /** Rebuilding (RE1): what a session holds. The highest stamp shows, in whatever order they come. `isHidden`, 0 or 1: as the host knows it. */
  | [
      kind: typeof toPartition.restore,
      session: number,
      key: string,
      id: string,
      fragment: string,
      stamp: number,
      isHidden: number,
    ]
  /** Rebuilding: the host has subscribers of the service, none of which holds a version below `from`. */
  | [kind: typeof toPartition.rewatch, key: string, variant: string, from: number]
  /**
   * Rebuilding: of these instances it is not known what subscribers were told, whichever host they are on; of all others they hold what
   * has been restored (RE2).
   */
  | [kind: typeof toPartition.retell, key: string, ids: readonly string[]]
  /** Rebuilding: the host has restored all that its sessions hold. From the first of these on, pushes wait (PU5). Answered with `applied`. */
  | [kind: typeof toPartition.restored, request: number]
  /** Rebuilding is complete, from all hosts: pushes begin. Answered with `applied`. */
  | [kind: typeof toPartition.goOn, request: number]
  /** Answered with `applied`, when all that was sent before has been applied. */
  | [kind: typeof toPartition.fence, request: number]
  /** Moving (SL3): the first part of what these slots hold, or, if none are named, the next. The owner keeps it until it is to forget it. */
  | [kind: typeof toPartition.handOver, request: number, slots: readonly number[]]
  /** Moving: a part of what another partition gives away, and the version that none of its forgotten services was above. Answered with `applied`. */
  | [kind: typeof toPartition.takeOver, request: number, versionFloor: number, parcels: readonly ServiceParcel[]]
  /** How much each slot holds. */
  | [kind: typeof toPartition.measure, request: number]
  /** A client has shown that the registry told of this version before it started: none may be told from now on that is not above it. */
  | [kind: typeof toPartition.raiseFloor, version: number]
  /** Moving: these slots are another's, and what is held of them is forgotten. Answered with `applied`. */
  | [kind: typeof toPartition.forget, request: number, slots: readonly number[]];

const toPartitionLengths: Readonly<Record<ToPartition[0], number>> = {
  1: 6,
  2: 5,
  3: 4,
  4: 6,
  5: 3,
  6: 5,
  7: 6,
  9: 7,
  10: 4,
  11: 2,
  12: 3,
  13: 4,
  14: 2,
  15: 3,
  16: 2,
  17: 2,
  18: 2,
  19: 3,
  20: 5,
};

export const fromPartition = {
  applied: 1,
  refused: 2,
  state: 3,
  resumed: 4,
  listed: 5,
  push: 6,
  claim: 7,
  moved: 8,
  handedOver: 9,
  settled: 10,
  measured: 11,
  oversize: 12,
  answered: 13,
  bound: 14,
} as const;

/** Partition to host. In a batch, a last text equal to an earlier one is laid down as the number of that one, among those laid down as texts. */
export type FromPartition =
  | [kind: typeof fromPartition.applied, request: number, version: number]
  /** `stands`: what the session still has of an instance that a registration was to change; else empty. `stamp`: of that; if it is not the request, it does not show. */
  | [
      kind: typeof fromPartition.refused,
      request: number,
      code: ErrorCode,
      message: string,
      limit: string,
      max: number,
      stands: string,
      stamp: number,
    ]
  | [kind: typeof fromPartition.state, request: number, version: number, count: number, instances: string]
  | [kind: typeof fromPartition.resumed, request: number, from: number, version: number, difference: string]
  /** Keys and instance counts, alternating. */
  | [kind: typeof fromPartition.listed, request: number, page: readonly (string | number)[]]
  | [
      kind: typeof fromPartition.push,
      key: string,
      variant: string,
      from: number,
      to: number,
      count: number,
      /** When the oldest change in it was asked for, by the clock that threads share, in milliseconds; 0: not known. */
      changedAtMs: number,
      body: string,
    ]
  /** What others did to the session's registration with that stamp (SE7). `limit`: the bound that was met if it was dropped; else empty. */
  | [
      kind: typeof fromPartition.claim,
      session: number,
      key: string,
      id: string,
      stamp: number,
      state: ClaimState,
      limit: string,
    ]
  /** The slot is not this partition's at the epoch that it holds: route the request again (SL2). */
  | [kind: typeof fromPartition.moved, request: number, epoch: number]
  /** `isLast`, 0 or 1: no part of the slots follows. */
  | [
      kind: typeof fromPartition.handedOver,
      request: number,
      versionFloor: number,
      parcels: readonly ServiceParcel[],
      isLast: number,
    ]
  /** Whatever the host's batches up to this one changed has been pushed. */
  | [kind: typeof fromPartition.settled, batch: number]
  /** Slots, how many instances each has, and the bytes of those, in turns; empty slots are left out. */
  | [kind: typeof fromPartition.measured, request: number, loads: readonly number[]]
  /** The answer would have so many characters, more than there is room for: nothing was done. */
  | [kind: typeof fromPartition.oversize, request: number, characters: number]
  /** Answers of so many characters have been sent, for which the host is to give credit once it has them. */
  | [kind: typeof fromPartition.answered, characters: number]
  /** A bound that refuses nothing was met by what the host asked for. */
  | [kind: typeof fromPartition.bound, limit: string];

const fromPartitionLengths: Readonly<Record<FromPartition[0], number>> = {
  1: 3,
  2: 8,
  3: 5,
  4: 5,
  5: 3,
  6: 8,
  7: 7,
  8: 3,
  9: 5,
  10: 2,
  11: 3,
  12: 3,
  13: 2,
  14: 2,
};

/** Kinds whose last field is a text that may repeat. */
const repeatable: ReadonlySet<number> = new Set([fromPartition.state, fromPartition.resumed, fromPartition.push]);

export function isRepeatable(record: FromPartition): boolean {
  return repeatable.has(record[0]);
}

export type Field = string | number | readonly (string | number)[] | readonly ServiceParcel[];

/** Characters that a host has done with: pushes that it has handed to its sockets, and answers that it has taken. */
export interface Credit {
  readonly pushes: number;
  readonly answers: number;
}

/** What a session host posts in one turn: the epoch of the table that routed it, and its records. */
export interface HostBatch {
  /** Rises by one with each batch of a mailbox. */
  readonly batch: number;
  readonly epoch: number;
  /** A table that takes effect before the records do. */
  readonly table?: SharedArrayBuffer;
  /** When the first change in it was asked for, by the clock that threads share, in milliseconds; 0 or left out: there is none. */
  readonly changedAtMs?: number;
  readonly credit?: Credit;
  readonly records: readonly Field[];
}

/** What a partition posts to one host in one turn: its records. */
export type PartitionBatch = readonly Field[];

/** What the supervisor says to a partition, beside mailboxes. */
export type Control =
  | { readonly kind: 'attach'; readonly host: number; readonly port: MessagePort }
  | { readonly kind: 'stop' }
  /** For tests: the thread is to fail in a certain way. */
  | { readonly kind: 'fault'; readonly fault: Fault };

/** How a partition's thread can be made to fail. */
export type Fault = 'throw' | 'exit' | 'hang' | 'memory';

/** What a partition says to the supervisor. */
export interface ControlReport {
  readonly kind: 'ready';
}

/** What a partition's thread is started with. */
export interface PartitionStart {
  readonly partition: number;
  readonly table: SharedArrayBuffer;
  readonly limits: PartitionLimits;
  readonly control: MessagePort;
  /** No service that the partition's slots ever held had a version above this. */
  readonly versionFloor: number;
  /** One 32-bit word that the thread raises while it lives; the supervisor watches it. */
  readonly pulse: SharedArrayBuffer;
  /** Where the thread writes what metrics tell of it: a `ThreadGauges`. */
  readonly gauges: SharedArrayBuffer;
}

/** The record of a host's batch that begins at a field. */
export function recordAt(records: readonly Field[], at: number): ToPartition {
  return readRecord(records, at, toPartitionLengths) as ToPartition;
}

/** Calls `take` with each record of a partition's batch, repeated texts filled in. */
export function forEachFromPartition(records: readonly Field[], take: (record: FromPartition) => void): void {
  const texts: Field[] = [];
  for (let at = 0; at < records.length;) {
    const record = readRecord(records, at, fromPartitionLengths);
    at += record.length;
    if (repeatable.has(record[0] as number)) {
      const last = record.length - 1;
      const text = record[last]!;
      if (typeof text === 'number') record[last] = texts[text]!;
      else texts.push(text);
    }
    take(record as FromPartition);
  }
}

function readRecord(records: readonly Field[], at: number, lengths: Record<number, number>): Field[] {
  const length = lengths[records[at] as number];
  if (length === undefined) throw new Error(`unknown record kind ${JSON.stringify(records[at])} at ${at}`);
  return records.slice(at, at + length);
}
