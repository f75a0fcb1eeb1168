import { expect, test } from 'vitest';

import { resolveConfig } from '../../src/config/config-checking.ts';
import type { ServerConfig } from '../../src/config/config.ts';
import { Counters } from '../../src/runtime/counters.ts';
import { textCodec } from '../../src/runtime/text-codec.ts';
import { DrainState } from '../../src/sessions/drain-state.ts';
import { HostClock } from '../../src/sessions/host-clock.ts';
import { HostLog } from '../../src/sessions/session-log.ts';
import type { Session } from '../../src/sessions/session.ts';
import { Sessions } from '../../src/sessions/sessions.ts';
import type { Socket } from '../../src/transport/transport.ts';
import { SessionOrigins } from '../../src/workers/session-numbers.ts';

const second = 1000;
const minute = 60 * second;

/** Sessions of one host, of which is kept what they ask their surroundings for. */
class Scene {
  readonly counters: Counters = new Counters();
  readonly sessions: Sessions;
  readonly clock: HostClock = new HostClock(0, 0);
  /** Of each session that is to be judged, ended, back or cut off, what happened, in this order. */
  readonly told: string[] = [];
  readonly later: (() => void)[] = [];
  isBusy = false;
  #nowMs = 0;
  #names = 0;

  constructor(config: Partial<ServerConfig> = {}) {
    const note = (what: string) => (session: number) => {
      this.told.push(`${what} ${session}`);
    };
    const isBusy = (): boolean => this.isBusy;
    this.sessions = new Sessions({
      number: 0,
      log: new HostLog(textCodec),
      config: resolveConfig({ disconnectGraceMs: second, heartbeatTimeoutMs: 10 * minute, ...config }),
      counters: this.counters,
      origins: new SessionOrigins(),
      createName: () => `name-${(this.#names += 1)}`,
      clock: this.clock,
      holding: { end: () => undefined },
      drain: new DrainState(),
      losses: {
        noteMissing: note('broke'),
        ask: note('expired'),
        noteBack: note('back'),
        noteEnded: note('forgotten'),
      },
      connections: {
        cutOff: ({ number }) => {
          note('fenced')(number);
        },
      },
      departures: {
        end: ({ number }) => {
          note('ended')(number);
        },
        get isBusy(): boolean {
          return isBusy();
        },
      },
      schedule: (task) => void this.later.push(task),
    });
  }

  connect(): { readonly session: Session; readonly closes: string[] } {
    const closes: string[] = [];
    const socket: Socket = {
      address: '127.0.0.1',
      send: () => 'sent',
      cork: (sends) => {
        sends();
      },
      ping: () => true,
      end: (reason) => void closes.push(reason),
    };
    return { session: this.sessions.connect(socket), closes };
  }

  /** A session that has registered something. */
  provide(): Session {
    const { session } = this.connect();
    register(session);
    return session;
  }

  /** One that is held back by a guard. */
  hold(): Session {
    const session = this.provide();
    this.sessions.break(session);
    this.wait(2 * second);
    this.sessions.settle(session);
    if (session.state.kind !== 'held') throw new Error(`not held, but ${session.state.kind}`);
    this.take();
    return session;
  }

  wait(ms: number): void {
    for (const endMs = this.#nowMs + ms; this.#nowMs < endMs;) {
      this.#nowMs += 50;
      this.clock.tick(this.#nowMs);
      this.sessions.tick();
      for (const task of this.later.splice(0)) task();
    }
  }

  /** What was told since it was taken last. */
  take(): string[] {
    return this.told.splice(0);
  }

  /** How long it takes until something is told, in milliseconds. */
  awaitNews(maxMs: number): number {
    const fromMs = this.#nowMs;
    while (this.told.length === 0 && this.#nowMs - fromMs < maxMs) this.wait(50);
    return this.#nowMs - fromMs;
  }
}

function register({ registrations, number }: Session): void {
  registrations.set({ key: 'public/DEFAULT/pay', id: `${number}`, fragment: `{"id":"${number}"}`, stamp: 1 });
}

function deregister({ registrations, number }: Session): void {
  registrations.delete('public/DEFAULT/pay', `${number}`);
}

test('[PU5] while the registry keeps clients out, nobody whose grace is over is judged, until all have had the time to try again', () => {
  const scene = new Scene();
  const session = scene.provide();
  scene.sessions.break(session);
  scene.take();
  scene.wait(500);
  scene.sessions.noteThrottled();
  scene.wait(9 * second);
  expect(scene.take()).toEqual([]);
  // Another one is kept out: they go on waiting.
  scene.sessions.noteThrottled();
  scene.wait(9 * second);
  expect(scene.take()).toEqual([]);
  const waitedMs = scene.awaitNews(minute);
  expect(scene.take()).toEqual([`expired ${session.number}`]);
  // It is looked at every half second.
  expect(waitedMs).toBeGreaterThanOrEqual(second);
  expect(waitedMs).toBeLessThanOrEqual(1600);
});

test('[PU5] while the registry keeps clients out, those that are held back are not looked at again', () => {
  const scene = new Scene();
  const held = [scene.hold(), scene.hold()];
  scene.sessions.noteThrottled();
  scene.sessions.recheckHeld();
  scene.wait(9 * second + 900);
  expect(scene.take()).toEqual([]);
  expect(scene.awaitNews(minute)).toBeLessThanOrEqual(150);
  expect(scene.take().toSorted()).toEqual(held.map(({ number }) => `expired ${number}`));
});

test('[PU5] [LI1] clients that are kept out again and again put nothing off for longer than lossHoldMaxMs', () => {
  const scene = new Scene({ lossHoldMaxMs: 30 * second });
  const keepOut = (ms: number): void => {
    for (let waited = 0; waited < ms; waited += second) {
      scene.sessions.noteThrottled();
      scene.wait(second);
    }
  };
  const held = scene.hold();
  scene.sessions.recheckHeld();
  keepOut(29 * second);
  const session = scene.provide();
  scene.sessions.break(session);
  scene.take();
  scene.wait(900);
  expect(scene.take()).toEqual([]);
  keepOut(3 * second);
  expect(scene.take().toSorted()).toEqual([`expired ${held.number}`, `expired ${session.number}`].toSorted());
  // A quiet time, and it begins anew.
  scene.wait(11 * second);
  const next = scene.provide();
  scene.sessions.noteThrottled();
  scene.sessions.break(next);
  scene.take();
  scene.wait(9 * second);
  expect(scene.take()).toEqual([]);
});

test('[PU5] those that are held back are looked at again when some may go, not while sessions that go wait for their turn', () => {
  const scene = new Scene();
  const session = scene.hold();
  expect([scene.sessions.heldCount, scene.sessions.heldRegistrationCount]).toEqual([1, 1]);
  scene.wait(minute);
  expect(scene.take()).toEqual([]);
  scene.isBusy = true;
  scene.sessions.recheckHeld();
  scene.wait(second);
  expect(scene.take()).toEqual([]);
  scene.isBusy = false;
  scene.wait(100);
  expect(scene.take()).toEqual([`expired ${session.number}`]);
  scene.wait(minute);
  expect(scene.take()).toEqual([]);
  // What was found to stay stays held, and counts once.
  scene.sessions.settle(session);
  expect(scene.counters.snapshot()).toMatchObject({ loss_held: 1 });
  deregister(session);
  scene.sessions.settle(session);
  expect(scene.take()).toEqual([`ended ${session.number}`]);
  expect(scene.sessions.heldCount).toBe(0);
});

test('[LI1] however many are held back, at most 2000 are looked at in a tick, and each once', () => {
  const scene = new Scene();
  const sessions = Array.from({ length: 2500 }, () => scene.provide());
  for (const session of sessions) scene.sessions.break(session);
  scene.wait(2 * second);
  for (const session of sessions) scene.sessions.settle(session);
  scene.take();
  scene.sessions.recheckHeld();
  scene.wait(50);
  const first = scene.take();
  expect(first).toHaveLength(2000);
  // Those let go meanwhile are not forgotten, and do not begin before the rest has had its turn.
  scene.sessions.recheckHeld();
  scene.wait(50);
  const rest = scene.take();
  expect(rest).toHaveLength(500);
  expect(new Set([...first, ...rest]).size).toBe(2500);
  scene.wait(100);
  expect(scene.take()).toHaveLength(2500);
  scene.wait(second);
  expect(scene.take()).toEqual([]);
});

test('[LI1] of many sessions whose time has come together, at most 500 are looked at in a turn', () => {
  const scene = new Scene();
  const sessions = Array.from({ length: 1200 }, () => scene.provide());
  for (const session of sessions) scene.sessions.break(session);
  scene.take();
  const turns: number[] = [];
  for (let nowMs = 50; nowMs <= 2 * second; nowMs += 50) {
    scene.clock.tick(nowMs);
    scene.sessions.tick();
    turns.push(scene.take().length);
    // A tick in between does not do what a turn is to do.
    for (const task of scene.later.splice(0)) {
      task();
      turns.push(scene.take().length);
    }
  }
  expect(turns.filter((count) => count > 0)).toEqual([500, 500, 200]);
});

test('[SE4] a lease ends its time after it was granted or renewed, and is known as long', () => {
  const scene = new Scene({ leasesMax: 2 });
  const lease = scene.sessions.grantLease(5 * second, '10.0.0.1')!;
  const { state } = lease;
  if (state.kind !== 'leased') throw new Error('no lease');
  expect(scene.sessions.findLease(state.lease)).toBe(lease);
  expect([scene.sessions.leaseCount, scene.sessions.connectedCount, lease.isConnection]).toEqual([1, 0, false]);
  expect(scene.awaitNews(minute)).toBe(5 * second + 50);
  expect(scene.take()).toEqual([`ended ${lease.number}`]);
  expect(scene.sessions.findLease(state.lease)).toBeUndefined();
  expect(scene.sessions.leaseCount).toBe(0);
  expect(scene.counters.snapshot()).toEqual({ lease_expired: 1 });

  const [one, two] = [scene.sessions.grantLease(5 * second, ''), scene.sessions.grantLease(minute, '')];
  expect(scene.sessions.grantLease(second, '')).toBeUndefined();
  scene.wait(4 * second);
  scene.sessions.renewLease(one!);
  expect(scene.awaitNews(minute)).toBe(5 * second + 50);
  expect(scene.take()).toEqual([`ended ${one!.number}`]);
  // Ended before its time: nothing is left that would come due.
  scene.sessions.end(two!);
  scene.sessions.end(two!);
  expect(scene.take()).toEqual([`ended ${two!.number}`]);
  scene.wait(2 * minute);
  expect(scene.counters.snapshot()).toEqual({ lease_expired: 2 });
  // Nobody takes over what was a lease.
  expect(scene.sessions.findResumable(two!.secret)).toBeUndefined();
});

test('a lease, or a session that is held back, of which others have taken all is over; what is connected or broken goes on', () => {
  const scene = new Scene();
  const [lease, held] = [scene.sessions.grantLease(minute, '')!, scene.hold()];
  register(lease);
  scene.sessions.endEmptied(lease);
  scene.sessions.endEmptied(held);
  expect(scene.take()).toEqual([]);
  deregister(lease);
  deregister(held);
  scene.sessions.endEmptied(lease);
  scene.sessions.endEmptied(held);
  expect(scene.take()).toEqual([`ended ${lease.number}`, `ended ${held.number}`]);
  const [connected, broken] = [scene.provide(), scene.provide()];
  scene.sessions.break(broken);
  deregister(connected);
  deregister(broken);
  scene.take();
  scene.sessions.endEmptied(connected);
  scene.sessions.endEmptied(broken);
  expect(scene.take()).toEqual([]);
  // It has nothing to be judged.
  scene.wait(2 * second);
  expect(scene.take()).toEqual([`ended ${broken.number}`]);
});

test('how many are connected is known whatever becomes of them', () => {
  const scene = new Scene();
  const { sessions } = scene;
  const [left, broke, empty] = [scene.provide(), scene.provide(), scene.connect().session];
  expect(sessions.connectedCount).toBe(3);
  sessions.end(left);
  sessions.end(left);
  expect(sessions.connectedCount).toBe(2);
  sessions.break(broke);
  sessions.break(broke);
  expect(sessions.connectedCount).toBe(1);
  sessions.break(empty);
  expect(empty.state.kind).toBe('ended');
  expect(sessions.connectedCount).toBe(0);
  sessions.end(broke);
  expect(sessions.connectedCount).toBe(0);
  expect(scene.counters.snapshot()).toEqual({ session_opened: 3, session_broken: 2 });
});

test('[SE8] whoever takes a session over stands for it alone, and what its old connection waited for is off', () => {
  const scene = new Scene();
  const { sessions } = scene;
  const { session: old, closes } = scene.connect();
  register(old);
  const other = scene.provide();
  const { session } = scene.connect();
  const { number } = session;
  const { number: oldNumber } = old;
  expect(sessions.findResumable(`${old.secret}x`)).toBeUndefined();
  expect(sessions.findResumable(old.secret)).toBe(old);
  sessions.takeOver(session, old);
  expect(closes).toEqual(['resumed_elsewhere']);
  expect(scene.take()).toEqual([`fenced ${oldNumber}`]);
  expect([old.state.kind, session.state.kind, session.number]).toEqual(['resumed', 'connected', oldNumber]);
  expect(sessions.connectedCount).toBe(2);
  expect(sessions.find(number)).toBeUndefined();
  // In the order of arrival.
  expect([...sessions.all()]).toEqual([other, session]);
  expect(scene.counters.snapshot()).toMatchObject({ session_resumed: 1, closed_resumed_elsewhere: 1 });
  // The socket of the old one says that it has closed.
  sessions.break(old);
  sessions.end(old);
  scene.wait(2 * second);
  expect(scene.take()).toEqual([]);

  // One whose connection has gone is back, and its grace does not run out.
  sessions.break(session);
  const { session: next } = scene.connect();
  sessions.takeOver(next, session);
  expect(scene.take()).toEqual([`broke ${oldNumber}`, `fenced ${oldNumber}`, `back ${oldNumber}`]);
  scene.wait(minute);
  expect(scene.take()).toEqual([]);
  expect(sessions.connectedCount).toBe(2);

  // And so is one that a guard holds back.
  const held = scene.hold();
  const { session: last } = scene.connect();
  sessions.takeOver(last, held);
  expect(sessions.heldCount).toBe(0);
  sessions.recheckHeld();
  scene.take();
  scene.wait(second);
  expect(scene.take()).toEqual([]);
});

test('[SE8] on its way to another host or from one nobody takes a session over, and it lands as one that just broke', () => {
  const scene = new Scene();
  const { sessions } = scene;
  const old = scene.provide();
  const detached = sessions.detach(old);
  expect([old.state.kind, detached.state]).toEqual(['resumed', { kind: 'moving' }]);
  expect(sessions.findResumable(old.secret)).toBeUndefined();
  expect(sessions.find(old.number)).toBe(detached);
  expect(sessions.connectedCount).toBe(0);
  // No client has come back here.
  expect(scene.counters.snapshot()).not.toHaveProperty('session_resumed');
  scene.take();
  scene.wait(2 * second);
  expect(scene.take()).toEqual([]);
  sessions.land(detached);
  expect(sessions.findResumable(old.secret)).toBe(detached);
  expect(scene.take()).toEqual([`broke ${old.number}`]);
  const again = sessions.detach(detached);
  sessions.letGo(again);
  expect(again.state.kind).toBe('resumed');
  expect(sessions.find(old.number)).toBeUndefined();

  const { number, name, secret } = old;
  const { mayHold, holder } = old.identity;
  const admitted = sessions.admit({
    number: number + 100,
    name,
    secret: `2w-${secret}`,
    mayHold,
    holder,
    address: '10.0.0.9',
  });
  expect([admitted.state, admitted.address]).toEqual([{ kind: 'moving' }, '10.0.0.9']);
  expect(admitted.isConnection).toBe(true);
  expect(sessions.find(number + 100)).toBe(admitted);
  register(admitted);
  sessions.land(admitted);
  scene.take();
  expect(scene.awaitNews(minute)).toBe(second + 50);
  expect(scene.take()).toEqual([`expired ${admitted.number}`]);
});
