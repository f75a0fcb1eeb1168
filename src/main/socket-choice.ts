import { usesTls } from '../config/config.ts';
import type { ServerConfig } from '../config/config.ts';
import { chooseSecureTransport, chooseTransport, PlatformError } from '../transport/choose-transport.ts';
import type { ChosenTransport } from '../transport/choose-transport.ts';
import { canSharePorts, noSharedPorts } from '../transport/port-sharer.ts';

/** What holds the sockets of sessions. Rejects where that cannot run. */
export async function chooseSockets(
  config: Pick<ServerConfig, 'transport' | 'tlsCert' | 'ioThreads'>,
): Promise<ChosenTransport> {
  const { transport, ioThreads } = config;
  // Settings that say uws with TLS are refused as such.
  if (transport === 'uws' || !usesTls(config)) return await chooseTransport(transport);
  if (ioThreads > 0 && !canSharePorts()) throw new PlatformError(noSharedPorts);
  return await chooseSecureTransport(transport);
}
