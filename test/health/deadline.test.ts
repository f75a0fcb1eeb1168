import { Worker } from 'node:worker_threads';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { BodyMatcher } from '../../src/health/body-matcher.ts';
import type { Finding } from '../../src/health/check-core.ts';
import { probeGrpc } from '../../src/health/grpc-probe.ts';
import { probeHttp, probeTcp } from '../../src/health/http-probe.ts';
import { CheckedTargets } from '../support/checked-targets.ts';

const answering = `
const { parentPort } = require('node:worker_threads');
const server = require('node:http').createServer((request, response) => response.end('well'));
server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;
const timeoutMs = 200;

let target: Worker;
let port: number;

beforeEach(async () => {
  target = new Worker(answering, { eval: true });
  port = await new Promise<number>((resolve) => target.once('message', resolve));
});
afterEach(async () => {
  await target.terminate();
});

/** Nothing else runs on this thread meanwhile. */
function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

const route = (): Parameters<typeof probeTcp>[0] => ({ address: '127.0.0.1', host: '127.0.0.1', port, timeoutMs });
const matcher = new BodyMatcher();
const probes: Record<string, () => Promise<Finding>> = {
  tcp: async () => probeTcp(route()),
  'http, of which the status is asked': async () => probeHttp({ kind: 'http' }, route(), matcher),
  'http, of which the body is asked': async () => probeHttp({ kind: 'http', body: 'well' }, route(), matcher),
};

test.each(Object.entries(probes))('[HC4] a probe is not late because its thread was: %s', async (_, probe) => {
  const finding = probe();
  for (let i = 0; i < 3; i++) {
    block(timeoutMs * 2);
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
  expect(await finding).toMatchObject({ health: 'passing' });
});

test('[HC4] a probe of what does not answer is over about when its time is', async () => {
  const targets = new CheckedTargets();
  port = await targets.listenSilently();
  const began = performance.now();
  const findings = await Promise.all([
    probeHttp({ kind: 'http' }, route(), matcher),
    probeHttp({ kind: 'http', body: 'well' }, route(), matcher),
    probeGrpc({ kind: 'grpc' }, route()),
  ]);
  const tookMs = performance.now() - began;
  targets.stop();
  for (const { output } of findings) expect(output).toBe(`no answer within ${timeoutMs} ms`);
  expect(tookMs).toBeGreaterThan(timeoutMs - 10);
  expect(tookMs).toBeLessThan(timeoutMs * 5);
});
