import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';

/**
 * A port that nobody listens on. A server that is to start again on its port must be told it the first time, too: on a port that the system
 * chose uWebSockets.js sets no SO_REUSEADDR, and connections that it closed first hold the port for a minute.
 */
export function findFreePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => {
        resolve(port);
      });
    });
  });
}
