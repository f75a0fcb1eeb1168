import { ClaimRecordReader } from '../journal/claim-records.ts';
import { readSegmentName } from '../journal/segment-name.ts';
import { SegmentReader } from '../journal/segment-reader.ts';
import { JournalLoader } from './journal-loader.ts';
import type { JournalLoaderOptions, JournalSummary } from './journal-loader.ts';

/** What a partition has found in journals. */
export interface JournalFindings extends JournalSummary {
  /** Bytes that were read, or passed over. */
  readonly bytes: number;
  /** Segments that could not be read to their end. */
  readonly damages: readonly { readonly file: string; readonly at: number; readonly reason: string }[];
}

export interface JournalLoadingOptions extends JournalLoaderOptions {
  /** Segments, in the order in which they are to be read. */
  readonly files: readonly { readonly path: string; readonly file: string }[];
  /** Lets other things have their turn, and says how far it has come, in bytes. */
  readonly nextTurn: (bytes: number) => Promise<void>;
}

/** Bytes that are read in one turn. */
const turnBytes: number = 4 * 1_048_576;

/** Fills a store with what segments say that was in the slots that it owns, in memory of one frame. */
export async function loadJournals({ files, nextTurn, ...options }: JournalLoadingOptions): Promise<JournalFindings> {
  const loader = new JournalLoader(options);
  const damages: JournalFindings['damages'][number][] = [];
  const records = new ClaimRecordReader(loader);
  const isWanted = (slotMin: number, slotMax: number): boolean => {
    for (let slot = slotMin; slot <= slotMax; slot++) if (options.isOwned(slot)) return true;
    return false;
  };
  let bytes = 0;
  let writer = '';
  let isBroken = false;
  for (const { path, file } of files) {
    const name = readSegmentName(file);
    const next = `${name?.life}/${name?.writer}`;
    if (next !== writer) {
      writer = next;
      isBroken = false;
      loader.beginJournal(name?.life ?? 0);
    }
    // What continues a segment that ends too early may only be true with the rest of it.
    if (isBroken) continue;
    const reader = new SegmentReader(path);
    try {
      for (let frame = reader.next(isWanted), turnAt = 0; frame !== undefined; frame = reader.next(isWanted)) {
        if (frame !== 'skipped') readRecords(records, frame, reader);
        if (reader.position - turnAt < turnBytes) continue;
        turnAt = reader.position;
        await nextTurn(bytes + turnAt);
      }
    } finally {
      reader.close();
    }
    bytes += reader.position;
    if (reader.damage !== undefined) {
      isBroken = true;
      damages.push({ file, ...reader.damage });
    }
  }
  return { ...loader.finish(), bytes, damages };
}

function readRecords(records: ClaimRecordReader, payload: Buffer, reader: SegmentReader): void {
  try {
    records.read(payload);
  } catch (error) {
    reader.refuse(error instanceof Error ? error.message : String(error));
  }
}
