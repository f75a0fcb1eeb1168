import fc from 'fast-check';
import { expect, test } from 'vitest';

import { Coalescer } from '../../src/push/coalescer.ts';

interface Service {
  readonly name: string;
}

const bounds = { minMs: 20, maxMs: 100 };
const pay: Service = { name: 'pay' };
const ship: Service = { name: 'ship' };
const idle = (): boolean => false;
const behind = (): boolean => true;

/** Pushes at once what is due. */
function pushDue(coalescer: Coalescer<Service>, nowMs: number, isBehind: (service: Service) => boolean): Service[] {
  const due = coalescer.takeDue(nowMs, isBehind);
  for (const service of due) coalescer.notePushed(service);
  return due;
}

/** Changes a service `changes` times evenly until its window ends; returns the window's length. */
function runWindow(coalescer: Coalescer<Service>, beganAtMs: number, changes: number, isBehind = idle): number {
  const endsAtMs = coalescer.nextDueAt()!;
  for (let i = 0; i < changes; i++) coalescer.noteChange(pay, beganAtMs);
  expect(pushDue(coalescer, endsAtMs - 1, isBehind)).toEqual([]);
  expect(pushDue(coalescer, endsAtMs, isBehind)).toEqual(changes > 0 ? [pay] : []);
  return endsAtMs - beganAtMs;
}

/** Lengths of windows in a row, with so many changes in each. */
function runWindows(changes: readonly number[], isBehind = idle): number[] {
  const coalescer = new Coalescer<Service>(bounds);
  coalescer.noteChange(pay, 0);
  expect(pushDue(coalescer, 0, isBehind)).toEqual([pay]);
  let nowMs = 0;
  return changes.map((count) => {
    const length = runWindow(coalescer, nowMs, count, isBehind);
    nowMs += length;
    return length;
  });
}

test('[PU2] a window doubles while a service changes often, up to its bound, and halves when it does so no more', () => {
  expect(runWindows([100, 100, 100, 100, 1, 1, 1, 1])).toEqual([20, 40, 80, 100, 100, 80, 40, 20]);
});

test('[PU2] a few changes in each window do not lengthen it', () => {
  expect(runWindows([8, 8, 8, 8])).toEqual([20, 20, 20, 20]);
});

test('[PU2] while hosts are behind, one change is enough to lengthen the window', () => {
  expect(runWindows([1, 1, 1, 1], behind)).toEqual([20, 40, 80, 100]);
});

test('[PU2] a window that ends without a change is quiet: the next change goes out at once and begins a short one', () => {
  const coalescer = new Coalescer<Service>(bounds);
  coalescer.noteChange(pay, 0);
  pushDue(coalescer, 0, behind);
  coalescer.noteChange(pay, 1);
  expect(pushDue(coalescer, 20, behind)).toEqual([pay]);
  expect(coalescer.nextDueAt()).toBe(60);
  expect(pushDue(coalescer, 60, behind)).toEqual([]);
  expect(coalescer.nextDueAt()).toBeUndefined();
  coalescer.noteChange(pay, 61);
  expect(pushDue(coalescer, 61, behind)).toEqual([pay]);
  expect(coalescer.nextDueAt()).toBe(81);
});

test('windows of different lengths end each at its own time', () => {
  const coalescer = new Coalescer<Service>(bounds);
  coalescer.noteChange(pay, 0);
  pushDue(coalescer, 0, behind);
  coalescer.noteChange(pay, 1);
  pushDue(coalescer, 20, behind);
  coalescer.noteChange(pay, 21);
  coalescer.noteChange(ship, 22);
  expect(pushDue(coalescer, 22, idle)).toEqual([ship]);
  coalescer.noteChange(ship, 23);
  expect(coalescer.unpushedSince()).toBe(21);
  expect(coalescer.nextDueAt()).toBe(42);
  expect(pushDue(coalescer, 42, idle)).toEqual([ship]);
  expect(coalescer.unpushedSince()).toBe(21);
  expect(pushDue(coalescer, 60, idle)).toEqual([pay]);
  expect(coalescer.unpushedSince()).toBe(Number.POSITIVE_INFINITY);
});

test('a service that is forgotten is not due any more', () => {
  const coalescer = new Coalescer<Service>(bounds);
  coalescer.noteChange(pay, 0);
  coalescer.forget(pay);
  expect(pushDue(coalescer, 0, idle)).toEqual([]);
  coalescer.noteChange(pay, 1);
  pushDue(coalescer, 1, idle);
  coalescer.noteChange(pay, 2);
  coalescer.forget(pay);
  expect([coalescer.nextDueAt(), coalescer.unpushedSince()]).toEqual([undefined, Number.POSITIVE_INFINITY]);
});

const step = fc.record({
  waitMs: fc.integer({ min: 0, max: 60 }),
  changes: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 12 }),
  isBehind: fc.boolean(),
});

test.each([
  { minMs: 20, maxMs: 100 },
  { minMs: 0, maxMs: 0 },
  { minMs: 0, maxMs: 7 },
  { minMs: 30, maxMs: 30 },
])(
  '[PU2] whatever comes, with $minMs to $maxMs ms: no push too early, none too late, and nothing forgotten',
  (bounds) => {
    const services = Array.from({ length: 4 }, (_, i) => ({ name: String(i) }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const coalescer = new Coalescer<Service>(bounds);
        const pushedAt = new Map<Service, number>();
        const unpushed = new Map<Service, number>();
        let nowMs = 0;
        const turn = (isBehind: boolean): void => {
          for (const service of pushDue(coalescer, nowMs, () => isBehind)) {
            expect(nowMs - (pushedAt.get(service) ?? Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(bounds.minMs);
            expect(unpushed.delete(service)).toBe(true);
            pushedAt.set(service, nowMs);
          }
          for (const [service, sinceMs] of unpushed) {
            const quietAtMs = (pushedAt.get(service) ?? Number.NEGATIVE_INFINITY) + bounds.maxMs;
            expect(nowMs).toBeLessThan(quietAtMs);
            expect(coalescer.unpushedSince()).toBeLessThanOrEqual(sinceMs);
          }
          const oldest = Math.min(Number.POSITIVE_INFINITY, ...unpushed.values());
          expect(coalescer.unpushedSince()).toBe(oldest);
          if (unpushed.size > 0) expect(coalescer.nextDueAt()).toBeGreaterThan(nowMs);
        };
        for (const { waitMs, changes, isBehind } of steps) {
          const untilMs = nowMs + waitMs;
          for (let due = coalescer.nextDueAt(); due !== undefined && due <= untilMs; due = coalescer.nextDueAt()) {
            nowMs = Math.max(nowMs, due);
            turn(isBehind);
          }
          nowMs = untilMs;
          for (const index of changes) {
            const service = services[index]!;
            coalescer.noteChange(service, nowMs);
            if (!unpushed.has(service)) unpushed.set(service, nowMs);
          }
          turn(isBehind);
        }
      }),
    );
  },
);
