import { expect, test } from 'vitest';

import type { Instance } from '../../src/protocol/types.ts';
import { Scene, service } from './scene.ts';

const r1 = { secret: 's1', registry: 'r1', warming: false };
const r2 = { secret: 's2', registry: 'r2', warming: false };

function instances(...ids: string[]): Instance[] {
  return ids.map((id) => ({ id, host: 'h', port: 1, weight: 1, enabled: true }));
}

/** A client that has seen three instances, and is now connected to another registry, or to the same one after a restart. */
function moved(later: object): Scene {
  const scene = new Scene({ confirmWithinMs: 5000 });
  scene.connect({}, r1);
  scene.subscribed(instances('a', 'b', 'c'));
  scene.reconnect(later);
  return scene;
}

function shown(scene: Scene): string[] {
  return scene.filtered().instances.map(({ id }) => id);
}

test('[PU5] at another registry the version held means nothing, and what it does not know stays, unconfirmed', () => {
  const scene = moved(r2);
  expect(scene.notices.at(-1)).toMatchObject({ kind: 'registry', registry: 'r2', previous: 'r1' });
  const [request] = scene.takeRequests();
  expect(request?.params).not.toHaveProperty('version');
  scene.answer(request!.id, { version: 2, instances: instances('b') });
  expect(shown(scene)).toEqual(['a', 'b', 'c']);
  expect(scene.filtered().unconfirmed.map(({ id }) => id)).toEqual(['a', 'c']);
  expect(scene.filtered().isStale).toBe(true);
  const push = (put: Instance[], remove: string[], from: number, count: number): void => {
    scene.frame({
      jsonrpc: '2.0',
      method: 'service.changed',
      params: { ...service, count, from, to: from + 1, put, remove },
    });
  };
  push(instances('c'), [], 2, 2);
  push([], ['b'], 3, 1);
  expect(shown(scene)).toEqual(['a', 'c']);
  push(instances('d'), [], 4, 2);
  push(instances('e'), [], 5, 3);
  // As many as were known: who is not among them has gone.
  expect(shown(scene)).toEqual(['c', 'd', 'e']);
  expect(scene.filtered().isStale).toBe(false);
});

test('[PU5] what nobody confirms goes when the time for it is over', () => {
  const scene = moved(r2);
  scene.answer(scene.takeRequests()[0]!.id, { version: 2, instances: instances('b') });
  scene.advance(4999);
  expect(shown(scene)).toEqual(['a', 'b', 'c']);
  scene.advance(1);
  expect(shown(scene)).toEqual(['b']);
  expect(scene.filtered().isStale).toBe(false);
});

test('[PU5] a registry that has just started is told what is held, so that it can wait; a delta from another’s version is not taken', () => {
  const scene = moved({ ...r2, warming: true });
  const [request] = scene.takeRequests();
  expect(request?.params).toMatchObject({ version: 5, count: 3 });
  scene.answer(request!.id, { from: 5, version: 6, put: [], remove: ['a', 'b'] });
  expect(shown(scene)).toEqual(['a', 'b', 'c']);
  scene.advance(200);
  const [again] = scene.takeRequests();
  expect(again?.params).not.toHaveProperty('version');
});

test('[PU5] what a warming registry lets stand is shown, stale, until it pushes the list', () => {
  const scene = moved({ ...r2, warming: true });
  const [request] = scene.takeRequests();
  expect(request?.params).toMatchObject({ version: 5, count: 3 });
  scene.answer(request!.id, { from: 5, version: 5, put: [], remove: [], warming: true });
  scene.advance(2000);
  expect(scene.takeRequests().filter(({ method }) => method === 'service.subscribe')).toEqual([]);
  expect(shown(scene)).toEqual(['a', 'b', 'c']);
  expect(scene.filtered().isStale).toBe(true);
  const snapshot = { ...service, count: 2, snapshot: true, to: 4, instances: instances('b', 'd') };
  scene.frame({ jsonrpc: '2.0', method: 'service.changed', params: snapshot });
  expect(shown(scene)).toEqual(['b', 'd']);
  expect(scene.filtered().isStale).toBe(false);
});

test('[PU5] a list that a warming registry gives whole takes nothing away, and is asked for again', () => {
  const scene = moved({ ...r1, warming: true });
  scene.answer(scene.takeRequests()[0]!.id, { version: 9, instances: instances('a'), warming: true });
  expect(shown(scene)).toEqual(['a', 'b', 'c']);
  scene.advance(5000);
  const [second] = scene.takeRequests();
  expect(second?.params).toMatchObject({ version: 9 });
  expect(second?.params).not.toHaveProperty('count');
  scene.answer(second!.id, { from: 9, version: 10, put: instances('b'), remove: [] });
  scene.advance(5000);
  expect(shown(scene)).toEqual(['a', 'b']);
});

test('at the same registry a list is what it says, and the version held is named', () => {
  const scene = moved(r1);
  const [request] = scene.takeRequests();
  expect(request?.params).toMatchObject({ version: 5 });
  scene.answer(request!.id, { version: 9, instances: instances('a') });
  expect(shown(scene)).toEqual(['a']);
  expect(scene.notices.some(({ kind }) => kind === 'registry')).toBe(false);
});

test('[PU5] what was kept is kept on at the next registry', () => {
  const scene = moved(r2);
  scene.answer(scene.takeRequests()[0]!.id, { version: 2, instances: instances('b') });
  scene.reconnect({ ...r1, registry: 'r3' });
  scene.advance(3000);
  scene.answer(scene.takeRequests()[0]!.id, { version: 1, instances: [] });
  expect(shown(scene)).toEqual(['a', 'b', 'c']);
  scene.advance(5000);
  expect(shown(scene)).toEqual([]);
});

test('[SW2] what is kept, unconfirmed, goes at once when an operator switches the service off', () => {
  const scene = moved(r2);
  scene.answer(scene.takeRequests()[0]!.id, { version: 2, instances: instances('b') });
  expect(shown(scene)).toEqual(['a', 'b', 'c']);
  const gone: unknown[] = [];
  scene.onEffect = (effect) => {
    if (effect.kind === 'changed') gone.push(effect.difference.map(({ before }) => before?.id ?? '').toSorted());
  };
  scene.frame({
    jsonrpc: '2.0',
    method: 'service.changed',
    params: { ...service, count: 0, from: 2, to: 3, put: [], remove: ['b'], closed: true },
  });
  expect(gone).toEqual([['a', 'b', 'c']]);
  expect(shown(scene)).toEqual([]);
  expect(scene.filtered().isStale).toBe(false);
});

test('[SW2] nothing is kept of a service that is switched off at a registry that has just started', () => {
  const scene = moved({ ...r2, warming: true });
  scene.answer(scene.takeRequests()[0]!.id, { version: 6, instances: [], warming: true, closed: true });
  expect(shown(scene)).toEqual([]);
  expect(scene.view.isSwitchedOff).toBe(true);
});
