import { journalFormat } from '../journal/segment-head.ts';
import type { SegmentSink } from '../journal/segment-writer.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import { slotCount } from '../slots/slot.ts';
import type { ServiceStore } from '../store/service-store.ts';
import { ClaimJournal } from './claim-journal.ts';
import { loadJournals } from './journal-loading.ts';
import type { JournalReport, JournalStart } from './journal-start.ts';
import type { PartitionClock } from './partition-clock.ts';
import type { PartitionCore } from './partition-core.ts';
import type { SessionOrigins } from './session-numbers.ts';
import { leapOver } from './shown-versions.ts';

export interface ClaimJournalParts {
  readonly partition: number;
  readonly start: JournalStart;
  readonly sink: SegmentSink;
  readonly bytesWaitingMax: number;
  /** See `JournalWriterOptions`. */
  readonly garbageBytes?: number;
  readonly report: (report: JournalReport) => void;
}

/** The journal of what a partition holds. */
export function createClaimJournal(store: ServiceStore, parts: ClaimJournalParts): ClaimJournal {
  const { partition, start, report, ...options } = parts;
  const { registry, life, writers, sequence } = start;
  return new ClaimJournal(store, {
    ...options,
    name: { kind: 'claims', life, writer: partition, sequence },
    head: { format: journalFormat, registry, writers },
    onEvent: (event) => {
      report({ kind: 'journal', event });
    },
  });
}

export interface JournalledLife {
  readonly core: Pick<PartitionCore, 'load' | 'journal'>;
  readonly partition: number;
  readonly table: SlotTable;
  readonly origins: SessionOrigins;
  readonly start: JournalStart;
  readonly readClock: () => PartitionClock;
  readonly report: (report: JournalReport) => void;
  /** Lets other things have their turn. */
  readonly nextTurn: () => Promise<void>;
}

/**
 * Fills a partition with what it held in the life before, and begins its journal. Resolves to what the wall clock, which may have been set back since that life, must not say less
 * than from now on, in µs: versions continue from there.
 */
export async function beginJournalledLife(life: JournalledLife): Promise<number> {
  const { core, start, readClock } = life;
  const { files, isRebuild } = start;
  let wallFloorMicros = 0;
  if (files.length > 0) {
    await core.load(async (store) => {
      wallFloorMicros = await fill(store, life);
      return wallFloorMicros;
    });
  }
  core.journal?.begin(files.length === 0, readClock().monotonicMs);
  if (files.length === 0 && !isRebuild) core.journal?.noteWhole();
  return wallFloorMicros;
}

async function fill(store: ServiceStore, life: JournalledLife): Promise<number> {
  const { partition, table, origins, start, readClock, report, nextTurn } = life;
  const { files, isRebuild, isWhole } = start;
  const findings = await loadJournals({
    store,
    files,
    isOwned: (slot) => slot < slotCount && table.ownerOf(slot) === partition,
    isWanted: isRebuild ? (owner): boolean => origins.isOfBefore(owner) : (): boolean => true,
    keepsVersions: !isRebuild,
    nextTurn: (bytes) => {
      report({ kind: 'loading', bytes });
      return nextTurn();
    },
  });
  const { versionMax } = findings;
  let version = versionMax > 0 ? leapOver(versionMax, readClock()) : 0;
  if (!isRebuild && (!isWhole || findings.damages.length > 0)) {
    version = Math.max(version, store.versionFloor);
    store.continueAbove(version);
  }
  report({ kind: 'loaded', findings, claims: store.claimCount, version });
  return version;
}
