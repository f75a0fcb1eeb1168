import { nowMs } from './clock.ts';

/** Below this rate the last part of each wait is spent asking again and again: timers alone are late by up to a millisecond. */
const exactRateMax = 200;

/**
 * Calls `send` for each of `count` items at its intended moment or as soon after as possible, whatever comes back meanwhile (open loop). An item
 * that is late does not move those after it.
 */
export function runSchedule(
  count: number,
  rate: number,
  intendedAtMs: (item: number) => number,
  send: (item: number, atMs: number) => void,
): Promise<void> {
  return new Promise((resolve) => {
    let next = 0;
    const step = (): void => {
      let now = nowMs();
      while (next < count && intendedAtMs(next) <= now) {
        send(next, now);
        next += 1;
        now = nowMs();
      }
      if (next >= count) {
        resolve();
        return;
      }
      const waitMs = intendedAtMs(next) - now;
      if (waitMs > 2) setTimeout(step, waitMs - 1.5);
      else if (rate <= exactRateMax) setImmediate(step);
      else setTimeout(step, 1);
    };
    step();
  });
}

export function waitUntil(momentMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, Math.max(0, momentMs - nowMs()));
  });
}

/** Whether some work is done by then. */
export async function isDoneBy(work: Promise<unknown>, momentMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, momentMs - nowMs()), false);
  });
  const isDone = await Promise.race([work.then(() => true), late]);
  clearTimeout(timer);
  return isDone;
}
