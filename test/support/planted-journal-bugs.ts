import { rmSync } from 'node:fs';

import { SessionLedger } from '../../src/control/session-ledger.ts';
import { WarmStart } from '../../src/control/warm-start.ts';
import type { WarmStartParts } from '../../src/control/warm-start.ts';
import { ClaimRecordWriter } from '../../src/journal/claim-records.ts';
import { JournalWriter } from '../../src/journal/journal-writer.ts';
import { ServiceStore } from '../../src/store/service-store.ts';
import { ClaimJournal } from '../../src/workers/claim-journal.ts';
import { SessionOrigins } from '../../src/workers/session-numbers.ts';
import type { WarmRestartFaults } from './warm-restart-history.ts';

/** A mistake about what outlives the process, which histories must find; see `PlantedBug`. */
export interface PlantedJournalBug {
  readonly name: string;
  readonly faults: WarmRestartFaults;
  /** The first history that is tried, where it would take long to find the mistake from the first of all. */
  readonly seed?: number;
  /** Puts it in; what it returns takes it out again. */
  readonly plant: () => () => void;
}

const quiet: WarmRestartFaults = { kills: false, moves: false };
const moving: WarmRestartFaults = { kills: false, moves: true };
const killing: WarmRestartFaults = { kills: true, moves: false };

/** Replaces a method by what `make` makes of it. */
function replace<T extends object, K extends keyof T>(target: T, name: K, make: (original: T[K]) => T[K]): () => void {
  const original = target[name];
  target[name] = make(original);
  return () => {
    target[name] = original;
  };
}

/** What partitions that have ended since there are fewer had written goes at once. */
function takeAlong(): () => void {
  const hostsOf = new WeakMap<WarmStart, WarmStartParts['hosts']>();
  const undo = [
    replace(
      WarmStart.prototype,
      'begin',
      (begin) =>
        function remember(this: WarmStart, parts, nowMs) {
          hostsOf.set(this, parts.hosts);
          return begin.call(this, parts, nowMs);
        },
    ),
    replace(
      WarmStart.prototype,
      'handle',
      (handle) =>
        function remove(this: WarmStart, partition, report) {
          const partitions = hostsOf.get(this)?.table.partitions ?? Number.POSITIVE_INFINITY;
          const isNeedless = report.kind === 'ended' && partition >= partitions;
          const paths = isNeedless ? this.journalOf(partition, true).before : [];
          handle.call(this, partition, report);
          for (const path of paths) rmSync(path);
        },
    ),
  ];
  return () => {
    for (const one of undo) one();
  };
}

export const plantedJournalBugs: readonly PlantedJournalBug[] = [
  {
    name: 'an end is not noted',
    faults: quiet,
    plant: () => replace(ClaimJournal.prototype, 'noteEnd', () => () => undefined),
  },
  {
    name: 'who registers the same again is not noted',
    faults: quiet,
    plant: () => replace(ClaimRecordWriter.prototype, 'restamp', () => () => undefined),
  },
  {
    name: 'an end is noted before the registration that it ends',
    faults: quiet,
    plant: () => {
      const held = new WeakMap<ClaimRecordWriter, () => void>();
      const late = replace(
        ClaimRecordWriter.prototype,
        'put',
        (put) =>
          function hold(this: ClaimRecordWriter, slot, key, claim, version) {
            held.get(this)?.();
            const copy = { ...claim };
            held.set(this, () => {
              put.call(this, slot, key, copy, version);
            });
          },
      );
      const early = replace(
        ClaimRecordWriter.prototype,
        'end',
        (end) =>
          function overtake(this: ClaimRecordWriter, slot, key, id, claim, version) {
            end.call(this, slot, key, id, claim, version);
            held.get(this)?.();
            held.delete(this);
          },
      );
      return () => {
        late();
        early();
      };
    },
  },
  {
    name: 'an end in order is noted before all has been written',
    faults: quiet,
    plant: () => replace(JournalWriter.prototype, 'end', () => () => Promise.resolve(true)),
  },
  {
    name: 'after a crash services continue from the versions that were noted',
    faults: quiet,
    plant: () => replace(ServiceStore.prototype, 'continueAbove', () => () => undefined),
  },
  {
    name: 'sessions of the life before are not noted for the next',
    faults: quiet,
    plant: () => {
      const before = new WeakMap<SessionLedger, Set<number>>();
      const undo = [
        replace(
          SessionLedger.prototype,
          'begin',
          (begin) =>
            function forget(this: SessionLedger, earlier, begun, nowMs) {
              before.set(this, new Set(earlier.map(({ number }) => number)));
              begin.call(this, [], begun, nowMs);
            },
        ),
        // Nor when it is known again what they hold.
        replace(
          SessionLedger.prototype,
          'note',
          (take) =>
            function pass(this: SessionLedger, note) {
              if (note.kind !== 'kept' || before.get(this)?.has(note.session.number) !== true) take.call(this, note);
            },
        ),
      ];
      return () => {
        for (const one of undo) one();
      };
    },
  },
  {
    name: 'numbers of sessions are given again',
    faults: quiet,
    plant: () => replace(SessionOrigins.prototype, 'setBefore', () => () => undefined),
  },
  {
    name: 'a rebuilt partition does not note what hosts bring back',
    faults: killing,
    plant: () => replace(ClaimJournal.prototype, 'notePut', () => () => undefined),
  },
  {
    name: 'slots that have moved are not noted as given away',
    faults: moving,
    seed: 111,
    plant: () => replace(ClaimRecordWriter.prototype, 'giveAway', () => () => undefined),
  },
  {
    name: 'slots are noted as given away at once',
    faults: moving,
    plant: () =>
      replace(
        ClaimJournal.prototype,
        'noteGiven',
        (note) =>
          function hurry(this: ClaimJournal, slots) {
            note.call(this, slots);
            this.proceed(Infinity);
          },
      ),
  },
  {
    name: 'what comes from another partition counts before all of it has come',
    faults: moving,
    seed: 160,
    plant: () =>
      replace(
        ClaimJournal.prototype,
        'noteTaken',
        (note) =>
          function hurry(this: ClaimJournal, service) {
            note.call(this, service);
            this.noteTable(() => true, 1000);
          },
      ),
  },
  {
    name: 'that a service is told at a higher version is not noted',
    faults: moving,
    seed: 397,
    plant: () => replace(ClaimJournal.prototype, 'noteRaised', () => () => undefined),
  },
  {
    name: 'that all of a service has come is not noted',
    faults: moving,
    plant: () => replace(ClaimJournal.prototype, 'noteTable', () => () => undefined),
  },
  {
    name: 'a partition that is not needed any more takes its journal along at once',
    faults: moving,
    seed: 118,
    plant: takeAlong,
  },
];
