import type { DumpReader, DumpTarget } from './dump-reader.ts';
import { EurekaJsonReader } from './eureka-json-dump.ts';
import { EurekaXmlReader } from './eureka-xml-dump.ts';
import type { ArchiveRecord } from './records.ts';

const lessThan = 0x3c;
/** White space, and the bytes of a mark of UTF-8. */
const blanks = new Set([0x20, 0x09, 0x0a, 0x0d, 0xef, 0xbb, 0xbf]);

/** Reads what Eureka says, which is XML for those who did not ask for JSON. */
export class EurekaDumpReader implements DumpReader {
  readonly #target: DumpTarget;
  #reader: DumpReader | undefined;

  constructor(target: DumpTarget) {
    this.#target = target;
  }

  read(part: Uint8Array): readonly ArchiveRecord[] {
    const first = part.find((byte) => !blanks.has(byte));
    if (first === undefined && this.#reader === undefined) return [];
    this.#reader ??= first === lessThan ? new EurekaXmlReader(this.#target) : new EurekaJsonReader(this.#target);
    return this.#reader.read(part);
  }

  end(): readonly ArchiveRecord[] {
    return this.#reader?.end() ?? [];
  }
}
