import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

import { capabilities } from '../../src/protocol/capabilities.ts';
import { closeCodes, errorCodes } from '../../src/protocol/errors.ts';
import { protocolLimits } from '../../src/protocol/limits.ts';

const markdown = readFileSync(fileURLToPath(new URL('../../docs/PROTOCOL.md', import.meta.url)), 'utf8');

/** The rows of the tables in the section of that title. */
function readRows(title: string): string[] {
  const [, section = ''] = markdown.split(`${title}\n`);
  const [text = ''] = section.split('\n## ')[0]!.split('\n### ');
  return text.split('\n').filter((line) => line.startsWith('|'));
}

test('[WP2] docs/PROTOCOL.md lists every error code, with its number, status and meaning, and no other', () => {
  const rows = Object.entries(errorCodes).map(
    ([code, { number, status, meaning }]) => `| ${number} | \`${code}\` | ${status} | ${meaning} |`,
  );
  expect(readRows('## Errors').slice(2)).toEqual(rows);
});

test('[WP6] docs/PROTOCOL.md lists every capability with its meaning, and no other', () => {
  const rows = Object.entries(capabilities).map(([name, { meaning }]) => `| \`${name}\` | ${meaning} |`);
  expect(readRows('#### Capabilities').slice(2)).toEqual(rows);
});

test('[WP2] docs/PROTOCOL.md lists every close code that the server sends, and no other', () => {
  const rows = Object.entries(closeCodes).map(
    ([reason, { number, meaning }]) => `| ${number} | \`${reason}\` | ${meaning} |`,
  );
  expect(readRows('### Close codes').slice(2)).toEqual(rows);
});

test('[WP2] numbers are told apart, and lie where JSON-RPC and WebSocket leave room', () => {
  const numbers = Object.values(errorCodes).map(({ number }) => number);
  expect(new Set(numbers).size).toBe(numbers.length);
  const reserved = new Set([-32_700, -32_600, -32_601, -32_602, -32_603]);
  for (const number of numbers.filter((one) => !reserved.has(one))) {
    expect(number).toBeLessThanOrEqual(-32_000);
    expect(number).toBeGreaterThanOrEqual(-32_099);
  }
  for (const { number } of Object.values(closeCodes)) {
    expect([1000, 1001, 1003, 1009].includes(number) || (number >= 4000 && number <= 4999)).toBe(true);
  }
  for (const { status } of Object.values(errorCodes)) expect(status).toBeGreaterThanOrEqual(400);
});

test('[LI1] docs/PROTOCOL.md lists every limit of the protocol with its value, and no other', () => {
  const listed = readRows('## Limits')
    .slice(2)
    .map((row) => row.split(' | ').slice(0, 2));
  expect(listed).toEqual(Object.entries(protocolLimits).map(([name, value]) => [`| \`${name}\``, String(value)]));
});
