import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { connect } from 'slotcast/client';
import type { Client, ClientOptions } from 'slotcast/client';
import { afterEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';

import type { ClientEffect } from '../../src/client/effects.ts';
import type { NewToken } from '../../src/protocol/access.ts';
import { Scene } from './scene.ts';

/** Not called by the scene: it plays the shell. */
const token = (): string => '';

function scene(options: Partial<ClientOptions> = {}): { readonly led: Scene; readonly effects: ClientEffect[] } {
  const led = new Scene({ token, ...options });
  const effects: ClientEffect[] = [];
  led.onEffect = (effect) => effects.push(effect);
  return { led, effects };
}

function sockets(effects: readonly ClientEffect[]): readonly string[] {
  return effects.flatMap((each) =>
    each.kind === 'askToken' || each.kind === 'openSocket' ? `${each.kind} ${each.socket}` : [],
  );
}

test('a connection is opened once its token is there, which goes with session.open and is asked again for the next', () => {
  const { led, effects } = scene();
  led.dispatch({ kind: 'tokenGiven', socket: 1, token: 'first' });
  expect(led.connect()).toMatchObject({ token: 'first' });
  led.cut();
  led.advance(200);
  led.dispatch({ kind: 'tokenGiven', socket: 2, token: 'second' });
  expect(led.connect()).toMatchObject({ token: 'second' });
  // The first was asked for before anybody looked.
  expect(sockets(effects)).toEqual(['openSocket 1', 'askToken 2', 'openSocket 2']);
});

test('a server of an earlier edition is asked again with the same token', () => {
  const { led } = scene();
  led.dispatch({ kind: 'tokenGiven', socket: 1, token: 'first' });
  led.dispatch({ kind: 'socketOpened', socket: 1 });
  led.refuse(led.takeRequests()[0]!.id, 'invalid_params', { field: '/protocol' });
  expect(led.takeRequests()[0]?.params).toMatchObject({ token: 'first' });
});

test('a token that is not there in time, or cannot be had, is a failed connection that says why and is tried again with backoff', () => {
  const { led, effects } = scene({ connectTimeoutMs: 1000, backoffMinMs: 100, backoffMaxMs: 400 });
  led.advance(1000);
  expect(led.notices).toMatchObject([{ kind: 'unreachable', cause: 'no token within 1000 ms' }]);
  led.advance(100);
  led.dispatch({ kind: 'socketClosed', socket: 2, cause: 'token: the vault is sealed' });
  expect(led.notices.at(-1)).toMatchObject({ kind: 'unreachable', cause: 'token: the vault is sealed' });
  led.advance(400);
  led.dispatch({ kind: 'tokenGiven', socket: 3, token: 'third' });
  // The one that comes too late opens nothing, and is not shown.
  led.dispatch({ kind: 'tokenGiven', socket: 1, token: 'late' });
  expect(sockets(effects)).toEqual(['askToken 2', 'askToken 3', 'openSocket 3']);
  expect(led.connect()).toMatchObject({ token: 'third' });
});

test('a connection that serves goes on while the token for the next one is asked for', () => {
  const { led, effects } = scene();
  led.dispatch({ kind: 'tokenGiven', socket: 1, token: 'first' });
  led.connect();
  led.frame({ jsonrpc: '2.0', method: 'session.goaway', params: { reason: 'maintenance', reconnectAfterMs: 0 } });
  led.advance(1);
  expect(sockets(effects)).toEqual(['openSocket 1', 'askToken 2']);
  // It breaks meanwhile, and what was asked for is waited for.
  led.dispatch({ kind: 'socketClosed', socket: 1, cause: 'gone' });
  led.dispatch({ kind: 'tokenGiven', socket: 2, token: 'second' });
  expect(sockets(effects)).toEqual(['openSocket 1', 'askToken 2', 'openSocket 2']);
  expect(led.connect()).toMatchObject({ token: 'second' });
});

test.each([
  [token, 200],
  ['fixed', 10_000],
])('after a refusal of credentials others are asked for soon; fixed ones are shown again rarely', (given, waitMs) => {
  const { led } = scene({ token: given, servers: ['ws://a'] });
  if (typeof given === 'function') led.dispatch({ kind: 'tokenGiven', socket: 1, token: 'old' });
  led.dispatch({ kind: 'socketOpened', socket: 1 });
  led.refuse(led.takeRequests()[0]!.id, 'unauthorized');
  led.advance(waitMs - 100);
  if (waitMs > 200) expect(led.socket).toBe(1);
  led.advance(100);
  expect(led.socket).toBe(2);
});

const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});

interface Access {
  readonly server: Server;
  readonly ask: <T>(method: string, target: string, body?: object) => Promise<T>;
}

async function startWithAccess(): Promise<Access> {
  const folder = mkdtempSync(path.join(tmpdir(), 'slotcast-tokens-'));
  stops.push(() => {
    rmSync(folder, { recursive: true });
  });
  const server = await startServer({
    port: 0,
    partitions: 1,
    logLevel: 'silent',
    warmUpMs: 0,
    drainTimeoutMs: 0,
    revalidateMs: 100,
    dataDir: folder,
    accessControl: 'on',
  });
  stops.push(() => server.stop());
  const admin = readFileSync(path.join(folder, 'bootstrap-token'), 'utf8').trim();
  const ask = async <T>(method: string, target: string, body?: object): Promise<T> => {
    const response = await fetch(`${server.address.httpUrl}${target}`, {
      method,
      headers: { Authorization: `Bearer ${admin}`, 'Content-Type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    expect(response.status).toBe(200);
    return (await response.json()) as T;
  };
  await ask('PUT', '/v1/policies', {
    policy: 'team',
    rules: [{ actions: ['read', 'register', 'subscribe'] }],
  });
  return { server, ask };
}

function open(server: Server, options: Partial<ClientOptions>): Client {
  const client = connect({ servers: [server.address.url], backoffMinMs: 10, backoffMaxMs: 100, WebSocket, ...options });
  stops.push(() => client.close());
  return client;
}

test('when a token expires the session is resumed with a fresh one, and no registration is lost meanwhile', async () => {
  const { server, ask } = await startWithAccess();
  const observer = open(server, {
    token: (await ask<NewToken>('POST', '/v1/tokens', { name: 'o', policies: ['team'] })).token,
  });
  const view = await observer.subscribe('orders');
  const sizes: number[] = [];
  view.on('change', ({ instances }) => sizes.push(instances.length));

  let current = await ask<NewToken>('POST', '/v1/tokens', { name: 'p', policies: ['team'] });
  const shown: string[] = [];
  const isResumed: boolean[] = [];
  const causes: string[] = [];
  const provider = open(server, {
    token: () => {
      shown.push(current.id);
      return Promise.resolve(current.token);
    },
  });
  provider.on('connected', (event) => isResumed.push(event.isResumed));
  provider.on('disconnected', ({ cause }) => causes.push(cause));
  await provider.register('orders', { host: '10.0.0.1', port: 80 });
  await expect.poll(() => view.instances.length).toBe(1);
  const first = current;
  current = await ask<NewToken>('POST', '/v1/tokens/rotate', { id: first.id, overlapMs: 300 });
  await expect.poll(() => isResumed, { timeout: 5000 }).toEqual([false, true]);
  expect(causes).toEqual([expect.stringContaining('4006')]);
  expect(shown).toEqual([first.id, current.id]);
  // As if nothing had happened, and what is registered now arrives.
  await provider.register('orders', { host: '10.0.0.2', port: 80 });
  await expect.poll(() => view.instances.length).toBe(2);
  expect(sizes).toEqual([1, 2]);
});

test('a function that fails, hangs or gives nothing is asked again, and nothing it gave is in any event', async () => {
  const { server, ask } = await startWithAccess();
  const { token: good } = await ask<NewToken>('POST', '/v1/tokens', { name: 'p', policies: ['team'] });
  const answers: (() => string | Promise<string>)[] = [
    () => {
      throw new Error('the vault is sealed');
    },
    () => '',
    () => new Promise(() => undefined),
    () => `${good.slice(0, -1)}${good.endsWith('0') ? '1' : '0'}`,
  ];
  const client = open(server, { connectTimeoutMs: 600, token: () => (answers.shift() ?? ((): string => good))() });
  const events: unknown[] = [];
  for (const name of ['unreachable', 'refused', 'connected'] as const) client.on(name, (event) => events.push(event));
  await client.whenConnected();
  expect(events).toMatchObject([
    { cause: 'token: the vault is sealed' },
    { cause: 'token: the function returned no string' },
    { cause: 'no token within 600 ms' },
    { what: { kind: 'session' }, error: expect.objectContaining({ code: 'unauthorized' }) },
    { cause: expect.stringContaining('unauthorized') },
    { isResumed: false },
  ]);
  expect(JSON.stringify(events) + String(events)).not.toContain(good.slice(0, -1));
});
