/**
 * Loaded into the registry's process ahead of the `slotcast` command (`node --import`): finds the server that the command starts, and does with it what the
 * checker asks, which no client can. The command itself knows nothing of it.
 */
import { isMainThread } from 'node:worker_threads';

import type { RunningServer } from '../src/main/server.ts';
import type { Order, Report } from './settings.ts';

function report(message: Report): void {
  if (process.connected) process.send?.(message);
}

async function obey(server: RunningServer | undefined, order: Order): Promise<unknown> {
  if (server === undefined) throw new Error('no server has been started yet');
  switch (order.kind) {
    case 'inflict':
      server.inflict(order.partition, order.fault);
      return undefined;
    case 'killEdge':
      server.killEdge(0);
      return undefined;
    case 'killStore':
      server.store.kill();
      return undefined;
    case 'resize':
      return server.resize(order.partitions);
    case 'inspect':
      return server.inspect();
    default:
      return order satisfies never;
  }
}

async function attach(): Promise<void> {
  const { RunningServer } = await import('../src/main/server.ts');
  let running: RunningServer | undefined;
  const start = RunningServer.start.bind(RunningServer);
  RunningServer.start = async (...given: Parameters<typeof start>): Promise<RunningServer> => {
    report({ kind: 'starting', atNs: String(process.hrtime.bigint()) });
    running = await start(...given);
    return running;
  };
  process.on('message', ({ number, order }: { number: number; order: Order }) => {
    obey(running, order).then(
      (result) => {
        report({ kind: 'done', number, result });
      },
      (error: unknown) => {
        report({ kind: 'failed', number, message: String(error) });
      },
    );
  });
  // Whoever started it has gone.
  process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'));
}

// Threads of the process load it as well.
if (isMainThread) await attach();
