import { expect, test } from 'vitest';

import { formatAddress, isLoopbackAddress } from '../../src/transport/addresses.ts';

test.each([
  ['127.0.0.1', [127, 0, 0, 1], true],
  ['127.255.255.254', [127, 255, 255, 254], true],
  ['10.0.0.1', [10, 0, 0, 1], false],
  ['::1', [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], true],
  ['::ffff:127.0.0.1', [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1], true],
  ['::ffff:10.0.0.1', [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1], false],
  ['::2', [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], false],
  ['fe80::1', [254, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], false],
  ['no address', [], false],
])('%s is a loopback address or not', (_, bytes, expected) => {
  expect(isLoopbackAddress(formatAddress(Uint8Array.from(bytes)))).toBe(expected);
});

test.each([
  [[127, 0, 0, 1], '127.0.0.1'],
  [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], '::1'],
  [[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 1], '2001:db8::ab01'],
  [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1], '10.0.0.1'],
  [[], ''],
])('the address %j is %s', (bytes, text) => {
  expect(formatAddress(Uint8Array.from(bytes))).toBe(text);
});
