import { setTimeout as sleep } from 'node:timers/promises';

import type { Target } from '../load/connection.ts';
import { UsageMeter } from '../load/usage-meter.ts';
import { readRssBytes } from '../process-usage.ts';
import { buildContent, instanceId } from './content.ts';
import type { PeerClient, PeerDriver } from './driver.ts';
import type { PeerOutcome, PeerWorkload } from './peer-workloads.ts';

/** How many clients connect at a time. */
const connectsAtOnce = 100;
const services = 256;
/** Each client gives so many instances other content by turns: every registration changes something, and nothing grows. */
const instancesPerClient = 64;
/** Registrations under way while instances are put in of which only the memory matters. */
const fillInFlight = 16;

/** Does one piece of work with clients of a peer, and closes them. */
export async function runPeerWorkload(
  driver: PeerDriver,
  target: Target,
  workload: PeerWorkload,
): Promise<PeerOutcome> {
  switch (workload.kind) {
    case 'register':
      return runRegister(driver, target, workload);
    case 'fanOut':
      return runFanOut(driver, target, workload);
    case 'memory':
      return runMemory(driver, target, workload);
    default:
      return workload satisfies never;
  }
}

function serviceOf(instance: number): string {
  return `orders-${1000 + (instance % services)}`;
}

/** A closed loop: each client asks for the next when one of those under way has been acknowledged. */
async function runRegister(
  driver: PeerDriver,
  target: Target,
  { clients: count, inFlight, warmUpMs, measureMs }: Extract<PeerWorkload, { kind: 'register' }>,
): Promise<PeerOutcome> {
  const clients = await connectAll(driver, target, count);
  let acks = 0;
  const over = new AbortController();
  const run = async (client: PeerClient, first: number, step: number): Promise<void> => {
    for (let turn = 0; !over.signal.aborted; turn++) {
      const instance = first + ((turn * step) % instancesPerClient);
      await client.register(serviceOf(instance), instanceId(instance), buildContent(turn));
      acks += 1;
    }
  };
  const loops = clients.flatMap((client, i) =>
    Array.from({ length: inFlight }, (_, lane) => run(client, i * instancesPerClient + lane, inFlight)),
  );
  await sleep(warmUpMs);
  const meter = new UsageMeter(target.pid);
  const before = acks;
  await sleep(measureMs);
  const usage = meter.read();
  const measured = acks - before;
  over.abort();
  await Promise.all(loops);
  await closeAll(clients);
  return { kind: 'register', usage, acks: measured };
}

/** One instance changes; the next change comes a pause after all watchers have been told of it. */
async function runFanOut(
  driver: PeerDriver,
  target: Target,
  { watchers: count, changes, pauseMs }: Extract<PeerWorkload, { kind: 'fanOut' }>,
): Promise<PeerOutcome> {
  const publisher = await driver.connect(target);
  const id = instanceId(0);
  await publisher.register('hot', id, buildContent(0));
  const watchers = await connectAll(driver, target, count);
  let awaited = buildContent(0);
  let missing = 0;
  let tellAll: (() => void) | undefined;
  await inWaves(watchers, (watcher) =>
    watcher.watch('hot', (content) => {
      if (content !== awaited) return;
      missing -= 1;
      if (missing === 0) tellAll?.();
    }),
  );
  const change = async (revision: number): Promise<number> => {
    const told = new Promise<void>((resolve) => (tellAll = resolve));
    missing = watchers.length;
    awaited = buildContent(revision);
    const sinceMs = performance.now();
    await Promise.all([publisher.register('hot', id, awaited), told]);
    const tookMs = performance.now() - sinceMs;
    await sleep(pauseMs);
    return tookMs;
  };
  // The first ones warm up.
  let revision = 0;
  for (let i = 0; i < Math.min(3, changes); i++) await change((revision += 1));
  const meter = new UsageMeter(target.pid);
  const toLastMs: number[] = [];
  for (let i = 0; i < changes; i++) toLastMs.push(await change((revision += 1)));
  const usage = meter.read();
  await closeAll([...watchers, publisher]);
  return { kind: 'fanOut', usage, changes, toLastMs };
}

/** How much a server grows by instances that stay. */
async function runMemory(
  driver: PeerDriver,
  target: Target,
  { clients: count, instances, settleMs }: Extract<PeerWorkload, { kind: 'memory' }>,
): Promise<PeerOutcome> {
  const clients = await connectAll(driver, target, count);
  // Code that runs for the first time takes memory, too, but not for each instance.
  const fill = async (from: number, to: number): Promise<void> => {
    let next = from;
    const run = async (client: PeerClient): Promise<void> => {
      while (next < to) {
        const instance = next;
        next += 1;
        await client.register(serviceOf(instance), instanceId(instance), buildContent(instance));
      }
    };
    await Promise.all(clients.flatMap((client) => Array.from({ length: fillInFlight }, () => run(client))));
    await sleep(settleMs);
  };
  const warmUp = Math.ceil(instances / 10);
  await fill(0, warmUp);
  const before = readRssBytes(target.pid);
  await fill(warmUp, warmUp + instances);
  const rssBytes = readRssBytes(target.pid);
  await closeAll(clients);
  return { kind: 'memory', bytesEach: (rssBytes - before) / instances, rssBytes };
}

async function connectAll(driver: PeerDriver, target: Target, count: number): Promise<PeerClient[]> {
  const clients: PeerClient[] = [];
  await inWaves(
    Array.from({ length: count }, (_, i) => i),
    async () => void clients.push(await driver.connect(target)),
  );
  return clients;
}

async function closeAll(clients: readonly PeerClient[]): Promise<void> {
  await inWaves(clients, (client) => client.close());
}

async function inWaves<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += connectsAtOnce) {
    await Promise.all(items.slice(at, at + connectsAtOnce).map((item) => run(item)));
  }
}
