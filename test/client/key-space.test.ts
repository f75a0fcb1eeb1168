import { expect, test } from 'vitest';

import { ClosedError, RequestError } from '../../src/client/errors.ts';
import { KeySpace } from '../../src/client/key-space.ts';
import type { AskedOfKeys } from '../../src/client/key-space.ts';

interface Asked {
  readonly call: AskedOfKeys;
  readonly resolve: (settlement: object) => void;
  readonly reject: (error: Error) => void;
}

/** Keys of a client that is played by hand: each call waits until it is answered. */
class Play {
  readonly keys: KeySpace;
  readonly watches: Asked[] = [];
  readonly #asked: Asked[] = [];
  #look: () => void = () => undefined;

  constructor() {
    this.keys = new KeySpace({
      retryMs: 1,
      unwatch: () => undefined,
      ask: (call, { signal }) =>
        new Promise<never>((resolve, reject) => {
          signal?.addEventListener('abort', () => {
            reject(signal.reason as Error);
          });
          const asked = { call, resolve: resolve as (settlement: object) => void, reject };
          (call.kind === 'watchKeys' ? this.watches : this.#asked).push(asked);
          this.#look();
        }),
    });
  }

  /** The next call that was made. */
  async next(): Promise<Asked> {
    for (;;) {
      const asked = this.#asked.shift();
      if (asked !== undefined) return asked;
      await new Promise<void>((resolve) => (this.#look = resolve));
    }
  }
}

test('an election tries again after a refusal, leads, campaigns again after a loss, and ends with its client', async () => {
  const play = new Play();
  const election = play.keys.elect('leader', { value: 'me' });
  const events: string[] = [];
  election.on('elected', ({ fence }) => events.push(`elected ${fence}`));
  election.on('lost', ({ message }) => events.push(message));
  election.on('refused', ({ message }) => events.push(`refused ${message}`));
  const first = await play.next();
  expect(first.call).toMatchObject({
    kind: 'lock',
    claim: { terms: { key: 'leader', value: 'bWU=', isPatient: true } },
  });
  first.reject(new RequestError({ code: 'storage_unavailable', message: 'no disk' }));
  const second = await play.next();
  second.resolve({ kind: 'locked', fence: 5 });
  await expect.poll(() => election.isLeader).toBe(true);
  expect(election.lock?.fence).toBe(5);
  if (second.call.kind !== 'lock') throw new Error('not what was asked for');
  play.keys.noteLost(second.call.claim, 'session');
  expect(election.isLeader).toBe(false);
  const third = await play.next();
  third.resolve({ kind: 'locked', fence: 6 });
  await expect.poll(() => election.isLeader).toBe(true);
  const resigned = election.resign();
  const release = await play.next();
  expect(release.call).toMatchObject({ kind: 'unlock' });
  release.resolve({ kind: 'released' });
  await resigned;
  expect(events).toEqual([
    'refused no disk',
    'elected 5',
    'the lock was lost: the session that held it is over',
    'elected 6',
  ]);
});

test('leading ends at once when it is ended, in whatever way, and its signal says so', async () => {
  const play = new Play();
  const abort = new AbortController();
  const election = play.keys.elect('leader', { value: 'me', signal: abort.signal });
  const signals: AbortSignal[] = [];
  const losses: Error[] = [];
  let isReleasing = true;
  election.on('elected', (lock) => {
    signals.push(lock.signal);
    if (isReleasing) void lock.release();
  });
  election.on('lost', (error) => losses.push(error));
  const lead = async (fence: number): Promise<void> => {
    (await play.next()).resolve({ kind: 'locked', fence });
  };
  await lead(5);
  // A listener has released it: the campaign goes on.
  const first = await play.next();
  expect(first.call.kind).toBe('unlock');
  expect(signals[0]!.aborted).toBe(true);
  first.resolve({ kind: 'released' });
  isReleasing = false;
  const second = await play.next();
  expect(second.call.kind).toBe('unlock');
  second.resolve({ kind: 'released' });
  await lead(6);
  await expect.poll(() => election.isLeader).toBe(true);
  expect(signals[1]!.aborted).toBe(false);
  abort.abort();
  expect(signals[1]!.aborted).toBe(true);
  expect(election.isLeader).toBe(false);
  (await play.next()).reject(new ClosedError('client', 'the client was closed'));
  await expect(election.resign()).rejects.toThrow('closed');

  const other = play.keys.elect('leader');
  other.on('elected', ({ signal }) => signals.push(signal));
  await lead(7);
  await expect.poll(() => other.isLeader).toBe(true);
  const resigned = other.resign();
  expect(signals[2]!.aborted).toBe(true);
  (await play.next()).resolve({ kind: 'released' });
  await resigned;
  expect(losses).toEqual([]);
});

test('an election ends with its signal, and with its client', async () => {
  const play = new Play();
  const abort = new AbortController();
  const aborted = play.keys.elect('leader', { value: 'me', signal: abort.signal });
  await play.next();
  abort.abort();
  await aborted.resign();
  const closed = play.keys.elect('leader', { value: 'me' });
  (await play.next()).reject(new ClosedError('client', 'the client was closed'));
  await closed.resign();
  expect(closed.isLeader).toBe(false);
});

test('a transaction is sent as the wire has it, and read as users have it', async () => {
  const play = new Play();
  const transaction = play.keys.transact([
    { op: 'put', key: 'a', value: Uint8Array.of(0, 255), flags: 7n, cas: 3 },
    { op: 'get', key: 'a' },
  ]);
  const { call, resolve } = await play.next();
  expect(call).toEqual({
    kind: 'keys',
    request: {
      method: 'kv.transact',
      params: {
        operations: [
          { op: 'put', key: 'a', value: 'AP8=', flags: '7', cas: 3 },
          { op: 'get', key: 'a' },
        ],
      },
    },
  });
  const meta = { key: 'a', flags: '7', createVersion: 1, modifyVersion: 4, lockIndex: 0 };
  resolve({ kind: 'keysAnswered', result: { applied: true, version: 4, entries: [meta, { ...meta, value: 'AP8=' }] } });
  expect(await transaction).toMatchObject({
    entries: [{ flags: 7n }, { flags: 7n, value: Uint8Array.of(0, 255) }],
  });
});
