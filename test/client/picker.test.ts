import fc from 'fast-check';
import { expect, test } from 'vitest';

import { NoInstanceError, OptionError } from '../../src/client/errors.ts';
import { Picker } from '../../src/client/picker.ts';
import type { PickerOptions, PickPolicy } from '../../src/client/picker.ts';
import type { Instance } from '../../src/protocol/types.ts';
import { Random } from '../support/random.ts';

function makeInstance(id: string, fields: Partial<Instance> = {}): Instance {
  return { id, host: id, port: 1, weight: 100, enabled: true, ...fields };
}

interface Stage {
  readonly picker: Picker;
  readonly source: { instances: readonly Instance[] };
  nowMs: number;
}

function setUp(instances: readonly Instance[], options: PickerOptions = {}): Stage {
  const source = { instances };
  const random = new Random(1);
  const stage: Stage = {
    source,
    nowMs: 0,
    picker: new Picker(source, { random: () => random.below(2 ** 30) / 2 ** 30, now: () => stage.nowMs, ...options }),
  };
  return stage;
}

/** How often each is picked; each call succeeds at once. */
function countPicks(picker: Picker, times: number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < times; i++) {
    const picked = picker.pick()!;
    counts[picked.instance.id] = (counts[picked.instance.id] ?? 0) + 1;
    picked.done('succeeded');
  }
  return counts;
}

function fail(picker: Picker, id: string, times: number): void {
  for (let failed = 0, tried = 0; failed < times; tried++) {
    if (tried > 10_000) throw new Error(`${id} is not picked any more`);
    const picked = picker.pick()!;
    picked.done(picked.instance.id === id ? 'failed' : 'succeeded');
    if (picked.instance.id === id) failed += 1;
  }
}

test('weighted: each gets the share that its weight gives it', () => {
  const { picker } = setUp([makeInstance('a', { weight: 100 }), makeInstance('b', { weight: 300 })]);
  const { a = 0, b = 0 } = countPicks(picker, 10_000);
  expect(b / a).toBeGreaterThan(2.7);
  expect(b / a).toBeLessThan(3.3);
});

test('round-robin: one after the other, whatever the weights', () => {
  const { picker } = setUp(
    ['a', 'b', 'c'].map((id, i) => makeInstance(id, { weight: 1 + i * 100 })),
    { policy: 'round-robin' },
  );
  expect(countPicks(picker, 300)).toEqual({ a: 100, b: 100, c: 100 });
});

test('least-outstanding: who is slow to answer gets less', () => {
  const { picker } = setUp([makeInstance('slow'), makeInstance('quick')], { policy: 'least-outstanding' });
  let slow = 0;
  for (let i = 0; i < 1000; i++) {
    const picked = picker.pick()!;
    if (picked.instance.id === 'slow') slow += 1;
    else picked.done('succeeded');
  }
  // Of two picks both are `slow` a quarter of the times.
  expect(slow).toBeGreaterThan(200);
  expect(slow).toBeLessThan(300);
});

test('the own zone comes first, and others when it has nobody', () => {
  const near = makeInstance('near', { zone: 'z1' });
  const far = makeInstance('far', { zone: 'z2' });
  const stage = setUp([far, near, makeInstance('nowhere')], { zone: 'z1' });
  expect(countPicks(stage.picker, 50)).toEqual({ near: 50 });
  fail(stage.picker, 'near', 3);
  expect(Object.keys(countPicks(stage.picker, 50)).sort()).toEqual(['far', 'nowhere']);
  stage.source.instances = [far];
  expect(countPicks(stage.picker, 10)).toEqual({ far: 10 });
});

test('who fails several times in a row is passed over, longer each time, and is back after a success', () => {
  const stage = setUp([makeInstance('good'), makeInstance('bad')], { passOverMs: 1000, passOverMaxMs: 3000 });
  fail(stage.picker, 'bad', 2);
  expect(countPicks(stage.picker, 100)['bad']).toBeGreaterThan(20);
  fail(stage.picker, 'bad', 3);
  for (const waitMs of [1000, 2000, 3000, 3000]) {
    stage.nowMs += waitMs - 1;
    expect(countPicks(stage.picker, 100)).toEqual({ good: 100 });
    stage.nowMs += 1;
    fail(stage.picker, 'bad', 1);
  }
  stage.nowMs += 3000;
  expect(countPicks(stage.picker, 100)['bad']).toBeGreaterThan(20);
  fail(stage.picker, 'bad', 2);
  expect(countPicks(stage.picker, 100)['bad']).toBeGreaterThan(20);
});

test('when all would be passed over, all are tried', () => {
  const { picker } = setUp([makeInstance('a'), makeInstance('b')], { failuresMax: 1 });
  for (let i = 0; i < 20; i++) picker.pick()!.done('failed');
  for (let i = 0; i < 20; i++) picker.pick()!.done('failed');
  const ids = new Set(Array.from({ length: 50 }, () => picker.pick()!.instance.id));
  expect(ids).toEqual(new Set(['a', 'b']));
});

test('what left the view is not picked, and comes back with a clean slate', () => {
  const [a, b] = [makeInstance('a'), makeInstance('b')];
  const stage = setUp([a, b], { failuresMax: 1 });
  fail(stage.picker, 'b', 1);
  stage.source.instances = [a];
  expect(countPicks(stage.picker, 20)).toEqual({ a: 20 });
  stage.source.instances = [a, b];
  expect(countPicks(stage.picker, 100)['b']).toBeGreaterThan(20);
});

test('call says how it went, passes on results and errors, and refuses when there is nobody', async () => {
  const stage = setUp([makeInstance('a'), makeInstance('b')], { failuresMax: 1, policy: 'round-robin' });
  await expect(stage.picker.call(({ id }) => Promise.resolve(id))).resolves.toMatch(/^[ab]$/);
  const error = new Error('refused');
  const first: string[] = [];
  await expect(
    stage.picker.call(({ id }) => {
      first.push(id);
      throw error;
    }),
  ).rejects.toBe(error);
  const rest = await Promise.all(Array.from({ length: 10 }, () => stage.picker.call(({ id }) => id)));
  expect(rest).not.toContain(first[0]);
  stage.source.instances = [makeInstance('a', { enabled: false }), makeInstance('b', { weight: 0 })];
  await expect(stage.picker.call(() => 1)).rejects.toThrow(NoInstanceError);
  expect(stage.picker.pick()).toBeUndefined();
});

test.each([{ policy: 'random' as PickPolicy }, { failuresMax: 0 }, { passOverMs: Number.NaN }, { passOverMaxMs: -1 }])(
  'refuses %j',
  (options) => {
    expect(() => new Picker({ instances: [] }, options)).toThrow(OptionError);
  },
);

test('whatever happens, who is picked is in the view, enabled and weighted, and somebody is picked if anybody is', () => {
  const instance = fc.record({
    id: fc.constantFrom('a', 'b', 'c', 'd'),
    weight: fc.constantFrom(0, 1, 10_000),
    enabled: fc.boolean(),
    zone: fc.constantFrom('z1', 'z2'),
  });
  const list = fc.uniqueArray(instance, { selector: ({ id }) => id });
  const act = fc.oneof(
    fc.record({ kind: fc.constant('list' as const), list }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(3000) }),
    fc.record({
      kind: fc.constant('pick' as const),
      outcome: fc.constantFrom('succeeded' as const, 'failed' as const),
    }),
  );
  const policies = fc.constantFrom<PickPolicy>('weighted', 'round-robin', 'least-outstanding');
  fc.assert(
    fc.property(policies, fc.array(act, { maxLength: 60 }), (policy, acts) => {
      const stage = setUp([], { policy, failuresMax: 2, passOverMs: 1000 });
      for (const step of acts) {
        if (step.kind === 'list')
          stage.source.instances = step.list.map(({ id, ...fields }) => makeInstance(id, fields));
        else if (step.kind === 'wait') stage.nowMs += step.ms;
        else {
          const usable = stage.source.instances.filter(({ enabled, weight }) => enabled && weight > 0);
          const picked = stage.picker.pick();
          if (usable.length === 0) expect(picked).toBeUndefined();
          else expect(usable).toContain(picked?.instance);
          picked?.done(step.outcome);
          picked?.done('failed');
        }
      }
    }),
  );
});
