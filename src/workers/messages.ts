import type { MessagePort } from 'node:worker_threads';

import type { StoreReply, StoreRequest } from '../durable/commits.ts';
import type { KeyLimits } from '../keys/key-domain.ts';
import type { KeyOutcome, KeyRequest } from '../keys/key-operations.ts';
import type { ErrorCode } from '../protocol/errors.ts';
import type { Health } from '../protocol/types.ts';
import type { ClaimState, StoreLimits } from '../store/service-store.ts';
import type { JournalReport, JournalStart } from './journal-start.ts';
import { listKinds, locateFields, measureShapes } from './record-shapes.ts';
import type { FieldsOf, KindsOf, RecordOf } from './record-shapes.ts';

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

/** What the next owner of slots must know of those who hold keys in them; the keys themselves it loads from the store. */
export interface HolderParcel {
  /** The sessions that live, and their hosts. */
  readonly alive: readonly (readonly [holder: string, host: number])[];
  /** What others hold is released. */
  readonly isEveryoneBack: boolean;
}

export interface PartitionLimits extends StoreLimits, KeyLimits {
  readonly coalesceWindowMinMs: number;
  readonly coalesceWindowMaxMs: number;
  readonly changeLogEntriesMax: number;
  /** Variants with a filter, of one service. */
  readonly filtersPerServiceMax: number;
  /** Push text in flight to one host, in characters; beyond it changes keep being merged. */
  readonly pushCharactersInFlightMax: number;
  /** Text of answers in flight to one host, in characters; beyond it what the host asks waits. */
  readonly answerCharactersInFlightMax: number;
  /** What is done in one turn, in characters read and written; other things count for so many. */
  readonly partitionTurnWorkMax: number;
  /** Bytes that wait to be written to the journal. */
  readonly journalBytesWaitingMax: number;
}

/**
 * Everything that crosses between a session host and a partition. Records are laid end to end in one flat array per turn: cloning
 * numbers and strings in bulk costs a fraction of cloning objects, and instances never cross as objects. A shape declares each kind: its number, and the names of
 * its fields in order. The types of records, their lengths and the places of their fields all come from it.
 */

/** What the fields of records to a partition hold, by their names. */
interface ToPartitionValues {
  /**
   * The number of what the host waits for. All hosts of the process draw from one sequence when a request comes, so it serves as a registration's stamp; a request
   * keeps it when it has to be sent again.
   */
  request: number;
  session: number;
  key: string;
  id: string;
  /** The canonical JSON of an instance. */
  fragment: string;
  health: Health;
  share: number;
  /** Its text. */
  variant: string;
  /** A version that the subscriber holds; 0: a snapshot is wanted. */
  since: number;
  /** Characters that the answer may have; if it has more, nothing is done, and it is answered with `oversize`. */
  room: number;
  /** Its canonical text, or empty. */
  filter: string;
  namespace: string;
  prefix: string;
  /** Only what comes after this; empty: from the start. */
  after: string;
  limit: number;
  stamp: number;
  /** 0 or 1: as the host knows it. */
  isHidden: number;
  /** No subscriber of the host holds a lower version. */
  from: number;
  ids: readonly string[];
  slots: readonly number[];
  /** No forgotten service of whoever gives slots away had a version above it. */
  versionFloor: number;
  parcels: readonly ServiceParcel[];
  version: number;
  host: number;
  /** An object, unlike what is registered: it ends in a write to the disk, which costs a hundred times more than to clone it. */
  keyRequest: KeyRequest;
  /** Names a session as a holder of keys. */
  holder: string;
  holders: HolderParcel;
  /** Its text; empty: nothing. */
  overlay: string;
  /** A JSON array of `NamespaceQuota`. */
  quotas: string;
}

/** Host to partition. */
const toShapes = {
  register: [1, 'request', 'session', 'key', 'id', 'fragment'],
  deregister: [2, 'request', 'session', 'key', 'id'],
  /** The session's claim ends without having been asked for: the session is over. No answer. */
  withdraw: [3, 'session', 'key', 'id'],
  subscribe: [4, 'request', 'key', 'variant', 'since', 'room'],
  dropInterest: [5, 'key', 'variant'],
  query: [6, 'request', 'key', 'filter', 'room'],
  list: [7, 'request', 'namespace', 'prefix', 'after', 'limit'],
  /** Rebuilding (RE1): what a session holds. The highest stamp shows, in whatever order they come. */
  restore: [9, 'session', 'key', 'id', 'fragment', 'stamp', 'isHidden'],
  /** Rebuilding: the host has subscribers of the service. */
  restoreInterest: [10, 'key', 'variant', 'from'],
  /** Rebuilding: the host has restored all that its sessions hold. From the first of these on, pushes wait (PU5). Answered with `applied`. */
  restored: [11, 'request'],
  /** Moving (SL3): the first part of what these slots hold, or, if none are named, the next. The owner keeps it until it is to forget it. */
  handOver: [12, 'request', 'slots'],
  /** Moving: a part of what another partition gives away. Answered with `applied`. */
  takeOver: [13, 'request', 'versionFloor', 'parcels', 'holders'],
  /** How much each slot holds. */
  measure: [14, 'request'],
  /**
   * Rebuilding: changes of these instances are possibly unpushed, so they are pushed again to the subscribers of all hosts; of all others subscribers hold what has been restored
   * (RE2).
   */
  resend: [15, 'key', 'ids'],
  /** Rebuilding is complete, from all hosts: pushes begin. Answered with `applied`. */
  resumePushes: [16, 'request'],
  /** Answered with `applied`, when all that was sent before has been applied. */
  fence: [17, 'request'],
  /** A client has shown that this version was issued before the registry started: from now on all versions must be above it. */
  raiseFloor: [18, 'version'],
  /** Moving: these slots are another's, and what is held of them is forgotten. Answered with `applied`. */
  forget: [19, 'request', 'slots'],
  /** The session is lost, and its claim ends if another hides it: 1 as the version of `applied`, else 0. */
  giveUp: [20, 'request', 'session', 'key', 'id'],
  /**
   * A host that has just begun: the first part of what sessions of that host have claimed, or the one after the `next` of the part before. Nothing else of that host
   * may be in flight.
   */
  recall: [21, 'request', 'host', 'after'],
  keys: [22, 'request', 'keyRequest'],
  /** A session of this host, which may hold keys, lives. */
  vouch: [23, 'holder'],
  /** A session that may hold keys has ended. */
  endHolder: [24, 'holder'],
  /** All hosts have vouched for their sessions, and those of before a restart have had the time to come back: what others hold is released. */
  releaseOrphans: [25],
  /** What operators have laid over a service from now on, wherever it is: its subscribers are told. Answered with `applied`. */
  layOver: [26, 'request', 'key', 'overlay'],
  /** The partition is new: what was laid over a service before. */
  restoreOverlay: [27, 'key', 'overlay'],
  /** What operators have ordered for a session's claim is another thing now: the fragment with its mark. The stamp is the claim's: if it has been made again, nothing is done. */
  remark: [28, 'session', 'key', 'id', 'fragment', 'stamp'],
  /** What namespaces may have from now on. */
  limitNamespaces: [29, 'quotas'],
  /** The claims to an instance of a service, or to all of them if `id` is empty, as many as `limit`. Answered with `inspected`. */
  inspect: [30, 'request', 'key', 'id', 'limit'],
  /** A session reports the health of what it has registered: its claim keeps its place among others. */
  reportHealth: [40, 'request', 'session', 'key', 'id', 'health'],
  /** What the check of an instance has found, wherever that is: its subscribers are told. */
  judge: [41, 'key', 'id', 'health'],
  /** The partition is new: what the check of an instance had found before. */
  restoreFound: [42, 'key', 'id', 'health'],
  /** A service is declared with this health threshold, 0 to 1; 0: with none any more. */
  protect: [45, 'key', 'share'],
  /** The partition is new: what a service had been declared with before. */
  restoreProtection: [46, 'key', 'share'],
  /** Answered with `applied`, after a `check` for each instance that shows and has one. */
  tellChecks: [43, 'request'],
  /** The instance has been critical for too long: the claim that shows is dropped. */
  evict: [44, 'key', 'id'],
} as const;

/** What the fields of a partition's records hold, by their names. */
interface FromPartitionValues {
  request: number;
  version: number;
  code: ErrorCode;
  message: string;
  /** The bound that was met; empty: none. */
  limit: string;
  max: number;
  /** What the session still has of an instance that a registration was to change; else empty. */
  stands: string;
  stamp: number;
  count: number;
  /** Fields of a JSON object: `"instances":[…]`, and `"closed":true` of a service that an operator has closed. */
  list: string;
  from: number;
  to: number;
  /** `"put":[…],"remove":[…]`, and `"closed":true` of a service that an operator has closed. */
  difference: string;
  /** Keys and instance counts, alternating. */
  page: readonly (string | number)[];
  key: string;
  /** Its text. */
  variant: string;
  /** When the oldest change in it was asked for, by the clock that threads share, in milliseconds; 0: not known. */
  changedAtMs: number;
  body: string;
  session: number;
  id: string;
  state: ClaimState;
  epoch: number;
  versionFloor: number;
  parcels: readonly ServiceParcel[];
  holders: HolderParcel;
  outcome: KeyOutcome;
  /** 0 or 1: no part follows. */
  isLast: number;
  batch: number;
  /** Slots, how many instances each has, and the bytes of those, in turns; empty slots are left out. */
  loads: readonly number[];
  characters: number;
  /** Six fields a claim: session, key, id, fragment, stamp, and 1 if it is hidden, else 0. */
  claims: readonly (string | number)[];
  /** Where the next part continues; empty: none follows. */
  next: string;
  /** The canonical JSON of an instance. */
  instance: string;
}

/** Partition to host. In a batch, a last text equal to an earlier one is laid down as the number of that one, among those laid down as texts. */
const fromShapes = {
  applied: [1, 'request', 'version'],
  /** `stamp`: of what stands; if it is not the request, it does not show. */
  refused: [2, 'request', 'code', 'message', 'limit', 'max', 'stands', 'stamp'],
  state: [3, 'request', 'version', 'count', 'list'],
  resumed: [4, 'request', 'from', 'version', 'difference'],
  listed: [5, 'request', 'page'],
  push: [6, 'key', 'variant', 'from', 'to', 'count', 'changedAtMs', 'body'],
  /** What others did to the session's registration with that stamp (SE7). `limit`: if it was dropped. */
  claim: [7, 'session', 'key', 'id', 'stamp', 'state', 'limit'],
  /** The slot is not this partition's at the epoch that it holds: route the request again (SL2). */
  moved: [8, 'request', 'epoch'],
  handedOver: [9, 'request', 'versionFloor', 'parcels', 'isLast', 'holders'],
  /** All changes of the host's batches up to this one have been pushed. */
  pushedThrough: [10, 'batch'],
  measured: [11, 'request', 'loads'],
  /** The answer would have this many characters, more than there is room for: nothing was done. */
  oversize: [12, 'request', 'characters'],
  /** Answers of this many characters have been sent, for which the host is to give credit once it has them. */
  answered: [13, 'characters'],
  /** A bound that refuses nothing was met by what the host asked for. */
  bound: [14, 'limit'],
  /** A claim that changes between two parts is reported by `claim` records like any other, whether before its part or after it. */
  recalled: [15, 'request', 'claims', 'next'],
  keysAnswered: [16, 'request', 'outcome'],
  inspected: [17, 'request', 'claims'],
  /** To the main thread: an instance that shows has this check, or none any more, if `instance` is empty. */
  check: [40, 'key', 'id', 'instance'],
  /** To the main thread: whoever registered an instance with a check `ttl` has been heard. */
  heard: [41, 'key', 'id'],
} as const;

/** Shapes whose fields all have a declared content. */
type ShapesIn<Values> = Readonly<Record<string, readonly [kind: number, ...fields: (keyof Values & string)[]]>>;

export const toPartition: KindsOf<typeof toShapes> = listKinds(toShapes);
export const fromPartition: KindsOf<typeof fromShapes> = listKinds(fromShapes);

/** Where the fields of records lie: `record[toFields.query.key]`. */
export const toFields: FieldsOf<typeof toShapes> = locateFields(toShapes);
export const fromFields: FieldsOf<typeof fromShapes> = locateFields(fromShapes);

/** A record of one kind, by its name. */
export type ToRecord<Name extends keyof typeof toShapes> = RecordOf<(typeof toShapes)[Name], ToPartitionValues>;
export type FromRecord<Name extends keyof typeof fromShapes> = RecordOf<(typeof fromShapes)[Name], FromPartitionValues>;

export type ToPartition = ToRecord<keyof typeof toShapes>;
export type FromPartition = FromRecord<keyof typeof fromShapes>;

/** Where a partition's records go. */
export type Emit = (host: number, ...record: FromPartition) => void;

const toLengths = measureShapes(toShapes satisfies ShapesIn<ToPartitionValues>);
const fromLengths = measureShapes(fromShapes satisfies ShapesIn<FromPartitionValues>);

/** Kinds whose last field is a text that may repeat. */
const repeatable: ReadonlySet<number> = new Set([fromPartition.state, fromPartition.resumed, fromPartition.push]);

export function isRepeatable(record: FromPartition): boolean {
  return repeatable.has(record[0]);
}

export type Field =
  | string
  | number
  | readonly (string | number)[]
  | readonly ServiceParcel[]
  | HolderParcel
  | KeyRequest
  | KeyOutcome;

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

/** What the supervisor says to a partition, in addition to mailboxes. */
export type Control =
  | { readonly kind: 'attach'; readonly host: number; readonly port: MessagePort }
  /** The host's thread has died: what was in flight to and from it is dropped, and what its sessions registered stays. */
  | { readonly kind: 'detach'; readonly host: number }
  /** The way to the store, or to the one that was started after it ended. */
  | { readonly kind: 'store'; readonly port: MessagePort }
  | { readonly kind: 'stop' }
  /** For tests: the thread is to fail in a certain way. */
  | { readonly kind: 'fault'; readonly fault: Fault };

/** Stands among ids for all instances of a service; no instance has it. */
export const wholeService = '';

/** How a partition's thread can be made to fail. */
export type Fault = 'throw' | 'exit' | 'hang' | 'memory';

/** What a partition posts to the store in one turn, and what the store replies. */
export type StoreBatch = readonly StoreRequest[];
export type StoreReplies = readonly StoreReply[];

/** What a partition says to the supervisor. */
export type ControlReport = { readonly kind: 'ready' } | JournalReport;

/** How a partition's thread has ended. */
export interface PartitionEnd {
  /** The journal has all that the partition held. */
  readonly isJournalWhole: boolean;
}

/** What a partition's thread is started with. */
export interface PartitionStart {
  readonly partition: number;
  readonly table: SharedArrayBuffer;
  readonly limits: PartitionLimits;
  readonly control: MessagePort;
  /** No service that the partition's slots ever held had a version above this. */
  readonly versionFloor: number;
  /** It follows one that died, and holds what it is to hold only when pushes are resumed. */
  readonly isRebuilt: boolean;
  /** One 32-bit word that the thread raises while it lives; the supervisor watches it. */
  readonly pulse: SharedArrayBuffer;
  /** Where the thread writes what metrics tell of it: a `ThreadGauges`. */
  readonly gauges: SharedArrayBuffer;
  /** See `SessionOrigins`. */
  readonly origins: SharedArrayBuffer;
  /** See `NamespaceQuotas`. */
  readonly quotas: SharedArrayBuffer;
  /** Undefined: nothing outlives the process. */
  readonly journal: JournalStart | undefined;
}

/** The record of a host's batch that begins at a field. */
export function recordAt(records: readonly Field[], at: number): ToPartition {
  return readRecord(records, at, toLengths) as ToPartition;
}

/** Calls `take` with each record of a partition's batch, repeated texts filled in. */
export function forEachFromPartition(records: readonly Field[], take: (record: FromPartition) => void): void {
  const texts: Field[] = [];
  for (let at = 0; at < records.length;) {
    const record = readRecord(records, at, fromLengths);
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

function readRecord(records: readonly Field[], at: number, lengths: readonly number[]): Field[] {
  const length = lengths[records[at] as number] ?? 0;
  if (length === 0) throw new Error(`unknown record kind ${JSON.stringify(records[at])} at ${at}`);
  return records.slice(at, at + length);
}
