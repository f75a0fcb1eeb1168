import { Worker } from 'node:worker_threads';

import { expect, test } from 'vitest';

import { quotaBytes } from '../../src/store/namespace-quotas.ts';

const max = 2;
const partitions = 3;
const rounds = 300_000;

/** A partition that takes and gives back in a namespace with room for a few, and reports the most that it saw of all together. */
const partition = `
const { parentPort, workerData } = require('node:worker_threads');
const { memory, seen, row, max, rounds, from } = workerData;
import(from).then(({ NamespaceQuotas }) => {
  const quotas = new NamespaceQuotas(memory, row, true);
  quotas.set([{ namespace: 'n', place: 0, instances: max }], []);
  const counts = new Int32Array(seen);
  Atomics.add(counts, 0, 1);
  while (Atomics.load(counts, 0) < workerData.partitions);
  let taken = 0;
  for (let i = 0; i < rounds; i++) {
    if (quotas.take('n/g/s', false) !== undefined) continue;
    taken += 1;
    const present = Atomics.add(counts, 1, 1) + 1;
    for (let most = Atomics.load(counts, 2); present > most; most = Atomics.load(counts, 2))
      if (Atomics.compareExchange(counts, 2, most, present) === most) break;
    Atomics.sub(counts, 1, 1);
    quotas.note('n/g/s', -1, 0);
  }
  parentPort.postMessage(taken);
});
`;

test('[SW10] partitions that take at the same time never take more together than a namespace may have', async () => {
  const memory = new SharedArrayBuffer(quotaBytes(partitions));
  const seen = new SharedArrayBuffer(12);
  const from = new URL('../../dist/src/store/namespace-quotas.js', import.meta.url).href;
  const takings = Array.from({ length: partitions }, async (_, row) => {
    const workerData = { memory, seen, row, max, rounds, partitions, from };
    const worker = new Worker(partition, { eval: true, workerData });
    return new Promise<number>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  });
  const taken = await Promise.all(takings);
  expect(Math.min(...taken)).toBeGreaterThan(0);
  expect(new Int32Array(seen)[2]).toBeLessThanOrEqual(max);
  // What was given back is there again.
  expect(new Int32Array(memory).every((count) => count === 0)).toBe(true);
});
