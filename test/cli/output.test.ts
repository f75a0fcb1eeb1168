import { expect, test } from 'vitest';
import { parse } from 'yaml';

import { formatCsv, formatYaml } from '../../src/cli/data-formats.ts';
import { formatAddress, formatChange, formatInstances, formatTable } from '../../src/cli/output.ts';
import { formatBytes, formatMs } from '../../src/cli/quantities.ts';
import { parseAddress, parseMeta } from '../../src/cli/register-command.ts';

test('columns are as wide as their widest cell, and lines have no trailing space', () => {
  expect(
    formatTable(
      ['A', 'LONG'],
      [
        ['wide cell', 'x'],
        ['y', 'z'],
      ],
    ),
  ).toBe('A          LONG\nwide cell  x\ny          z');
});

test('an instance without zone and metadata shows dashes', () => {
  expect(formatInstances([{ id: 'a', host: 'h', port: 1, weight: 1, enabled: false }])).toContain(
    'a   h:1      1       no       passing  no          -     -',
  );
});

test('a change lists what came, what went and how many are left; an empty one is nothing', () => {
  const instance = { id: 'a', host: '::1', port: 1, weight: 1, enabled: false };
  expect(formatChange({ put: [instance], removed: [], instances: [instance] })).toEqual([
    '+ a at [::1]:1 weight 1 disabled',
    '= 1 instance',
  ]);
  expect(formatChange({ put: [], removed: [], instances: [] })).toEqual([]);
});

test('an instance that its health threshold keeps says so', () => {
  const instance = { id: 'h:1', host: 'h', port: 1, weight: 1, enabled: true, health: 'critical' } as const;
  const kept = { ...instance, protected: true } as const;
  expect(formatInstances([instance, kept]).split('\n').slice(1)).toEqual([
    'h:1  h:1      1       yes      critical             no          -     -',
    'h:1  h:1      1       yes      critical(protected)  no          -     -',
  ]);
  expect(formatChange({ put: [kept], removed: [], instances: [kept] })[0]).toBe('+ h:1 weight 1 critical(protected)');
});

test.each([
  ['localhost:80', 'localhost', 80],
  ['[::1]:65535', '::1', 65_535],
])('%s is an address', (text, host, port) => {
  expect(parseAddress(text)).toEqual({ host, port });
  expect(formatAddress(host, port)).toBe(text);
});

test.each(['', 'h', 'h:', ':1', '::1:80', 'h:0', 'h:65536', 'h:1x', '[]:1'])('%j is no address', (text) => {
  expect(() => parseAddress(text)).toThrow('HOST:PORT');
});

test('metadata adds up, and values may hold an equals sign', () => {
  expect(parseMeta('b=2=3', parseMeta('a=', undefined))).toEqual({ a: '', b: '2=3' });
});

test('a change says how many instances are unconfirmed', () => {
  const one = { id: 'h:1', host: 'h', port: 1, weight: 1, enabled: true };
  const change = { put: [one], removed: [], instances: [one] };
  expect(formatChange(change).at(-1)).toBe('= 1 instance');
  expect(formatChange({ ...change, unconfirmed: 1 }).at(-1)).toBe('= 1 instance, 1 unconfirmed');
});

test('a table that is too wide gives up the ends of its widest cells, never its headings', () => {
  const rows = [['a'.repeat(30), 'b'.repeat(12), 'c'.repeat(20)]];
  const lines = formatTable(['FIRST', 'SECOND', 'THIRD'], rows, { widthMax: 40 }).split('\n');
  expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(40);
  expect(lines[1]).toBe(`${'a'.repeat(11)}…  ${'b'.repeat(12)}  ${'c'.repeat(11)}…`);
  // There is a least width, whatever the terminal's is.
  expect(formatTable(['FIRST', 'SECOND', 'THIRD'], rows, { widthMax: 5 }).split('\n')[0]).toBe(
    'FIRST     SECOND    THIRD',
  );
});

test('headings are styled after they are padded', () => {
  const look = { styleHeadings: (line: string): string => `<${line}>` };
  expect(formatTable(['A', 'B'], [['xx', 'y']], look)).toBe('<A   B>\nxx  y');
});

test('YAML quotes and escapes what a terminal would obey, and says what it was given', () => {
  const value = { 'k\u202E': ['plain', 'a\u202Eb', '\u009B31m', 'yes', '1', '#x', 'two\nlines'], n: 1, none: [] };
  const text = formatYaml(value);
  expect(text).not.toMatch(/[^\n\P{Cc}]|[\p{Cf}\p{Zl}\p{Zp}]/u);
  expect(text).toContain('- plain\n');
  expect(parse(text)).toEqual(value);
});

test('CSV has all columns of all rows, JSON for what is nested, and no formulas of others', () => {
  const rows = [
    { id: 'a,b', enabled: true, metadata: { k: 'v' } },
    { id: '=1+1', enabled: false, zone: 'z\u202E' },
  ];
  expect(formatCsv(rows, false)).toBe('id,enabled,metadata,zone\n"a,b",true,"{""k"":""v""}",\n\'=1+1,false,,z\u202E\n');
  expect(formatCsv(rows, true)).toContain('z\\u{202e}');
  expect(formatCsv([], false)).toBe('');
});

test.each([
  [17, '17 B'],
  [1536, '1.5 KiB'],
  [320 * 1024 ** 2, '320 MiB'],
  [3 * 1024 ** 5, '3072 TiB'],
])('%d bytes are %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test.each([
  [0.417, '0.42 ms'],
  [12.34, '12.3 ms'],
  [1500, '1.50 s'],
  [Number.NaN, '-'],
])('%d ms are %s', (ms, text) => {
  expect(formatMs(ms)).toBe(text);
});
