import { nowMs } from './clock.ts';
import { createHistogram, packHistogram, recordMs } from './histogram.ts';
import type { StormOrder, StormOutcome } from './load-orders.ts';
import type { LoadRegistering } from './load-registering.ts';
import type { LoadSession } from './load-session.ts';
import type { LoadTraffic } from './load-traffic.ts';
import { createRandom } from './population.ts';
import { isDoneBy, waitUntil } from './schedule.ts';

/** Breaks all providers' connections, and lets them come back: by taking over their sessions, or by registering again. */
export async function runStorm(
  traffic: LoadTraffic,
  registering: LoadRegistering,
  { dropAtMs, awayMs, jitterMs, window, isResuming, withReaders, timeoutMs }: StormOrder,
): Promise<StormOutcome> {
  const { plan, counters, providers, readers } = traffic;
  const before = counters.begin();
  counters.refusals = 0;
  const random = createRandom(plan.population.seed + plan.part);
  const back = createHistogram();
  let [returned, resumed, lastBackAtMs] = [0, 0, dropAtMs];
  await waitUntil(dropAtMs);
  traffic.isStorm = true;
  for (const session of providers) session.break();
  if (withReaders) for (const session of readers.sessions) session.break();
  const comeBack = async (session: LoadSession): Promise<void> => {
    await waitUntil(dropAtMs + awayMs + random() * jitterMs);
    await session.open(plan.endpoint);
    const held = isResuming ? await traffic.openSession(session, session.secret) : undefined;
    if (held === traffic.instancesOf(session).count) resumed += 1;
    else await registering.registerSession(session, window, 1, undefined);
    lastBackAtMs = nowMs();
    recordMs(back, lastBackAtMs - dropAtMs);
    returned += 1;
  };
  const readAgain = async (session: LoadSession): Promise<void> => {
    await waitUntil(dropAtMs + awayMs);
    await session.open(plan.endpoint);
    for (const view of readers.viewsOf(session)) traffic.sendSubscribe(session, view, true);
  };
  const all = withReaders ? [...readers.sessions.map(readAgain), ...providers.map(comeBack)] : providers.map(comeBack);
  await isDoneBy(Promise.all(all), dropAtMs + awayMs + jitterMs + timeoutMs);
  traffic.isStorm = false;
  return {
    ...counters.readTallies(before),
    back: packHistogram(back),
    returned,
    resumed,
    refusals: counters.refusals,
    lastBackAtMs,
  };
}
