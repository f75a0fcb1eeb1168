import { nowMs } from './clock.ts';
import type { Beat, LoadOrders, LoadPlan, OrderName, VerifyOrder, VerifyOutcome } from './load-orders.ts';
import { runChurn, runDeploy } from './load-propagation.ts';
import { LoadRegistering } from './load-registering.ts';
import { openSessions } from './load-session.ts';
import type { LoadSession } from './load-session.ts';
import { runStorm } from './load-storm.ts';
import { LoadTraffic } from './load-traffic.ts';
import { ChangeOrder } from './population.ts';
import { buildAsk, requestKinds } from './requests.ts';
import { isDoneBy, waitUntil } from './schedule.ts';

type Order<K extends OrderName> = (params: LoadOrders[K]['params']) => Promise<LoadOrders[K]['result']>;
type Orders = { readonly [K in Exclude<OrderName, 'prepare'>]: Order<K> };

const subscriptionsAtOnce = 500;
const askTimeoutMs = 10_000;
const verifyEveryMs = 50;

/** The part of the load that one process carries. */
export interface LoadPart {
  readonly orders: Orders;
  /** What was done since the last beat. */
  beat(): Beat;
}

export function createLoadPart(plan: LoadPlan, onFailure: (error: Error) => void): LoadPart {
  const traffic = new LoadTraffic(plan, onFailure);
  const { providers, readers, counters } = traffic;
  const registering = new LoadRegistering(traffic);
  const orders: Orders = {
    open: ({ who }) => open(traffic, who === 'providers' ? providers : readers.sessions),
    register: (order) => registering.register(order),
    subscribe: () => subscribe(traffic),
    churn: (order) => runChurn(traffic, order),
    stall: async ({ percent }) => ({ readers: readers.stall(percent) }),
    resume: async () => {
      readers.resume();
      return null;
    },
    deploy: (order) => runDeploy(traffic, order),
    introduce: () => introduce(traffic),
    storm: (order) => runStorm(traffic, registering, order),
    tally: async () => counters.readTallies({ pushes: 0, pushBytes: 0 }),
    verify: (order) => verify(traffic, order),
    ask: () => ask(traffic),
    close: () => close(traffic),
  };
  return { orders, beat: () => counters.beat(traffic.openSessions.length) };
}

async function open(
  { plan, counters }: LoadTraffic,
  sessions: readonly LoadSession[],
): Promise<LoadOrders['open']['result']> {
  const startedAtMs = nowMs();
  await openSessions(sessions, plan.endpoint);
  return { tookMs: nowMs() - startedAtMs, refusals: counters.refusals };
}

async function subscribe(traffic: LoadTraffic): Promise<LoadOrders['subscribe']['result']> {
  const { readers } = traffic;
  const startedAtMs = nowMs();
  let awaited = readers.countSubscriptions();
  if (awaited === 0) return { tookMs: 0 };
  await new Promise<void>((resolve) => {
    // A list can be large: so many answers at a time that neither side has to hold all of them.
    const queue = readers.subscriptions();
    const send = (): void => {
      const { value, done } = queue.next();
      if (done !== true) traffic.sendSubscribe(value.session, value.view);
    };
    traffic.onAcknowledged = (_session, kind) => {
      if (kind !== requestKinds.subscribe) return;
      awaited -= 1;
      send();
      if (awaited === 0) resolve();
    };
    for (let i = 0; i < subscriptionsAtOnce; i += 1) send();
  });
  return { tookMs: nowMs() - startedAtMs };
}

async function introduce(traffic: LoadTraffic): Promise<LoadOrders['introduce']['result']> {
  await Promise.all(traffic.providers.map((session) => traffic.openSession(session, undefined)));
  return { introduced: traffic.providers.length };
}

/** Looks again until all is as it should be, or time is up. */
async function verify(
  { plan, readers }: LoadTraffic,
  { changes, holds, settleMs }: VerifyOrder,
): Promise<VerifyOutcome> {
  const { population } = plan;
  const marks = new Int32Array(population.instances);
  if (holds !== 'all') for (let i = holds === 'even' ? 1 : 0; i < marks.length; i += 2) marks[i] = -1;
  const order = new ChangeOrder(population);
  for (let change = 0; change < changes; change += 1) marks[order.instanceOf(change)] = change + 1;
  const untilMs = nowMs() + settleMs;
  for (;;) {
    const found = readers.compare((instance) => marks[instance]!);
    if (found.wrongViews === 0 || nowMs() > untilMs) return found;
    await waitUntil(nowMs() + verifyEveryMs);
  }
}

async function ask(traffic: LoadTraffic): Promise<LoadOrders['ask']['result']> {
  const sessions = traffic.openSessions;
  let answered = 0;
  const done = new Promise<void>((resolve) => {
    traffic.onAcknowledged = (_session, kind) => {
      if (kind !== requestKinds.ask) return;
      answered += 1;
      if (answered === sessions.length) resolve();
    };
    if (sessions.length === 0) resolve();
  });
  for (const session of sessions) session.send(buildAsk(session.index));
  await isDoneBy(done, nowMs() + askTimeoutMs);
  return { answered, sessions: sessions.length };
}

async function close({ providers, readers }: LoadTraffic): Promise<null> {
  // Readers first: then nobody is left to be told what goes.
  await Promise.all(readers.sessions.map((session) => session.close()));
  await Promise.all(providers.map((session) => session.close()));
  return null;
}
