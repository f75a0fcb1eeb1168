/** The registry under test, a process of its own: if it dies, the checker lives to tell. Does what its parent asks. */
import { startFaultyServer } from '../src/main/testing.ts';
import type { FaultyServer } from '../src/main/testing.ts';
import { settings } from './settings.ts';
import type { Order, Report } from './settings.ts';

function report(message: Report): void {
  process.send?.(message);
}

async function obey(server: FaultyServer, order: Order): Promise<unknown> {
  switch (order.kind) {
    case 'inflict':
      server.inflict(order.partition, order.fault);
      return undefined;
    case 'resize':
      return server.resize(order.partitions);
    case 'inspect':
      return server.inspect();
    case 'stop':
      await server.stop();
      process.disconnect();
      return undefined;
    default:
      return order satisfies never;
  }
}

const server = await startFaultyServer(
  { ...settings, ioThreads: Number(process.argv[2] ?? 0) },
  {
    onFatal: (error) => {
      report({ kind: 'fatal', message: error.message });
    },
  },
);
process.on('message', ({ number, order }: { number: number; order: Order }) => {
  obey(server, order).then(
    (result) => {
      if (process.connected) report({ kind: 'done', number, result });
    },
    (error: unknown) => {
      report({ kind: 'failed', number, message: String(error) });
    },
  );
});
// Whoever started it has gone.
process.on('disconnect', () => {
  void server.stop();
});
report({ kind: 'ready', port: server.address.port });
