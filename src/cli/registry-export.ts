import { once } from 'node:events';

import { formatExportEnd, formatExportRecord, formatExportStart } from '../archive/json-lines.ts';
import { recordKinds } from '../archive/record-kinds.ts';
import type { RecordKind } from '../archive/record-kinds.ts';
import type { ArchiveRecord } from '../archive/records.ts';
import { toKeyRecord, toServiceRecords } from '../archive/registry-records.ts';
import { TransferReport } from '../archive/transfer-report.ts';
import { httpOperations } from '../protocol/http-operations.ts';
import type { OperationId } from '../protocol/http-operations.ts';
import { protocolLimits } from '../protocol/limits.ts';
import type { DeclarationList } from '../protocol/service-declaration.ts';
import type { KeyListResult } from '../protocol/types.ts';
import { readAnswer, RegistryCalls } from './administration.ts';
import { formatJson } from './output.ts';
import { ProgressBar } from './progress-bar.ts';
import type { HttpOptions } from './registry.ts';
import { describeExport, formatExport } from './transfer-report-format.ts';
import { explainFaults, writeWholeFile } from './whole-file.ts';

export interface ExportOptions extends HttpOptions {
  /** Undefined: all. */
  readonly only?: readonly RecordKind[];
}

/** Takes a part of the export; resolves when there is room for the next. */
type Write = (text: string) => Promise<unknown>;

/**
 * Writes what a registry has stored, page by page, and prints a report: beside the export, not in it. What is changed meanwhile is there as it was before or
 * as it is afterwards.
 */
export async function exportRegistry(file: string, options: ExportOptions): Promise<void> {
  const report = new TransferReport();
  const isStandardOutput = file === '-';
  if (isStandardOutput) await writeExport(options, report, writeStandardOutput);
  else {
    await explainFaults(file, () =>
      writeWholeFile(file, (handle) => writeExport(options, report, (text) => handle.writeFile(text))),
    );
  }
  const words = options.json ? formatJson(describeExport(report)) : formatExport(report);
  if (isStandardOutput) console.error(words);
  else console.log(words);
}

async function writeExport(options: ExportOptions, report: TransferReport, write: Write): Promise<void> {
  const calls = new RegistryCalls(options, 1);
  const progress = new ProgressBar(process.stderr, 'exporting');
  const wanted: ReadonlySet<RecordKind> = new Set(options.only ?? recordKinds);
  try {
    await write(formatExportStart());
    for await (const page of readRecords(calls, wanted, report)) {
      const records = page.filter(({ kind }) => wanted.has(kind));
      for (const { kind } of records) report.countTaken(kind);
      await write(records.map(formatExportRecord).join(''));
      // Lines on the same terminal show how far it has come, and would be torn.
      if (write !== writeStandardOutput || !process.stdout.isTTY)
        progress.show(undefined, `${report.takenCount} records`);
    }
    await write(formatExportEnd(report.takenCount));
  } finally {
    progress.end();
    calls.close();
  }
}

/** Page by page; of some kinds perhaps more than is wanted. */
async function* readRecords(
  calls: RegistryCalls,
  wanted: ReadonlySet<RecordKind>,
  report: TransferReport,
): AsyncGenerator<readonly ArchiveRecord[]> {
  if (wanted.has('service') || wanted.has('instance')) {
    for await (const { declarations } of readPages<DeclarationList>(calls, 'listDeclarations'))
      yield declarations.flatMap(toServiceRecords);
  }
  if (!wanted.has('key')) return;
  for await (const { entries = [] } of readPages<KeyListResult>(calls, 'listKeys')) {
    for (const { key, holder } of entries)
      if (holder !== undefined) report.noteAltered('the key is exported, but not the lock on it', key);
    yield entries.map(toKeyRecord);
  }
}

async function* readPages<Page extends { readonly cursor?: string }>(
  calls: RegistryCalls,
  id: OperationId,
): AsyncGenerator<Page> {
  const { method, path } = httpOperations[id];
  const limit = String(protocolLimits.listLimitMax);
  for (let cursor: string | undefined, isFirst = true; isFirst || cursor !== undefined; isFirst = false) {
    const query = { limit, ...(cursor === undefined ? {} : { cursor }) };
    const request = { method, path, query };
    const page = readAnswer(await calls.askPatiently(request), { base: calls.base, id, request }) as Page;
    yield page;
    ({ cursor } = page);
  }
}

async function writeStandardOutput(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}
