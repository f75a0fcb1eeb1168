import { parentPort } from 'node:worker_threads';

import { fromPartition, recordAt, toPartition } from '../../src/workers/messages.ts';
import type { HostBatch } from '../../src/workers/messages.ts';
import { PartitionOutbox } from '../../src/workers/outbox.ts';

/** The far end of the mailbox cases: takes each record apart and answers it, but applies nothing. */
const outbox = new PartitionOutbox();
parentPort?.on('message', (batch: HostBatch) => {
  for (let at = 0; at < batch.records.length;) {
    const record = recordAt(batch.records, at);
    at += record.length;
    if (record[0] === toPartition.register) outbox.add([fromPartition.applied, record[1], 1]);
  }
  parentPort?.postMessage(outbox.take());
});
