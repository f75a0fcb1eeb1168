import { expect, test } from 'vitest';

import { Conflation } from '../../src/client/conflation.ts';
import { isSame, View } from '../../src/client/view.ts';
import type { Instance } from '../../src/protocol/types.ts';

function makeInstance(id: string, weight = 100): Instance {
  return { id, host: 'h', port: 1, weight, enabled: true };
}

function makeView(...ids: string[]): View {
  const view = new View();
  view.applySnapshot(
    10,
    ids.map((id) => makeInstance(id)),
  );
  return view;
}

function idsOf(view: View): string[] {
  return view.instances.map(({ id }) => id).sort();
}

test('[PU1] a delta is applied only to the version that it starts from', () => {
  const view = makeView('a', 'b');
  const put = [makeInstance('c')];
  expect(view.applyDelta({ from: 11, to: 12, put, remove: [] }).kind).toBe('gap');
  expect(view.applyDelta({ from: 8, to: 9, put, remove: [] }).kind).toBe('old');
  expect(view.applyDelta({ from: 9, to: 10, put, remove: [] }).kind).toBe('old');
  expect(view.applyDelta({ from: 9, to: 11, put, remove: [] }).kind).toBe('gap');
  expect(idsOf(view)).toEqual(['a', 'b']);
  expect(view.version).toBe(10);
  expect(view.applyDelta({ from: 10, to: 11, put, remove: ['a'] }).kind).toBe('applied');
  expect(idsOf(view)).toEqual(['b', 'c']);
  expect(view.version).toBe(11);
});

test('[PU1] a delta before any snapshot is a gap', () => {
  expect(new View().applyDelta({ from: 0, to: 1, put: [], remove: [] }).kind).toBe('gap');
});

test('[PU1] a delta that leads to another count than the server has is a gap, and changes nothing', () => {
  const view = makeView('a');
  const put = [makeInstance('b')];
  expect(view.applyDelta({ from: 10, to: 11, put, remove: [], count: 3 }).kind).toBe('gap');
  expect(idsOf(view)).toEqual(['a']);
  expect(view.applyDelta({ from: 10, to: 11, put, remove: ['x'], count: 2 }).kind).toBe('applied');
});

test('an instance that is put again unchanged is no difference, and keeps its object', () => {
  const view = makeView('a', 'b');
  const before = view.instances;
  const outcome = view.applyDelta({ from: 10, to: 11, put: [makeInstance('a')], remove: ['x'] });
  expect(outcome).toEqual({ kind: 'applied', difference: [] });
  expect(view.instances).toBe(before);
});

test('a snapshot after a resume gives the difference to what was held', () => {
  const view = makeView('a', 'b', 'c');
  const difference = view.applySnapshot(20, [makeInstance('a'), makeInstance('b', 5), makeInstance('d')]);
  expect(difference).toEqual([
    { before: makeInstance('b'), after: makeInstance('b', 5) },
    { before: makeInstance('c'), after: undefined },
    { before: undefined, after: makeInstance('d') },
  ]);
});

test('sameness looks at every field, and not at the order of metadata', () => {
  const base: Instance = { ...makeInstance('a'), zone: 'z', metadata: { k: 'v', l: 'w' } };
  expect(isSame(base, { ...base, metadata: { l: 'w', k: 'v' } })).toBe(true);
  const others: Instance[] = [
    { ...base, host: 'i' },
    { ...base, port: 2 },
    { ...base, weight: 1 },
    { ...base, enabled: false },
    { ...base, zone: 'y' },
    { ...base, metadata: { k: 'v' } },
    { ...base, metadata: { k: 'v', l: 'x' } },
    { ...base, metadata: { k: 'v', m: 'w' } },
  ];
  for (const other of others) expect(isSame(base, other)).toBe(false);
});

test('differences that nobody read merge into one, and what came and went leaves nothing', () => {
  const conflation = new Conflation();
  const [a, changed, b] = [makeInstance('a'), makeInstance('a', 1), makeInstance('b')];
  conflation.add([{ before: undefined, after: b }]);
  conflation.add([{ before: a, after: changed }]);
  conflation.add([{ before: b, after: undefined }]);
  expect(conflation.take()).toEqual([{ before: a, after: changed }]);
  expect(conflation.isEmpty).toBe(true);
  conflation.add([{ before: a, after: undefined }]);
  conflation.add([{ before: undefined, after: a }]);
  expect(conflation.isEmpty).toBe(true);
});
