import { createServer } from 'node:net';

/** Below the ports that systems give to connections by themselves, from 32768 on. */
const lowest = 20_000;
const highest = 32_000;

/**
 * A port that nobody listens on. A server that is to start again on its port must be told it the first time, too: on a port that the system
 * chose uWebSockets.js sets no SO_REUSEADDR, and connections that it closed first hold the port for a minute. It is none that the system would give to
 * a connection while the server is down, either: a client that tries to reach it could even meet itself there.
 */
export function findFreePort(): Promise<number> {
  const port = lowest + Math.floor(Math.random() * (highest - lowest));
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => {
      resolve(findFreePort());
    });
    probe.listen(port, '127.0.0.1', () => {
      probe.close(() => {
        resolve(port);
      });
    });
  });
}
