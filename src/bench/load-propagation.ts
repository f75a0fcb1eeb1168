import { nowMs } from './clock.ts';
import { packHistogram } from './histogram.ts';
import type { PushCounts } from './load-counters.ts';
import type { ChurnOrder, DeployOrder, PropagationOutcome } from './load-orders.ts';
import type { LoadSession } from './load-session.ts';
import type { LoadTraffic } from './load-traffic.ts';
import { ChangeOrder, providerOf, serviceOf } from './population.ts';
import { Propagation } from './propagation.ts';
import { requestKinds } from './requests.ts';
import { isDoneBy, runSchedule, waitUntil } from './schedule.ts';

type Ended = Pick<PropagationOutcome, 'sentAtMs' | 'ackAtMs' | 'awaited' | 'isSettled'>;

/** Changes instances on a schedule, whatever comes back, and records when each change reaches its readers. */
export async function runChurn(traffic: LoadTraffic, order: ChurnOrder): Promise<PropagationOutcome> {
  const { plan, readers } = traffic;
  const { population, parts } = plan;
  const changeOrder = new ChangeOrder(population);
  const intendedAtMs = (change: number): number => order.startAtMs + ((change - order.firstChange) * 1000) / order.rate;
  const propagation = new Propagation(order.firstChange, order.changes, intendedAtMs);
  const watchers = readers.countWatchers();
  const mine: number[] = [];
  let awaited = 0;
  for (let change = order.firstChange; change < order.firstChange + order.changes; change += 1) {
    const instance = changeOrder.instanceOf(change);
    awaited += watchers[serviceOf(population, instance)]!;
    if (traffic.providerOf(instance) !== undefined) mine.push(change);
  }
  const [sentAtMs, ackAtMs] = [createMoments(order.changes), createMoments(order.changes)];
  propagation.await(awaited);
  const before = begin(traffic, propagation, false);
  let acks = 0;
  const acknowledged = new Promise<void>((resolve) => {
    traffic.onAcknowledged = (_session, kind, index) => {
      if (kind !== requestKinds.change) return;
      ackAtMs[index - order.firstChange] = nowMs();
      acks += 1;
      if (acks === mine.length) resolve();
    };
    if (mine.length === 0) resolve();
  });
  await runSchedule(
    mine.length,
    order.rate / parts,
    (item) => intendedAtMs(mine[item]!),
    (item, atMs) => {
      const change = mine[item]!;
      sentAtMs[change - order.firstChange] = atMs;
      traffic.sendChange(change, changeOrder.instanceOf(change));
    },
  );
  const endAtMs = order.startAtMs + (order.changes * 1000) / order.rate;
  const isSettled = await isDoneBy(Promise.all([acknowledged, propagation.settled]), endAtMs + order.settleMs);
  return end(traffic, propagation, before, { sentAtMs, ackAtMs, awaited, isSettled });
}

/** Restarts the providers, batch after batch: each closes its session and comes back with another instance. */
export async function runDeploy(traffic: LoadTraffic, order: DeployOrder): Promise<PropagationOutcome> {
  const { plan, readers } = traffic;
  const { population, endpoint } = plan;
  const batchAtMs = (provider: number): number =>
    order.startAtMs + Math.floor(provider / order.batch) * order.batchEveryMs;
  const intendedAtMs = (instance: number): number =>
    batchAtMs(providerOf(population, instance)) + (instance % 2 === 0 ? 0 : order.restartMs);
  const propagation = new Propagation(0, population.instances, intendedAtMs);
  const [sentAtMs, ackAtMs] = [createMoments(population.instances), createMoments(population.instances)];
  const awaited = population.instances * readers.countWatchers()[0]!;
  propagation.await(awaited);
  const before = begin(traffic, propagation, true);
  const registered = new Map<LoadSession, () => void>();
  traffic.onAcknowledged = (session, kind, index) => {
    if (kind !== requestKinds.register) return;
    ackAtMs[index] = nowMs();
    registered.get(session)?.();
  };
  const restart = async (session: LoadSession): Promise<void> => {
    const { first } = traffic.instancesOf(session);
    await waitUntil(intendedAtMs(first));
    sentAtMs[first] = nowMs();
    await session.close();
    await waitUntil(intendedAtMs(first + 1));
    sentAtMs[first + 1] = nowMs();
    await session.open(endpoint);
    await new Promise<void>((resolve) => {
      registered.set(session, resolve);
      traffic.sendRegister(session, first + 1);
    });
  };
  const restarted = Promise.all(traffic.providers.map(restart));
  const endAtMs = intendedAtMs(population.instances - 1);
  const isSettled = await isDoneBy(Promise.all([restarted, propagation.settled]), endAtMs + order.settleMs);
  return end(traffic, propagation, before, { sentAtMs, ackAtMs, awaited, isSettled });
}

function begin({ counters, readers }: LoadTraffic, propagation: Propagation, isDeploy: boolean): PushCounts {
  const before = counters.begin();
  readers.observe(propagation, isDeploy);
  return before;
}

function end(
  { counters, readers }: LoadTraffic,
  propagation: Propagation,
  before: PushCounts,
  ended: Ended,
): PropagationOutcome {
  readers.observe(undefined, false);
  propagation.finish();
  const { firstAtMs, lastAtMs, deliveries, received } = propagation;
  const each = packHistogram(propagation.each);
  return { ...counters.readTallies(before), ...ended, firstAtMs, lastAtMs, deliveries, received, each };
}

function createMoments(count: number): Float64Array {
  return new Float64Array(count).fill(Number.NaN);
}
