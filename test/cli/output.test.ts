import { expect, test } from 'vitest';

import { formatAddress, formatChange, formatInstances, formatTable } from '../../src/cli/output.ts';
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
    'a   h:1      1       no       no          -     -',
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
