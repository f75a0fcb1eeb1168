import { startServer } from '../src/main/index.ts';
import { endWithParent } from './child-life.ts';
import type { ServerReport } from './subjects.ts';

/** The registry as it is started by default, on a free port, but letting in as many at a time as come: load does not come again. */
endWithParent();
const partitions = Number(process.argv[2] ?? 1);
const ioThreads = Number(process.argv[3] ?? 0);
const transport = process.argv[4] === 'node' ? 'node' : 'auto';
const { address } = await startServer({
  port: 0,
  partitions,
  ioThreads,
  transport,
  sessionsPerSecondMax: 1_000_000,
  sessionsBurstMax: 1_000_000,
  logLevel: 'warn',
});
process.send?.({ kind: 'listening', host: address.host, port: address.port } satisfies ServerReport);
