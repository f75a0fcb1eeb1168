import { connect } from 'node:net';

import { afterEach, expect, test } from 'vitest';

import { ConsoleFiles } from '../../src/edges/http/console-files.ts';
import { HttpServer } from '../../src/edges/http/http-server.ts';
import type { Operation } from '../../src/edges/http/operations.ts';
import { httpOperations } from '../../src/protocol/http-operations.ts';
import type { OperationId } from '../../src/protocol/http-operations.ts';
import { findFreePort } from '../support/free-port.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';

let server: HttpServer;
afterEach(() => {
  server.close();
});

/** None of what it serves is asked for here. */
const served = Object.keys(httpOperations).map((id): [string, Operation] => [
  id,
  () => ({ code: 'not_found', message: 'not served here' }),
]);

async function createHttpServer(): Promise<HttpServer> {
  const { config, core, counters } = await InProcessRegistry.start({ partitions: 1 });
  return new HttpServer({
    config,
    core,
    counters,
    tls: undefined,
    consoleFiles: ConsoleFiles.read('', 'ws'),
    readSessionPort: () => Promise.resolve(undefined),
    operations: Object.fromEntries(served) as Record<OperationId, Operation>,
  });
}

/** Whether somebody listens there. */
function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('error', () => {
      resolve(false);
    });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

test.each(['127.0.0.1', 'localhost'])(
  '[HT1] what is told to stop listening on %s does not begin to, however far it has come',
  async (host) => {
    for (let turns = 0; turns < 20; turns++) {
      const port = await findFreePort();
      server = await createHttpServer();
      const outcome = server.listen({ host, port, isShared: false }).then(
        () => 'listened',
        (error: unknown) => (error as Error).message,
      );
      for (let turn = 0; turn < turns; turn++) await (turns % 2 === 0 ? new Promise(setImmediate) : Promise.resolve());
      server.stopListening();
      expect(await canConnect(port)).toBe(false);
      // It was refused, or had listened before, and has stopped.
      expect(await outcome).toMatch(/^listened$|the server is stopping/);
      expect(await canConnect(port)).toBe(false);
      server.close();
    }
  },
);

test('[HT1] what listens says so, and what cannot says why', async () => {
  const port = await findFreePort();
  server = await createHttpServer();
  expect(await server.listen({ host: 'localhost', port, isShared: false })).toBe(port);
  const other = await createHttpServer();
  await expect(other.listen({ host: 'localhost', port, isShared: false })).rejects.toThrow(/the port is in use/);
  await expect(other.listen({ host: 'no-such-host.invalid', port: 0, isShared: false })).rejects.toThrow(
    /cannot listen on no-such-host\.invalid:0/,
  );
  other.close();
});
