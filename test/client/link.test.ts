import { expect, test } from 'vitest';

import { initialLink, linkWakeAt, stepLink } from '../../src/client/link.ts';
import type { LinkEffect, LinkEvent, LinkState } from '../../src/client/link.ts';
import { resolveOptions } from '../../src/client/options.ts';
import { fakeLimits } from './fake-server.ts';

const settings = resolveOptions({ servers: ['ws://a', 'ws://b'], backoffMinMs: 100, backoffMaxMs: 1000 });

/** A link that is led from event to event. */
class Led {
  state: LinkState = initialLink;
  nowMs = 0;

  send(event: LinkEvent): readonly LinkEffect[] {
    const { state, effects } = stepLink(this.state, event, { nowMs: this.nowMs, random: 0.999_999, settings });
    this.state = state;
    return effects;
  }

  wake(): readonly LinkEffect[] {
    this.nowMs = Math.max(this.nowMs, linkWakeAt(this.state, settings) ?? this.nowMs);
    return this.send({ kind: 'tick' });
  }

  becomeReady(): this {
    if (this.state.kind === 'waiting') this.wake();
    this.send({ kind: 'socketOpened', socket: this.state.socket });
    this.send({ kind: 'openAccepted', limits: fakeLimits });
    if (this.state.kind !== 'ready') throw new Error(`it is ${this.state.kind}`);
    return this;
  }
}

test('it connects at once, opens the session, and is ready when that is accepted', () => {
  const link = new Led();
  expect(link.wake()).toEqual([{ kind: 'openSocket', socket: 1, url: 'ws://a/v1/session' }]);
  expect(link.send({ kind: 'socketOpened', socket: 1 })).toEqual([{ kind: 'sendOpen' }]);
  expect(link.send({ kind: 'openAccepted', limits: fakeLimits })).toEqual([{ kind: 'up' }]);
});

test('tries go round the servers, and the wait doubles with each round', () => {
  const link = new Led();
  const tries: string[] = [];
  for (let n = 0; n < 6; n++) {
    const startMs = link.nowMs;
    for (const effect of link.wake())
      if (effect.kind === 'openSocket') tries.push(`${effect.url} ${link.nowMs - startMs}`);
    link.send({ kind: 'socketClosed', socket: link.state.socket, cause: 'refused' });
  }
  expect(tries.map((each) => each.replace('/v1/session', ''))).toEqual([
    'ws://a 0',
    'ws://b 100',
    'ws://a 100',
    'ws://b 200',
    'ws://a 200',
    'ws://b 400',
  ]);
});

test('a session that lasted is sought again where it was; one that did not counts as a failure', () => {
  const link = new Led().becomeReady();
  link.send({ kind: 'socketClosed', socket: 1, cause: 'cut' });
  expect(link.state).toMatchObject({ kind: 'waiting', server: 1, failures: 1 });
  link.becomeReady();
  link.nowMs += 5000;
  link.send({ kind: 'socketClosed', socket: 2, cause: 'cut' });
  expect(link.state).toMatchObject({ kind: 'waiting', server: 1, failures: 0 });
});

test('[SE3] a silent server is asked for a sign of life, and given up when none comes', () => {
  const link = new Led().becomeReady();
  expect(link.wake()).toEqual([{ kind: 'sendProbe' }]);
  link.nowMs += 1;
  link.send({ kind: 'heard', socket: 1 });
  expect(link.wake()).toEqual([{ kind: 'sendProbe' }]);
  const [closing, down] = link.wake();
  expect(closing).toEqual({ kind: 'closeSocket', socket: 1, manner: 'abandon' });
  expect(down).toMatchObject({ kind: 'down', cause: 'the server was silent for 20000 ms' });
});

test('a connection that never opens, or a session that never does, is given up after connectTimeoutMs', () => {
  const link = new Led();
  link.wake();
  link.send({ kind: 'socketOpened', socket: 1 });
  expect(link.wake()).toMatchObject([{ kind: 'closeSocket', socket: 1 }, { kind: 'unreachable' }]);
  expect(link.nowMs).toBe(settings.connectTimeoutMs);
});

test('on goaway it stays until the time that was asked for, then connects to the next server, without an orderly close', () => {
  const link = new Led().becomeReady();
  expect(link.send({ kind: 'goaway', reconnectAfterMs: 300 })).toEqual([]);
  expect(link.wake()).toEqual([
    { kind: 'down', cause: 'the server asked us to go', retryInMs: 0 },
    { kind: 'closeSocket', socket: 1, manner: 'abandon' },
    { kind: 'openSocket', socket: 2, url: 'ws://b/v1/session' },
  ]);
  expect(link.nowMs).toBe(300);
});

test('after goaway, a server that closes sooner does not make it come back sooner', () => {
  const link = new Led().becomeReady();
  link.send({ kind: 'goaway', reconnectAfterMs: 300 });
  link.nowMs = 100;
  expect(link.send({ kind: 'socketClosed', socket: 1, cause: 'gone' })).toEqual([
    { kind: 'down', cause: 'gone', retryInMs: 200 },
  ]);
  expect(linkWakeAt(link.state, settings)).toBe(300);
});

test('what an old socket says late changes nothing', () => {
  const link = new Led().becomeReady();
  link.send({ kind: 'socketClosed', socket: 1, cause: 'cut' });
  link.becomeReady();
  const before = link.state;
  expect(link.send({ kind: 'socketClosed', socket: 1, cause: 'late' })).toEqual([]);
  expect(link.send({ kind: 'heard', socket: 1 })).toEqual([]);
  expect(link.state).toBe(before);
});

test('closing is orderly and bounded', () => {
  const link = new Led().becomeReady();
  expect(link.send({ kind: 'close' })).toEqual([{ kind: 'closeSocket', socket: 1, manner: 'orderly' }]);
  expect(link.wake()).toEqual([{ kind: 'closeSocket', socket: 1, manner: 'abandon' }, { kind: 'closed' }]);
  expect(link.nowMs).toBe(settings.closeTimeoutMs);
  expect(link.state.kind).toBe('closed');
  expect(linkWakeAt(link.state, settings)).toBeUndefined();
});
