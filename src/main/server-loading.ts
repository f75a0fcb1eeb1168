import type { ServerConfig } from '../config/config.ts';
import type { ChosenTransport } from '../transport/choose-transport.ts';
import type * as ServerModule from './index.ts';

/** Imports the server, which only those who run one need: commands that merely talk to a registry start sooner without it. */
export function loadServer(): Promise<typeof ServerModule> {
  return import('./index.ts');
}

/** What would hold the sockets, and why it is not the faster one. Rejects where that cannot run. */
export async function findSockets(
  config: ServerConfig,
): Promise<Pick<ChosenTransport, 'kind' | 'fallback' | 'isSuspicious'>> {
  const { chooseSockets } = await import('./socket-choice.ts');
  return await chooseSockets(config);
}
