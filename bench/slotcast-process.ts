import { startServer } from '../src/main/index.ts';
import { endWithParent } from './child-life.ts';
import type { ServerReport, SlotcastSettings } from './subjects.ts';

/** The registry as it is started by default, on a free port, but letting in as many at a time as come: load does not come again. */
endWithParent();
// Of the same build: what started this has written it.
const settings = JSON.parse(process.argv[2] ?? '{}') as SlotcastSettings;
const { address } = await startServer({
  port: 0,
  partitions: 1,
  ioThreads: 0,
  sessionsPerSecondMax: 1_000_000,
  sessionsBurstMax: 1_000_000,
  logLevel: 'warn',
  ...settings,
});
process.send?.({ kind: 'listening', host: address.host, port: address.port } satisfies ServerReport);
