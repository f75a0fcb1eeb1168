import { expect, test } from 'vitest';

import { encodeInstance } from '../../src/protocol/instance-encoding.ts';
import { hashRegistration, RegistrationDigest } from '../../src/protocol/registration-digest.ts';
import { serviceKey } from '../../src/protocol/service-key.ts';
import { Scene, service } from './scene.ts';

const later = { secret: 's1', registry: 'r1', warming: false };
const key = serviceKey(service);

function fragmentOf(id: string, weight = 1): string {
  return encodeInstance({ id, host: 'h', port: 1, weight }).fragment;
}

/** What a server says that has taken over a session with these registrations. */
function resumed(...ids: string[]): object {
  const digest = new RegistrationDigest();
  for (const id of ids) digest.add(key, fragmentOf(id));
  return { ...later, resumed: { registrations: ids.length, digest: digest.toString() } };
}

/** An answer to `session.registrations`. */
function page(held: readonly (readonly [string, string])[], cursor?: string): object {
  return {
    registrations: held.map(([id, hash]) => ({ ...service, id, hash })),
    ...(cursor === undefined ? {} : { cursor }),
  };
}

function withTwo(): Scene {
  const scene = new Scene();
  scene.connect({}, later);
  scene.registered('a');
  scene.registered('b');
  return scene;
}

test('[SE8] it resumes by the last secret, and sends nothing when the server holds what it acknowledged', () => {
  const scene = withTwo();
  expect(scene.reconnect(resumed('a', 'b'))).toMatchObject({
    resume: 's1',
    capabilities: ['claims', 'goaway', 'resume', 'warming'],
    protocol: 1,
  });
  expect(scene.takeRequests()).toEqual([]);
  expect(scene.notices.at(-1)).toMatchObject({ kind: 'connected', isResumed: true });
});

test('[SE8] what is new, changed or taken away meanwhile is sent, and nothing else', () => {
  const scene = withTwo();
  scene.cut();
  scene.register('c');
  scene.register('b', 2);
  scene.call({ kind: 'deregister', service, id: 'a' });
  scene.advance(200);
  scene.connect({}, resumed('a', 'b'));
  const sent = scene.takeRequests().map(({ method, params }) => [method, params['id'] ?? params['instance']]);
  expect(sent).toHaveLength(3);
  expect(sent).toContainEqual(['instance.deregister', 'a']);
  expect(sent).toContainEqual(['instance.register', expect.objectContaining({ id: 'b', weight: 2 })]);
  expect(sent).toContainEqual(['instance.register', expect.objectContaining({ id: 'c' })]);
});

test('[SE8] where the digests differ it reads what the session holds, page by page, and mends what differs', () => {
  const scene = withTwo();
  scene.register('c');
  // It reaches the server, but its answer does not come.
  scene.takeRequests();
  scene.registered('same');
  scene.reconnect(resumed('a', 'b', 'c', 'stray'));
  const [first] = scene.takeRequests();
  expect(first).toMatchObject({ method: 'session.registrations', params: { limit: 1000 } });
  scene.register('new');
  // Nothing is registered before it is known what is there.
  expect(scene.takeRequests()).toEqual([]);
  scene.answer(
    first!.id,
    page(
      [
        ['a', hashRegistration(key, fragmentOf('a'))],
        ['b', hashRegistration(key, fragmentOf('b', 7))],
      ],
      'next',
    ),
  );
  const [second] = scene.takeRequests();
  expect(second).toMatchObject({ method: 'session.registrations', params: { cursor: 'next' } });
  scene.answer(
    second!.id,
    page([
      ['stray', '0'],
      ['same', hashRegistration(key, fragmentOf('same'))],
    ]),
  );
  const sent = scene.takeRequests().map(({ method, params }) => {
    const instance = params['instance'] as { id: string } | undefined;
    return `${method} ${instance?.id ?? String(params['id'])}`;
  });
  expect(sent.sort()).toEqual([
    'instance.deregister stray',
    'instance.register b',
    'instance.register c',
    'instance.register new',
  ]);
});

test('[SE8] what the session turns out to hold has been accepted, though nobody heard so: a later refusal falls back to it', () => {
  const scene = new Scene({ requestTimeoutMs: 1000 });
  scene.connect({}, later);
  scene.call({ kind: 'register', service, instance: { id: 'a', host: 'h', port: 1, weight: 1 }, isStanding: true });
  scene.refuse(scene.takeRequests()[0]!.id, 'limit_exceeded');
  const ticket = scene.register('a', 2);
  // It reaches the server, but its answer does not come, and the call is given up.
  scene.takeRequests();
  scene.cut();
  scene.advance(1000);
  expect(scene.errorOf(ticket)).toBeDefined();
  scene.connect({}, resumed('a'));
  const held = hashRegistration(key, fragmentOf('a', 2));
  scene.answer(scene.takeRequests()[0]!.id, page([['a', held]]));
  expect(scene.takeRequests()).toEqual([]);
  const next = scene.register('a', 3);
  scene.refuse(scene.takeRequests()[0]!.id, 'invalid_params');
  expect(scene.errorOf(next)).toBeDefined();
  expect(scene.takeRequests()).toEqual([]);
  expect([...scene.state.tables.registrations.values()]).toMatchObject([
    { wanted: { weight: 2 }, accepted: { weight: 2 } },
  ]);
});

test('[SE8] a session that is not there any more is told everything anew, and what was taken away has gone with it', () => {
  const scene = withTwo();
  scene.cut();
  const ticket = scene.call({ kind: 'deregister', service, id: 'a', isPatient: true });
  scene.advance(200);
  expect(scene.outcomes.has(ticket)).toBe(false);
  scene.connect({}, later);
  expect(scene.takeRequests()).toMatchObject([{ method: 'instance.register', params: { instance: { id: 'b' } } }]);
  expect(scene.outcomes.get(ticket)).toMatchObject({ settlement: { kind: 'deregistered', pending: false } });
});

test('[SE8] a server of the first edition, which refuses what it does not know, is asked in its own words', () => {
  const scene = new Scene();
  scene.dispatch({ kind: 'socketOpened', socket: scene.socket });
  const [open] = scene.takeRequests();
  scene.refuse(open!.id, 'invalid_params', { field: '/capabilities' });
  const [plain] = scene.takeRequests();
  expect(plain).toMatchObject({ method: 'session.open' });
  expect(Object.keys(plain!.params)).toEqual(['client']);
  scene.refuse(plain!.id, 'invalid_params', { field: '/client' });
  expect(scene.notices[0]).toMatchObject({ kind: 'refused', what: { kind: 'session' } });
});

test('[WP6] a server from before versions were said is not told one, and keeps the session', () => {
  const scene = new Scene();
  scene.connect({}, later);
  scene.cut();
  scene.advance(200);
  scene.dispatch({ kind: 'socketOpened', socket: scene.socket });
  scene.refuse(scene.takeRequests()[0]!.id, 'invalid_params', { field: '/protocol' });
  const [open] = scene.takeRequests();
  expect(Object.keys(open!.params)).toEqual(['client', 'resume', 'capabilities']);
  scene.refuse(open!.id, 'invalid_params', { field: '/resume' });
  expect(Object.keys(scene.takeRequests()[0]!.params)).toEqual(['client']);
});

test.each([
  ['nothing', {}, false],
  ['its registry', { registry: 'r1' }, true],
  ['that it has warming', { registry: 'r1', capabilities: ['warming'] }, true],
  ['that it has none', { registry: 'r1', capabilities: [] }, false],
])(
  '[WP6] to a server that says %s it says how many it holds only where that is supportedCapabilities',
  (_, opened, isCounted) => {
    const scene = new Scene();
    scene.connect({}, opened);
    scene.subscribed();
    scene.reconnect(opened);
    const [request] = scene.takeRequests();
    expect('count' in request!.params).toBe(isCounted);
  },
);

test('[SE8] while cut off a deregistration says that it is pending, stands whatever becomes of the call, and waits on request', () => {
  const scene = withTwo();
  scene.cut();
  const at = scene.call({ kind: 'deregister', service, id: 'a' });
  expect(scene.outcomes.get(at)).toEqual({ kind: 'resolved', settlement: { kind: 'deregistered', pending: true } });
  const patient = scene.call({ kind: 'deregister', service, id: 'b', isPatient: true, timeoutMs: 100 });
  scene.advance(200);
  expect(scene.errorOf(patient)?.name).toBe('ConnectionLostError');
  scene.connect({}, resumed('a', 'b'));
  expect(scene.takeRequests().map(({ method, params }) => `${method} ${String(params['id'])}`)).toEqual([
    'instance.deregister a',
    'instance.deregister b',
  ]);
});

test('a deregistration whose connection breaks before the answer is pending, and is asked again', () => {
  const scene = withTwo();
  const ticket = scene.call({ kind: 'deregister', service, id: 'a' });
  scene.takeRequests();
  scene.cut();
  expect(scene.outcomes.get(ticket)).toMatchObject({ settlement: { kind: 'deregistered', pending: true } });
  scene.advance(200);
  scene.connect({}, resumed('a', 'b'));
  const [again] = scene.takeRequests();
  expect(again).toMatchObject({ method: 'instance.deregister', params: { id: 'a' } });
  // It had been carried out the first time.
  scene.refuse(again!.id, 'not_found');
  expect(scene.state.tables.registrations.size).toBe(1);
});

test('what is registered again before it has been taken away is registered, and the one who took it away is answered', () => {
  const scene = withTwo();
  const ticket = scene.call({ kind: 'deregister', service, id: 'a', isPatient: true });
  scene.register('a', 3);
  const [only, ...others] = scene.takeRequests();
  expect(only).toMatchObject({ method: 'instance.register', params: { instance: { id: 'a', weight: 3 } } });
  expect(others).toEqual([]);
  scene.answer(only!.id, { version: 9, id: 'a' });
  expect(scene.outcomes.get(ticket)?.kind).toBe('resolved');
});

function askedToGo(): Scene {
  const scene = withTwo();
  scene.frame({ jsonrpc: '2.0', method: 'session.goaway', params: { reason: 'test', reconnectAfterMs: 500 } });
  return scene;
}

test('[SE6] [SE8] asked to go, calls go on on the connection that serves until the next one has resumed', () => {
  const scene = askedToGo();
  const ticket = scene.call({ kind: 'deregister', service, id: 'a' });
  const [taken] = scene.takeRequests();
  expect(taken).toMatchObject({ method: 'instance.deregister' });
  scene.answer(taken!.id, { version: 8 });
  expect(scene.outcomes.get(ticket)).toMatchObject({ settlement: { pending: false } });
  scene.advance(500);
  expect(scene.socket).toBe(2);
  const registered = scene.register('c');
  const [onOld] = scene.sent.splice(0);
  expect(onOld).toBeUndefined();
  scene.flush();
  expect(scene.sent.map(({ socket }) => socket)).toEqual([1]);
  scene.sent.splice(0);
  expect(scene.connect({}, resumed('b'))).toMatchObject({ resume: 's1' });
  // Not answered on the old one: it is sent again.
  expect(scene.sent.map(({ socket }) => socket)).toEqual([2]);
  scene.answer(scene.takeRequests()[0]!.id, { version: 9, id: 'c' });
  expect(scene.outcomes.get(registered)?.kind).toBe('resolved');
  expect(scene.notices.map(({ kind }) => kind)).toEqual(['connected', 'goaway', 'connected']);
});

test('[SE6] a connection whose session was not resumed is kept until the new one has all that it held', () => {
  const scene = askedToGo();
  const closed: string[] = [];
  scene.onEffect = (effect) => {
    if (effect.kind === 'closeSocket') closed.push(`${effect.manner} ${effect.socket}`);
  };
  scene.advance(500);
  scene.connect({}, { ...later, registry: 'r2' });
  const requests = scene.takeRequests();
  expect(requests).toHaveLength(2);
  scene.answer(requests[0]!.id, { version: 1, id: 'a' });
  expect(closed).toEqual([]);
  scene.answer(requests[1]!.id, { version: 1, id: 'b' });
  expect(closed).toEqual(['orderly 1']);
  scene.advance(2000);
  expect(closed).toEqual(['orderly 1', 'abandon 1']);
});

test('it tells when another takes an instance over and when it is its own again', () => {
  const scene = withTwo();
  const claim = (shown: boolean): void => {
    scene.frame({ jsonrpc: '2.0', method: 'instance.claim', params: { ...service, id: 'a', shown } });
  };
  claim(false);
  claim(false);
  expect(scene.state.tables.registrations.get(`${key}\na`)?.isShown).toBe(false);
  claim(true);
  expect(scene.notices.filter(({ kind }) => kind === 'claim')).toEqual([
    { kind: 'claim', service, id: 'a', isShown: false },
    { kind: 'claim', service, id: 'a', isShown: true },
  ]);
});
