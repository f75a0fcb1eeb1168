import { expect, test } from 'vitest';

import { TimeoutError } from '../../src/client/errors.ts';
import type { Instance } from '../../src/protocol/types.ts';
import { Scene, service } from './scene.ts';

function instance(id: string, zone: string, enabled = true): Instance {
  return { id, host: 'h', port: 1, weight: 1, enabled, zone };
}

test('each call may name its own time, whatever others wait for', () => {
  const scene = new Scene({ requestTimeoutMs: 1000 });
  const usual = scene.call({ kind: 'query', service });
  const short = scene.call({ kind: 'query', service, timeoutMs: 100 });
  const long = scene.call({ kind: 'query', service, timeoutMs: 3000 });
  scene.connect();
  scene.advance(100);
  expect(scene.errorOf(short)).toBeInstanceOf(TimeoutError);
  expect(scene.errorOf(short)).toMatchObject({ timeoutMs: 100 });
  expect(scene.outcomes.has(usual)).toBe(false);
  scene.advance(900);
  expect(scene.errorOf(usual)).toMatchObject({ timeoutMs: 1000 });
  expect(scene.outcomes.has(long)).toBe(false);
  scene.advance(2000);
  expect(scene.errorOf(long)).toMatchObject({ timeoutMs: 3000 });
});

test('a call that is given up is undone: a registration that was not answered is taken back, a subscription ended', () => {
  const scene = new Scene();
  scene.connect();
  const registering = scene.register('a');
  const subscribing = scene.call({ kind: 'subscribe', service, mode: 'delta' });
  const asking = scene.call({ kind: 'query', service });
  const [register] = scene.takeRequests();
  for (const ticket of [registering, subscribing, asking]) scene.dispatch({ kind: 'abort', ticket });
  expect(scene.state.tables).toMatchObject({ tickets: new Map(), ticketsByTimeout: new Map(), exchanges: new Set() });
  expect(scene.state.tables.subscriptions.size).toBe(0);
  scene.answer(register!.id, { version: 5, id: 'a' });
  expect(scene.takeRequests().map(({ method }) => method)).toEqual(['service.unsubscribe', 'instance.deregister']);
});

test('what stands from the start is pending at once, survives the time of a call, and is told when it is refused', () => {
  const scene = new Scene({ requestTimeoutMs: 1000, backoffMaxMs: 2000 });
  const registered = scene.call({
    kind: 'register',
    service,
    instance: { id: 'a', host: 'h', port: 1 },
    isStanding: true,
  });
  const subscribed = scene.call({ kind: 'subscribe', service, mode: 'delta', isStanding: true });
  expect(scene.outcomes.get(registered)?.kind).toBe('resolved');
  expect(scene.outcomes.get(subscribed)?.kind).toBe('resolved');
  expect(scene.filtered()).toMatchObject({ version: undefined, isStale: true, handles: 1 });
  scene.advance(1500);
  const registration = scene.state.tables.registrations.get('public/DEFAULT/one\na')!;
  const applied = scene.call({ kind: 'awaitRegistration', registration });
  const known = scene.call({ kind: 'awaitSubscription', subscription: scene.filtered() });
  scene.connect();
  const [register, subscribe] = scene.takeRequests();
  scene.refuse(register!.id, 'limit_exceeded', { limit: 'instanceBytesMax', max: 1 });
  expect(scene.errorOf(applied)).toMatchObject({ code: 'limit_exceeded', limit: 'instanceBytesMax', max: 1 });
  expect(scene.notices.at(-1)).toMatchObject({ kind: 'refused', what: { kind: 'registration', id: 'a' } });
  scene.answer(subscribe!.id, { version: 5, instances: [] });
  expect(scene.outcomes.get(known)?.kind).toBe('resolved');
  scene.advance(2000);
  const [again] = scene.takeRequests();
  expect(again).toMatchObject({ method: 'instance.register' });
});

test('two filters of one service share the subscription of what they have in common, and each sees its own', () => {
  const scene = new Scene();
  scene.connect();
  const [a, b] = [instance('a', 'z1'), instance('b', 'z1', false)];
  scene.subscribed([a], { zone: 'z1', enabledOnly: true });
  expect(scene.view.filter).toEqual({ zone: 'z1', enabledOnly: true });
  const second = scene.call({ kind: 'subscribe', service, mode: 'delta', filter: { zone: 'z1' } });
  expect(scene.outcomes.has(second)).toBe(false);
  const [wider] = scene.takeRequests();
  expect(wider?.params).toMatchObject({ zone: 'z1' });
  expect(wider?.params).not.toHaveProperty('enabledOnly');
  expect(wider?.params).not.toHaveProperty('version');
  const told: string[] = [];
  scene.onEffect = (effect) => {
    if (effect.kind !== 'changed') return;
    const ids = effect.difference.map(({ before, after }) => `${before?.id ?? ''}>${after?.id ?? ''}`);
    told.push(`${JSON.stringify(effect.subscription.filter)} ${ids.join()}`);
  };
  scene.answer(wider!.id, { version: 6, instances: [a, b] });
  expect(scene.outcomes.get(second)?.kind).toBe('resolved');
  expect(scene.filtered({ zone: 'z1' }).instances).toEqual([a, b]);
  expect(scene.filtered({ zone: 'z1', enabledOnly: true }).instances).toEqual([a]);
  scene.frame({
    jsonrpc: '2.0',
    method: 'service.changed',
    params: {
      ...service,
      count: 2,
      from: 6,
      to: 7,
      put: [instance('a', 'z1', false), instance('b', 'z1')],
      remove: [],
    },
  });
  expect(told).toEqual(['{"zone":"z1"} >b', '{"zone":"z1","enabledOnly":true} a>,>b', '{"zone":"z1"} a>a,b>b']);
  // With one left, no more than that is sent.
  scene.release(scene.filtered({ zone: 'z1' }));
  const [narrower] = scene.takeRequests();
  expect(narrower?.params).toMatchObject({ zone: 'z1', enabledOnly: true });
  scene.answer(narrower!.id, { version: 8, instances: [instance('b', 'z1')] });
  expect(told).toHaveLength(3);
  expect(scene.filtered({ zone: 'z1', enabledOnly: true }).instances.map(({ id }) => id)).toEqual(['b']);
});

test('a filter that a server refuses leaves the others as they were', () => {
  const scene = new Scene();
  scene.connect();
  scene.subscribed([instance('a', 'z1')], { zone: 'z1' });
  const second = scene.call({ kind: 'subscribe', service, mode: 'delta', filter: { zone: 'z2' } });
  scene.refuse(scene.takeRequests()[0]!.id, 'limit_exceeded', { limit: 'filtersPerServiceMax', max: 1 });
  expect(scene.errorOf(second)).toMatchObject({ code: 'limit_exceeded' });
  const [again] = scene.takeRequests();
  expect(again?.params).toMatchObject({ zone: 'z1', version: 5 });
  scene.answer(again!.id, { from: 5, version: 5, put: [], remove: [] });
  expect(scene.filtered({ zone: 'z1' })).toMatchObject({ isStale: false });
  expect(scene.notices.some(({ kind }) => kind === 'refused')).toBe(false);
});
