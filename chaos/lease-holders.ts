import { setTimeout as delay } from 'node:timers/promises';

import type { RegistryProcess } from './registry-process.ts';

export interface LeaseHoldersOptions {
  readonly registry: RegistryProcess;
  readonly onWrong: (message: string) => void;
  /** Something was asked and answered. */
  readonly onDone: (operation: string) => void;
}

const holdersMax = 4;
/** Of each lease. */
const instancesMax = 3;
/** Longer than any run: nothing ends but what is ended. */
const ttlMs = 600_000;
const pauseMs = 60;

interface Holder {
  readonly service: string;
  readonly lease: string;
  readonly grantedAtMs: number;
  /** What the registry is asked in this life of it counts. */
  life: number;
  /** The registry may have ended before it had noted the lease. */
  isDoubtful: boolean;
  /** Acknowledged, and when. */
  readonly ports: Map<number, number>;
}

interface HttpAnswer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/**
 * Callers over HTTP: they register by leases, renew them, and read what they registered. Whatever dies, what was acknowledged is there, also in the next life of the process, if it
 * was noted in time (RE4, SE4, WS3).
 */
export class LeaseHolders {
  readonly #options: LeaseHoldersOptions;
  readonly #holders: Set<Holder> = new Set();
  /** Services of which nobody knows whether they have a lease: the answer did not come back. */
  readonly strays: Set<string> = new Set();
  #working: Promise<void> = Promise.resolve();
  #isStopping = true;
  #number = 0;

  constructor(options: LeaseHoldersOptions) {
    this.#options = options;
  }

  begin(): void {
    if (!this.#isStopping) return;
    this.#isStopping = false;
    this.#working = this.#work();
  }

  /** The registry has ended; its next life has the leases, but for what was answered from `lostFromMs` on, which it may not know. */
  noteEnd(lostFromMs: number): void {
    for (const holder of this.#holders) {
      holder.life += 1;
      holder.isDoubtful ||= holder.grantedAtMs >= lostFromMs;
      for (const [port, atMs] of holder.ports) if (atMs >= lostFromMs) holder.ports.delete(port);
    }
  }

  /** Makes no more calls; leaves the leases as they are. */
  async end(): Promise<void> {
    this.#isStopping = true;
    await this.#working;
  }

  /** Ends all leases; resolves when nothing is left of them. */
  async settle(): Promise<void> {
    await this.end();
    for (const holder of this.#holders) {
      const { lease, life } = holder;
      while (life === this.#options.registry.life && this.#options.registry.isUp) {
        if ((await this.#call(holder, 'DELETE', `/v1/leases/${lease}`)) !== undefined) break;
        await delay(pauseMs);
      }
    }
    this.#holders.clear();
  }

  async #work(): Promise<void> {
    for (let turns = 0; !this.#isStopping; turns++) {
      const { registry, onWrong } = this.#options;
      try {
        if (registry.isUp) {
          if (this.#holders.size < holdersMax) await this.#grant();
          else for (const holder of this.#holders) await this.#use(holder, turns);
        }
      } catch (error) {
        onWrong(`a caller over HTTP: ${String(error)}`);
        return;
      }
      await delay(pauseMs);
    }
  }

  async #grant(): Promise<void> {
    const { life } = this.#options.registry;
    this.#number += 1;
    const service = `leased-${this.#number}`;
    const answer = await this.#call({ life }, 'PUT', '/v1/instances', register(service, 1));
    if (answer === undefined) this.strays.add(service);
    if (answer?.status !== 200) return;
    const atMs = performance.now();
    const lease = String(answer.body.lease);
    this.#holders.add({ service, lease, life, grantedAtMs: atMs, isDoubtful: false, ports: new Map([[1, atMs]]) });
    this.#options.onDone('lease granted');
  }

  async #use(holder: Holder, turns: number): Promise<void> {
    const { onWrong, onDone } = this.#options;
    const { service, lease, ports } = holder;
    const renewed = await this.#call(holder, 'PUT', `/v1/leases/${lease}`);
    if (renewed === undefined) return;
    if (renewed.status === 404) {
      if (!holder.isDoubtful) onWrong(`the lease of ${service} is gone, and holds ${ports.size}`);
      this.#holders.delete(holder);
      return;
    }
    if (renewed.status === 200) holder.isDoubtful = false;
    onDone('lease renewed');
    const port = 1 + (turns % instancesMax);
    const registered = await this.#call(holder, 'PUT', '/v1/instances', { ...register(service, port), lease });
    if (registered?.status === 200) ports.set(port, performance.now());
    const read = await this.#call(holder, 'GET', `/v1/instances?service=${service}`);
    if (read?.status !== 200) return;
    const found = new Set((read.body.instances as { port: number }[]).map((instance) => instance.port));
    const lost = [...ports.keys()].filter((known) => !found.has(known));
    if (lost.length > 0) onWrong(`${service} has no instance of port ${lost.join(', ')}, which its lease holds`);
    onDone('leased service read');
  }

  /** Undefined: nothing came back, since the registry, or the thread that serves HTTP, is down. */
  async #call(
    { life }: Pick<Holder, 'life'>,
    method: string,
    path: string,
    body?: object,
  ): Promise<HttpAnswer | undefined> {
    const { registry } = this.#options;
    const content =
      body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
    try {
      const response = await fetch(`http://127.0.0.1:${registry.httpPort}${path}`, { method, ...content });
      const answer = { status: response.status, body: (await response.json()) as Record<string, unknown> };
      return registry.isUp && registry.life === life ? answer : undefined;
    } catch {
      return undefined;
    }
  }
}

function register(service: string, port: number): object {
  return { service, instance: { host: 'h', port }, ttlMs };
}
