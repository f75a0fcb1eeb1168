import { startFaultyServer } from '../../src/main/testing.ts';
import { endWithParent } from '../child-life.ts';
import type { ServerReport } from '../subjects.ts';

/** What the parent asks of the server; each is answered with `done`. */
export type FaultyRequest =
  | { readonly kind: 'kill'; readonly partition: number }
  | { readonly kind: 'resize'; readonly partitions: number };

/** The registry with room for many instances, and a hand on its partitions. */
endWithParent();
const server = await startFaultyServer({
  port: 0,
  partitions: Number(process.argv[2] ?? 1),
  logLevel: 'fatal',
  warmUpMs: 0,
  registrationsMax: 1_000_000,
  slotWaitTimeoutMs: 120_000,
  partitionRestartsMax: 1000,
});
process.on('message', (request: FaultyRequest) => {
  if (request.kind === 'kill') {
    server.inflict(request.partition, 'exit');
    process.send?.('done');
  } else {
    server.resize(request.partitions).then(
      () => process.send?.('done'),
      (error: unknown) => {
        throw error;
      },
    );
  }
});
const { host, port, httpUrl } = server.address;
process.send?.({ kind: 'listening', host, port, httpUrl } satisfies ServerReport);
