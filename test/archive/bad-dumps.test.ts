import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { ArchiveError } from '../../src/archive/archive-error.ts';
import { dumpFormats } from '../../src/archive/dump-formats.ts';
import type { DumpFormat } from '../../src/archive/dump-formats.ts';
import { readDump, readDumpFile } from '../support/read-dump.ts';

const files: readonly (readonly [DumpFormat, string])[] = [
  ['etcd', 'etcd.json'],
  ['eureka', 'eureka.json'],
  ['eureka', 'eureka.xml'],
  ['nacos', 'nacos-v1.json'],
  ['nacos', 'nacos-v3.json'],
  ['dubbo', 'dubbo-tree.txt'],
  ['consul', 'consul-kv.json'],
  ['consul', 'consul-health.json'],
];
const template = '/services/{service}/{*} => {"Addr":"{host}:{port}","Metadata":"{metadata}"}';

/** Reads it, whatever it is; anything but an {@link ArchiveError} is a bug. */
function expectReadOrRefused(format: DumpFormat, bytes: Uint8Array, partBytes: number): void {
  try {
    readDump(format, bytes, { partBytes, ...(format === 'etcd' ? { template } : {}) });
  } catch (error) {
    if (!(error instanceof ArchiveError)) throw error;
    expect(error.message).not.toBe('');
  }
}

const json = fc.json({ depthSize: 'medium' });

test('[AR2] whatever a dump holds, it is read or refused', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...dumpFormats),
      fc.oneof(
        fc.uint8Array(),
        fc.string().map((text) => Buffer.from(text)),
        json.map((text) => Buffer.from(text)),
      ),
      fc.integer({ min: 1, max: 20 }),
      (format, bytes, partBytes) => {
        expectReadOrRefused(format, bytes, partBytes);
      },
    ),
    { numRuns: 1000 },
  );
});

test.each(files)('[AR2] %s: %s with bytes changed, left out or doubled is read or refused', (format, file) => {
  const whole = readFileSync(fileURLToPath(new URL(`dumps/${file}`, import.meta.url)));
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          at: fc.nat(whole.length),
          remove: fc.nat(20),
          insert: fc.oneof(
            fc.uint8Array({ maxLength: 4 }),
            fc.constantFrom('null', '{}', '[]', '"', '<a>', '__proto__', '1e999').map((text) => Buffer.from(text)),
          ),
        }),
        { minLength: 1, maxLength: 4 },
      ),
      (edits) => {
        let bytes: Buffer = whole;
        for (const { at, remove, insert } of edits)
          bytes = Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + remove)]);
        expectReadOrRefused(format, bytes, 64);
      },
    ),
    { numRuns: 200 },
  );
});

test.each(files)('%s: how %s is divided does not matter', (format, file) => {
  const whole = readDumpFile(format, file, { partBytes: 1_000_000 });
  const divided = readDumpFile(format, file, { partBytes: 1 });
  expect(divided.records).toEqual(whole.records);
  expect(divided.report.leftOut).toEqual(whole.report.leftOut);
});

test.each([
  ['consul', '[{"key":"a"},}', 'it is not JSON, near byte 13'],
  ['etcd', '{"kvs":[', 'it ends in the middle of its JSON, after 8 bytes'],
  ['nacos', '{"a":"\u0001"}', 'it is not JSON, near byte 4'],
  ['eureka', '<applications><a></applications>', /^line 1, column \d+: Unexpected close tag/],
  ['eureka', '<html></html>', /^line 1, column \d+: it begins with <html>/],
  ['eureka', '<!DOCTYPE x><applications/>', /^line 1, column \d+: it declares a document type/],
  ['eureka', '<applications>&nbsp;</applications>', /^line 1, column \d+: Invalid character entity/],
  ['consul', '['.repeat(65), 'byte 64: JSON is nested deeper than 64'],
  ['eureka', `<instance>${'<a>'.repeat(64)}`, /XML is nested deeper than 64$/],
  ['consul', `["${' '.repeat(33_554_432)}`, 'byte 0: one element has more than 33554432 bytes'],
  ['eureka', `<instance>${' '.repeat(33_554_432)}`, /one instance has more than 33554432 bytes$/],
] as const)('[AR2] %s: what is wrong is said with its place: %#', (format, text, message) => {
  expect(() => readDump(format, text, { partBytes: 65_536 })).toThrow(message);
});

test('[LI1] a report tells a limited number of reasons apart, and gives a few examples of each', () => {
  const rows = Array.from({ length: 300 }, (_, i) => ({
    ServiceName: 's',
    Address: 'h',
    ServicePort: 1,
    ServiceMeta: { [`${i} `]: '', [`\u0000${i}`]: '' },
  }));
  const { report } = readDump('consul', JSON.stringify(rows));
  expect(report.leftOut.length).toBeLessThanOrEqual(101);
  expect(report.leftOut.reduce((sum, { count }) => sum + count, 0)).toBe(300);
  expect(report.leftOut[0]).toMatchObject({ reason: 'other reasons', examples: { length: 3 } });
});
