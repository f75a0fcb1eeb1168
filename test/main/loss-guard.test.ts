import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { LossGuard } from '../../src/main/loss-guard.ts';
import type { GuardEvent, LossGuardSettings } from '../../src/main/loss-guard.ts';

const graceMs = 1000;

interface Instance {
  readonly key: string;
  readonly id: string;
}

interface Broken {
  /** Those that are left. */
  readonly instances: Instance[];
  readonly all: Instance[];
  readonly atMs: number;
}

/** Drives a guard as the session host does: sessions register, break, come back, leave; after the grace the guard is asked. */
class Stage {
  readonly guard: LossGuard;
  readonly settings: LossGuardSettings;
  readonly events: GuardEvent[] = [];
  readonly live: Map<number, Instance[]> = new Map();
  readonly broken: Map<number, Broken> = new Map();
  /** Sessions that were lost: broken, and removed altogether, and that have not come back. */
  readonly removed: Map<number, Broken> = new Map();
  nowMs = 0;
  #count = 0;
  #names = 0;

  constructor(settings: Partial<LossGuardSettings> = {}) {
    this.settings = {
      lossWindowMs: 10_000,
      lossSessionsMin: 4,
      lossSessionsPercent: 40,
      lossServiceInstancesMin: 3,
      lossServicePercent: 101,
      lossHoldMaxMs: 60_000,
      ...settings,
    };
    this.guard = new LossGuard(this.settings, (event) => this.events.push(event));
  }

  connect(...keys: string[]): number {
    return this.#register(keys.map((key) => ({ key, id: String((this.#names += 1)) })));
  }

  #register(instances: Instance[]): number {
    this.#count += 1;
    for (const [i, instance] of instances.entries()) {
      this.guard.noteRegistered(this.#count, { ...instance, isEdge: i === 0 });
    }
    this.live.set(this.#count, instances);
    return this.#count;
  }

  connectMany(count: number, ...keys: string[]): number[] {
    return Array.from({ length: count }, () => this.connect(...keys));
  }

  break(session: number): void {
    const instances = this.live.get(session)!;
    this.live.delete(session);
    this.broken.set(session, { instances: [...instances], all: instances, atMs: this.nowMs });
    this.guard.noteMissing(
      session,
      instances.map(({ key }) => key),
      this.nowMs,
    );
  }

  leave(session: number): void {
    const instances = this.live.get(session)!;
    this.live.delete(session);
    this.#drop(session, instances);
  }

  /** The client has a new session, which takes over everything that the broken one held, or registers what was removed. */
  comeBack(session: number): void {
    const { instances, all } = (this.broken.get(session) ?? this.removed.get(session))!;
    this.#register(all);
    this.broken.delete(session);
    this.removed.delete(session);
    this.#drop(session, instances);
  }

  #drop(session: number, instances: readonly Instance[]): void {
    for (const [i, instance] of instances.entries()) {
      this.guard.noteDropped(session, { ...instance, isEdge: i === instances.length - 1 }, 'asked');
    }
  }

  /** Time moves on in small steps, and what is due and not held goes. `onAsked` hears of each decision. */
  wait(ms: number, onAsked: (isHeld: boolean) => void = () => undefined): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs;) {
      this.nowMs += 50;
      this.guard.advance(this.nowMs);
      for (const [session, loss] of this.broken) {
        if (this.nowMs < loss.atMs + graceMs) continue;
        for (const instance of loss.instances.slice()) {
          const isHeld = this.guard.isHeld(session, instance.key, this.nowMs);
          onAsked(isHeld);
          if (isHeld) continue;
          loss.instances.splice(loss.instances.indexOf(instance), 1);
          this.guard.noteDropped(session, { ...instance, isEdge: loss.instances.length === 0 }, 'lost');
        }
        if (loss.instances.length > 0) continue;
        this.broken.delete(session);
        this.removed.set(session, loss);
      }
    }
  }
}

function pick<T>(from: Iterable<T>, n: number): T | undefined {
  const all = [...from];
  return all[n % Math.max(1, all.length)];
}

describe('a guard of the whole registry', () => {
  test('[SE2] holds when as many as the settings say break within the window, and not when one less does', () => {
    for (const [lost, isHeld] of [
      [3, false],
      [4, true],
    ] as const) {
      const stage = new Stage();
      const sessions = stage.connectMany(10, 'a');
      for (const session of sessions.slice(0, lost)) stage.break(session);
      stage.wait(3000);
      expect([lost, stage.broken.size]).toEqual([lost, isHeld ? lost : 0]);
    }
  });

  test('[SE2] counts those that are removed already: a cut that comes to light one by one trips it, too', () => {
    const stage = new Stage();
    const sessions = stage.connectMany(10, 'a');
    for (const session of sessions) {
      stage.break(session);
      stage.wait(700);
    }
    stage.wait(10_000);
    // Those whose grace ended before the fourth broke are gone.
    expect(stage.removed.size).toBe(2);
    expect(stage.broken.size).toBe(8);
  });

  test('[SE2] forgets those that were removed longer ago than the window', () => {
    const stage = new Stage({ lossWindowMs: 2000 });
    for (const session of stage.connectMany(10, 'a')) {
      stage.break(session);
      stage.wait(1500);
    }
    expect(stage.events).toEqual([]);
  });

  test('holds nothing of those who are connected, leave in order, or hold a lease', () => {
    const stage = new Stage();
    const sessions = stage.connectMany(10, 'a');
    for (const session of sessions.slice(0, 4)) stage.break(session);
    stage.wait(1500);
    expect(stage.guard.isHeld(sessions[5]!, 'a', stage.nowMs)).toBe(false);
    const leased = { key: 'a', id: 'leased', isEdge: false };
    stage.guard.noteRegistered(1000, leased);
    expect(stage.guard.isHeld(1000, 'a', stage.nowMs)).toBe(false);
    stage.guard.noteDropped(1000, leased, 'asked');
    expect(stage.guard.describe()).toMatchObject({ isHolding: true, missingSessions: 4, sessions: 10 });
  });

  test('ends at once when the last one that was missing is back', () => {
    const stage = new Stage();
    const sessions = stage.connectMany(6, 'a');
    for (const session of sessions) stage.break(session);
    stage.wait(1500);
    for (const session of sessions) stage.comeBack(session);
    stage.wait(50);
    expect(stage.events.map(({ kind }) => kind)).toEqual(['tripped', 'cleared']);
    expect(stage.guard.describe()).toMatchObject({ isHolding: false, missingSessions: 0, sessions: 6 });
  });

  test('goes on while few are missing of whom most have not come back', () => {
    const stage = new Stage();
    const sessions = stage.connectMany(10, 'a');
    for (const session of sessions.slice(0, 8)) {
      stage.break(session);
      stage.wait(500);
    }
    stage.wait(3000);
    const held = [...stage.broken.keys()];
    const events = stage.events.length;
    stage.comeBack(held[0]!);
    stage.wait(3000);
    expect(stage.events).toHaveLength(events);
    expect(stage.broken.size).toBe(held.length - 1);
  });

  test('leaves a service of which most is still missing to its own guard', () => {
    const stage = new Stage({ lossServicePercent: 50 });
    const lost = stage.connectMany(3, 'lost');
    const back = stage.connectMany(20, 'back');
    for (const session of [...lost, ...back]) stage.break(session);
    stage.wait(30_000);
    for (const session of back) stage.comeBack(session);
    stage.wait(5000);
    expect(stage.events.map(({ kind, key }) => [kind, key])).toEqual([
      ['tripped', undefined],
      ['tripped', 'lost'],
      ['cleared', undefined],
    ]);
    expect(stage.broken.size).toBe(3);
    // The time that the whole registry was guarded counts.
    stage.wait(27_000);
    expect(stage.broken.size).toBe(0);
  });

  test.each([
    ['registry', { lossServicePercent: 101 }],
    ['service', { lossSessionsPercent: 101, lossServicePercent: 40, lossServiceInstancesMin: 4 }],
  ])('of a %s, once it has ended, does not count old losses again', (_, settings) => {
    const stage = new Stage(settings);
    const sessions = stage.connectMany(20, 'a');
    for (const session of sessions.slice(0, 8)) {
      stage.break(session);
      stage.wait(300);
    }
    stage.wait(1000);
    expect(stage.broken.size).toBe(4);
    for (const session of [...stage.broken.keys()].slice(0, 2)) stage.comeBack(session);
    stage.wait(50);
    expect(stage.broken.size).toBe(0);
    for (const session of sessions.slice(8, 11)) stage.break(session);
    stage.wait(1500);
    expect(stage.broken.size).toBe(0);
    expect(stage.events.map(({ kind }) => kind)).toEqual(['tripped', 'cleared']);
  });

  test('lets one service go when told, though the session holds others', () => {
    const stage = new Stage();
    const sessions = stage.connectMany(5, 'a', 'b');
    for (const session of sessions) stage.break(session);
    stage.wait(1500);
    const { releases } = stage.guard;
    stage.guard.release('a');
    expect(stage.guard.releases).toBeGreaterThan(releases);
    stage.wait(50);
    expect([...stage.broken.values()].map(({ instances }) => instances.map(({ key }) => key))).toEqual(
      Array.from({ length: 5 }, () => ['b']),
    );
  });

  test('goes on holding the rest, few as they are, when one service is let go', () => {
    const stage = new Stage();
    const many = stage.connectMany(8, 'many');
    const few = stage.connectMany(2, 'few');
    for (const session of [...many, ...few]) stage.break(session);
    stage.wait(1500);
    stage.guard.release('many');
    stage.wait(5000);
    expect([...stage.broken.keys()]).toEqual(few);
    stage.comeBack(few[0]!);
    stage.wait(50);
    expect(stage.broken.size).toBe(0);
  });

  test('does not trip again from what was released, but from what breaks later', () => {
    const stage = new Stage();
    const sessions = stage.connectMany(20, 'a');
    for (const session of sessions.slice(0, 8)) stage.break(session);
    stage.wait(1500);
    stage.guard.release();
    stage.wait(50);
    expect(stage.broken.size).toBe(0);
    for (const session of sessions.slice(8, 10)) stage.break(session);
    stage.wait(1500);
    expect(stage.broken.size).toBe(0);
    for (const session of sessions.slice(10, 16)) stage.break(session);
    stage.wait(1500);
    expect(stage.broken.size).toBe(6);
    expect(stage.events.map(({ kind }) => kind)).toEqual(['tripped', 'cleared', 'tripped']);
  });

  test.each([101])('is switched off by %i of a hundred', (lossSessionsPercent) => {
    const stage = new Stage({ lossSessionsPercent, lossServicePercent: 101 });
    for (const session of stage.connectMany(10, 'a')) stage.break(session);
    stage.wait(1500);
    expect(stage.broken.size).toBe(0);
    expect(stage.events).toEqual([]);
  });
});

describe('the guard of a service', () => {
  const settings = { lossSessionsPercent: 101, lossServicePercent: 50 };

  test('counts instances, of three sessions at least', () => {
    for (const [sessions, each, isHeld] of [
      [1, 6, false],
      [2, 3, false],
      [3, 2, true],
    ] as const) {
      const stage = new Stage(settings);
      stage.connectMany(4, 'a');
      // Others that break are no reason to guard this one.
      const others = stage.connectMany(2, 'b');
      const lost = stage.connectMany(sessions, ...Array.from({ length: each }, () => 'a'));
      for (const session of [...others, ...lost]) stage.break(session);
      stage.wait(1500);
      expect([sessions, stage.broken.size]).toEqual([sessions, isHeld ? sessions : 0]);
    }
  });

  test('counts what is removed already', () => {
    const stage = new Stage(settings);
    for (const session of stage.connectMany(6, 'a')) {
      stage.break(session);
      stage.wait(1500);
    }
    stage.wait(5000);
    expect(stage.removed.size).toBe(2);
    expect(stage.guard.describe().services).toMatchObject([{ key: 'a', missing: 4, total: 4 }]);
  });

  test('counts one that crashes and comes back over and over once', () => {
    const stage = new Stage({ ...settings, lossSessionsMin: 2, lossSessionsPercent: 40 });
    let session = stage.connect('a');
    stage.connect('b');
    stage.connect('b');
    for (let i = 0; i < 20; i++) {
      stage.break(session);
      stage.wait(1200);
      expect(stage.removed.has(session)).toBe(true);
      stage.comeBack(session);
      session = [...stage.live.keys()].at(-1)!;
    }
    expect(stage.events).toEqual([]);
  });

  test('ends when instances have come anew, and lets the old ones go', () => {
    const stage = new Stage(settings);
    for (const session of stage.connectMany(4, 'a')) stage.break(session);
    stage.wait(1500);
    const [first, second] = stage.broken.keys();
    stage.comeBack(first!);
    stage.comeBack(second!);
    stage.connectMany(3, 'a');
    stage.wait(100);
    expect(stage.events.map(({ kind, key }) => [kind, key])).toEqual([
      ['tripped', 'a'],
      ['cleared', 'a'],
    ]);
    expect(stage.broken.size).toBe(0);
  });
});

describe('whatever happens', () => {
  const key = fc.constantFrom('a', 'b', 'c');
  const keys = fc.array(key, { minLength: 1, maxLength: 3 });
  const nth = fc.nat({ max: 30 });
  const step = fc.oneof(
    { weight: 20, arbitrary: fc.record({ kind: fc.constant('connect' as const), keys }) },
    { weight: 20, arbitrary: fc.record({ kind: fc.constant('break' as const), nth }) },
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('leave' as const), nth }) },
    { weight: 10, arbitrary: fc.record({ kind: fc.constant('comeBack' as const), nth }) },
    { weight: 12, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(50, 500, 2000) }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('release' as const), key: fc.option(key, { nil: undefined }) }),
    },
  );
  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
  const history = fc.array(step, { maxLength: 80, size: 'max' });

  function play(stage: Stage, taken: Step, onAsked?: (isHeld: boolean) => void): void {
    switch (taken.kind) {
      case 'connect':
        stage.connect(...taken.keys);
        return;
      case 'break':
      case 'leave': {
        const session = pick(stage.live.keys(), taken.nth);
        if (session !== undefined) stage[taken.kind](session);
        return;
      }
      case 'comeBack': {
        const session = pick([...stage.broken.keys(), ...stage.removed.keys()], taken.nth);
        if (session !== undefined) stage.comeBack(session);
        return;
      }
      case 'wait':
        stage.wait(taken.ms, onAsked);
        return;
      case 'release':
        stage.guard.release(taken.key);
        return;
      default:
        taken satisfies never;
    }
  }

  test('[SE2] a guard ends in time, remembers nothing of those that are gone, and knows who is there', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const stage = new Stage({ lossHoldMaxMs: 20_000, lossServicePercent: 60 });
        for (const taken of steps) {
          play(stage, taken);
          expect(stage.guard.describe().sessions).toBe(stage.live.size + stage.broken.size);
          expect(stage.guard.describe().missingSessions).toBeLessThanOrEqual(stage.broken.size);
        }
        for (const session of stage.live.keys()) stage.leave(session);
        // A grace, a guard that trips at its end, and one of a service that takes over.
        stage.wait(graceMs + 20_000 + 200);
        expect(stage.broken.size).toBe(0);
        stage.wait(stage.settings.lossWindowMs + 50);
        expect(stage.guard.isEmpty).toBe(true);
        expect(stage.guard.describe()).toMatchObject({ isHolding: false, missingSessions: 0, services: [] });
        const tripped = stage.events.filter(({ kind }) => kind === 'tripped');
        expect(stage.events.filter(({ kind }) => kind === 'cleared')).toHaveLength(tripped.length);
      }),
    );
  });

  test('[SE2] it holds back exactly from when a plain count over the window says so', () => {
    let trips = 0;
    fc.assert(
      fc.property(history, (steps) => {
        const stage = new Stage({ lossSessionsMin: 2, lossSessionsPercent: 25 });
        let hasTripped = false;
        for (const taken of steps) {
          // From its first end on, the guard knows of what it has let go, which the count does not.
          if (stage.events.some(({ kind }) => kind === 'cleared') || taken.kind === 'release') return;
          play(stage, taken, (isHeld) => {
            const isRecent = ({ atMs }: { atMs: number }): boolean => stage.nowMs - atMs <= stage.settings.lossWindowMs;
            const removed = [...stage.removed.values()].filter(isRecent).length;
            const lost = removed + [...stage.broken.values()].filter(isRecent).length;
            const total = removed + stage.live.size + stage.broken.size;
            if (!hasTripped && lost >= 2 && lost * 100 >= 25 * total) {
              hasTripped = true;
              trips += 1;
            }
            if (stage.events.some(({ kind }) => kind === 'cleared')) return;
            expect(isHeld).toBe(hasTripped);
          });
        }
      }),
    );
    expect(trips).toBeGreaterThan(5);
  });
});
