import { startServer } from 'slotcast';
import { expect, onTestFinished, test } from 'vitest';

import { RawClient } from '../support/raw-client.ts';

interface Guard {
  readonly isHolding: boolean;
  readonly missingSessions: number;
  readonly heldSessions: number;
  readonly sessions: number;
}

/** Connections are handed out in turn, so every fourth is on the same thread. */
const threads = 4;

async function startWith(clients: number): Promise<{ clients: RawClient[]; readGuard: () => Promise<Guard> }> {
  const server = await startServer({
    port: 0,
    ioThreads: threads,
    partitions: 1,
    disconnectGraceMs: 200,
    lossSessionsMin: 10,
    lossSessionsPercent: 30,
    logLevel: 'silent',
  });
  onTestFinished(() => server.stop());
  const opened: RawClient[] = [];
  for (let i = 0; i < clients; i++) {
    const client = await RawClient.open(server.address.url);
    await client.request('instance.register', { service: `service-${i}`, instance: { host: 'h', port: 1 } });
    opened.push(client);
  }
  const readGuard = async (): Promise<Guard> => {
    const response = await fetch(`${server.address.httpUrl}/v1/guard`);
    return (await response.json()) as Guard;
  };
  return { clients: opened, readGuard };
}

test('[SE2] a thread that loses most of its sessions is no mass loss while the others have theirs', async () => {
  const { clients, readGuard } = await startWith(40);
  for (const [i, client] of clients.entries()) if (i % threads === 0 && i < 36) client.terminate();
  await expect
    .poll(readGuard, { timeout: 10_000 })
    .toMatchObject({ isHolding: false, missingSessions: 0, sessions: 31 });
});

test('[SE2] [PU5] a few sessions of each thread are one loss, which is held back as a whole', async () => {
  const { clients, readGuard } = await startWith(20);
  for (const client of clients.slice(0, 12)) client.terminate();
  await expect.poll(readGuard, { timeout: 10_000 }).toMatchObject({ isHolding: true, heldSessions: 12, sessions: 20 });
});
