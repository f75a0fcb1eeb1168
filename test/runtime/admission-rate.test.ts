import { expect, test } from 'vitest';

import { resolveConfig } from '../../src/config/config-checking.ts';
import { Admission } from '../../src/edges/socket/admission.ts';
import { AdmissionRate, admissionRateBytes } from '../../src/runtime/admission-rate.ts';
import { Counters } from '../../src/runtime/counters.ts';
import { DescriptorBudget, descriptorBudgetBytes } from '../../src/runtime/descriptors.ts';
import { LocalSessionCounts } from '../../src/runtime/session-counts.ts';
import type { UpgradeCall } from '../../src/transport/transport.ts';

/** As on so many threads: each has its own view of one memory. */
class Scene {
  nowNs = 1_000_000_000n;
  readonly threads: readonly AdmissionRate[];

  constructor(threads: number, perSecond: number, burst: number) {
    const memory = new SharedArrayBuffer(admissionRateBytes);
    const options = { perSecond, burst, readNowNs: () => this.nowNs };
    this.threads = Array.from({ length: threads }, () => new AdmissionRate(memory, options));
  }

  advance(ms: number): void {
    this.nowNs += BigInt(ms) * 1_000_000n;
  }

  /** How many of so many come in, taking turns among threads. */
  admit(tries: number): number {
    return Array.from({ length: tries }, (_, i) => this.threads[i % this.threads.length]!.admit()).filter(Boolean)
      .length;
  }
}

test.each([1, 3])('[LI2] over %i threads together, a burst comes in at once, then so many a second', (threads) => {
  const scene = new Scene(threads, 100, 5);
  expect(scene.admit(20)).toBe(5);
  scene.advance(9);
  expect(scene.admit(20)).toBe(0);
  scene.advance(1);
  expect(scene.admit(20)).toBe(1);
  scene.advance(30);
  expect(scene.admit(20)).toBe(3);
  // A long rest gives no more than a burst.
  scene.advance(60_000);
  expect(scene.admit(20)).toBe(5);
});

test('[LI2] who tries and is refused does not push back those who come later', () => {
  const scene = new Scene(2, 10, 1);
  expect(scene.admit(1000)).toBe(1);
  scene.advance(100);
  expect(scene.admit(1000)).toBe(1);
});

test('crowds and requests under way are those of all threads', () => {
  const [one, two] = new Scene(2, 1, 1).threads as [AdmissionRate, AdmissionRate];
  one.noteThrottled();
  expect([one.throttledCount, two.throttledCount]).toEqual([1, 1]);
  expect(one.shareRequests(5)).toBe(5);
  expect(two.shareRequests(7)).toBe(12);
  expect(one.shareRequests(2)).toBe(9);
  expect(two.shareRequests(0)).toBe(2);
});

test('[LI1, LI2] while more than arrivalRequestsMax requests are under way, nobody comes in, and each is told another time', () => {
  const scene = new Scene(1, 1000, 100);
  const [admissionRate] = scene.threads as [AdmissionRate];
  const counters = new Counters();
  let requests = 9;
  const descriptorsMemory = new SharedArrayBuffer(descriptorBudgetBytes);
  new DescriptorBudget(descriptorsMemory).set(100);
  let dice = 0;
  const admission = new Admission({
    config: resolveConfig({ arrivalRequestsMax: 8 }),
    counters,
    counts: new LocalSessionCounts(),
    admissionRate,
    descriptors: new DescriptorBudget(descriptorsMemory),
    isDraining: () => false,
    readRequestsInFlight: () => requests,
    onOriginRefused: () => undefined,
    readHttpPort: () => 0,
    random: () => (dice += 0.25),
  });
  const call: UpgradeCall = {
    path: '/v1/session',
    upgrade: 'websocket',
    version: '13',
    key: 'dGhlIHNhbXBsZSBub25jZQ==',
    origin: '',
    host: '',
    protocols: '',
    address: '127.0.0.1',
  };
  const waitsMs = [1125, 1750, 2375].map((retryAfterMs) => {
    const verdict = admission.judge(call);
    if (verdict.accept) throw new Error('let in');
    const { status, body, headers } = verdict.answer;
    expect(JSON.parse(body)).toMatchObject({
      error: { code: 'busy', limit: 'arrivalRequestsMax', max: 8, retryAfterMs },
    });
    return [status, headers['Retry-After']];
  });
  expect(waitsMs).toEqual([
    [503, '2'],
    [503, '2'],
    [503, '3'],
  ]);
  expect(counters.snapshot()).toMatchObject({ upgrade_refused_load: 3 });
  expect(admissionRate.throttledCount).toBe(3);
  // They took nobody's place.
  requests = 8;
  expect(admission.judge(call)).toEqual({ accept: true, protocol: '' });
  expect(scene.admit(200)).toBe(99);
});
