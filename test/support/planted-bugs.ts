import { Hosts } from '../../src/control/hosts.ts';
import { LeaseLedger } from '../../src/control/lease-ledger.ts';
import { LocalHost } from '../../src/control/local-host.ts';
import { SessionTransfers } from '../../src/control/session-transfers.ts';
import { SlotMigrator } from '../../src/control/slot-migrator.ts';
import { FilterView } from '../../src/push/filter-view.ts';
import { WatchedService } from '../../src/push/watched-service.ts';
import { PartitionLink } from '../../src/routing/partition-link.ts';
import type { PendingRequest } from '../../src/routing/partition-link.ts';
import { Router } from '../../src/routing/router.ts';
import { SlotGate } from '../../src/routing/slot-gate.ts';
import { TimerWheel } from '../../src/runtime/timer-wheel.ts';
import { WorkQueue } from '../../src/runtime/work-queue.ts';
import { AnswerPacer } from '../../src/sessions/answer-pacer.ts';
import { ContestedClaims } from '../../src/sessions/contested-claims.ts';
import { Departures } from '../../src/sessions/departures.ts';
import { HostLosses } from '../../src/sessions/host-losses.ts';
import { LossGuard } from '../../src/sessions/loss-guard.ts';
import { OrderChanges } from '../../src/sessions/order-changes.ts';
import { PendingRegister, Registrar } from '../../src/sessions/registrar.ts';
import { SessionCore } from '../../src/sessions/session-core.ts';
import { SessionLog } from '../../src/sessions/session-log.ts';
import { SessionOutbox } from '../../src/sessions/session-outbox.ts';
import type { Session } from '../../src/sessions/session.ts';
import { Subscription } from '../../src/sessions/session.ts';
import { Sessions } from '../../src/sessions/sessions.ts';
import { Subscriptions } from '../../src/sessions/subscriptions.ts';
import { slotOf } from '../../src/slots/slot.ts';
import { ChangeLog } from '../../src/store/change-log.ts';
import { HiddenClaims } from '../../src/store/hidden-claims.ts';
import { persistentOwner } from '../../src/store/persistent-owner.ts';
import { ServiceRecord } from '../../src/store/service-record.ts';
import { ServiceStore } from '../../src/store/service-store.ts';
import { BatchProgress } from '../../src/workers/batch-progress.ts';
import { fromPartition, toPartition, wholeService } from '../../src/workers/messages.ts';
import type { FromPartition, ToPartition } from '../../src/workers/messages.ts';
import { PartitionOutbox } from '../../src/workers/outbox.ts';
import { Overlays } from '../../src/workers/overlays.ts';
import { PartitionCore } from '../../src/workers/partition-core.ts';
import { Pushes } from '../../src/workers/pushes.ts';
import { SlotHandover } from '../../src/workers/slot-handover.ts';
import { Watches } from '../../src/workers/watches.ts';
import { SimulatedMailbox, SimulatedPartition } from './in-process-registry.ts';
import { MemoryStore } from './memory-store.ts';
import type { Faults } from './simulated-history.ts';

/** A mistake that the checker must find: it is made by replacing methods from outside, so that the product knows nothing of it. */
export interface PlantedBug {
  readonly name: string;
  /** The faults under which it shows. */
  readonly faults: Faults;
  /** The first history that is tried, where it would take long to find it from the first of all. */
  readonly seed?: number;
  /** How long histories must be to show it, if longer than usual. */
  readonly acts?: number;
  /** Puts it in; what it returns takes it out again. */
  readonly plant: () => () => void;
}

const quiet: Faults = { percent: 0, kills: false, moves: false, resumes: true };
const guarding: Faults = { percent: 0, kills: false, moves: false, guards: true, resumes: true };
const narrow: Faults = { ...quiet, bounds: true };
const killing: Faults = { percent: 5, kills: true, moves: false };
const switching: Faults = { percent: 8, kills: true, moves: true, switches: true };
const ordering: Faults = { percent: 8, kills: true, moves: true, resumes: true, orders: true };
const edging: Faults = { percent: 4, kills: false, moves: false, edges: true };
const edgingAndMoving: Faults = { percent: 8, kills: false, moves: true, edges: true };
const storing: Faults = { percent: 5, kills: true, moves: false, persistent: true };
const moving: Faults = { percent: 8, kills: false, moves: true };

/** Replaces a method by what `make` makes of it. */
function replace<T extends object, K extends keyof T>(target: T, name: K, make: (original: T[K]) => T[K]): () => void {
  const original = target[name];
  target[name] = make(original);
  return () => {
    target[name] = original;
  };
}

/** Replaces what partitions are told: each record by those that `change` returns. */
function changeRecords(change: (record: ToPartition, core: PartitionCore, host: number) => ToPartition[]): () => void {
  return replace(
    PartitionCore.prototype,
    'apply',
    (apply) =>
      function changed(this: PartitionCore, host, epoch, record, clock) {
        for (const each of change(record, this, host)) {
          if (!apply.call(this, host, epoch, each, clock)) return false;
        }
        return true;
      },
  );
}

/** True each `n`th time. */
function every(n: number): () => boolean {
  let count = 0;
  return () => {
    count += 1;
    return count % n === 0;
  };
}

/** Requests that have been sent. */
const sentBefore = new WeakSet<PendingRequest>();

/** Of claims, four fields each, the first to each instance that is not among those seen. */
function keepFirst(fields: readonly (string | number)[], seen: Set<string | number>): (string | number)[] {
  const first: (string | number)[] = [];
  for (let at = 0; at < fields.length; at += 4) {
    if (!seen.has(fields[at]!)) first.push(...fields.slice(at, at + 4));
    seen.add(fields[at]!);
  }
  return first;
}

function takeOldest(this: HiddenClaims, id: string): ReturnType<HiddenClaims['takeOldest']> {
  return this.takeOldest(id);
}

function takeOldestOfAll(this: HiddenClaims, id: string): ReturnType<HiddenClaims['takeOldest']> {
  const [oldest] = [...this.of(id)].sort((a, b) => a.stamp - b.stamp);
  if (oldest !== undefined) this.remove(id, oldest.owner);
  return oldest;
}

function endAtOnce(this: Sessions, session: Session): void {
  this.end(session);
}

function isDelta(frame: string | Uint8Array): boolean {
  return Buffer.from(frame).includes('"from":');
}

export const plantedBugs: readonly PlantedBug[] = [
  {
    name: 'what is persistent is answered before it is stored',
    faults: storing,
    plant: () =>
      replace(
        MemoryStore.prototype,
        'commit',
        (commit) =>
          function hurry(this: MemoryStore, writes) {
            void commit.call(this, writes);
            return Promise.resolve({ version: 1 });
          },
      ),
  },
  {
    name: 'what is persistent is carried out, and never stored',
    faults: storing,
    plant: () => replace(MemoryStore.prototype, 'commit', () => () => Promise.resolve({ version: 1 })),
  },
  {
    name: 'what is persistent is not put back after a death',
    faults: storing,
    plant: () =>
      changeRecords((record) => (record[0] === toPartition.restore && record[1] === persistentOwner ? [] : [record])),
  },
  {
    name: 'a persistent claim is dropped like any other when there are too many',
    faults: { ...storing, bounds: true },
    plant: () => replace(HiddenClaims.prototype, 'takeOldest', () => takeOldestOfAll),
  },
  {
    name: 'one delta in ten is not sent',
    faults: quiet,
    plant: () => {
      const isDue = every(10);
      return replace(
        Subscription.prototype,
        'deliver',
        (deliver) =>
          function skip(this: Subscription, frame) {
            return isDelta(frame) && isDue() ? 'sent' : deliver.call(this, frame);
          },
      );
    },
  },
  {
    name: 'two pushes change places',
    faults: quiet,
    plant: () => {
      const held = new WeakMap<Subscription, string | Uint8Array>();
      const isDue = every(5);
      return replace(
        Subscription.prototype,
        'deliver',
        (deliver) =>
          function swap(this: Subscription, frame) {
            const earlier = held.get(this);
            if (earlier === undefined && isDue()) {
              held.set(this, frame);
              return 'sent';
            }
            held.delete(this);
            const delivery = deliver.call(this, frame);
            if (earlier !== undefined) deliver.call(this, earlier);
            return delivery;
          },
      );
    },
  },
  {
    name: 'a registration is acknowledged before it is applied',
    faults: quiet,
    plant: () =>
      replace(
        PartitionLink.prototype,
        'request',
        (ask) =>
          function acknowledge(this: PartitionLink, request, pending) {
            const record = pending.build(request);
            if (record[0] !== toPartition.register) return ask.call(this, request, pending);
            const settled = { ...pending, build: () => record, settle: () => undefined } satisfies PendingRequest;
            ask.call(this, request, settled);
            pending.settle([fromPartition.applied, request, this.versionSeen]);
          },
      ),
  },
  {
    name: 'who leaves is still subscribed',
    faults: quiet,
    plant: () => replace(Subscriptions.prototype, 'unsubscribeAll', () => () => undefined),
  },
  {
    name: 'a partition forgets that nobody is interested any more',
    faults: quiet,
    plant: () => changeRecords((record) => (record[0] === toPartition.dropInterest ? [] : [record])),
  },
  {
    name: 'a restarted partition uses versions again',
    faults: killing,
    plant: () => replace(SimulatedPartition.prototype, 'chooseFloor', () => () => 1_700_000_000_000_000),
  },
  {
    name: 'slots are not fenced while they move',
    faults: moving,
    plant: () => {
      const undo = [
        replace(SlotGate.prototype, 'freeze', () => () => undefined),
        replace(SlotGate.prototype, 'thaw', () => () => undefined),
      ];
      return () => undo.forEach((one) => one());
    },
  },
  {
    name: 'the slot table is not swapped after a move',
    faults: moving,
    plant: () =>
      replace(
        Router.prototype,
        'setTable',
        (setTable) =>
          function forget(this: Router, table) {
            if (table.partitions !== this.table.partitions) setTable.call(this, table);
          },
      ),
  },
  {
    name: 'a move forgets who subscribes',
    faults: moving,
    plant: () =>
      changeRecords((record) =>
        record[0] === toPartition.takeOver
          ? [[record[0], record[1], record[2], record[3].map((parcel) => ({ ...parcel, watch: undefined })), record[4]]]
          : [record],
      ),
  },
  {
    name: 'of a service that moves in parts only the first arrives',
    faults: moving,
    plant: () =>
      replace(
        SlotHandover.prototype,
        'take',
        (take) =>
          function lose(this: SlotHandover) {
            const { parcels, isLast } = take.call(this);
            return { parcels: parcels.map((part) => (part.isFirst ? part : { ...part, instances: [] })), isLast };
          },
      ),
  },
  {
    name: 'slots are handed over before their subscribers have been told all',
    faults: moving,
    seed: 27,
    plant: () =>
      replace(
        PartitionCore.prototype,
        'apply',
        (apply) =>
          function forget(this: PartitionCore, host, epoch, record, clock) {
            if (record[0] !== toPartition.handOver) return apply.call(this, host, epoch, record, clock);
            const undo = replace(WatchedService.prototype, 'takePush', () => () => undefined);
            const undoDirty = Object.getOwnPropertyDescriptor(WatchedService.prototype, 'isDirty')!;
            Object.defineProperty(WatchedService.prototype, 'isDirty', { ...undoDirty, get: () => false });
            try {
              return apply.call(this, host, epoch, record, clock);
            } finally {
              undo();
              Object.defineProperty(WatchedService.prototype, 'isDirty', undoDirty);
            }
          },
      ),
  },
  {
    name: 'a move leaves behind what it moved',
    faults: moving,
    plant: () =>
      changeRecords((record) => (record[0] === toPartition.forget ? [[record[0], record[1], []]] : [record])),
  },
  {
    name: 'a rebuilt partition pushes before it has everything back',
    faults: killing,
    plant: () => {
      const held = new WeakMap<PartitionCore, ToPartition[]>();
      return changeRecords((record, core) => {
        const waiting = held.get(core) ?? [];
        held.set(core, waiting);
        if (record[0] === toPartition.restore) {
          waiting.push(record);
          return [];
        }
        return record[0] === toPartition.resumePushes ? [record, ...waiting.splice(0)] : [record];
      });
    },
  },
  {
    name: 'what a slow reader misses counts as sent',
    faults: quiet,
    seed: 56,
    plant: () =>
      replace(
        Subscription.prototype,
        'deliver',
        (deliver) =>
          function forget(this: Subscription, frame) {
            const delivery = deliver.call(this, frame);
            return delivery === 'dropped' ? 'sent' : delivery;
          },
      ),
  },
  {
    name: 'a broken connection gets no grace',
    faults: quiet,
    plant: () => replace(Sessions.prototype, 'break', () => endAtOnce),
  },
  {
    name: 'a guard holds nothing back',
    faults: guarding,
    plant: () => replace(LossGuard.prototype, 'judge', () => () => 'none'),
  },
  {
    name: 'a session that is resumed stays counted as missing',
    faults: guarding,
    plant: () => replace(HostLosses.prototype, 'noteBack', () => () => undefined),
  },
  {
    name: 'what is held back is never looked at again',
    faults: guarding,
    plant: () => replace(Sessions.prototype, 'recheckHeld', () => () => undefined),
  },
  {
    name: 'the timer wheel loses the last of each bucket',
    faults: quiet,
    plant: () =>
      replace(
        TimerWheel.prototype,
        'advance',
        (advance) =>
          function lose(this: TimerWheel<unknown>, nowMs, itemsMax) {
            return advance.call(this, nowMs, itemsMax).slice(0, -1);
          },
      ),
  },
  {
    name: 'one place computes another slot for names beyond ASCII',
    faults: moving,
    seed: 21,
    plant: () => {
      const wrong = slotOf('public/DEFAULT/größe/世界');
      return changeRecords((record) =>
        record[0] === toPartition.handOver
          ? [[record[0], record[1], record[2].filter((slot) => slot !== wrong)]]
          : [record],
      );
    },
  },
  {
    name: 'a request that is sent again overtakes what came after it',
    faults: killing,
    plant: () =>
      replace(
        ServiceStore.prototype,
        'register',
        (register) =>
          function forget(this: ServiceStore, key, id, instance, nowMicros) {
            const instances = this.get(key)?.instances;
            const row = instances?.find(id) ?? -1;
            if (row !== -1) instances?.note(row, { ...instances.read(row), stamp: 0 });
            return register.call(this, key, id, instance, nowMicros);
          },
      ),
  },
  {
    name: 'of two sessions that hold an instance the one restored last wins',
    faults: killing,
    plant: () =>
      replace(
        ServiceStore.prototype,
        'restore',
        (restore) =>
          function forget(this: ServiceStore, service, id, instance) {
            const { instances } = service;
            const row = instances.find(id);
            if (row !== -1) instances.note(row, { ...instances.read(row), stamp: 0 });
            return restore.call(this, service, id, instance);
          },
      ),
  },
  {
    name: 'a jump of the clock counts in full',
    faults: quiet,
    plant: () => {
      const last = new WeakMap<SessionCore, number>();
      return replace(
        SessionCore.prototype,
        'tick',
        (tick) =>
          function jump(this: SessionCore, nowMs) {
            for (let at = last.get(this) ?? nowMs; at < Math.min(nowMs, (last.get(this) ?? 0) + 10_000); at += 200) {
              tick.call(this, at);
            }
            last.set(this, nowMs);
            tick.call(this, nowMs);
          },
      );
    },
  },
  {
    name: 'a late close takes away what another session has registered since',
    faults: quiet,
    plant: () => {
      let isLate = false;
      const undo = [
        changeRecords((record) => {
          isLate = record[0] === toPartition.withdraw;
          return [record];
        }),
        replace(
          ServiceStore.prototype,
          'deregister',
          (deregister) =>
            function ignore(this: ServiceStore, key, id, owner, stamp, nowMicros) {
              const instances = this.get(key)?.instances;
              const row = instances?.find(id) ?? -1;
              const holder = isLate && row !== -1 ? instances?.read(row).owner : undefined;
              return deregister.call(this, key, id, holder ?? owner, stamp, nowMicros);
            },
        ),
      ];
      return () => undo.forEach((one) => one());
    },
  },
  {
    name: 'a session is not told that another one has registered its instance',
    faults: quiet,
    plant: () => replace(ContestedClaims.prototype, 'handle', () => () => undefined),
  },
  {
    name: 'a change counts as told once it is answered',
    faults: killing,
    plant: () => {
      let batch = 0;
      const undo = [
        replace(
          PartitionCore.prototype,
          'beginBatch',
          (begin) =>
            function note(this: PartitionCore, host, number, clock) {
              batch = number;
              begin.call(this, host, number, clock);
            },
        ),
        replace(
          PartitionOutbox.prototype,
          'add',
          (add) =>
            function settle(this: PartitionOutbox, record: FromPartition) {
              add.call(this, record);
              if (record[0] === fromPartition.applied) add.call(this, [fromPartition.pushedThrough, batch]);
            },
        ),
      ];
      return () => undo.forEach((one) => one());
    },
  },
  {
    name: 'what goes with its session while its slot is frozen is forgotten',
    faults: moving,
    plant: () =>
      replace(
        Departures.prototype,
        'end',
        (end) =>
          function forget(this: Departures, session, onGone) {
            end.call(this, session, onGone);
            for (const { key, id } of session.registrations.names()) session.registrations.delete(key, id);
          },
      ),
  },
  {
    name: 'a session that goes in several turns is forgotten after the first',
    faults: quiet,
    plant: () =>
      replace(
        WorkQueue.prototype,
        'add',
        (add) =>
          function forget(this: WorkQueue, job) {
            let isOnceRun = false;
            add.call(this, {
              get isDone() {
                return isOnceRun || job.isDone;
              },
              run: (steps) => {
                isOnceRun = true;
                return job.run(steps);
              },
            });
          },
      ),
  },
  {
    name: 'whose newer claim is refused is not told that it has the one before, which another hides',
    faults: narrow,
    seed: 13,
    plant: () =>
      replace(
        ServiceStore.prototype,
        'register',
        (register) =>
          function forget(this: ServiceStore, key, id, instance, nowMicros) {
            const outcome = register.call(this, key, id, instance, nowMicros);
            if (outcome.kind !== 'refused' || outcome.stands?.stamp === instance.stamp) return outcome;
            return { kind: 'refused', failure: outcome.failure };
          },
      ),
  },
  {
    name: 'a client resumes from a version of which nothing is known',
    faults: quiet,
    plant: () =>
      replace(
        ChangeLog.prototype,
        'changedSince',
        (changedSince) =>
          function guess(this: ChangeLog, version) {
            return changedSince.call(this, version) ?? new Set();
          },
      ),
  },
  {
    name: 'the next owner does not know how far versions had come',
    faults: { percent: 12, kills: false, moves: true, sparse: true },
    seed: 34,
    plant: () =>
      changeRecords((record) =>
        record[0] === toPartition.takeOver ? [[record[0], record[1], 0, record[3], record[4]]] : [record],
      ),
  },
  {
    name: 'after a rebuild hosts are not told that what they take for hidden shows',
    faults: killing,
    seed: 3642,
    plant: () =>
      changeRecords((record) =>
        record[0] === toPartition.restore
          ? [[record[0], record[1], record[2], record[3], record[4], record[5], 0]]
          : [record],
      ),
  },
  // Those that follow need more than one session host.
  {
    name: 'a rebuild goes on before another host has said what its sessions hold',
    faults: { percent: 15, kills: true, moves: false, longTurns: true, hasty: true },
    plant: () =>
      replace(
        LocalHost.prototype,
        'restore',
        (restore) =>
          function hurry(this: LocalHost, partition) {
            const isOver = restore.call(this, partition);
            return this.number === 0 ? isOver : Promise.resolve(true);
          },
      ),
  },
  {
    name: 'a rebuilt partition pushes before all hosts have said who subscribes',
    faults: killing,
    seed: 74,
    plant: () =>
      replace(
        LocalHost.prototype,
        'resume',
        (resume) =>
          function hurry(this: LocalHost, partition) {
            const isOver = resume.call(this, partition);
            return this.number === 0 ? isOver : Promise.resolve(true);
          },
      ),
  },
  {
    name: 'a host tells again only what its own subscribers may have missed',
    faults: killing,
    seed: 12,
    plant: () => {
      const watching = new WeakMap<PartitionCore, Set<string>>();
      return changeRecords((record, core, host) => {
        const known = watching.get(core) ?? new Set();
        watching.set(core, known);
        if (record[0] === toPartition.subscribe) known.add(`${host} ${record[2]}`);
        if (record[0] === toPartition.restoreInterest) known.add(`${host} ${record[1]}`);
        return record[0] === toPartition.resend && !known.has(`${host} ${record[1]}`) ? [] : [record];
      });
    },
  },
  {
    name: 'what is to be told again counts as pushed once anything after it has been',
    faults: { percent: 30, kills: true, moves: false },
    seed: 14_734,
    plant: () => replace(BatchProgress.prototype, 'postpone', () => () => undefined),
  },
  {
    name: 'slots are handed over before what another host sent has been applied',
    faults: moving,
    seed: 64,
    plant: () => replace(Hosts.prototype, 'fenceOthers', () => () => Promise.resolve(true)),
  },
  {
    name: 'what a partition said before it died does not reach every host',
    faults: { percent: 30, kills: true, moves: false, hasty: true },
    plant: () =>
      replace(
        SimulatedMailbox.prototype,
        'end',
        (end) =>
          function lose(this: SimulatedMailbox) {
            if (this.host > 0) this.outbox.length = 0;
            end.call(this);
          },
      ),
  },
  {
    name: 'a registration that is sent again counts as newer than what was answered meanwhile',
    faults: killing,
    plant: () => {
      let number = Number.MAX_SAFE_INTEGER / 2;
      return replace(
        PartitionLink.prototype,
        'request',
        (request) =>
          function renumber(this: PartitionLink, old, pending) {
            const isRebuilt = pending instanceof PendingRegister && sentBefore.has(pending);
            sentBefore.add(pending);
            number += 1;
            request.call(this, isRebuilt ? number : old, pending);
          },
      );
    },
  },
  {
    name: 'a request that waited for its slot counts as newer than what came meanwhile',
    faults: { ...killing, longTurns: true },
    seed: 13_112,
    plant: () =>
      replace(
        Router.prototype,
        'ask',
        (ask) =>
          function renumber(this: Router, pending) {
            if (!this.isFrozen(pending.key)) ask.call(this, pending);
            else {
              this.whenThawed([pending.key], () => {
                ask.call(this, pending);
              });
            }
          },
      ),
  },
  {
    name: 'the next newest claim is not shown when the newest ends',
    faults: quiet,
    plant: () => replace(HiddenClaims.prototype, 'takeNewest', () => () => undefined),
  },
  {
    name: 'the oldest claim is shown when the newest ends',
    faults: quiet,
    plant: () => replace(HiddenClaims.prototype, 'takeNewest', () => takeOldest),
  },
  {
    name: 'a deregistration by a session whose claim does not show removes the one that does',
    faults: quiet,
    plant: () =>
      replace(
        ServiceStore.prototype,
        'deregister',
        (deregister) =>
          function remove(this: ServiceStore, key, id, owner, stamp, nowMicros) {
            const instances = this.get(key)?.instances;
            const shown = instances?.claims(id)[0];
            const isHidden = instances?.hidden?.stampOf(id, owner) !== undefined;
            return deregister.call(this, key, id, isHidden ? shown!.owner : owner, stamp, nowMicros);
          },
      ),
  },
  {
    name: 'claims that do not show are lost in a rebuild',
    faults: killing,
    plant: () => changeRecords((record) => (record[0] === toPartition.restore && record[6] === 1 ? [] : [record])),
  },
  {
    name: 'claims that do not show are lost in a move',
    faults: moving,
    plant: () => {
      let seen = new Set<string | number>();
      return replace(
        SlotHandover.prototype,
        'take',
        (take) =>
          function lose(this: SlotHandover) {
            const { parcels, isLast } = take.call(this);
            const rest = parcels.map((parcel) => {
              if (parcel.isFirst) seen = new Set();
              return { ...parcel, instances: keepFirst(parcel.instances, seen) };
            });
            return { parcels: rest, isLast };
          },
      );
    },
  },
  {
    name: 'what still comes on a connection whose session goes on over another counts',
    faults: quiet,
    plant: () =>
      replace(
        SessionCore.prototype,
        'receive',
        (receive) =>
          function take(this: SessionCore, session, text) {
            receive.call(this, this.sessions.find(session.number) ?? session, text);
          },
      ),
  },
  {
    name: 'the late close of a connection breaks the session that goes on over another',
    faults: quiet,
    plant: () =>
      replace(
        SessionCore.prototype,
        'disconnected',
        (disconnected) =>
          function find(this: SessionCore, session, isClean) {
            disconnected.call(this, this.sessions.find(session.number) ?? session, isClean);
          },
      ),
  },
  {
    name: 'what an old connection asked for is answered to the one that took its session over',
    faults: quiet,
    plant: () => {
      const hosts = new WeakMap<Session, SessionCore>();
      const undoConnect = replace(
        SessionCore.prototype,
        'connect',
        (connect) =>
          function note(this: SessionCore, socket) {
            const session = connect.call(this, socket);
            hosts.set(session, this);
            return session;
          },
      );
      const undoSend = replace(
        SessionOutbox.prototype,
        'send',
        (send) =>
          function mistake(this: SessionOutbox, session, frame) {
            send.call(this, hosts.get(session)?.sessions.find(session.number) ?? session, frame);
          },
      );
      return () => {
        undoSend();
        undoConnect();
      };
    },
  },
  {
    name: 'of what a session registered some does not reach the host where it goes on',
    faults: quiet,
    plant: () =>
      replace(
        Registrar.prototype,
        'putIn',
        (putIn) =>
          function lose(this: Registrar, session, fields, before) {
            putIn.call(this, session, fields.slice(3), before);
          },
      ),
  },
  {
    name: 'what a partition says of a session that is back overtakes what is on its way to it',
    faults: quiet,
    seed: 93,
    acts: 150,
    plant: () =>
      replace(
        SessionCore.prototype,
        'handleUnasked',
        (handleUnasked) =>
          function overtake(this: SessionCore, record, link) {
            if (record[0] === fromPartition.claim && this.sessions.find(record[1]) !== undefined)
              this.handleMisrouted(record);
            else handleUnasked.call(this, record, link);
          },
      ),
  },
  {
    name: 'a session that is taken over leaves one of its registrations behind',
    faults: quiet,
    plant: () =>
      replace(
        Sessions.prototype,
        'takeOver',
        (takeOver) =>
          function forget(this: Sessions, session, old) {
            takeOver.call(this, session, old);
            const [first] = session.registrations.names();
            if (first !== undefined) session.registrations.delete(first.key, first.id);
          },
      ),
  },
  {
    name: 'who takes a session over is told another digest than that of what it has',
    faults: quiet,
    plant: () => replace(SessionLog.prototype, 'digest', () => () => '0'.repeat(16)),
  },
  {
    name: 'what a partition says of a session is lost when the session has left for another host',
    faults: quiet,
    acts: 400,
    plant: () =>
      replace(
        SessionTransfers.prototype,
        'handle',
        (take) =>
          function ignore(this: SessionTransfers, host, event) {
            if (event.kind !== 'misrouted') take.call(this, host, event);
          },
      ),
  },
  {
    name: 'an instance that passes a filter no more is not removed',
    faults: quiet,
    plant: () =>
      replace(
        FilterView.prototype,
        'changedIds',
        (changedIds) =>
          function keep(this: FilterView, isEverythingTold) {
            return changedIds.call(this, isEverythingTold).filter((id) => this.has(id));
          },
      ),
  },
  {
    name: 'an instance is not told to those whose filter it passes only now',
    faults: quiet,
    plant: () =>
      replace(
        FilterView.prototype,
        'changedIds',
        (changedIds) =>
          function pass(this: FilterView, isEverythingTold) {
            return changedIds.call(this, isEverythingTold).filter((id) => !this.has(id) || !this.hasCrossed(id));
          },
      ),
  },
  {
    name: 'a rebuild does not tell those with filters what is in doubt',
    faults: killing,
    plant: () => replace(FilterView.prototype, 'noteDoubt', () => () => undefined),
  },
  {
    name: 'what one with a filter was shown inside a window is not taken back',
    faults: quiet,
    acts: 800,
    plant: () =>
      replace(
        WatchedService.prototype,
        'noteSnapshotTaken',
        (note) =>
          function forget(this: WatchedService, interest) {
            if (interest.view === undefined) note.call(this, interest);
          },
      ),
  },
  {
    name: 'of large answers that wait for their turn one is forgotten',
    faults: quiet,
    plant: () =>
      replace(
        AnswerPacer.prototype,
        'flush',
        (flush) =>
          function forget(this: AnswerPacer, sessions) {
            flush.call(this, sessions.length > 1 ? sessions.slice(1) : sessions);
          },
      ),
  },
  {
    name: 'a move forgets those with filters',
    faults: moving,
    plant: () =>
      changeRecords((record) => {
        if (record[0] !== toPartition.takeOver) return [record];
        const parcels = record[3].map((parcel) => ({
          ...parcel,
          watch: parcel.watch?.filter(({ variant }) => !variant.includes('{')),
        }));
        return [[record[0], record[1], record[2], parcels, record[4]]];
      }),
  },
  // Those that follow need a host that holds leases, and dies.
  {
    name: 'a host that is back takes only a part of what partitions hold for its leases',
    faults: edging,
    plant: () =>
      replace(
        SessionCore.prototype,
        'takeBack',
        (takeBack) =>
          function forget(this: SessionCore, claims) {
            takeBack.call(this, claims.length > 6 ? claims.slice(6) : claims);
          },
      ),
  },
  {
    name: 'a host that is back takes what is hidden for shown',
    faults: edging,
    plant: () =>
      replace(
        SessionCore.prototype,
        'takeBack',
        (takeBack) =>
          function show(this: SessionCore, claims) {
            takeBack.call(
              this,
              claims.map((field, i) => (i % 6 === 5 ? 0 : field)),
            );
          },
      ),
  },
  {
    name: 'what is left of an ended lease stays when its host is back',
    faults: edging,
    plant: () =>
      replace(
        SessionCore.prototype,
        'takeBack',
        (takeBack) =>
          function keep(this: SessionCore, claims) {
            for (let at = 0; at < claims.length; at += 6) {
              const claim = claims.slice(at, at + 6);
              if (this.sessions.find(Number(claim[0])) !== undefined) takeBack.call(this, claim);
            }
          },
      ),
  },
  {
    name: 'leases of a host that died are forgotten',
    faults: edging,
    plant: () => replace(LeaseLedger.prototype, 'leasesOf', () => () => []),
  },
  {
    name: 'a host that is back begins its sessions with numbers of before',
    faults: edging,
    plant: () => replace(LeaseLedger.prototype, 'sessionsOf', () => () => 0),
  },
  {
    name: 'partitions go on telling a host that has died who subscribed there',
    faults: edging,
    plant: () => replace(Watches.prototype, 'detach', () => () => undefined),
  },
  {
    name: 'slots move while a host is told what partitions hold',
    faults: edgingAndMoving,
    plant: () => replace(SlotMigrator.prototype, 'pause', () => () => Promise.resolve()),
  },
  {
    name: 'a partition that is back does not tell what was switched while it died',
    faults: switching,
    plant: () =>
      replace(
        PartitionLink.prototype,
        'possiblyUnpushed',
        (possiblyUnpushed) =>
          function forget(this: PartitionLink) {
            return possiblyUnpushed.call(this).filter(({ id }) => id !== wholeService);
          },
      ),
  },
  {
    name: 'what an operator orders for a session is lost on its way to a partition',
    faults: ordering,
    plant: () => changeRecords((record) => (record[0] === toPartition.remark ? [] : [record])),
  },
  {
    name: 'nobody is told what was ordered while a partition was rebuilt',
    faults: ordering,
    plant: () => replace(OrderChanges.prototype, 'isUnderWay', () => () => false),
  },
  {
    name: 'a partition that is rebuilt shows what is switched off',
    faults: ordering,
    plant: () => replace(SessionCore.prototype, 'markFor', () => (_, fragment) => fragment),
  },
  {
    name: 'who has missed pushes while they were frozen goes on without them',
    faults: ordering,
    plant: () => replace(Subscriptions.prototype, 'thaw', () => () => Promise.resolve()),
  },
  {
    name: 'a partition that is new does not know what is switched off',
    faults: switching,
    plant: () => replace(Overlays.prototype, 'restore', () => () => undefined),
  },
  {
    name: 'a switch does not wait for slots that move or are rebuilt',
    faults: switching,
    plant: () =>
      replace(
        Router.prototype,
        'whenThawed',
        (whenThawed) =>
          function hurry(this: Router, keys, run, refuse) {
            if (keys === 'all') run();
            else whenThawed.call(this, keys, run, refuse);
          },
      ),
  },
  {
    name: 'nobody is told that a service without instances is switched off',
    faults: { ...switching, kills: false, sparse: true },
    plant: () => replace(Pushes.prototype, 'noteTurned', () => () => undefined),
  },
  {
    name: 'what was registered while a service is off counts as seen',
    faults: { ...switching, kills: false },
    plant: () => replace(ServiceRecord.prototype, 'show', () => (_id, fragment) => fragment),
  },
];
