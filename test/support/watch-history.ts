import { ChangeFeed } from '../../src/durable/change-feed.ts';
import { readStoreKey } from '../../src/keys/key-row.ts';
import type { KeyChangeEvent, KeyEntry, KeysChanged, KeyWatchResult } from '../../src/protocol/types.ts';
import { InProcessRegistry } from './in-process-registry.ts';
import { encode } from './key-bench.ts';
import { replaceMethod } from './planted-key-bugs.ts';
import { Random } from './random.ts';
import { SimulatedClient } from './simulated-client.ts';
import type { Answered } from './simulated-client.ts';

const keys = ['a/1', 'a/2', 'a', 'b/1', 'b/{x}1', 'b/{x}2'];
const targets = ['=a/1', '=a', '^a', '^a/', '^b/', '^', '=b/{x}1'];
const watchersMax = 3;
const actsMax = 250;

/** What became of a key by one commit. */
interface Change {
  readonly version: number;
  readonly key: string;
  readonly isDeleted: boolean;
}

export interface WatchTotals {
  /** Changes that watches were told of, by notifications and by answers that resumed. */
  told: number;
  resumed: number;
  resyncs: number;
  reads: number;
  deaths: number;
  storeDeaths: number;
  stalls: number;
}

/** One watch of one client, as far as it has been told. */
interface View {
  told: number;
}

/** Everything that the store has committed, whatever the thread that did it has said of it since. */
class Truth {
  readonly changes: Change[] = [];
  /** It hears of nothing any more. */
  readonly end: () => void;

  constructor() {
    const { changes } = this;
    this.end = replaceMethod(
      ChangeFeed.prototype,
      'note',
      (note) =>
        function hear(this: ChangeFeed, rows, version): void {
          for (const { table, key, row } of rows) {
            if (table === 'keys') changes.push({ version, key: readStoreKey(key), isDeleted: row === undefined });
          }
          note.call(this, rows, version);
        },
    );
  }

  between(target: string, after: number, through: number): Change[] {
    return this.changes.filter(({ version, key }) => version > after && version <= through && concerns(target, key));
  }

  /** Versions that a key has had since one, that of a deletion as 0. */
  statesSince(key: string, version: number): Set<number> {
    const all = this.changes.filter((change) => change.key === key);
    const before = all.findLast((change) => change.version <= version);
    const since = all.filter((change) => change.version > version);
    return new Set([before, ...since].map(stateOf));
  }
}

function stateOf(change: Change | undefined): number {
  return change === undefined || change.isDeleted ? 0 : change.version;
}

function concerns(target: string, key: string): boolean {
  return target.startsWith('=') ? key === target.slice(1) : key.startsWith(target.slice(1));
}

function toParams(target: string): { key: string } | { prefix: string } {
  return target.startsWith('=') ? { key: target.slice(1) } : { prefix: target.slice(1) };
}

function toTarget({ key, prefix }: Pick<KeysChanged, 'key' | 'prefix'>): string {
  return key === undefined ? `^${prefix}` : `=${key}`;
}

/** One who watches, over one connection after the other, and resumes each watch where it has been told through. */
class Watcher {
  readonly #registry: InProcessRegistry;
  readonly #random: Random;
  readonly #truth: Truth;
  readonly #totals: WatchTotals;
  readonly views: Map<string, View> = new Map();
  /** From where to resume what the connection before watched. */
  #before: Map<string, number> = new Map();
  client: SimulatedClient;

  constructor(registry: InProcessRegistry, random: Random, truth: Truth, totals: WatchTotals) {
    this.#registry = registry;
    this.#random = random;
    this.#truth = truth;
    this.#totals = totals;
    this.client = this.#connect();
  }

  watch(target: string): void {
    const after = this.views.get(target)?.told ?? this.#before.get(target);
    this.client.request('kv.watch', {
      ...toParams(target),
      ...(after === undefined || this.#random.below(8) === 0 ? {} : { version: after }),
    });
  }

  unwatch(target: string): void {
    this.client.request('kv.unwatch', toParams(target));
  }

  read(): void {
    if (this.#random.below(2) === 0) this.client.request('kv.get', { key: this.#random.pick(keys) });
    else this.client.request('kv.list', { prefix: this.#random.pick(['a', 'b/', '', 'b/{x}']) });
  }

  reconnect(): void {
    this.client.leave(this.#random.below(2) === 0);
    this.#before = new Map([
      ...this.#before,
      ...Array.from(this.views, ([target, { told }]) => [target, told] as const),
    ]);
    this.views.clear();
    this.client = this.#connect();
  }

  #connect(): SimulatedClient {
    const host = this.#random.pick(this.#registry.hosts);
    const client = new SimulatedClient(this.#registry, 3, host.core);
    client.listener = {
      onAnswer: (answered) => {
        if (this.client === client && answered.error === undefined) this.#onAnswer(answered);
      },
      onKeyNews: (news) => {
        if (this.client === client) this.#onNews(news);
      },
      onChange: () => undefined,
      onGone: () => undefined,
    };
    return client;
  }

  #onAnswer({ method, params, result }: Answered): void {
    switch (method) {
      case 'kv.watch':
        this.#begin(toTarget(params), (params as { version?: number }).version, result as KeyWatchResult);
        return;
      case 'kv.unwatch':
        this.views.delete(toTarget(params));
        return;
      case 'kv.get': {
        const { version, entry } = result as { version: number; entry?: KeyEntry };
        this.#expectShown((params as { key: string }).key, entry, version);
        return;
      }
      case 'kv.list': {
        const { version, entries } = result as { version: number; entries: readonly KeyEntry[] };
        const { prefix } = params as { prefix: string };
        for (const key of keys) {
          if (key.startsWith(prefix))
            this.#expectShown(
              key,
              entries.find((entry) => entry.key === key),
              version,
            );
        }
        return;
      }
      default:
    }
  }

  #begin(target: string, after: number | undefined, { version, changes, resync }: KeyWatchResult): void {
    if (after !== undefined && resync !== true) {
      this.#totals.resumed += 1;
      this.#expectTold(target, after, version, changes!);
    }
    if (resync === true) this.#totals.resyncs += 1;
    this.views.set(target, { told: version });
  }

  #onNews({ version, changes, resync, ...watched }: KeysChanged): void {
    const target = toTarget(watched);
    const view = this.views.get(target);
    if (view === undefined) throw new Error(`told of ${target}, which is not watched`);
    if (resync === true) this.#totals.resyncs += 1;
    else this.#expectTold(target, view.told, version, changes!);
    view.told = version;
  }

  #expectTold(target: string, after: number, through: number, changes: readonly KeyChangeEvent[]): void {
    const expected = this.#truth.between(target, after, through).map(describe);
    const told = changes.map((change) =>
      describe({ version: change.modifyVersion, key: change.key, isDeleted: 'deleted' in change }),
    );
    this.#totals.told += told.length;
    if (through < after || expected.join() !== told.join()) {
      throw new Error(
        `of ${target} after ${after} through ${through} it was told [${told.join()}], and not [${expected.join()}]`,
      );
    }
  }

  #expectShown(key: string, entry: KeyEntry | undefined, version: number): void {
    this.#totals.reads += 1;
    const states = this.#truth.statesSince(key, version);
    if (states.has(entry?.modifyVersion ?? 0)) return;
    throw new Error(
      `${key} was shown as of ${entry?.modifyVersion ?? 0}, though complete through ${version}: ${[...states].join()}`,
    );
  }
}

function describe({ version, key, isDeleted }: Change): string {
  return `${version} ${isDeleted ? '-' : '+'}${key}`;
}

/** A seeded history of a registry whose keys are watched, in which partitions and the store die, clients stop reading and come back. Throws if a watch was told anything but what was committed. */
class WatchHistory {
  readonly totals: WatchTotals = { told: 0, resumed: 0, resyncs: 0, reads: 0, deaths: 0, storeDeaths: 0, stalls: 0 };
  readonly #random: Random;
  readonly #registry: InProcessRegistry;
  readonly #truth: Truth;
  readonly #watchers: Watcher[];
  readonly #writer: SimulatedClient;
  #values = 0;

  constructor(random: Random, registry: InProcessRegistry, truth: Truth) {
    this.#random = random;
    this.#registry = registry;
    this.#truth = truth;
    this.#writer = new SimulatedClient(registry);
    this.#watchers = Array.from({ length: watchersMax }, () => new Watcher(registry, random, truth, this.totals));
  }

  async run(): Promise<WatchTotals> {
    for (let act = 0; act < actsMax; act++) {
      this.#act();
      for (let steps = this.#random.below(12); steps > 0; steps--) this.#registry.step(this.#random);
      if (act % 20 === 0) await this.#registry.deliver(this.#random);
    }
    this.#registry.store.revive();
    for (const { client } of this.#watchers) client.resume();
    await this.#registry.settle(this.#random);
    for (const { client } of this.#watchers) client.resume();
    await this.#registry.settle(this.#random);
    this.#judge();
    return this.totals;
  }

  /** Whatever there was to be told has been told. */
  #judge(): void {
    for (const { views, client } of this.#watchers) {
      if (client.closed !== undefined) continue;
      for (const [target, { told }] of views) {
        const untold = this.#truth.between(target, told, Number.MAX_SAFE_INTEGER);
        if (untold.length > 0) throw new Error(`of ${target} it was never told ${untold.map(describe).join()}`);
      }
    }
  }

  #act(): void {
    const random = this.#random;
    const dice = random.below(100);
    const watcher = random.pick(this.#watchers);
    const { store, partitions } = this.#registry;
    // Whoever is owed an answer and does not read is closed.
    if (watcher.client.closed !== undefined) watcher.reconnect();
    if (dice < 45) this.#write();
    else if (dice < 63) watcher.watch(random.pick(targets));
    else if (dice < 66) watcher.unwatch(random.pick(targets));
    else if (dice < 78) watcher.read();
    else if (dice < 84) this.#toggleReading(watcher.client);
    else if (dice < 86) watcher.reconnect();
    else if (dice < 92) this.#registry.advance(50 * (1 + random.below(20)));
    else if (dice < 94) {
      this.totals.deaths += 1;
      random.pick(partitions).die(random);
    } else if (dice < 96 && !store.isDown) {
      this.totals.storeDeaths += 1;
      store.die();
    } else if (dice >= 96) store.revive();
  }

  #write(): void {
    const random = this.#random;
    const key = random.pick(keys);
    this.#values += 1;
    const value = encode(String(this.#values).repeat(random.below(20)));
    switch (random.below(5)) {
      case 0:
        this.#writer.request('kv.delete', { key });
        return;
      case 1: {
        const operations = keys
          .filter(() => random.below(3) === 0)
          .map((each) => ({ op: 'put' as const, key: each, value }));
        if (operations.length > 0) this.#writer.request('kv.transact', { operations });
        return;
      }
      default:
        this.#writer.request('kv.put', { key, value });
    }
  }

  #toggleReading(client: SimulatedClient): void {
    if (client.isReading) {
      this.totals.stalls += 1;
      client.isReading = false;
    } else client.resume();
  }
}

/** Runs histories, each from its seed; says which seed failed. */
export async function runWatchHistories(seeds: readonly number[]): Promise<WatchTotals> {
  const total: WatchTotals = { told: 0, resumed: 0, resyncs: 0, reads: 0, deaths: 0, storeDeaths: 0, stalls: 0 };
  for (const seed of seeds) {
    const random = new Random(seed);
    const truth = new Truth();
    try {
      const registry = await InProcessRegistry.start(
        {
          // What is remembered, and what is on the way, are small: both bounds are met.
          storeLogBytesMax: 1024 * (2 + random.below(6)),
          storeFeedBytesMax: 1024,
          fanOutSliceMembers: 2,
          disconnectGraceMs: 100,
        },
        1 + random.below(2),
      );
      const totals = await new WatchHistory(random, registry, truth).run();
      for (const name of Object.keys(total) as (keyof WatchTotals)[]) total[name] += totals[name];
    } catch (error) {
      throw new Error(`history ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    } finally {
      truth.end();
    }
  }
  return total;
}
