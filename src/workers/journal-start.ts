import type { JournalEvent } from '../journal/journal-writer.ts';
import type { JournalFindings } from './journal-loading.ts';

/** A segment of a journal, and where it lies. */
export interface SegmentFile {
  readonly path: string;
  readonly file: string;
}

/** With what a partition keeps its journal, and begins. */
export interface JournalStart {
  readonly folder: string;
  readonly registry: string;
  readonly life: number;
  /** Partitions when the life began. */
  readonly writers: number;
  /** Of the first segment. */
  readonly sequence: number;
  /** Segments of this life that the partition has written in an earlier life of its own. */
  readonly before: readonly string[];
  /** What it begins with, in the order in which it is read. */
  readonly files: readonly SegmentFile[];
  /** It has died, and hosts send it what their sessions hold: of the journal it takes only claims of sessions that nobody has recalled yet. */
  readonly isRebuild: boolean;
  /** The life before ended in order, so the journals have all that anybody was told. */
  readonly isWhole: boolean;
}

/** What a partition says of its journal. */
export type JournalReport =
  /** So many bytes have been read. */
  | { readonly kind: 'loading'; readonly bytes: number }
  /** `version`: services continue from there. */
  | { readonly kind: 'loaded'; readonly findings: JournalFindings; readonly claims: number; readonly version: number }
  | { readonly kind: 'journal'; readonly event: JournalEvent }
  /** The partition has stopped. `isWhole`: the journal has all that it held. */
  | { readonly kind: 'ended'; readonly isWhole: boolean };
