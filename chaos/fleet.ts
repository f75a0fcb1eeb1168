import { setTimeout as delay } from 'node:timers/promises';

import { connect } from '../src/client/index.ts';
import type { Client, Subscription } from '../src/client/index.ts';
import { RegistryProcess } from './registry-process.ts';
import type { Ending } from './registry-process.ts';
import type { SettingValues } from './settings.ts';

export interface FleetOptions {
  /** Each registers one instance of the same service, and watches it. */
  readonly clients: number;
  /** How long the registry is down, each time anew, in seconds. */
  readonly downSeconds: readonly number[];
  readonly ioThreads: number;
  /** Settings by which the registry breaks what it promises; the run must find it. */
  readonly broken: SettingValues;
  readonly print: (line: string) => void;
}

export interface FleetResult {
  /** What was wrong, for each restart. */
  readonly failures: readonly string[];
}

const service = 'fleet';
/** How long all may take until they are connected again and say that their lists are fresh, in milliseconds. */
const freshWithinMs = 60_000;
const endings: readonly Ending[] = ['SIGKILL', 'SIGTERM'];

/** The list of one client, and the least that it has ever shown. */
class Watcher {
  readonly list: Subscription;
  readonly name: string;
  least: number;
  leastFresh: number;
  versionsBack = 0;
  #version: number;

  constructor(list: Subscription, name: string) {
    this.list = list;
    this.name = name;
    this.least = list.instances.length;
    this.leastFresh = list.instances.length;
    this.#version = list.version;
    list.on('change', ({ instances, version }) => {
      this.least = Math.min(this.least, instances.length);
      if (version < this.#version) this.versionsBack += 1;
      this.#version = version;
      this.#look();
    });
    list.on('fresh', () => {
      this.#look();
    });
  }

  get isFresh(): boolean {
    return !this.list.isStale;
  }

  #look(): void {
    if (this.isFresh) this.leastFresh = Math.min(this.leastFresh, this.list.instances.length);
  }
}

/**
 * A fleet of the project's own clients, everything as it is by default, and a registry that goes and comes back: nobody's list may shrink (PU5).
 */
export async function runFleet({
  clients: size,
  downSeconds,
  ioThreads,
  broken,
  print,
}: FleetOptions): Promise<FleetResult> {
  const failures: string[] = [];
  const registry = await RegistryProcess.start({
    settings: { logLevel: 'fatal', ioThreads, ...broken },
    onEnd: (reason) => failures.push(reason),
  });
  const clients = Array.from({ length: size }, () => connect({ servers: [registry.url] }));
  try {
    await Promise.all(clients.map((client, i) => client.register(service, { host: `h${i}`, port: 80 })));
    const lists = await Promise.all(clients.map((client) => client.subscribe(service)));
    await waitUntil(() => lists.every(({ instances }) => instances.length === size));
    const watchers = lists.map((list, i) => new Watcher(list, `client ${i + 1}`));
    for (const [turn, seconds] of downSeconds.entries()) {
      const ending = endings[turn % endings.length]!;
      await registry.end(ending);
      await delay(seconds * 1000);
      await registry.begin();
      const freshAfterMs = await waitUntil(() => isBack(clients, watchers, size));
      const found = judge(watchers, size, freshAfterMs);
      failures.push(...found.map((wrong) => `down for ${seconds} s: ${wrong}`));
      print(
        `down for ${seconds} s after ${ending}: the shortest list had ${Math.min(...watchers.map(({ least }) => least))} of ${size}; ` +
          `all were back and fresh ${freshAfterMs === undefined ? 'never' : `${(freshAfterMs / 1000).toFixed(1)} s`} after the registry`,
      );
    }
  } finally {
    await Promise.all(clients.map((client) => client.close()));
    await registry.end('SIGTERM');
  }
  return { failures };
}

function isBack(clients: readonly Client[], watchers: readonly Watcher[], size: number): boolean {
  return (
    clients.every(({ isConnected }) => isConnected) &&
    watchers.every(({ isFresh, list }) => isFresh && list.instances.length === size)
  );
}

function judge(watchers: readonly Watcher[], size: number, freshAfterMs: number | undefined): string[] {
  const wrong: string[] = [];
  if (freshAfterMs === undefined) wrong.push(`not all are back and fresh after ${freshWithinMs} ms`);
  for (const { name, least, leastFresh, versionsBack } of watchers) {
    if (leastFresh < size)
      wrong.push(`[PU5] the list of ${name} fell to ${leastFresh} of ${size} and said that it is fresh`);
    else if (least < size) wrong.push(`[PU5] the list of ${name} fell to ${least} of ${size}`);
    if (versionsBack > 0) wrong.push(`the version of the list of ${name} went back ${versionsBack} times`);
  }
  return wrong;
}

/** Resolves with how long it took, in milliseconds, or with undefined after too long. */
async function waitUntil(isSo: () => boolean): Promise<number | undefined> {
  const startMs = performance.now();
  while (!isSo()) {
    if (performance.now() > startMs + freshWithinMs) return undefined;
    await delay(20);
  }
  return performance.now() - startMs;
}
