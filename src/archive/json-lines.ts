import { ArchiveError } from './archive-error.ts';
import type { DumpReader, DumpTarget } from './dump-reader.ts';
import { LineSplitter } from './line-splitter.ts';
import {
  completeInstance,
  isDeclarable,
  isFlags,
  undeclarable,
  validateInstance,
  validateKey,
  validateService,
} from './records.ts';
import type { ArchiveRecord } from './records.ts';

/*
 * An export: one JSON object a line. The first names the format, each of the others is a record, and the last says how many there were, so that a file that was cut
 * off is not taken for a whole one. docs/STORAGE.md describes it.
 */
const format = 'slotcast-export';
const formatVersion = 1;

/** The first line. */
export function formatExportStart(): string {
  return `${JSON.stringify({ format, formatVersion })}\n`;
}

export function formatExportRecord(record: ArchiveRecord): string {
  return `${JSON.stringify(record)}\n`;
}

/** The last line. `records`: how many lines of records there are. */
export function formatExportEnd(records: number): string {
  return `${JSON.stringify({ kind: 'end', records })}\n`;
}

type Place = 'start' | 'records' | 'end';

/** Reads an export. It was written by a registry: what is wrong with it is an error, and nothing is left out. */
export class JsonLinesReader implements DumpReader {
  readonly #target: DumpTarget;
  readonly #lines: LineSplitter;
  #place: Place = 'start';
  #records = 0;
  #taken: ArchiveRecord[] = [];

  constructor(target: DumpTarget) {
    this.#target = target;
    this.#lines = new LineSplitter((line, number) => this.#readLine(line, number));
  }

  read(part: Uint8Array): readonly ArchiveRecord[] {
    this.#lines.write(part);
    return this.#drain();
  }

  end(): readonly ArchiveRecord[] {
    this.#lines.end();
    if (this.#place === 'start') throw new ArchiveError('it is empty');
    if (this.#place === 'records')
      throw new ArchiveError(
        `it ends after ${this.#records} records without the line {"kind":"end"}: it may have been cut off`,
      );
    return this.#drain();
  }

  #drain(): readonly ArchiveRecord[] {
    const taken = this.#taken;
    this.#taken = [];
    return taken;
  }

  #readLine(line: string, number: number): void {
    const fail = (why: string): never => {
      throw new ArchiveError(`line ${number}: ${why}`);
    };
    if (line.trim() === '') return;
    if (this.#place === 'end') fail('there is more after the end');
    const value = parseObject(line) ?? fail('it is no JSON object');
    if (this.#place === 'start') {
      if (value['format'] !== format)
        fail(`it is no export of slotcast: the first line must be ${formatExportStart().trim()}`);
      if (value['formatVersion'] !== formatVersion)
        fail(
          `formatVersion is ${JSON.stringify(value['formatVersion'])}; this version of slotcast reads ${formatVersion}`,
        );
      this.#place = 'records';
    } else if (value['kind'] === 'end') {
      const { records } = value;
      if (records !== undefined && records !== this.#records)
        fail(`it should be the end of ${JSON.stringify(records)} records, but there were ${this.#records}`);
      this.#place = 'end';
    } else {
      this.#take(readRecord(value, fail));
    }
  }

  #take(record: ArchiveRecord): void {
    const { namespace, report } = this.#target;
    this.#records += 1;
    report.countTaken(record.kind);
    this.#taken.push(namespace === undefined || record.kind === 'key' ? record : { ...record, namespace });
  }
}

function readRecord(value: Record<string, unknown>, fail: (why: string) => never): ArchiveRecord {
  switch (value['kind']) {
    case 'service': {
      const checked = validateService(value);
      if (!checked.ok) return fail(checked.failure.message);
      return isDeclarable(checked.value) ? checked.value : fail(undeclarable);
    }
    case 'instance': {
      const checked = validateInstance(value);
      if (!checked.ok) return fail(checked.failure.message);
      return { ...checked.value, instance: completeInstance(checked.value.instance) };
    }
    case 'key': {
      const checked = validateKey(value);
      if (!checked.ok) return fail(checked.failure.message);
      return isFlags(checked.value.flags) ? checked.value : fail('flags are more than 64 bits');
    }
    default:
      return fail(`kind is ${JSON.stringify(value['kind'])}; it must be service, instance, key or end`);
  }
}

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
