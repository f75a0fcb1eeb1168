import { expect, test } from 'vitest';

import { resolveConfig } from '../../src/config/config-checking.ts';
import { WarmUp, warmUpBytes, WarmUpJudge } from '../../src/sessions/warm-up.ts';

/** A registry's threads, as far as the warm-up sees them. */
class Scene {
  readonly memory: SharedArrayBuffer = new SharedArrayBuffer(warmUpBytes(2));
  readonly warmUp: WarmUp = new WarmUp(this.memory);
  readonly admissionRate = { throttledCount: 0 };
  readonly judge: WarmUpJudge;
  isHealing = false;
  nowMs = 1000;

  constructor(warmUpMs: number, warmUpMaxMs: number) {
    this.judge = new WarmUpJudge({
      warmUp: this.warmUp,
      admissionRate: this.admissionRate,
      config: { warmUpMs, warmUpMaxMs },
      isHealing: () => this.isHealing,
      nowMs: this.nowMs,
    });
  }

  /** Goes on until the warm-up is over, doing something in each tick; returns how long that took. */
  last(each: (elapsedMs: number) => void = () => undefined): number {
    for (let elapsedMs = 50; elapsedMs <= 100_000; elapsedMs += 50) {
      each(elapsedMs);
      this.nowMs += 50;
      if (this.judge.tick(this.nowMs)) return elapsedMs;
    }
    throw new Error('it never ends');
  }
}

test('[PU5] the warm-up lasts warmUpMs when nobody comes, and is told of on every thread', () => {
  const scene = new Scene(4000, 20_000);
  const other = new WarmUp(scene.memory);
  expect(other.isOver).toBe(false);
  expect(scene.last()).toBe(4000);
  expect([other.isOver, scene.judge.tookMs]).toEqual([true, 4000]);
  expect(scene.judge.tick(scene.nowMs + 50)).toBe(false);
  expect(scene.judge.tookMs).toBe(4000);
});

test('[PU5] without a past nobody is waited for, until somebody shows that there was one, while there is time', () => {
  const scene = new Scene(4000, 20_000);
  const other = new WarmUp(scene.memory);
  scene.warmUp.presumeOver();
  scene.judge.tick(scene.nowMs);
  expect(other.isOver).toBe(true);
  let wasOver = true;
  const tookMs = scene.last((elapsedMs) => {
    wasOver &&= elapsedMs > 2000 || other.isOver;
    if (elapsedMs === 2000) other.noteEarlier();
    if (elapsedMs === 2050) expect([scene.warmUp.isOver, other.isOver]).toEqual([false, false]);
  });
  expect([tookMs, wasOver]).toEqual([4000, true]);
  other.noteEarlier();
  expect(scene.warmUp.isOver).toBe(true);
});

test('[PU5] a presumption that nothing contradicts for warmUpMs becomes a fact', () => {
  const scene = new Scene(4000, 20_000);
  scene.warmUp.presumeOver();
  for (let tick = 0; tick <= 80; tick++) expect(scene.judge.tick((scene.nowMs += 50))).toBe(false);
  scene.warmUp.noteEarlier();
  expect([scene.warmUp.isOver, scene.warmUp.isSettled]).toEqual([true, true]);
});

test('[PU5] with warmUpMs 0 there is none', () => {
  expect(new Scene(0, 20_000).warmUp.isOver).toBe(true);
});

test('[PU5] whoever is refused since too many come has warmUpMs from then on', () => {
  const scene = new Scene(4000, 20_000);
  const tookMs = scene.last((elapsedMs) => {
    if (elapsedMs <= 3000) scene.admissionRate.throttledCount += 1;
  });
  expect(tookMs).toBe(7000);
});

test('[PU5] it goes on while what is registered still grows by more than a hundredth, on whichever thread', () => {
  const scene = new Scene(4000, 20_000);
  const other = new WarmUp(scene.memory);
  const tookMs = scene.last((elapsedMs) => {
    if (elapsedMs <= 6000) other.shareHeld(1, elapsedMs);
    else other.shareHeld(1, 6000 + (elapsedMs % 60));
  });
  expect(tookMs).toBe(7000);
});

test('[PU5] instances that go and come again are no growth', () => {
  const scene = new Scene(4000, 20_000);
  expect(scene.last((elapsedMs) => scene.warmUp.shareHeld(0, elapsedMs % 100 === 0 ? 10 : 9))).toBe(4000);
});

test('[PU5] it goes on while slots are being rebuilt', () => {
  const scene = new Scene(4000, 20_000);
  const tookMs = scene.last((elapsedMs) => {
    scene.isHealing = elapsedMs <= 3500;
  });
  expect(tookMs).toBe(4500);
});

test('[PU5] [LI1] it ends after warmUpMaxMs whatever goes on', () => {
  const scene = new Scene(4000, 9000);
  const tookMs = scene.last((elapsedMs) => {
    scene.admissionRate.throttledCount += 1;
    scene.warmUp.shareHeld(0, elapsedMs);
  });
  expect(tookMs).toBe(9000);
  expect(() => resolveConfig({ warmUpMs: 9001, warmUpMaxMs: 9000 })).toThrow(/warmUpMaxMs must not be below warmUpMs/);
});

test('[PU5] time in which the process is suspended hardly counts', () => {
  const scene = new Scene(4000, 20_000);
  scene.nowMs += 3_600_000;
  expect(scene.judge.tick(scene.nowMs)).toBe(false);
  expect(scene.last()).toBe(3800);
});

test('[KV7] what nobody vouches for is not released before partitions know of the sessions of before, be there a warm-up or none', () => {
  for (const warmUpMs of [0, 4000]) {
    const scene = new Scene(warmUpMs, 20_000);
    const other = new WarmUp(scene.memory);
    scene.warmUp.beginRecall();
    expect([other.isOver, other.areHoldersKnown]).toEqual([warmUpMs === 0, false]);
    if (warmUpMs > 0) scene.last();
    expect([other.isOver, other.areHoldersKnown]).toEqual([true, false]);
    scene.warmUp.endRecall();
    expect(other.areHoldersKnown).toBe(true);
    expect(scene.warmUp.held).toBe(0);
  }
  const early = new Scene(4000, 20_000);
  early.warmUp.beginRecall();
  early.warmUp.endRecall();
  expect(early.warmUp.areHoldersKnown).toBe(false);
});
