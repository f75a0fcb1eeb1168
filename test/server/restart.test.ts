import { setTimeout as delay } from 'node:timers/promises';

import { connect } from 'slotcast/client';
import type { Client } from 'slotcast/client';
import { afterEach, expect, test, vi } from 'vitest';

import { RunningCommand } from '../support/command.ts';
import { findFreePort } from '../support/free-port.ts';
import { ioThreads } from '../support/io-threads.ts';

const clients: Client[] = [];
let running: RunningCommand | undefined;

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  running?.signal('SIGKILL');
  await running?.exited;
});

interface Ports {
  readonly port: number;
  readonly httpPort: number;
}

/** Starts the registry anew on its ports, with nothing of its last life but that. */
async function start({ port, httpPort }: Ports, ...flags: string[]): Promise<RunningCommand> {
  const settings = [
    '--port',
    String(port),
    '--http-port',
    String(httpPort),
    '--io-threads',
    String(ioThreads),
    '--partitions',
    '2',
    '--log-level',
    'silent',
  ];
  running = new RunningCommand(['start', '--in-memory', ...settings, ...flags], {}, { lifeMaxMs: 90_000 });
  await running.waitFor(/listens on/);
  return running;
}

async function read({ httpPort }: Ports, path: string): Promise<{ status: number; body: object }> {
  const response = await fetch(`http://127.0.0.1:${httpPort}${path}`);
  return { status: response.status, body: (await response.json()) as object };
}

async function untilWarm(ports: Ports): Promise<void> {
  await vi.waitFor(async () => expect((await read(ports, '/health/ready')).status).toBe(200), { timeout: 30_000 });
}

/** A caller that has no connection: it renews a lease, and registers again when that is gone. */
async function keepLease({ httpPort }: Ports, signal: AbortSignal): Promise<void> {
  let lease: string | undefined;
  const put = async (path: string, body?: object): Promise<Response> =>
    fetch(`http://127.0.0.1:${httpPort}${path}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  while (!signal.aborted) {
    try {
      if (lease === undefined || (await put(`/v1/leases/${lease}`)).status === 404) {
        const answer = await put('/v1/instances', { service: 'fleet', instance: { host: 'leased', port: 1 } });
        lease = answer.ok ? ((await answer.json()) as { lease: string }).lease : undefined;
      }
    } catch {
      // It is down; the lease may outlive that.
    }
    await delay(300);
  }
}

test.each(['SIGKILL', 'SIGTERM'] as const)(
  '[PU5] [SE4] nobody is shown fewer when the registry is restarted by %s, nor when the door is narrow',
  async (signal) => {
    const ports = { port: await findFreePort(), httpPort: await findFreePort() };
    const first = await start(ports, '--warm-up-ms', '0', '--drain-timeout-ms', '300', '--reconnect-spread-ms', '200');
    const stopRenewing = new AbortController();
    const renewing = keepLease(ports, stopRenewing.signal);
    const url = `ws://127.0.0.1:${ports.port}`;
    for (let i = 0; i < 12; i++) clients.push(connect({ servers: [url], backoffMinMs: 50, backoffMaxMs: 1000 }));
    await Promise.all(clients.map((client, i) => client.register('fleet', { host: `h${i}`, port: 1 })));
    const views = await Promise.all(clients.map((client) => client.subscribe('fleet')));
    await vi.waitFor(() => expect(views.map(({ instances }) => instances.length)).toEqual(views.map(() => 13)), 10_000);
    const shown: number[] = [];
    const told: number[] = [];
    for (const view of views) {
      let last = view.version;
      view.on('change', ({ instances, version }) => {
        shown.push(instances.length);
        if (version <= last) told.push(version);
        last = version;
      });
    }
    first.signal(signal);
    await first.exited;
    await delay(1500);
    // The last come in seconds after the first.
    await start(ports, '--warm-up-ms', '2000', '--sessions-per-second-max', '4', '--sessions-burst-max', '4');
    expect(await read(ports, '/health/started')).toMatchObject({ status: 200, body: { status: 'started' } });
    expect(await read(ports, '/health/ready')).toMatchObject({ status: 503, body: { status: 'warming' } });
    expect((await read(ports, '/v1/stats')).body).toMatchObject({ warming: true });
    expect((await read(ports, '/v1/instances?service=fleet')).body).toMatchObject({ warming: true });
    await untilWarm(ports);
    expect((await read(ports, '/v1/stats')).body).toMatchObject({ warming: false, subscriptionsWarming: 0 });
    expect((await read(ports, '/v1/instances?service=fleet')).body).not.toHaveProperty('warming');
    expect(shown.filter((count) => count < 13)).toEqual([]);
    expect(told).toEqual([]);
    // They are told of changes again.
    stopRenewing.abort();
    await renewing;
    await clients.pop()!.close();
    await vi.waitFor(() => expect(views[0]!.instances.length).toBe(12), 10_000);
  },
  90_000,
);
