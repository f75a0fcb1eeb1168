import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import type { DumpFormat } from '../../src/archive/dump-formats.ts';
import { createDumpReader } from '../../src/archive/formats.ts';
import type { DumpOptions } from '../../src/archive/formats.ts';
import type { ArchiveRecord } from '../../src/archive/records.ts';
import { TransferReport } from '../../src/archive/transfer-report.ts';

export interface ReadDump {
  readonly records: readonly ArchiveRecord[];
  readonly report: TransferReport;
}

/** Reads a dump whose bytes come in parts of this size. */
export function readDump(
  format: DumpFormat,
  dump: string | Uint8Array,
  { partBytes = 7, ...options }: Omit<DumpOptions, 'report'> & { readonly partBytes?: number } = {},
): ReadDump {
  const report = new TransferReport();
  const reader = createDumpReader(format, { report, ...options });
  const bytes = typeof dump === 'string' ? Buffer.from(dump) : dump;
  const records: ArchiveRecord[] = [];
  for (let at = 0; at < bytes.length; at += partBytes) records.push(...reader.read(bytes.subarray(at, at + partBytes)));
  records.push(...reader.end());
  return { records, report };
}

/** Reads one of the dumps beside this file. */
export function readDumpFile(format: DumpFormat, file: string, options: Parameters<typeof readDump>[2] = {}): ReadDump {
  return readDump(format, readFileSync(fileURLToPath(new URL(`../archive/dumps/${file}`, import.meta.url))), options);
}

/** `service key` and `host:port` of each instance, for a short look at many. */
export function listInstances({ records }: ReadDump): string[] {
  return records.flatMap((record) =>
    record.kind === 'instance'
      ? [`${record.namespace}/${record.group}/${record.service} ${record.instance.host}:${record.instance.port}`]
      : [],
  );
}

/** Each reason with how often it was met. */
export function countReasons(lines: TransferReport['leftOut']): Record<string, number> {
  return Object.fromEntries(lines.map(({ reason, count }) => [reason, count]));
}
