import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { formatExportEnd, formatExportRecord, formatExportStart } from '../../src/archive/json-lines.ts';
import { completeInstance } from '../../src/archive/records.ts';
import type { ArchiveRecord } from '../../src/archive/records.ts';
import { archiveRecord } from '../support/archive-records.ts';
import { readDump } from '../support/read-dump.ts';

const start = formatExportStart();
const key: ArchiveRecord = { kind: 'key', key: 'config/limits', value: 'aGVsbG8=', flags: '18446744073709551615' };
const end = '{"kind":"end"}\n';

function write(records: readonly ArchiveRecord[]): string {
  return [start, ...records.map(formatExportRecord), formatExportEnd(records.length)].join('');
}

test('[AR2] what is exported and imported is the same, wherever its bytes are divided', () => {
  fc.assert(
    fc.property(fc.array(archiveRecord, { maxLength: 20 }), fc.integer({ min: 1, max: 500 }), (records, partBytes) => {
      const read = readDump('slotcast', write(records), { partBytes });
      expect(read.records).toEqual(records);
      expect(read.report.takenCount).toBe(records.length);
      expect(read.report.leftOut).toEqual([]);
    }),
  );
});

test('a namespace that is asked for takes the place of that of services, and leaves keys as they are', () => {
  const instance: ArchiveRecord = {
    kind: 'instance',
    namespace: 'a',
    group: 'G',
    service: 's',
    instance: completeInstance({ host: 'h', port: 1 }),
  };
  const { records } = readDump('slotcast', write([instance, key]), { namespace: 'b' });
  expect(records).toEqual([{ ...instance, namespace: 'b' }, key]);
});

test('[AR2] a byte order mark before an export is passed over, and nowhere else', () => {
  expect(readDump('slotcast', `\uFEFF${write([key])}`, { partBytes: 2 }).records).toEqual([key]);
  expect(() => readDump('slotcast', `${start}\uFEFF${end}`)).toThrow('line 2: it is no JSON object');
});

test('[AR2] an export that was cut off anywhere is refused', () => {
  const whole = write([key, key]).trimEnd();
  for (let bytes = 0; bytes < whole.length; bytes += 1) {
    expect(() => readDump('slotcast', whole.slice(0, bytes)), `${bytes} bytes`).toThrow(
      /^(?:it is empty|line \d: it is no JSON object|it ends after \d records without the line .*)$/,
    );
  }
  expect(readDump('slotcast', whole).report.taken.key).toBe(2);
});

describe('[AR2] what is wrong is said with its line', () => {
  const instance =
    '{"kind":"instance","namespace":"public","group":"DEFAULT","service":"s","instance":{"host":"h","port":1}}';
  test.each([
    [
      'no export',
      '{}\n',
      'line 1: it is no export of slotcast: the first line must be {"format":"slotcast-export","formatVersion":1}',
    ],
    ['no JSON', `${start}{"kind"\n`, 'line 2: it is no JSON object'],
    ['a list', `${start}[1]\n`, 'line 2: it is no JSON object'],
    [
      'a later version',
      '{"format":"slotcast-export","formatVersion":2}\n',
      'line 1: formatVersion is 2; this version of slotcast reads 1',
    ],
    [
      'another kind',
      `${start}\n{"kind":"lease"}\n`,
      'line 3: kind is "lease"; it must be service, instance, key or end',
    ],
    ['no kind', `${start}{}\n`, 'line 2: kind is undefined; it must be service, instance, key or end'],
    [
      'a port that is none',
      `${start}${instance.replace('"port":1', '"port":0')}\n${end}`,
      'line 2: instance.port must be >= 1',
    ],
    [
      'an unknown field',
      `${start}${instance.replace('"port":1', '"port":1,"x":1')}\n${end}`,
      'line 2: instance has an unknown field "x"',
    ],
    [
      'flags that are too large',
      `${start}{"kind":"key","key":"k","value":"","flags":"18446744073709551616"}\n${end}`,
      'line 2: flags are more than 64 bits',
    ],
    [
      'a value that is no base64',
      `${start}{"kind":"key","key":"k","value":"abc","flags":"0"}\n${end}`,
      /^line 2: value must match pattern/,
    ],
    [
      'a share above one',
      `${start}{"kind":"service","namespace":"p","group":"G","service":"s","settings":{"protectionThreshold":2}}\n`,
      'line 2: settings.protectionThreshold must be <= 1',
    ],
    [
      'another number of records',
      `${start}${instance}\n{"kind":"end","records":2}\n`,
      'line 3: it should be the end of 2 records, but there were 1',
    ],
    ['more after the end', `${start}${end}${instance}\n`, 'line 3: there is more after the end'],
    ['a line that is too long', `${start}${' '.repeat(2_097_153)}`, 'line 2 is longer than 2097152 bytes'],
  ])('%s', (_, text, message) => {
    expect(() => readDump('slotcast', text, { partBytes: 65_536 })).toThrow(message);
  });

  test('bytes that are no UTF-8', () => {
    expect(() => readDump('slotcast', Buffer.concat([Buffer.from(start), Buffer.from([0xff, 0x0a])]))).toThrow(
      'line 2 is not UTF-8',
    );
  });
});

test('lines may end with CRLF, and the last one without anything', () => {
  const text = write([key]).trimEnd().replaceAll('\n', '\r\n');
  expect(readDump('slotcast', text).records).toEqual([key]);
});

test('the example of docs/STORAGE.md is an export', () => {
  const document = readFileSync(fileURLToPath(new URL('../../docs/STORAGE.md', import.meta.url)), 'utf8');
  const [, example = ''] = /```json\n([^`]*)```/.exec(document) ?? [];
  expect(readDump('slotcast', example).report.taken).toEqual({ service: 1, instance: 1, key: 1 });
});
