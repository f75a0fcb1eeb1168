import type { Logger } from 'pino';

import type { Counters } from '../runtime/counters.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import type { TlsMaterial } from '../tls/tls-material.ts';
import type { HostRecovery } from './host-recovery.ts';
import type { Hosts } from './hosts.ts';
import type { LeaseLedger } from './lease-ledger.ts';
import type { HostPort, RemoteHost } from './remote-host.ts';

/** Where HTTP is served. */
export interface EdgeAddress {
  readonly host: string;
  readonly port: number;
}

/** One life of what runs an edge: a thread, or in simulations its session host alone. */
export interface EdgeLife {
  /** To its session host. */
  readonly port: HostPort;
  /** Resolves when it can receive messages; rejects if it ends before. */
  readonly ready: Promise<void>;
  /** Resolves, to why, when it has ended and all that it said has been heard. */
  readonly ended: Promise<Error>;
  /** Resolves to the port; rejects if it cannot be had. */
  listen(address: EdgeAddress): Promise<number>;
  stopListening(): void;
  /** Connections from now on are encrypted with this. */
  replaceTls?(material: TlsMaterial): void;
  /** Lets it close its connections, and ends it. */
  end(): Promise<void>;
  kill(reason: string): void;
  /** Rises while it lives. */
  readPulse(): number;
}

export interface EdgeSupervisorOptions {
  readonly heartbeatTimeoutMs: number;
  /** The wait before the first restart, in milliseconds; it doubles with each death that follows soon. */
  readonly restartBackoffMs: number;
  /** By which the main thread knows them. */
  readonly hosts: readonly RemoteHost[];
  readonly allHosts: Hosts;
  readonly recovery: HostRecovery;
  readonly ledger: LeaseLedger;
  readonly counters: Counters;
  readonly log: Logger;
  /** Begins a life. `sessionsBefore`: those that lives before had begun. */
  readonly createLife: (host: number, table: SlotTable, sessionsBefore: number) => EdgeLife;
  readonly delay: (ms: number) => Promise<void>;
  /** Runs the start of a thread with the descriptors that are held for it. */
  readonly lendDescriptors?: (start: () => Promise<void>) => Promise<void>;
}

/** The longest wait before a restart, and the one before it is tried again to listen, in milliseconds. */
const backoffMaxMs = 10_000;
const listenAgainMs = 1000;
/** What has lived for so long, in milliseconds, has outlived what made earlier lives end. */
const settledMs = 60_000;
/** Gaps between ticks count for at most this long, in milliseconds: after a suspension edges get the time to show that they live. */
const tickGapMaxMs = 200;

/**
 * Starts edges, watches over them, and brings back those that die (RE4). However often they do, the sessions of others continue, and callers over HTTP find the
 * door open again soon.
 */
export class EdgeSupervisor {
  readonly #edges: readonly Edge[];
  #lastTickMs = 0;

  constructor(options: EdgeSupervisorOptions) {
    this.#edges = options.hosts.map((host) => new Edge(host, options));
  }

  /** Resolves when all are ready. */
  async start(): Promise<void> {
    await Promise.all(this.#edges.map((edge) => edge.start()));
  }

  /** Resolves to where they listen, undefined if there are none; rejects if the port is in use, or the address is not this machine's. */
  async listen(address: EdgeAddress): Promise<EdgeAddress | undefined> {
    const [first, ...others] = this.#edges;
    if (first === undefined) return undefined;
    // The first says whether the port is free, or which one it is.
    const bound = await first.listen(address);
    await Promise.all(others.map((edge) => edge.listen(bound)));
    return bound;
  }

  stopListening(): void {
    for (const edge of this.#edges) edge.stopListening();
  }

  /** Connections from now on are encrypted with this. A later life begins with it. */
  replaceTls(material: TlsMaterial): void {
    for (const edge of this.#edges) edge.replaceTls(material);
  }

  /** Closes all connections, and ends all edges. */
  async end(): Promise<void> {
    await Promise.all(this.#edges.map((edge) => edge.end()));
  }

  tick(nowMs: number): void {
    const elapsedMs = Math.min(nowMs - this.#lastTickMs, tickGapMaxMs);
    this.#lastTickMs = nowMs;
    for (const edge of this.#edges) edge.tick(elapsedMs);
  }

  /** For tests: ends one, as a bug would. */
  kill(index: number): void {
    this.#edges[index]?.kill('asked to');
  }
}

class Edge {
  readonly #host: RemoteHost;
  readonly #options: EdgeSupervisorOptions;
  #life: EdgeLife | undefined;
  /** Where it listens, in this life and the next. */
  #address: EdgeAddress | undefined;
  /** For good: it listens no more, in no life. */
  #hasStopped = false;
  #isEnding = false;
  /** That followed each other soon. */
  #deaths = 0;
  #livedMs = 0;
  #lastPulse = -1;
  #silentMs = 0;

  constructor(host: RemoteHost, options: EdgeSupervisorOptions) {
    this.#host = host;
    this.#options = options;
  }

  async start(): Promise<void> {
    const life = this.#begin();
    this.#host.attach(life.port);
    await life.ready;
  }

  async listen(address: EdgeAddress): Promise<EdgeAddress> {
    if (this.#life === undefined) throw new Error('the thread that was to listen has ended');
    this.#address = { host: address.host, port: await this.#life.listen(address) };
    return this.#address;
  }

  stopListening(): void {
    this.#hasStopped = true;
    this.#life?.stopListening();
  }

  replaceTls(material: TlsMaterial): void {
    this.#life?.replaceTls?.(material);
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#life?.end();
  }

  tick(elapsedMs: number): void {
    const { heartbeatTimeoutMs } = this.#options;
    if (this.#life === undefined) return;
    this.#livedMs += elapsedMs;
    if (this.#livedMs >= settledMs) this.#deaths = 0;
    const pulse = this.#life.readPulse();
    this.#silentMs = pulse === this.#lastPulse ? this.#silentMs + elapsedMs : 0;
    this.#lastPulse = pulse;
    if (this.#silentMs < heartbeatTimeoutMs) return;
    this.#silentMs = 0;
    this.kill(`it showed no sign of life for ${heartbeatTimeoutMs} ms`);
  }

  kill(reason: string): void {
    this.#life?.kill(reason);
  }

  #begin(): EdgeLife {
    const { createLife, ledger, allHosts: hosts } = this.#options;
    const { number } = this.#host;
    const life = createLife(number, hosts.table, ledger.sessionsOf(number));
    this.#life = life;
    this.#livedMs = 0;
    this.#silentMs = 0;
    // Whoever waits for it hears.
    life.ready.catch(() => undefined);
    void life.ended.then((cause) => this.#onEnd(life, cause));
    return life;
  }

  async #onEnd(life: EdgeLife, cause: Error): Promise<void> {
    if (this.#life !== life) return;
    this.#life = undefined;
    this.#host.detach();
    if (this.#isEnding) return;
    const { counters, log, recovery } = this.#options;
    this.#deaths += 1;
    counters.count('edge_thread_died');
    const { number: host } = this.#host;
    log.error({ host, err: cause }, `a thread that serves HTTP died: ${cause.message}`);
    recovery.forget(host);
    await this.#revive();
  }

  /** A thread that ends meanwhile starts this again by its own end. */
  async #revive(): Promise<void> {
    const { restartBackoffMs, log, ledger, recovery, delay, lendDescriptors = (start) => start() } = this.#options;
    const { number: host } = this.#host;
    await delay(Math.min(backoffMaxMs, restartBackoffMs * 2 ** (this.#deaths - 1)));
    if (this.#isEnding) return;
    const life = this.#begin();
    try {
      await lendDescriptors(() => life.ready);
    } catch {
      return;
    }
    const isBack = await recovery.recover(host, () => {
      if (this.#life !== life) return undefined;
      this.#host.attach(life.port);
      return ledger.leasesOf(host);
    });
    if (this.#life !== life || this.#isEnding) return;
    // A partition died while it was sending what it holds: from the beginning.
    if (!isBack) life.kill('it could not be told what had been registered there');
    else if (await this.#listenAgain(life)) log.warn({ host }, 'a thread that serves HTTP is back');
  }

  async #listenAgain(life: EdgeLife): Promise<boolean> {
    while (this.#address !== undefined && this.#life === life && !this.#hasStopped) {
      try {
        await this.listen(this.#address);
        return true;
      } catch (error) {
        // It was asked to stop while it was starting to listen.
        if (this.#hasStopped) return false;
        this.#options.log.error(
          { host: this.#host.number, err: error },
          'HTTP cannot be served, and that is tried again',
        );
        await this.#options.delay(listenAgainMs);
      }
    }
    return false;
  }
}
