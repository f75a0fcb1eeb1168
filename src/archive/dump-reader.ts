import type { ArchiveRecord } from './records.ts';
import type { TransferReport } from './transfer-report.ts';

/**
 * Reads a dump part by part, wherever its bytes were divided. Rows that cannot be taken are left out, and the report says why; a file that is not what it should be is an
 * {@link ArchiveError}.
 */
export interface DumpReader {
  /** The records that this part completes. @throws ArchiveError */
  read(part: Uint8Array): readonly ArchiveRecord[];
  /** What the end of the dump completes. @throws ArchiveError */
  end(): readonly ArchiveRecord[];
}

/** Where what is read goes. */
export interface DumpTarget {
  /** All services; without one those of the dump. */
  readonly namespace?: string | undefined;
  readonly report: TransferReport;
}
