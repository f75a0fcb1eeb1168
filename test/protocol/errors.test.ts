import { expect, test } from 'vitest';

import { capabilities } from '../../src/protocol/capabilities.ts';
import { closeCodes, errorCodes } from '../../src/protocol/errors.ts';
import { protocolLimits } from '../../src/protocol/limits.ts';
import { expectTable } from '../support/document-table.ts';

test('[WP2] docs/PROTOCOL.md lists every error code, with its number, status and meaning, and no other', () => {
  expectTable(
    'docs/PROTOCOL.md',
    '| number | name | status | meaning |',
    Object.entries(errorCodes).map(([code, { number, status, meaning }]) => [
      String(number),
      `\`${code}\``,
      String(status),
      meaning,
    ]),
  );
});

test('[WP6] docs/PROTOCOL.md lists every capability with its meaning, and no other', () => {
  expectTable(
    'docs/PROTOCOL.md',
    '| capability | what belongs to it |',
    Object.entries(capabilities).map(([name, { meaning }]) => [`\`${name}\``, meaning]),
  );
});

test('[WP2] docs/PROTOCOL.md lists every close code that the server sends, and no other', () => {
  expectTable(
    'docs/PROTOCOL.md',
    '| code | reason | meaning |',
    Object.entries(closeCodes).map(([reason, { number, meaning }]) => [String(number), `\`${reason}\``, meaning]),
  );
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
  expectTable(
    'docs/PROTOCOL.md',
    '| limit | | |',
    Object.entries(protocolLimits).map(([name, value]) => [`\`${name}\``, String(value)]),
  );
});
