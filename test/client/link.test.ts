import { expect, test } from 'vitest';

import type { LinkEffect, LinkEvent, LinkState } from '../../src/client/link-state.ts';
import { initialLink, linkWakeAt, servingOf, stepLink } from '../../src/client/link.ts';
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

  /** Answers `session.open` on the newest socket. */
  accept(heartbeatMs: number = Infinity): readonly LinkEffect[] {
    const socket = this.state.newest;
    this.send({ kind: 'socketOpened', socket });
    return this.send({ kind: 'openAccepted', socket, limits: fakeLimits, heartbeatMs });
  }

  becomeReady(heartbeatMs?: number): this {
    if (this.state.kind === 'waiting') this.wake();
    this.accept(heartbeatMs);
    if (this.state.kind !== 'ready') throw new Error(`it is ${this.state.kind}`);
    return this;
  }
}

test('it connects at once, opens the session, and is ready when that is accepted', () => {
  const link = new Led();
  expect(link.wake()).toEqual([{ kind: 'openSocket', socket: 1, url: 'ws://a/v1/session' }]);
  expect(link.send({ kind: 'socketOpened', socket: 1 })).toEqual([{ kind: 'sendOpen', socket: 1 }]);
  expect(link.send({ kind: 'openAccepted', socket: 1, limits: fakeLimits, heartbeatMs: 5000 })).toEqual([
    { kind: 'up' },
  ]);
});

test('tries go round the servers, and the wait doubles with each round', () => {
  const link = new Led();
  const tries: string[] = [];
  for (let n = 0; n < 6; n++) {
    const startMs = link.nowMs;
    for (const effect of link.wake())
      if (effect.kind === 'openSocket') tries.push(`${effect.url} ${link.nowMs - startMs}`);
    link.send({ kind: 'socketClosed', socket: link.state.newest, cause: 'refused' });
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
  link.send({ kind: 'activity', socket: 1 });
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

test.each([
  { heartbeatMs: 5000, asks: 5000, givesUp: 10_000 },
  { heartbeatMs: 1000, asks: 1000, givesUp: 2000 },
  { heartbeatMs: Infinity, asks: 15_000, givesUp: 20_000 },
])(
  '[SE3] a server that pings after $heartbeatMs ms is asked after $asks and given up after $givesUp ms, before it gives us up',
  ({ heartbeatMs, asks, givesUp }) => {
    const link = new Led().becomeReady(heartbeatMs);
    expect(link.wake()).toEqual([{ kind: 'sendProbe' }]);
    expect(link.nowMs).toBe(asks);
    expect(link.wake()).toMatchObject([{ kind: 'closeSocket' }, { kind: 'down' }]);
    expect(link.nowMs).toBe(givesUp);
  },
);

test('[SE6] on goaway the present connection serves until another one does, which is made at the time that was asked for', () => {
  const link = new Led().becomeReady();
  expect(link.send({ kind: 'goaway', socket: 1, reconnectAfterMs: 300 })).toEqual([]);
  expect(link.wake()).toEqual([{ kind: 'openSocket', socket: 2, url: 'ws://b/v1/session' }]);
  expect(link.nowMs).toBe(300);
  expect(servingOf(link.state)?.socket).toBe(1);
  expect(link.accept()).toEqual([{ kind: 'moved', from: 1 }]);
  expect(servingOf(link.state)).toMatchObject({ socket: 2, server: 1 });
});

test('[SE6] a server that hangs or refuses does not cost the present connection: the next one is tried', () => {
  const link = new Led().becomeReady();
  link.send({ kind: 'goaway', socket: 1, reconnectAfterMs: 300 });
  link.wake();
  expect(link.wake()).toMatchObject([
    { kind: 'closeSocket', socket: 2, manner: 'abandon' },
    { kind: 'unreachable', url: 'ws://b/v1/session' },
  ]);
  expect(link.wake()).toEqual([{ kind: 'openSocket', socket: 3, url: 'ws://a/v1/session' }]);
  expect(link.send({ kind: 'socketClosed', socket: 3, cause: 'refused' })).toMatchObject([{ kind: 'unreachable' }]);
  expect(link.wake()).toMatchObject([{ kind: 'openSocket', socket: 4, url: 'ws://b/v1/session' }]);
  expect(servingOf(link.state)?.socket).toBe(1);
});

test('[SE6] when the present connection breaks while another one is made, that one is gone on with', () => {
  const link = new Led().becomeReady();
  link.send({ kind: 'goaway', socket: 1, reconnectAfterMs: 300 });
  link.wake();
  expect(link.send({ kind: 'socketClosed', socket: 1, cause: 'gone' })).toEqual([
    { kind: 'down', cause: 'gone', retryInMs: 0 },
  ]);
  expect(link.accept()).toEqual([{ kind: 'up' }]);
});

test('[SE3] the present connection is watched also while another one is made', () => {
  const link = new Led().becomeReady(1000);
  link.send({ kind: 'goaway', socket: 1, reconnectAfterMs: 500 });
  link.wake();
  expect(link.wake()).toEqual([{ kind: 'sendProbe' }]);
  expect(link.wake()).toMatchObject([{ kind: 'closeSocket', socket: 1 }, { kind: 'down' }]);
  expect(link.state).toMatchObject({ kind: 'connecting', socket: 2 });
});

test('it comes back to the first server when that is there again, and stays where it is until then', () => {
  const link = new Led();
  link.wake();
  link.send({ kind: 'socketClosed', socket: 1, cause: 'refused' });
  link.becomeReady();
  expect(servingOf(link.state)).toMatchObject({ socket: 2, server: 1 });
  const sinceMs = link.nowMs;
  expect(link.wake()).toEqual([{ kind: 'openSocket', socket: 3, url: 'ws://a/v1/session' }]);
  expect(link.nowMs - sinceMs).toBe(10_000);
  expect(link.send({ kind: 'socketClosed', socket: 3, cause: 'refused' })).toEqual([]);
  expect(servingOf(link.state)).toMatchObject({ socket: 2, server: 1 });
  // Meanwhile the sign of life is asked for.
  expect(link.wake()).toEqual([{ kind: 'sendProbe' }]);
  link.send({ kind: 'activity', socket: 2 });
  expect(link.wake()).toEqual([{ kind: 'openSocket', socket: 4, url: 'ws://a/v1/session' }]);
  expect(link.accept()).toEqual([{ kind: 'moved', from: 2 }]);
  expect(link.state).toMatchObject({ kind: 'ready', server: 0, returnAtMs: undefined });
});

test('closing while another connection is made closes both', () => {
  const link = new Led().becomeReady();
  link.send({ kind: 'goaway', socket: 1, reconnectAfterMs: 0 });
  link.wake();
  expect(link.send({ kind: 'close' })).toEqual([
    { kind: 'closeSocket', socket: 2, manner: 'abandon' },
    { kind: 'closeSocket', socket: 1, manner: 'orderly' },
  ]);
});

test('after goaway, a server that closes sooner does not make it come back sooner', () => {
  const link = new Led().becomeReady();
  link.send({ kind: 'goaway', socket: 1, reconnectAfterMs: 300 });
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
  expect(link.send({ kind: 'activity', socket: 1 })).toEqual([]);
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
