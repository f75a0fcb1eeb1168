import { expect, test } from 'vitest';

import { HttpApi } from '../../src/edges/http/http-api.ts';
import { httpOperations } from '../../src/protocol/http-operations.ts';
import { formatAddress, isLoopbackAddress } from '../../src/transport/addresses.ts';
import type { HttpCall } from '../../src/transport/transport.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';

test.each(Object.entries(httpOperations).filter(([, { isLocal }]) => isLocal))(
  '%s answers only callers on the loopback address',
  async (_, { method, path }) => {
    const registry = await InProcessRegistry.start();
    const done: string[] = [];
    const refusals: string[] = [];
    const api = new HttpApi({
      host: registry.host,
      config: registry.config,
      isOriginAllowed: () => true,
      countRefusal: (code) => refusals.push(code),
      administration: {
        waitingFor: [],
        describePartitions: () => Promise.resolve({}),
        resize: () => void done.push('resize'),
        rebalance: () => void done.push('rebalance'),
        sendAway: () => Promise.resolve(done.push('sendAway')),
        countSessions: () => Promise.resolve(0),
        listSessions: () => Promise.resolve({ sessions: [] }),
        describeGuard: () => Promise.resolve({ ...registry.guard.describe(), heldSessions: 0, heldInstances: 0 }),
        releaseGuard: () => {
          done.push('release');
          return Promise.resolve();
        },
        readStats: () => Promise.resolve({}),
      },
      readMetrics: () => Promise.resolve({ contentType: 'text/plain', text: '' }),
      documents: { openapi: '{}', openrpc: '{}' },
    });
    const call: HttpCall = {
      method,
      path,
      query: '',
      origin: '',
      contentType: 'application/json',
      address: '10.0.0.1',
      isLocal: false,
      body: { text: path === '/v1/partitions' ? '{"partitions":2}' : '{}' },
      room: 1_048_576,
    };
    const refused = await api.handle(call);
    expect([refused.status, JSON.parse(refused.body)]).toMatchObject([403, { error: { code: 'forbidden' } }]);
    expect([done, refusals]).toEqual([[], ['forbidden']]);
    expect((await api.handle({ ...call, isLocal: true })).status).toBe(200);
  },
);

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
