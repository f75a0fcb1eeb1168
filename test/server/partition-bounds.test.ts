import { startFaultyServer } from 'slotcast/testing';
import type { FaultyServer } from 'slotcast/testing';
import { afterEach, expect, test } from 'vitest';

import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';

let server: FaultyServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

const usual = { port: 0, ioThreads, partitions: 1, logLevel: 'silent', drainTimeoutMs: 0 } as const;

interface Stats {
  readonly partitions: readonly { readonly state: string }[];
  readonly counters: Readonly<Record<string, number>>;
}

async function readStats(): Promise<Stats> {
  const response = await fetch(`${server!.address.httpUrl}/v1/stats`);
  return (await response.json()) as Stats;
}

/** Lets the partition die, and waits until that is known. */
async function die(): Promise<void> {
  const { counters } = await readStats();
  server!.inflict(0, 'throw');
  await expect
    .poll(async () => (await readStats()).counters['partition_died'], { timeout: 10_000 })
    .toBe((counters['partition_died'] ?? 0) + 1);
}

test('[LI1] a partition that is not ready within partitionStartTimeoutMs fails the start', async () => {
  // This thread stands still for longer, again and again, and always just before it looks at its timers: whenever the time begins, it is over before it can
  // be heard that the partition is ready.
  const memory = new Int32Array(new SharedArrayBuffer(4));
  let isOver = false;
  const standStill = (): void => {
    Atomics.wait(memory, 0, 0, 300);
    if (!isOver) setImmediate(standStill);
  };
  setImmediate(standStill);
  try {
    await expect(startFaultyServer({ ...usual, partitionStartTimeoutMs: 100 })).rejects.toThrow(/100 ms/);
  } finally {
    isOver = true;
  }
});

test('[LI1, RE3] beyond waitingRequestsMax requests for slots that are being rebuilt get busy', async () => {
  server = await startFaultyServer({ ...usual, waitingRequestsMax: 3, partitionRestartBackoffMs: 1500 });
  const client = await RawClient.open(server.address.url);
  await die();
  const asked = Array.from({ length: 5 }, () => client.request('service.query', { service: 'pay' }));
  const outcomes = await Promise.allSettled(asked);
  expect(outcomes.map(({ status }) => status).sort()).toEqual([
    'fulfilled',
    'fulfilled',
    'fulfilled',
    'rejected',
    'rejected',
  ]);
  const busy = { data: { code: 'busy', limit: 'waitingRequestsMax', max: 3, retryAfterMs: expect.any(Number) } };
  for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject(busy);
  expect((await readStats()).counters).toMatchObject({ limit_waitingRequestsMax: 2, refused_busy: 2 });
  client.close();
});

test('[LI1, RE1] one death more than partitionRestartsMax within partitionRestartWindowMs ends the registry, and no other', async () => {
  const causes: string[] = [];
  const bounds = { partitionRestartsMax: 1, partitionRestartWindowMs: 1000 };
  server = await startFaultyServer({ ...usual, ...bounds }, { onFatal: ({ message }) => causes.push(message) });
  for (let lives = 0; lives < 2; lives++) {
    await die();
    await expect.poll(async () => (await readStats()).partitions[0]?.state, { timeout: 10_000 }).toBe('ready');
    // Older than the window, a death counts no more.
    await new Promise((resolve) => setTimeout(resolve, bounds.partitionRestartWindowMs + 200));
  }
  expect(causes).toEqual([]);
  await die();
  await expect.poll(async () => (await readStats()).partitions[0]?.state, { timeout: 10_000 }).toBe('ready');
  server.inflict(0, 'throw');
  // Within the window unless the machine is very slow; then it dies once more.
  await expect
    .poll(
      () => {
        if (causes.length === 0) server?.inflict(0, 'throw');
        return causes.length;
      },
      { timeout: 10_000 },
    )
    .toBe(1);
  expect(causes[0]).toMatch(/keep dying/);
});
