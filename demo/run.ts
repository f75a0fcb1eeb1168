/**
 * A registry and seven small services that find each other: a gateway calls `orders`, which calls `stock`, three instances each. While
 * requests flow, one instance of `stock` is killed and another is added. Prints what happened, and ends with status 0 if all went as
 * it should.
 */
import { Fleet } from './fleet.ts';
import type { RunningService } from './fleet.ts';
import { nowMs } from './messages.ts';
import { Traffic } from './traffic.ts';
import type { Sample } from './traffic.ts';

const requestsPerSecond = 100;
/** The registry's default: how long a broken connection keeps its registrations. */
const graceMs = 1000;
const killed = 'stock-2';
const added = 'stock-4';

interface Outcome {
  readonly requests: number;
  readonly failed: number;
  /** Requests that were sent after every caller knew that the killed instance was gone, and failed on it all the same. */
  readonly failedOnKilledAfterKnown: number;
  /** From the kill to each caller knowing. */
  readonly killKnownAfterMs: Readonly<Record<string, number>>;
  /** From the last step of the registration to each caller knowing; negative when a caller knew before the new instance had its answer. */
  readonly addKnownAfterMs: Readonly<Record<string, number>>;
  readonly firstServedAfterMs: number;
  readonly servedByAdded: number;
  readonly graceMs: number;
  readonly pids: readonly number[];
}

const isJson = process.argv.includes('--json');
const startedAtMs = nowMs();

function say(text: string): void {
  if (!isJson) console.log(`${((nowMs() - startedAtMs) / 1000).toFixed(1).padStart(5)} s  ${text}`);
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

async function play(fleet: Fleet): Promise<Outcome> {
  const registry = await fleet.startRegistry();
  say(`The registry listens on ${registry}.`);
  const start = (name: string, service: string, calls?: string): Promise<RunningService> =>
    fleet.startService({ name, service, calls, registry });
  await Promise.all(['stock-1', 'stock-2', 'stock-3'].map((name) => start(name, 'stock')));
  await Promise.all(['orders-1', 'orders-2', 'orders-3'].map((name) => start(name, 'orders', 'stock')));
  const gateway = await start('gateway', 'gateway', 'orders');
  say('Seven services have registered, each a process of its own: a gateway, orders-1 to 3, stock-1 to 3.');
  const traffic = new Traffic(`http://127.0.0.1:${gateway.port}/`, requestsPerSecond);
  say(
    `${requestsPerSecond} requests a second flow: gateway → one of orders → one of stock, as the registry tells them.`,
  );
  await waitForSamples(traffic, 200, () => true);
  const killKnownAfterMs = await kill(fleet, traffic.samples);
  await waitForSamples(traffic, 100, ({ isOk }) => isOk);
  const { addKnownAfterMs, newcomer } = await add(fleet, start);
  await waitForSamples(traffic, 25, ({ path }) => path.includes(added));
  await traffic.stop();
  const { samples } = traffic;
  const knownAtMs = Math.max(...Object.values(killKnownAfterMs)) + killedAtMs;
  return {
    requests: samples.length,
    failed: samples.filter(({ isOk }) => !isOk).length,
    failedOnKilledAfterKnown: samples.filter(
      ({ sentAtMs, failure }) => sentAtMs > knownAtMs && failure.startsWith(`${killed} `),
    ).length,
    killKnownAfterMs,
    addKnownAfterMs,
    firstServedAfterMs: (newcomer.servedAtMs ?? Number.POSITIVE_INFINITY) - newcomer.readyAtMs,
    servedByAdded: samples.filter(({ path }) => path.includes(added)).length,
    graceMs,
    pids: fleet.pids,
  };
}

/** How long anything may take that the demo waits for, in milliseconds: a machine may have other things to do. */
const patienceMs = 20_000;

/** Waits until so many requests more, of those that count, have been answered. */
async function waitForSamples({ samples }: Traffic, count: number, counts: (sample: Sample) => boolean): Promise<void> {
  const from = samples.length;
  const deadlineMs = nowMs() + patienceMs;
  while (samples.slice(from).filter(counts).length < count) {
    if (nowMs() > deadlineMs) throw new Error(`fewer than ${count} requests in ${patienceMs} ms`);
    await delay(20);
  }
}

let killedAtMs = 0;

async function kill(fleet: Fleet, samples: readonly Sample[]): Promise<Record<string, number>> {
  const before = samples.length;
  killedAtMs = nowMs();
  fleet.services.find(({ name }) => name === killed)?.process.kill('SIGKILL');
  say(
    `${killed} is killed. Nobody said goodbye: its connection broke, and it may come back within the grace of ${graceMs} ms.`,
  );
  const known = await waitForCallers(fleet, killedAtMs, (ids) => !ids.includes(killed));
  const failed = samples.slice(before).filter(({ isOk }) => !isOk).length;
  say(`Every caller knows that ${killed} is gone: ${list(known)}. Until then ${failed} requests failed on it.`);
  return known;
}

async function add(
  fleet: Fleet,
  start: (name: string, service: string) => Promise<RunningService>,
): Promise<{ addKnownAfterMs: Record<string, number>; newcomer: RunningService }> {
  const newcomer = await start(added, 'stock');
  say(`${added} is new, and has registered.`);
  const addKnownAfterMs = await waitForCallers(fleet, newcomer.readyAtMs, (ids) => ids.includes(added));
  say(`Every caller knows ${added}, counted from its registration being acknowledged: ${list(addKnownAfterMs)}.`);
  return { addKnownAfterMs, newcomer };
}

function list(times: Readonly<Record<string, number>>): string {
  return Object.entries(times)
    .map(([name, ms]) => `${name} after ${ms < 1 ? 'less than 1' : ms.toFixed(0)} ms`)
    .join(', ');
}

/** Waits until every caller of `stock` has a list that is as wanted; gives how long after `sinceMs` each first had it. */
async function waitForCallers(
  fleet: Fleet,
  sinceMs: number,
  isWanted: (ids: readonly string[]) => boolean,
): Promise<Record<string, number>> {
  const deadlineMs = nowMs() + patienceMs;
  const callers = fleet.callersOf('stock');
  for (;;) {
    const known = callers.map(({ name, views }) => ({
      name,
      view: views.findLast(({ ids }, i) => isWanted(ids) && (i === 0 || !isWanted(views[i - 1]?.ids ?? []))),
    }));
    if (callers.every(({ views }) => isWanted(views.at(-1)?.ids ?? []))) {
      return Object.fromEntries(known.map(({ name, view }) => [name, (view?.atMs ?? Number.NaN) - sinceMs]));
    }
    if (nowMs() > deadlineMs) throw new Error('the callers of stock were not told in time');
    await delay(5);
  }
}

function conclude(outcome: Outcome): boolean {
  const { requests, failed, failedOnKilledAfterKnown, servedByAdded, firstServedAfterMs } = outcome;
  say(
    `${added} served its first request ${firstServedAfterMs.toFixed(0)} ms after it had registered, and ${servedByAdded} in all.`,
  );
  say(
    `${requests} requests, ${failed} failed; of those sent after every caller knew, ${failedOnKilledAfterKnown} on ${killed}.`,
  );
  return failedOnKilledAfterKnown === 0 && servedByAdded > 0 && requests > 0;
}

const fleet = new Fleet();
process.once('SIGINT', () => {
  void fleet.stop().then(() => process.exit(130));
});
try {
  const outcome = await play(fleet);
  process.exitCode = conclude(outcome) ? 0 : 1;
  if (isJson) console.log(JSON.stringify(outcome));
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await fleet.stop();
  say('All processes have ended.');
}
