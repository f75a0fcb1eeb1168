import { expect, test } from 'vitest';

import { Fates } from '../../chaos/fates.ts';
import { throttleSettleMs, goneWithinMs, settings } from '../../chaos/settings.ts';
import { Ledger } from '../support/ledger.ts';
import type { Fate } from '../support/ledger.ts';

const { disconnectGraceMs } = settings;
const mark = 7;

/** A checker whose clocks go as it is told. */
class Setting {
  readonly ledger = new Ledger();
  readonly fates: Fates;
  #nowMs = 1_000_000;
  #steadyMs = 0;

  constructor() {
    this.fates = new Fates({ readSteadyMs: () => this.#steadyMs, readNowMs: () => this.#nowMs });
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  pass(ms: number, isSteady = true): void {
    this.#nowMs += ms;
    if (isSteady) this.#steadyMs += ms;
  }

  /** Somebody who has registered the one instance that there is. */
  register(): Fate {
    const fate = this.fates.create();
    this.fates.enter(fate);
    const change = this.ledger.ask('register', fate, { service: 'pay', id: 'i1', mark }, this.#steadyMs);
    this.ledger.acknowledge(change, 1);
    return fate;
  }

  /** What is wrong if a list has it. */
  judgeHeld(): string | undefined {
    return this.ledger.findGhost('pay', new Map([['i1', mark]]), this.#steadyMs);
  }

  /** What is wrong if a list lacks it. */
  judgeGone(): string | undefined {
    return this.ledger.judge('pay', 2, new Map(), this.#nowMs);
  }
}

test('a broken session may be gone after its grace, and must be a while later, by the time in which the registry could do its work', () => {
  const setting = new Setting();
  const fate = setting.register();
  expect(setting.judgeGone()).toMatch(/^pay i1 is missing/);
  setting.fates.leave(fate, 'broken close');
  setting.pass(disconnectGraceMs - 1);
  expect(setting.judgeGone()).toMatch(/^pay i1 is missing/);
  setting.pass(1);
  expect(setting.judgeGone()).toBeUndefined();
  // A partition is being rebuilt.
  setting.pass(60_000, false);
  setting.pass(goneWithinMs);
  expect(setting.judgeHeld()).toBeUndefined();
  expect(setting.fates.present()).toEqual([fate]);
  setting.pass(1);
  expect(setting.judgeHeld()).toBe('pay i1 is 7, whose sessions should have gone: client 1, 1 ms ago');
  expect(setting.fates.present()).toEqual([]);
});

test.each(['before it breaks', 'in its grace'])(
  'somebody is refused at the door %s: a broken session stays until the crowd has settled, and no longer',
  (when) => {
    const setting = new Setting();
    const fate = setting.register();
    const askedAtMs = setting.nowMs;
    // The refusal is heard of a little later than it was made.
    if (when === 'before it breaks') {
      setting.pass(100);
      setting.fates.noteRefusal(askedAtMs);
      setting.fates.leave(fate, 'broken close');
    } else {
      setting.fates.leave(fate, 'broken close');
      setting.pass(100);
      setting.fates.noteRefusal(askedAtMs);
    }
    setting.pass(throttleSettleMs - 101);
    expect(setting.judgeGone()).toMatch(/^pay i1 is missing/);
    setting.pass(1);
    expect(setting.judgeGone()).toBeUndefined();
    setting.pass(100 + goneWithinMs);
    expect(setting.judgeHeld()).toBeUndefined();
    expect(setting.fates.goneByMs).toBe(fate.goneByMs);
    setting.pass(1);
    expect(setting.judgeHeld()).toMatch(/^pay i1 is 7, whose sessions should have gone/);
  },
);

test('each refusal begins it anew', () => {
  const setting = new Setting();
  setting.fates.leave(setting.register(), 'frozen client');
  for (let times = 0; times < 3; times++) {
    setting.pass(disconnectGraceMs - 1);
    setting.fates.noteRefusal(setting.nowMs);
  }
  setting.pass(throttleSettleMs - 1);
  expect(setting.judgeGone()).toMatch(/^pay i1 is missing/);
  expect(setting.judgeHeld()).toBeUndefined();
  setting.pass(1);
  expect(setting.judgeGone()).toBeUndefined();
  setting.pass(goneWithinMs + 1);
  expect(setting.judgeHeld()).toMatch(/should have gone/);
});

test('a refusal keeps nothing of who has left in order', () => {
  const setting = new Setting();
  const fate = setting.register();
  setting.fates.noteRefusal(setting.nowMs);
  setting.fates.leave(fate, 'clean close');
  setting.fates.noteRefusal(setting.nowMs);
  expect(setting.judgeGone()).toBeUndefined();
  setting.pass(goneWithinMs + 1);
  expect(setting.judgeHeld()).toMatch(/should have gone/);
});

test('a refusal keeps nothing that may have gone before it, and excuses nothing that must have', () => {
  const setting = new Setting();
  setting.fates.leave(setting.register(), 'broken close');
  setting.pass(disconnectGraceMs);
  setting.fates.noteRefusal(setting.nowMs);
  expect(setting.judgeGone()).toBeUndefined();
  const other = new Setting();
  other.fates.leave(other.register(), 'broken close');
  other.pass(disconnectGraceMs + goneWithinMs + 1);
  other.fates.noteRefusal(other.nowMs);
  expect(other.judgeHeld()).toMatch(/should have gone/);
});

test('a refusal of before a restart keeps nothing after it', () => {
  const setting = new Setting();
  const fate = setting.register();
  setting.fates.noteRefusal(setting.nowMs);
  setting.fates.leave(fate, 'broken close');
  setting.fates.noteEnd();
  setting.fates.noteStart(setting.nowMs);
  setting.pass(settings.warmUpMs, false);
  setting.pass(disconnectGraceMs);
  expect(setting.judgeGone()).toBeUndefined();
  setting.pass(goneWithinMs);
  expect(setting.judgeHeld()).toBeUndefined();
  setting.pass(1);
  expect(setting.judgeHeld()).toMatch(/should have gone/);
});

test.each(['connected', 'in its grace'])(
  'a session that is %s when the registry ends stays until the next life has waited for its client, and its grace is over',
  (how) => {
    const setting = new Setting();
    const fate = setting.register();
    if (how === 'in its grace') setting.fates.leave(fate, 'broken close');
    setting.fates.noteEnd();
    setting.pass(60_000, false);
    expect(setting.judgeGone()).toMatch(/^pay i1 is missing/);
    setting.fates.noteStart(setting.nowMs);
    setting.pass(settings.warmUpMs, false);
    setting.pass(disconnectGraceMs - 1);
    expect(setting.judgeGone()).toMatch(/^pay i1 is missing/);
    setting.pass(1);
    expect(setting.judgeGone()).toBeUndefined();
    setting.pass(goneWithinMs);
    expect(setting.judgeHeld()).toBeUndefined();
    setting.pass(1);
    expect(setting.judgeHeld()).toMatch(/should have gone/);
  },
);

test('what had gone or may have gone before a restart is not missed after it, and what must have gone may not be back', () => {
  const setting = new Setting();
  const fate = setting.register();
  setting.fates.leave(fate, 'clean close');
  setting.fates.noteEnd();
  setting.fates.noteStart(setting.nowMs);
  expect(setting.judgeGone()).toBeUndefined();
  // That it ended may not have been noted.
  setting.pass(disconnectGraceMs + goneWithinMs);
  expect(setting.judgeHeld()).toBeUndefined();
  setting.pass(1);
  expect(setting.fates.isPresent(fate)).toBe(false);
  setting.fates.noteEnd();
  setting.fates.noteStart(setting.nowMs);
  expect(setting.judgeHeld()).toMatch(/should have gone/);
});

test('a session of before a restart that is taken over stays', () => {
  const setting = new Setting();
  const fate = setting.register();
  setting.fates.noteEnd();
  setting.fates.requestTakeover(fate);
  setting.fates.endTakeover(fate, 0);
  setting.fates.resume(fate);
  setting.fates.noteStart(setting.nowMs);
  setting.pass(60_000);
  expect(setting.judgeGone()).toMatch(/^pay i1 is missing/);
  expect(setting.judgeHeld()).toBeUndefined();
});

test('a session that somebody wishes to take over goes on when it is, and lives by its grace when it is not', () => {
  const setting = new Setting();
  const fate = setting.register();
  setting.fates.leave(fate, 'broken close');
  setting.pass(100);
  setting.fates.requestTakeover(fate);
  setting.pass(60_000);
  // It may have been taken over, and broken again.
  expect(setting.judgeHeld()).toBeUndefined();
  expect(setting.judgeGone()).toBeUndefined();
  setting.fates.resume(fate);
  expect(setting.judgeGone()).toMatch(/^pay i1 is missing/);
  setting.fates.requestTakeover(fate);
  setting.fates.endTakeover(fate, 1000);
  setting.pass(1000 + disconnectGraceMs + goneWithinMs + 1);
  expect(setting.judgeHeld()).toMatch(/should have gone/);
});
