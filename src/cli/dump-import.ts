import { ArchiveError } from '../archive/archive-error.ts';
import type { DumpFormat } from '../archive/dump-formats.ts';
import type { DumpReader } from '../archive/dump-reader.ts';
import { createDumpReader } from '../archive/formats.ts';
import type { ArchiveRecord } from '../archive/records.ts';
import { TransferReport } from '../archive/transfer-report.ts';
import { UsageError } from '../bench/failures.ts';
import { openDump } from './dump-source.ts';
import type { DumpSource } from './dump-source.ts';
import { AdministrationError, exitCodes } from './exit-codes.ts';
import { formatJson } from './output.ts';
import { ProgressBar } from './progress-bar.ts';
import { RecordWriter } from './record-writer.ts';
import type { HttpOptions } from './registry.ts';
import { describeImport, formatImport } from './transfer-report-format.ts';

export interface ImportOptions extends HttpOptions {
  readonly from: DumpFormat;
  readonly dryRun: boolean;
  readonly template?: string;
  readonly namespace?: string;
}

/** Reads a dump, carries over what can be taken unless it is a dry run, and prints the report. */
export async function importDump(file: string, options: ImportOptions): Promise<void> {
  const report = new TransferReport();
  const reader = openReader(options, report);
  const source = openDump(file);
  const writer = options.dryRun ? undefined : new RecordWriter(options, report);
  try {
    await readDump(source, reader, report, writer);
  } catch (error) {
    if (writer !== undefined && report.takenCount > 0)
      console.error('not all was imported; importing the same again does no harm');
    throw error;
  } finally {
    writer?.close();
  }
  const isDryRun = writer === undefined;
  console.log(options.json ? formatJson(describeImport(report, isDryRun)) : formatImport(report, isDryRun));
  const isNothing = report.takenCount === 0 && report.leftOut.length > 0;
  if (isNothing) console.error(`nothing of ${source.name} could be taken: is it what --from says?`);
  if (isNothing || report.refusedCount > 0) process.exitCode = exitCodes.failed;
}

function openReader({ from, template, namespace }: ImportOptions, report: TransferReport): DumpReader {
  if (template !== undefined && from !== 'etcd') throw new UsageError('--template is for --from etcd');
  try {
    return createDumpReader(from, { report, template, namespace });
  } catch (error) {
    if (error instanceof ArchiveError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

/** Without a writer, nothing becomes of what is read. */
async function readDump(
  source: DumpSource,
  reader: DumpReader,
  report: TransferReport,
  writer: RecordWriter | undefined,
): Promise<void> {
  const progress = new ProgressBar(process.stderr, writer === undefined ? 'reading' : 'importing');
  const take = async (read: () => readonly ArchiveRecord[]): Promise<void> => {
    const records = readRecords(source.name, read);
    await writer?.write(records);
  };
  let bytes = 0;
  try {
    for await (const part of source.parts) {
      await take(() => reader.read(part));
      bytes += part.length;
      const share = source.bytes === undefined ? undefined : bytes / source.bytes;
      progress.show(share, `${report.takenCount} records`);
    }
    await take(() => reader.end());
    await writer?.end();
  } finally {
    progress.end();
  }
}

function readRecords(name: string, read: () => readonly ArchiveRecord[]): readonly ArchiveRecord[] {
  try {
    return read();
  } catch (error) {
    throw error instanceof ArchiveError
      ? new AdministrationError(`${name}: ${error.message}`, { cause: error })
      : error;
  }
}
