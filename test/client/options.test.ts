import { expect, test } from 'vitest';

import { OptionError } from '../../src/client/errors.ts';
import { utf8Bytes } from '../../src/client/frames.ts';
import { resolveOptions } from '../../src/client/options.ts';

test('the path of sessions is added where a server has none', () => {
  const { urls } = resolveOptions({ servers: ['ws://h:1', 'wss://h/', 'http://h:2', 'ws://h/proxy/v1/session?x=1'] });
  expect(urls).toEqual([
    'ws://h:1/v1/session',
    'wss://h/v1/session',
    'ws://h:2/v1/session',
    'ws://h/proxy/v1/session?x=1',
  ]);
});

test.each([
  ['servers', { servers: [] }],
  ['servers', { servers: ['nonsense'] }],
  ['token', { servers: ['ws://h'], token: 7 as unknown as string }],
  ['servers', { servers: ['ftp://h'] }],
  ['requestTimeoutMs', { servers: ['ws://h'], requestTimeoutMs: 0 }],
  ['keepAliveMs', { servers: ['ws://h'], keepAliveMs: 2 ** 31 }],
  ['backoffMinMs', { servers: ['ws://h'], backoffMinMs: 1.5 }],
  ['backoffMaxMs', { servers: ['ws://h'], backoffMinMs: 200, backoffMaxMs: 100 }],
])('a wrong %s is refused by name: %j', (option, options) => {
  expect(() => resolveOptions(options)).toThrow(OptionError);
  expect(() => resolveOptions(options)).toThrow(`option ${option} must be`);
});

test('bytes of UTF-8 are counted as an encoder makes them', () => {
  for (const text of ['', 'abc', 'é', '€', '😀', 'a😀é€z'])
    expect(utf8Bytes(text)).toBe(new TextEncoder().encode(text).length);
});
