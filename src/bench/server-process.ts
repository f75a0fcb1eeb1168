import { loadServer } from '../main/server-loading.ts';
import type { ServerReport } from './bench-server.ts';

/** The registry under test, in a process of its own, on a free port. It ends with its parent. */
const settings = JSON.parse(process.argv[2] ?? '{}') as Record<string, unknown>;
process.once('disconnect', () => process.exit(0));
// An interrupt reaches the whole group; the parent decides.
process.on('SIGINT', () => {});
try {
  const { startServer } = await loadServer();
  const server = await startServer({ port: 0, logLevel: 'error', warmUpMs: 0, ...settings });
  const { url, httpPort } = server.address;
  process.send?.({ kind: 'listening', url, httpPort, partitions: server.partitions } satisfies ServerReport);
} catch (error) {
  process.send?.({ kind: 'failed', message: (error as Error).message } satisfies ServerReport, () => process.exit(1));
}
