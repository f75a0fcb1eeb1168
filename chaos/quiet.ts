import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';

import { parseServiceKey, serviceKey } from '../src/protocol/service-key.ts';
import { slotOf } from '../src/slots/slot.ts';
import { isShown } from '../test/support/marked-content.ts';
import { SubscriberView } from '../test/support/subscriber-view.ts';
import { bulkyService, services } from './catalog.ts';
import { compareClaims } from './claims.ts';
import type { Crowd } from './crowd.ts';
import { readMarks } from './judge.ts';
import type { RegistryProcess } from './registry-process.ts';
import type { SteadyClock } from './steady-clock.ts';
import type { Tally } from './tally.ts';

/** After everything is quiet views must agree within this, in milliseconds. */
const convergeWithinMs = 2000;
const quietWithinMs = 60_000;

/** Waits until nothing is under way any more and everybody who has gone must be forgotten; says what does not come to rest. */
export async function waitForQuiet(
  registry: RegistryProcess,
  crowd: Crowd,
  clock: SteadyClock,
): Promise<string | undefined> {
  const deadlineMs = performance.now() + quietWithinMs;
  for (;;) {
    const { partitions, move, requestsWaiting } = await registry.readStats();
    const waiting = partitions.filter(({ state }) => state !== 'ready').length;
    const unanswered = crowd.reading().filter((actor) => actor.unanswered > 0);
    const { pending, superseded } = crowd.returns;
    const isQuiet =
      waiting === 0 &&
      !move.isRunning &&
      requestsWaiting === 0 &&
      unanswered.length === 0 &&
      pending === 0 &&
      superseded.size === 0;
    if (isQuiet && clock.nowMs > crowd.fates.goneByMs) return undefined;
    if (performance.now() > deadlineMs) {
      const names = unanswered.map(({ fate }) => fate.name).join(', ');
      const standing = [...superseded].map(({ fate }) => fate.name).join(', ');
      return `no rest: ${waiting} partitions are not ready, ${requestsWaiting} requests wait, move ${JSON.stringify(move)}, not answered: ${names}; ${pending} are on their way back; still connected though taken over: ${standing}`;
    }
    await delay(20);
  }
}

/** Views, queries, session logs, partitions and table, all of one mind; says what is not. `strays`: services of which nobody knows who has registered them. */
export async function compareAll(
  registry: RegistryProcess,
  crowd: Crowd,
  tally: Tally,
  strays: ReadonlySet<string>,
): Promise<string | undefined> {
  const startMs = performance.now();
  let difference: string | undefined;
  do {
    difference = await findDifference(registry, crowd, tally, strays);
    if (difference === undefined) break;
    await delay(20);
  } while (performance.now() - startMs < convergeWithinMs);
  tally.barriers += 1;
  tally.convergenceMaxMs = Math.max(tally.convergenceMaxMs, Math.round(performance.now() - startMs));
  return difference;
}

async function findDifference(
  registry: RegistryProcess,
  crowd: Crowd,
  tally: Tally,
  strays: ReadonlySet<string>,
): Promise<string | undefined> {
  const { logged, held, owners } = await registry.inspect();
  const logs = new Map<string, Map<string, number>>();
  const perSlot = new Map<number, number>();
  for (const { key, id, fragment, isHidden } of logged) {
    // Another session's claim shows in its place.
    if (isHidden) continue;
    const log = logs.get(key) ?? new Map<string, number>();
    if (log.has(id)) return `two sessions show ${key} ${id}`;
    logs.set(key, log.set(id, readMark(fragment)));
    perSlot.set(slotOf(key), (perSlot.get(slotOf(key)) ?? 0) + 1);
  }
  for (const { partition, slot, instances } of held) {
    // Somebody watches a service that has none.
    if (instances === 0) continue;
    if (owners[slot] !== partition) return `partition ${partition} holds slot ${slot}, which is ${owners[slot]}'s`;
    if (perSlot.get(slot) !== instances) return `slot ${slot} has ${instances}, and sessions ${perSlot.get(slot)}`;
    perSlot.delete(slot);
  }
  if (perSlot.size > 0) return `no partition holds slots ${[...perSlot.keys()].join(', ')}, and sessions do`;
  const { registrations } = await registry.readStats();
  if (registrations !== logged.length) return `${registrations} registrations are counted, ${logged.length} are held`;
  const claimed = logged.filter(({ key }) => !strays.has(parseServiceKey(key).service));
  return (
    (await compareAnswers(crowd, logs, tally)) ??
    compareViews(crowd, logs, tally) ??
    (await compareClaims(crowd, logs, claimed.length, tally))
  );
}

function compareViews(crowd: Crowd, logs: Map<string, Map<string, number>>, tally: Tally): string | undefined {
  let compared = 0;
  for (const actor of crowd.reading()) {
    for (const [service, view] of actor.views) {
      const marks = readMarks(view);
      const log = logs.get(serviceKey({ service })) ?? new Map<string, number>();
      const expected = new Map([...log].filter(([, mark]) => isShown(view.filter, mark)));
      if (!isSame(marks, expected)) {
        return `the view of ${actor.fate.name} of ${service} is ${word(marks)} at ${view.version}, and sessions hold ${word(expected)}`;
      }
      compared += 1;
    }
  }
  tally.viewsCompared += compared;
  return undefined;
}

/** Asks for every service, and judges what sessions hold by what clients were told. */
async function compareAnswers(
  crowd: Crowd,
  logs: Map<string, Map<string, number>>,
  tally: Tally,
): Promise<string | undefined> {
  const asker = crowd.reading()[0] ?? (await crowd.join());
  if (asker === undefined) return 'nobody can ask';
  for (const service of [...services, bulkyService]) {
    const view = new SubscriberView();
    const answer = await asker.ask('service.query', { service });
    if (answer?.result === undefined) return `a query of ${service} gets ${JSON.stringify(answer?.error)}`;
    view.begin(answer.result as never);
    const expected = logs.get(serviceKey({ service })) ?? new Map<string, number>();
    const marks = readMarks(view);
    if (!isSame(marks, expected))
      return `${service} is answered as ${word(marks)}, and sessions hold ${word(expected)}`;
    const wrong = crowd.judge.ledger.judge(service, Number.MAX_SAFE_INTEGER, marks, performance.now());
    if (wrong !== undefined) return `in quiet: ${wrong}`;
    tally.servicesCompared += 1;
  }
  return undefined;
}

function readMark(fragment: string): number {
  const { metadata } = JSON.parse(fragment) as { metadata?: { mark?: string } };
  return Number(metadata?.mark);
}

function isSame(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean {
  return isDeepStrictEqual(new Map(a), new Map(b));
}

function word(marks: ReadonlyMap<string, number>): string {
  return `{${[...marks].map(([id, mark]) => `${id} ${mark}`).join(', ')}}`;
}
