import { expect, test } from 'vitest';

import {
  ClosedError,
  ConnectionLostError,
  QueueFullError,
  RequestError,
  TimeoutError,
} from '../../src/client/errors.ts';
import { Scene, service, limits } from './scene.ts';

test('calls of one turn go out as one batch of each kind, and none before the session is open', () => {
  const scene = new Scene();
  scene.register('a');
  scene.call({ kind: 'subscribe', service, mode: 'delta' });
  scene.register('b');
  expect(scene.takeFrames()).toEqual([]);
  scene.connect();
  expect(scene.takeFrames().map((frame) => frame.map(({ method }) => method))).toEqual([
    ['instance.register', 'instance.register'],
    ['service.subscribe'],
  ]);
});

test('the announced limits are kept: entries of a batch, requests in flight, bytes of a frame', () => {
  const scene = new Scene();
  for (let n = 0; n < 10; n++) scene.register(`i${n}`);
  scene.connect({ batchEntriesMax: 3, requestsInFlightMax: 7 });
  const frames = scene.takeFrames();
  expect(frames.map((frame) => frame.length)).toEqual([3, 2]);
  scene.answer(frames[0]![0]!.id, { version: 1, id: 'i0' });
  expect(scene.takeRequests().map(({ params }) => params['instance'])).toMatchObject([{ id: 'i5' }]);
});

test('what a batch had no room for the answer to is asked again at once, in smaller batches', () => {
  const scene = new Scene();
  scene.connect();
  const tickets = Array.from({ length: 8 }, (_, n) =>
    scene.call({ kind: 'subscribe', service: { ...service, service: `s${n}` }, mode: 'delta' }),
  );
  const [batch] = scene.takeFrames();
  for (const { id } of batch!.slice(0, 3)) scene.answer(id, { version: 5, instances: [] });
  const refusal = { limit: 'batchAnswerCharactersMax', max: 1024 };
  for (const { id } of batch!.slice(3)) scene.refuse(id, 'limit_exceeded', refusal);
  scene.advance(0);
  const smaller = scene.takeFrames();
  expect(smaller.map((frame) => frame.length)).toEqual([4, 1]);
  for (const { id } of smaller[0]!) scene.refuse(id, 'limit_exceeded', refusal);
  scene.answer(smaller[1]![0]!.id, { version: 5, instances: [] });
  scene.advance(0);
  const smallest = scene.takeFrames();
  expect(smallest.map((frame) => frame.length)).toEqual([2, 2]);
  for (const { id } of smallest.flat()) scene.answer(id, { version: 5, instances: [] });
  expect(tickets.map((ticket) => scene.outcomes.get(ticket)?.kind)).toEqual(tickets.map(() => 'resolved'));
});

test('a request that no frame can hold is refused here, and does not cut the line', () => {
  const scene = new Scene();
  const ticket = scene.call({
    kind: 'register',
    service,
    instance: { host: 'h', port: 1, metadata: { k: 'é'.repeat(600) } },
  });
  scene.connect({ frameBytesMax: 1200 });
  expect(scene.takeRequests()).toEqual([]);
  expect(scene.errorOf(ticket)).toMatchObject({ code: 'limit_exceeded', limit: 'frameBytesMax', max: 1200 });
  expect(scene.state.tables.registrations.size).toBe(0);
});

test('a registration stands: it is registered again on the next connection, until it is deregistered', () => {
  const scene = new Scene();
  const ticket = scene.register('a');
  scene.connect();
  scene.answer(scene.takeRequests()[0]!.id, { version: 5, id: 'a' });
  expect(scene.outcomes.get(ticket)).toMatchObject({
    kind: 'resolved',
    settlement: { kind: 'registered', registration: { id: 'a', version: 5 } },
  });
  scene.cut();
  scene.advance(200);
  scene.connect();
  const [again] = scene.takeRequests();
  expect(again?.method).toBe('instance.register');
  scene.answer(again!.id, { version: 5, id: 'a' });
  scene.call({ kind: 'deregister', service, id: 'a' });
  expect(scene.takeRequests()).toMatchObject([{ method: 'instance.deregister', params: { id: 'a' } }]);
  scene.cut();
  scene.advance(200);
  scene.connect();
  expect(scene.takeRequests()).toEqual([]);
});

test('a registration that the server is too busy for is tried again after retryAfterMs and up to half as much again, within the call', () => {
  const scene = new Scene();
  const ticket = scene.register('a');
  scene.connect();
  scene.refuse(scene.takeRequests()[0]!.id, 'busy', { retryAfterMs: 70 });
  // The scene's dice always show a half.
  scene.advance(87);
  expect(scene.takeRequests()).toEqual([]);
  scene.advance(1);
  scene.answer(scene.takeRequests()[0]!.id, { version: 5, id: 'a' });
  expect(scene.outcomes.get(ticket)?.kind).toBe('resolved');
});

test.each(['busy', 'read_only'] as const)(
  'a registration that is put off with %s until its time is over fails with that',
  (code) => {
    const scene = new Scene({ requestTimeoutMs: 1000 });
    const ticket = scene.register('a');
    scene.connect();
    for (let put = 0; put < 2; put++) {
      scene.refuse(scene.takeRequests()[0]!.id, code, { retryAfterMs: 400 });
      scene.advance(500);
    }
    expect(scene.errorOf(ticket)).toMatchObject({ name: 'RequestError', code, retryAfterMs: 400 });
  },
);

test('a registration that is answered no more after it was put off is out of time', () => {
  const scene = new Scene({ requestTimeoutMs: 1000 });
  const ticket = scene.register('a');
  scene.connect();
  scene.refuse(scene.takeRequests()[0]!.id, 'busy', { retryAfterMs: 400 });
  scene.advance(500);
  scene.takeRequests();
  scene.advance(500);
  expect(scene.errorOf(ticket)).toBeInstanceOf(TimeoutError);
});

test('new content given while the old is under way follows it, once', () => {
  const scene = new Scene();
  scene.register('a', 1);
  scene.connect();
  const [first] = scene.takeRequests();
  scene.register('a', 2);
  const last = scene.register('a', 3);
  expect(scene.takeRequests()).toEqual([]);
  scene.answer(first!.id, { version: 5, id: 'a' });
  const [second, ...others] = scene.takeRequests();
  expect(second?.params).toMatchObject({ instance: { weight: 3 } });
  expect(others).toEqual([]);
  expect(scene.outcomes.has(last)).toBe(false);
  scene.answer(second!.id, { version: 6, id: 'a' });
  expect(scene.outcomes.get(last)).toMatchObject({ kind: 'resolved', settlement: { registration: { version: 6 } } });
});

test('what the server is too busy to take back is taken back later, unless it is wanted again', () => {
  const scene = new Scene();
  scene.register('a');
  scene.call({ kind: 'subscribe', service, mode: 'delta' });
  scene.connect();
  const [registered, subscribed] = scene.takeRequests();
  scene.answer(registered!.id, { version: 5, id: 'a' });
  scene.answer(subscribed!.id, { version: 5, instances: [] });
  const withdrawn = scene.call({ kind: 'deregister', service, id: 'a' });
  scene.release(scene.filtered());
  for (const { id } of scene.takeRequests()) scene.refuse(id, 'busy', { retryAfterMs: 70 });
  scene.call({ kind: 'subscribe', service, mode: 'delta' });
  expect(scene.takeRequests()).toMatchObject([{ method: 'service.subscribe' }]);
  scene.advance(88);
  const again = scene.takeRequests();
  expect(again).toMatchObject([{ method: 'instance.deregister' }]);
  scene.answer(again[0]!.id, { version: 6 });
  expect(scene.outcomes.get(withdrawn)?.kind).toBe('resolved');
});

test('an unsubscription that the server was too busy for is sent again', () => {
  const scene = new Scene();
  scene.call({ kind: 'subscribe', service, mode: 'delta' });
  scene.connect();
  scene.answer(scene.takeRequests()[0]!.id, { version: 5, instances: [] });
  scene.release(scene.filtered());
  scene.refuse(scene.takeRequests()[0]!.id, 'busy', { retryAfterMs: 70 });
  scene.advance(88);
  expect(scene.takeRequests()).toMatchObject([{ method: 'service.unsubscribe' }]);
});

test('frames that an old connection still brings are ignored', () => {
  const scene = new Scene();
  scene.connect();
  const old = scene.socket;
  scene.cut();
  scene.advance(200);
  scene.connect();
  scene.dispatch({ kind: 'frame', socket: old, text: '{' });
  expect(scene.state.link.kind).toBe('ready');
});

test('new content that is refused leaves the old one standing', () => {
  const scene = new Scene();
  scene.register('a', 1);
  scene.connect();
  scene.answer(scene.takeRequests()[0]!.id, { version: 5, id: 'a' });
  const ticket = scene.register('a', 2);
  scene.refuse(scene.takeRequests()[0]!.id, 'invalid_params', { field: '/instance/weight' });
  expect(scene.errorOf(ticket)).toMatchObject({ code: 'invalid_params', field: '/instance/weight' });
  scene.cut();
  scene.advance(200);
  scene.connect();
  expect(scene.takeRequests()).toMatchObject([{ params: { instance: { weight: 1 } } }]);
});

test('a first registration that is not answered in time does not stand, and is taken back', () => {
  const scene = new Scene({ requestTimeoutMs: 1000 });
  const ticket = scene.register('a');
  scene.connect();
  scene.takeRequests();
  scene.advance(1000);
  expect(scene.errorOf(ticket)).toBeInstanceOf(TimeoutError);
  const [taken] = scene.takeRequests();
  expect(taken).toMatchObject({ method: 'instance.deregister', params: { id: 'a' } });
  scene.answer(taken!.id, { version: 6 });
  expect(scene.state.tables.registrations.size).toBe(0);
});

test('without a connection a call ends with ConnectionLostError, which says why there was none', () => {
  const scene = new Scene({ requestTimeoutMs: 1000 });
  const ticket = scene.call({ kind: 'query', service });
  scene.cut();
  scene.advance(1000);
  expect(scene.errorOf(ticket)).toBeInstanceOf(ConnectionLostError);
  expect(scene.errorOf(ticket)).toMatchObject({ timeoutMs: 1000, lastCause: 'cut' });
});

test('a question whose connection breaks is asked again on the next', () => {
  const scene = new Scene();
  const ticket = scene.call({ kind: 'query', service });
  scene.connect();
  expect(scene.takeRequests()).toHaveLength(1);
  scene.cut();
  scene.advance(200);
  scene.connect();
  scene.answer(scene.takeRequests()[0]!.id, { version: 1, instances: [] });
  expect(scene.outcomes.get(ticket)?.kind).toBe('resolved');
});

test('calls that wait are bounded by requestsMax', () => {
  const scene = new Scene({ requestsMax: 2 });
  scene.register('a');
  scene.register('b');
  const third = scene.register('c');
  expect(scene.errorOf(third)).toBeInstanceOf(QueueFullError);
  expect(scene.state.tables.registrations.size).toBe(2);
});

test('[PU1] on a gap it asks for a snapshot once, and is stale until it has it', () => {
  const scene = new Scene();
  scene.call({ kind: 'subscribe', service, mode: 'delta' });
  scene.connect();
  scene.answer(scene.takeRequests()[0]!.id, { version: 5, instances: [] });
  const entry = scene.state.tables.subscriptions.get('public/DEFAULT/one')!;
  const instance = { id: 'a', host: 'h', port: 1, weight: 1, enabled: true };
  const push = (from: number, to: number): void => {
    scene.frame({
      jsonrpc: '2.0',
      method: 'service.changed',
      params: { ...service, count: 1, from, to, put: [instance], remove: [] },
    });
  };
  push(6, 7);
  push(7, 8);
  expect(entry.phase.kind).not.toBe('live');
  const requests = scene.takeRequests();
  expect(requests).toHaveLength(1);
  expect(requests[0]!.params).not.toHaveProperty('version');
  scene.answer(requests[0]!.id, { version: 8, instances: [instance] });
  expect(entry.phase.kind).toBe('live');
  expect(entry.view.instances).toEqual([instance]);
});

test('[PU1] a push that overtakes the answer to the subscription is not lost: it is asked for from the version held', () => {
  const scene = new Scene();
  scene.call({ kind: 'subscribe', service, mode: 'delta' });
  scene.connect();
  const [request] = scene.takeRequests();
  scene.frame({
    jsonrpc: '2.0',
    method: 'service.changed',
    params: { ...service, count: 0, from: 5, to: 6, put: [], remove: ['a'] },
  });
  scene.answer(request!.id, { version: 5, instances: [{ id: 'a', host: 'h', port: 1, weight: 1, enabled: true }] });
  const [again] = scene.takeRequests();
  expect(again).toMatchObject({ method: 'service.subscribe', params: { version: 5 } });
  scene.answer(again!.id, { from: 5, version: 6, put: [], remove: ['a'] });
  expect(scene.state.tables.subscriptions.get('public/DEFAULT/one')?.view.instances).toEqual([]);
});

test('after a break it resumes from the version that it holds', () => {
  const scene = new Scene();
  scene.call({ kind: 'subscribe', service, mode: 'delta' });
  scene.connect();
  scene.answer(scene.takeRequests()[0]!.id, { version: 5, instances: [] });
  scene.cut();
  scene.advance(200);
  scene.connect();
  expect(scene.takeRequests()).toMatchObject([{ method: 'service.subscribe', params: { version: 5 } }]);
});

test('a server that refuses session.open is not hammered, and the refusal is told', () => {
  const scene = new Scene({ backoffMaxMs: 3000 });
  scene.dispatch({ kind: 'socketOpened', socket: 1 });
  scene.refuse(scene.takeRequests()[0]!.id, 'forbidden');
  expect(scene.notices[0]).toMatchObject({
    kind: 'refused',
    what: { kind: 'session' },
    error: { code: 'forbidden', message: 'forbidden' },
  });
  scene.advance(2999);
  expect(scene.state.link.kind).toBe('waiting');
  scene.advance(1);
  expect(scene.state.link.kind).toBe('connecting');
});

test('[WP3] whatever a server sends, the client goes on, or connects anew', () => {
  const scene = new Scene();
  const ticket = scene.call({ kind: 'subscribe', service, mode: 'delta' });
  scene.connect();
  const [request] = scene.takeRequests();
  for (const value of [
    [],
    [null, 1, 'x', [[]]],
    {},
    { id: 999, result: {} },
    { id: '1', result: {} },
    { method: 'service.changed' },
    { method: 'service.changed', params: { ...service, count: 1, from: 1, to: 2, put: [{}], remove: [] } },
    { method: 'unheard.of', params: {} },
    { id: null, error: { code: -32_700, message: 'x' } },
  ]) {
    scene.frame(value);
  }
  expect(scene.state.link.kind).toBe('ready');
  scene.answer(request!.id, { version: 'one' });
  expect(scene.errorOf(ticket)).toBeInstanceOf(RequestError);
  scene.dispatch({ kind: 'frame', socket: scene.socket, text: '{' });
  expect(scene.state.link.kind).toBe('waiting');
});

test('[WP5] what it does not know of results, errors and notifications is passed over', () => {
  const scene = new Scene();
  const query = scene.call({ kind: 'query', service });
  const list = scene.call({ kind: 'list', params: {} });
  const refused = scene.call({ kind: 'query', service: { ...service, service: 'two' } });
  const registered = scene.register('a');
  const subscribed = scene.call({ kind: 'subscribe', service, mode: 'delta' });
  const later = { later: { deep: [1] } };
  scene.connect({}, { ...later, protocol: 1, capabilities: ['claims', 'telepathy'] });
  expect(scene.notices).toContainEqual(
    expect.objectContaining({ kind: 'connected', capabilities: ['claims', 'telepathy'] }),
  );
  const instance = { id: 'a', host: 'h', port: 1, weight: 1, enabled: true, ...later };
  const results = {
    'service.query': { version: 5, instances: [instance], ...later },
    'service.list': { services: [{ ...service, instances: 1, ...later }], ...later },
    'service.subscribe': { version: 5, instances: [instance], ...later },
    'instance.register': { version: 5, id: 'a', ...later },
  };
  for (const { id, method, params } of scene.takeRequests()) {
    if (params['service'] === 'two') scene.refuse(id, 'not_found', later);
    else scene.frame({ jsonrpc: '2.0', id, result: results[method as keyof typeof results], ...later });
  }
  expect(scene.errorOf(refused)).toMatchObject({ code: 'not_found' });
  for (const ticket of [query, list, registered, subscribed]) {
    expect(scene.outcomes.get(ticket)).toMatchObject({ kind: 'resolved' });
  }
  const name = { ...service, count: 1, ...later };
  scene.frame({ method: 'service.later', params: { ...name, from: 5, to: 6, put: [], remove: ['a'] } });
  expect(scene.view.view.version).toBe(5);
  scene.frame({
    method: 'service.changed',
    params: { ...name, from: 5, to: 6, put: [{ ...instance, weight: 2 }], remove: [] },
    ...later,
  });
  expect(scene.view.view.version).toBe(6);
  expect(scene.view.view.instances).toMatchObject([{ id: 'a', weight: 2 }]);
  scene.frame({ method: 'service.changed', params: { ...name, snapshot: true, to: 7, instances: [instance] } });
  expect(scene.view.view.version).toBe(7);
  scene.frame({ method: 'instance.claim', params: { ...service, id: 'a', shown: false, ...later } });
  scene.frame({ method: 'session.goaway', params: { reason: 'r', reconnectAfterMs: 10, ...later } });
  expect(scene.notices).toContainEqual({ kind: 'claim', service, id: 'a', isShown: false });
  expect(scene.state.link.kind).toBe('moving');
});

test('[WP5] an error is known by its number where its name is not, and one of neither is internal', () => {
  const scene = new Scene();
  const tickets = [scene.call({ kind: 'query', service }), scene.call({ kind: 'list', params: {} })];
  scene.connect();
  for (const [index, { id }] of scene.takeRequests().entries()) {
    const code = index === 0 ? -32_001 : -32_099;
    scene.frame({ id, error: { code, message: 'later', data: { code: 'later' } } });
  }
  expect(tickets.map((ticket) => scene.errorOf(ticket))).toMatchObject([
    { code: 'not_found' },
    { code: 'internal', message: 'later' },
  ]);
});

/** Every server says that it does not speak this client's version. */
function refuseVersion(scene: Scene): void {
  scene.dispatch({ kind: 'socketOpened', socket: scene.socket });
  scene.refuse(scene.takeRequests()[0]!.id, 'unsupported_version', { field: '/protocol' });
}

test('[WP6] refused for its version by each of its servers, the client gives up, and says why', () => {
  const scene = new Scene({ servers: ['ws://a', 'ws://b'] });
  const waiting = scene.register('a');
  refuseVersion(scene);
  expect(scene.state.link.kind).toBe('waiting');
  // One that cannot be reached has not said anything.
  scene.advance(10_000);
  scene.cut();
  scene.advance(1000);
  refuseVersion(scene);
  expect(scene.state.link.kind).toBe('waiting');
  const later = scene.call({ kind: 'query', service, timeoutMs: 100_000 });
  scene.advance(10_000);
  refuseVersion(scene);
  expect(scene.state.link.kind).toBe('closed');
  expect(scene.notices.at(-1)).toMatchObject({ kind: 'refused', error: { code: 'unsupported_version' } });
  expect(scene.errorOf(waiting)).toBeInstanceOf(Error);
  expect(scene.errorOf(later)).toMatchObject({ name: 'RequestError', code: 'unsupported_version' });
  expect(scene.errorOf(scene.register('b'))).toMatchObject({ code: 'unsupported_version' });
  const { newest } = scene.state.link;
  scene.advance(100_000);
  expect(scene.state.link.newest).toBe(newest);
});

test('[WP6] a session forgets what servers said of the version before it', () => {
  const scene = new Scene({ servers: ['ws://a', 'ws://b'] });
  refuseVersion(scene);
  scene.advance(10_000);
  scene.connect();
  scene.cut();
  scene.advance(1000);
  refuseVersion(scene);
  expect(scene.state.link.kind).toBe('waiting');
});

test('[WP6] asked to go, it stays as long as it may with a server that speaks its version', () => {
  const scene = new Scene({ servers: ['ws://a'] });
  scene.connect();
  scene.frame({ method: 'session.goaway', params: { reason: 'r', reconnectAfterMs: 10 } });
  for (const waitMs of [10, 10_000]) {
    scene.advance(waitMs);
    refuseVersion(scene);
    expect(scene.state.link.kind).toBe('moving');
  }
  scene.dispatch({ kind: 'socketClosed', socket: 1, cause: 'gone' });
  scene.advance(10_000);
  refuseVersion(scene);
  expect(scene.state.link.kind).toBe('closed');
});

test.each([0, 2, 1.5])(
  '[WP6] a server that would speak version %s is none that this client can talk to',
  (protocol) => {
    const scene = new Scene({ servers: ['ws://a'] });
    scene.dispatch({ kind: 'socketOpened', socket: 1 });
    const [open] = scene.takeRequests();
    scene.answer(open!.id, { session: 's', heartbeatMs: 1, limits, protocol });
    expect(scene.state.link.kind).toBe('closed');
    expect(scene.notices.at(-1)).toMatchObject({ kind: 'refused', error: { code: 'unsupported_version' } });
  },
);

test('closing settles every call with ClosedError, and later calls too', () => {
  const scene = new Scene();
  const tickets = [
    scene.register('a'),
    scene.call({ kind: 'query', service }),
    scene.call({ kind: 'awaitConnection' }),
  ];
  scene.dispatch({ kind: 'close' });
  tickets.push(scene.register('b'));
  for (const ticket of tickets) expect(scene.errorOf(ticket)).toBeInstanceOf(ClosedError);
});
