import fc from 'fast-check';
import { expect, test } from 'vitest';

import { Switches } from '../../src/control/switches.ts';
import type { SwitchEvent } from '../../src/control/switches.ts';
import { anonymous } from '../../src/protocol/actor.ts';
import type { SwitchBody } from '../../src/protocol/switches.ts';
import { decodeOverlay } from '../../src/store/service-overlay.ts';
import { MemoryStore } from '../support/memory-store.ts';

const operator = { principal: anonymous, address: '::1' };

/** Switches over a store whose commits, and the answers about them, come one by one. */
class Bench {
  readonly store = new MemoryStore();
  readonly events: SwitchEvent[] = [];
  /** What partitions were told last, by service. */
  readonly overlays: Map<string, string> = new Map();
  #switches: Switches = this.#create();
  #nowMs = Date.parse('2030-01-01T00:00:00Z');
  #waiting: (() => void)[] = [];

  constructor() {
    this.store.schedule = (task) => this.#waiting.push(task);
  }

  get switches(): Switches {
    return this.#switches;
  }

  /** Things that may happen next in the store. */
  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Another life of the process. */
  async start(): Promise<void> {
    await settle();
    // What the life before had not stored by now never is.
    this.#waiting = [];
    this.overlays.clear();
    this.#switches = this.#create();
    await this.#switches.load();
  }

  tick(ms: number): void {
    this.#nowMs += ms;
    this.#switches.tick(this.#nowMs);
  }

  /** One thing happens in the store. */
  async step(): Promise<void> {
    await settle();
    this.#waiting.shift()?.();
    await settle();
  }

  async finish(): Promise<void> {
    await settle();
    while (this.#waiting.length > 0) await this.step();
  }

  /** From now on nothing is stored, or again. */
  toggleFailure(): void {
    const { store } = this;
    store.failure = store.failure === undefined ? { code: 'storage_unavailable', message: 'no room' } : undefined;
  }

  async list(): Promise<string[]> {
    const { switches } = await this.#switches.listSwitches();
    return switches.map(({ service }) => service!).toSorted();
  }

  #create(): Switches {
    const layOver = (key: string, overlay: string): Promise<void> => {
      this.overlays.set(key, overlay);
      return Promise.resolve();
    };
    return new Switches({
      store: this.store,
      config: { switchesMax: 100, serviceSwitchBytesMax: 1024, persistentWritesMax: 100 },
      hosts: {
        layOver,
        restoreOverlay: (key, overlay) => void layOver(key, overlay),
        setOrders: () => Promise.resolve(),
        setQuotas: () => Promise.resolve(),
      },
      guard: { setStanding: () => Promise.resolve() },
      delay: settle,
      readWallMs: () => this.#nowMs,
      onEvent: (event) => this.events.push(event),
    });
  }
}

/** Whatever can happen without the store has happened. */
function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

const off = (service: string): SwitchBody => ({ kind: 'service-off', service });
const override = (id: string, zone: string): SwitchBody => ({
  kind: 'instance-override',
  service: 'a',
  id,
  override: { zone },
});

test('[SW1] a switch that is set again while the row of the one before is forgotten outlives the process', async () => {
  const bench = new Bench();
  await bench.start();
  void bench.switches.setSwitch(off('a'), operator);
  await bench.finish();
  void bench.switches.liftSwitch(off('a'), operator);
  await bench.finish();
  const again = bench.switches.setSwitch(off('a'), operator);
  bench.tick(60_000);
  await bench.finish();
  expect(await again).toMatchObject({ kind: 'service-off', service: 'a' });
  await bench.start();
  expect(await bench.list()).toEqual(['a']);
});

test('[SW1] what was answered holds after any end of the process', async () => {
  const act = fc.oneof(
    { weight: 2, arbitrary: fc.constant('set' as const) },
    { weight: 2, arbitrary: fc.constant('lift' as const) },
    { weight: 3, arbitrary: fc.constant('step' as const) },
    { weight: 2, arbitrary: fc.constant('finish' as const) },
    { weight: 2, arbitrary: fc.constant('tick' as const) },
    fc.constantFrom('fail' as const, 'restart' as const),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(act, { minLength: 10, maxLength: 40, size: 'max' }), async (acts) => {
      const bench = new Bench();
      await bench.start();
      /** What was answered last; undefined: something has been asked for that has no answer. */
      let isOff: boolean | undefined = false;
      let asked = 0;
      /** Of each restart: whether it was as answered. */
      const kept: boolean[] = [];
      const ask = (kind: 'set' | 'lift'): void => {
        asked += 1;
        const [number, before] = [asked, isOff];
        isOff = undefined;
        const { switches } = bench;
        void (kind === 'set' ? switches.setSwitch(off('a'), operator) : switches.liftSwitch(off('a'), operator)).then(
          (outcome) => {
            if (asked !== number) return;
            const isRefused = 'code' in outcome && outcome.code !== 'not_found';
            isOff = isRefused ? before : kind === 'set';
          },
        );
      };
      for (const each of [...acts, 'finish', 'restart'] as const) {
        if (each === 'set' || each === 'lift') ask(each);
        else if (each === 'step') await bench.step();
        else if (each === 'finish') await bench.finish();
        else if (each === 'tick') bench.tick(6000);
        else if (each === 'fail') bench.toggleFailure();
        else {
          await bench.start();
          const isThere = (await bench.list()).includes('a');
          kept.push(isOff === undefined || isThere === isOff);
          // What had no answer is not known until now.
          asked += 1;
          isOff = isThere;
        }
      }
      expect(kept).not.toContain(false);
    }),
    { numRuns: 300 },
  );
});

test('[SW1] [ST3] a switch whose time is over ends although nothing can be stored, and the next life knows that', async () => {
  const bench = new Bench();
  await bench.start();
  void bench.switches.setSwitch({ ...off('a'), forMs: 10_000 }, operator);
  await bench.finish();
  expect(bench.overlays.get('public/DEFAULT/a')).not.toBe('');
  bench.toggleFailure();
  bench.tick(20_000);
  await bench.finish();
  expect(bench.overlays.get('public/DEFAULT/a')).toBe('');
  expect(await bench.list()).toEqual([]);
  await bench.start();
  expect(bench.overlays.get('public/DEFAULT/a')).toBe('');
  expect(await bench.list()).toEqual([]);
  expect(bench.events.map(({ kind }) => kind)).toEqual(['set', 'ended', 'ended']);
  bench.toggleFailure();
  bench.tick(20_000);
  await bench.finish();
  expect(bench.store.rows.size).toBe(0);
});

test('[SW1] [WS1] what was lifted before a crash is remembered until the journal of the next life knows the list without it', async () => {
  const bench = new Bench();
  await bench.start();
  void bench.switches.setSwitch(off('a'), operator);
  await bench.finish();
  void bench.switches.liftSwitch(off('a'), operator);
  await bench.finish();
  for (let life = 0; life < 3; life++) {
    bench.tick(1000);
    await bench.finish();
    await bench.start();
    expect(bench.overlays.get('public/DEFAULT/a')).toBe('');
  }
  bench.tick(20_000);
  await bench.finish();
  await bench.start();
  expect(bench.overlays.size).toBe(0);
});

test('[SW1] many switches whose time is over end together', async () => {
  const bench = new Bench();
  await bench.start();
  for (let i = 0; i < 20; i++) void bench.switches.setSwitch({ ...off(`s${i}`), forMs: 10_000 }, operator);
  await bench.finish();
  expect(await bench.list()).toHaveLength(20);
  bench.tick(20_000);
  await bench.step();
  expect(bench.waitingCount).toBeGreaterThan(10);
  await bench.finish();
  expect(await bench.list()).toEqual([]);
});

test('[SW5] an instance that is drained is disabled in the end, whatever is laid over it besides, before or afterwards', async () => {
  const bench = new Bench();
  await bench.start();
  const target = { service: 'a', id: 'i' };
  const enable = { kind: 'instance-override', ...target, override: { enabled: true, zone: 'z' } } as const;
  const drain = { kind: 'instance-drain', ...target, overMs: 1000 } as const;
  for (const orders of [
    [enable, drain],
    [drain, enable],
  ]) {
    for (const order of orders) {
      void bench.switches.setSwitch(order, operator);
      await bench.finish();
    }
    bench.tick(2000);
    await bench.finish();
    expect(decodeOverlay(bench.overlays.get('public/DEFAULT/a')!)?.overrides.get('i')).toEqual({
      enabled: false,
      weightPercent: 0,
      zone: 'z',
    });
    for (const order of orders) {
      void bench.switches.liftSwitch({ kind: order.kind, ...target }, operator);
      await bench.finish();
    }
  }
});

test('[SW1] what switches lay over one service is bounded, and another one of it takes no further room', async () => {
  const bench = new Bench();
  await bench.start();
  const set = async (body: SwitchBody): Promise<unknown> => {
    const outcome = bench.switches.setSwitch(body, operator);
    await bench.finish();
    return outcome;
  };
  const big = 'z'.repeat(900);
  expect(await set(override('i', big))).toMatchObject({ id: 'i' });
  const refused = { code: 'limit_exceeded', limit: 'serviceSwitchBytesMax', max: 1024 };
  expect(await set(override('j', big))).toMatchObject(refused);
  expect(await set({ kind: 'instance-drain', service: 'a', id: 'j'.repeat(200) })).toMatchObject(refused);
  expect(await set(override('i', `${big}z`))).toMatchObject({ id: 'i' });
  expect(await set(off('a'))).toMatchObject({ kind: 'service-off' });
  expect(await set({ ...override('j', big), service: 'b' })).toMatchObject({ id: 'j' });
  expect(bench.store.rows.size).toBe(3);
});
