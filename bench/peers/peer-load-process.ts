import { endWithParent } from '../child-life.ts';
import { drivers } from './drivers.ts';
import { runPeerWorkload } from './peer-load.ts';
import type { PeerReply, PeerRequest } from './peer-workloads.ts';

/** The clients: a process of its own, so that what they cost is not taken for the server's. */
endWithParent();
process.on('message', ({ peer, target, workload }: PeerRequest) => {
  runPeerWorkload(drivers[peer], target, workload).then((outcome) => reply({ kind: 'outcome', outcome }), fail);
});
process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);
process.send?.('ready');

function fail(error: unknown): void {
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.send?.({ kind: 'failure', message } satisfies PeerReply, () => process.exit(1));
}

function reply(message: PeerReply): void {
  process.send?.(message);
}
