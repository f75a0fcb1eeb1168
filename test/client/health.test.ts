import { expect, test } from 'vitest';

import type { Health } from '../../src/protocol/types.ts';
import { Scene, service } from './scene.ts';

function setHealth(scene: Scene, health: Health): number {
  const instance = { id: 'a', host: 'h', port: 1, weight: 1, health };
  return scene.call({ kind: 'register', service, instance });
}

test('[HC1] when nothing but the health differs from what the session holds, that is all that is sent', () => {
  const scene = new Scene();
  scene.connect();
  scene.registered('a');
  const ticket = setHealth(scene, 'critical');
  const [request] = scene.takeRequests();
  expect(request).toMatchObject({ method: 'instance.health', params: { ...service, id: 'a', health: 'critical' } });
  scene.answer(request!.id, { version: 6 });
  expect(scene.outcomes.get(ticket)).toMatchObject({ settlement: { registration: { version: 6 } } });
  setHealth(scene, 'passing');
  expect(scene.takeRequests()).toMatchObject([{ method: 'instance.health', params: { health: 'passing' } }]);
});

test('[HC2] what was reported is registered again with the instance, on another session', () => {
  const scene = new Scene();
  scene.connect();
  scene.registered('a');
  setHealth(scene, 'critical');
  scene.answer(scene.takeRequests()[0]!.id, { version: 6 });
  scene.reconnect();
  expect(scene.takeRequests()).toMatchObject([
    { method: 'instance.register', params: { instance: { id: 'a', health: 'critical' } } },
  ]);
});

test('[HC2] a report that the server does not take is made by registering the instance', () => {
  const scene = new Scene();
  scene.connect();
  scene.registered('a');
  const ticket = setHealth(scene, 'critical');
  scene.refuse(scene.takeRequests()[0]!.id, 'unknown_method');
  const [request] = scene.takeRequests();
  expect(request).toMatchObject({ method: 'instance.register', params: { instance: { health: 'critical' } } });
  scene.answer(request!.id, { version: 7, id: 'a' });
  expect(scene.outcomes.get(ticket)).toMatchObject({ settlement: { kind: 'registered' } });
});

test('[HC1] a report does not make a claim the newest', () => {
  const scene = new Scene();
  scene.connect();
  scene.registered('a');
  scene.frame({ jsonrpc: '2.0', method: 'instance.claim', params: { ...service, id: 'a', shown: false } });
  const ticket = setHealth(scene, 'warning');
  scene.answer(scene.takeRequests()[0]!.id, { version: 6 });
  expect(scene.outcomes.get(ticket)).toMatchObject({ settlement: { registration: { isShown: false } } });
});
