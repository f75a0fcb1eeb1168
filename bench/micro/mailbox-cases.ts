import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

import { forEachFromPartition, toPartition } from '../../src/workers/messages.ts';
import type { Field, HostBatch, PartitionBatch, ToPartition } from '../../src/workers/messages.ts';
import { buildInstance } from '../load/requests.ts';
import type { MicroCase } from './micro-case.ts';
import { sink } from './micro-case.ts';

/** Batches of registrations to a thread that answers each record, and back. */
async function createRoundTrip(recordsPerBatch: number): Promise<MicroCase> {
  const worker = new Worker(new URL('echo-process.js', import.meta.url));
  await once(worker, 'online');
  const records: Field[] = [];
  for (let index = 0; index < recordsPerBatch; index++) {
    const instance = buildInstance(index, 0);
    const key = `public/DEFAULT/orders-${1000 + index}`;
    const record: ToPartition = [toPartition.register, index + 1, 7, key, instance.id, JSON.stringify(instance)];
    records.push(...record);
  }
  return {
    operations: recordsPerBatch,
    run: () =>
      new Promise((resolve) => {
        worker.once('message', (batch: PartitionBatch) => {
          forEachFromPartition(batch, (record) => sink(record[0]));
          resolve();
        });
        worker.postMessage({ batch: 1, epoch: 1, records } satisfies HostBatch);
      }),
    stop: () => void worker.terminate(),
  };
}

export const mailboxCases: Readonly<Record<'mailboxOf1' | 'mailboxOf64', () => Promise<MicroCase>>> = {
  mailboxOf1: () => createRoundTrip(1),
  mailboxOf64: () => createRoundTrip(64),
};
