import { deepEqual } from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';

import { ioThreads } from './io-threads.ts';
import { RawClient } from './raw-client.ts';

export interface Stats {
  readonly sessions: number;
  readonly leases: number;
  readonly registrations: number;
  readonly counters: Readonly<Record<string, number>>;
}

type ServerConfig = NonNullable<Parameters<typeof startServer>[0]>;

/**
 * A server with decent company: one client that holds a service of two instances, and one that watches it. After anything that a
 * test does to the server, {@link expectUnharmed} says whether they would have noticed.
 */
export class Witness {
  readonly server: Server;
  readonly provider: RawClient;
  readonly watcher: RawClient;
  #state: unknown;
  #list: unknown;
  #stats: Stats | undefined;

  private constructor(server: Server, provider: RawClient, watcher: RawClient) {
    this.server = server;
    this.provider = provider;
    this.watcher = watcher;
  }

  /** Changes are pushed without gathering, so that an unwanted push is there before the next answer; a short grace saves waiting. */
  static async start(config: ServerConfig = {}): Promise<Witness> {
    const server = await startServer({
      port: 0,
      ioThreads,
      partitions: 2,
      logLevel: 'silent',
      warmUpMs: 0,
      coalesceWindowMinMs: 0,
      coalesceWindowMaxMs: 0,
      disconnectGraceMs: 100,
      drainTimeoutMs: 0,
      ...config,
    });
    const provider = await RawClient.open(server.address.url);
    const watcher = await RawClient.open(server.address.url);
    const witness = new Witness(server, provider, watcher);
    for (const client of [provider, watcher]) await client.request('session.open', { client: 'witness' });
    for (const port of [1, 2]) {
      await provider.request('instance.register', { service: 'known', instance: { host: 'known.example', port } });
    }
    witness.#state = await watcher.request('service.subscribe', { service: 'known' });
    witness.#list = await watcher.request('service.list', {});
    witness.#stats = await witness.readStats();
    return witness;
  }

  get url(): string {
    return this.server.address.url;
  }

  get port(): number {
    return this.server.address.port;
  }

  get httpPort(): number {
    return this.server.address.httpPort!;
  }

  get httpUrl(): string {
    return this.server.address.httpUrl!;
  }

  /** A client of its own, open as servers with `openRequired` want it. */
  async openClient(): Promise<RawClient> {
    const client = await RawClient.open(this.url);
    await client.request('session.open', { client: 'test' });
    return client;
  }

  async readStats(): Promise<Stats> {
    const response = await fetch(`${this.httpUrl}/v1/stats`);
    return (await response.json()) as Stats;
  }

  /** How far a counter of `GET /v1/stats` has come; 0 if nothing was counted. */
  async readCounter(name: string): Promise<number> {
    return (await this.readStats()).counters[name] ?? 0;
  }

  /** A newcomer is served, the state is what it was, the watcher heard nothing, and nothing is left behind. */
  async expectUnharmed(): Promise<void> {
    await this.expectNothingLeft();
    const newcomer = await this.openClient();
    deepEqual(await newcomer.request('service.query', { service: 'known' }), this.#state);
    deepEqual(await newcomer.request('service.list', {}), this.#list);
    newcomer.close();
    await newcomer.closed;
    // Two rounds to the owner: a push that was under way has overtaken the second answer.
    for (let round = 0; round < 2; round++) {
      deepEqual(await this.watcher.request('service.query', { service: 'known' }), this.#state);
    }
    deepEqual(this.watcher.pendingNotifications, []);
    deepEqual(this.provider.pendingNotifications, []);
  }

  /** Sessions, leases and registrations come back to what they were at the start. */
  async expectNothingLeft(timeoutMs = 5000): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    const expected = pickHoldings(this.#stats!);
    for (;;) {
      const found = pickHoldings(await this.readStats());
      if (isDeepStrictEqual(found, expected)) return;
      if (performance.now() > deadlineMs) deepEqual(found, expected);
      await delay(10);
    }
  }

  async stop(): Promise<void> {
    this.provider.close();
    this.watcher.close();
    await this.server.stop();
  }
}

/** What sessions hold, without the counters, which only ever rise. */
function pickHoldings({ sessions, leases, registrations }: Stats): object {
  return { sessions, leases, registrations };
}
