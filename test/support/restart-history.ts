import { serviceKey } from '../../src/protocol/service-key.ts';
import type { InstanceFilter, SubscribeMode } from '../../src/protocol/types.ts';
import { InProcessRegistry, runPromises } from './in-process-registry.ts';
import { describeMark, filters, isShown } from './marked-content.ts';
import { Random } from './random.ts';
import { SimulatedClient } from './simulated-client.ts';
import type { SubscriberView } from './subscriber-view.ts';

/** What disturbs a registry while those who were there before come back. */
export interface RestartFaults {
  readonly kills: boolean;
  readonly moves: boolean;
}

/** What histories did, and what was compared. */
export interface RestartFindings {
  /** Lives of registries. */
  lives: number;
  /** Subscriptions that went on with what they knew. */
  waits: number;
  /** Looks at what a subscriber holds. */
  looks: number;
  /** Versions compared with what clients had shown. */
  versions: number;
}

const services = ['pay', 'ship', 'größe/世界'] as const;
const warmUpMs = 4000;
/** The longest that one who was there before stays away, in milliseconds. */
const awayMaxMs = 3500;
const hourMs = 3_600_000;
/** How far the wall clock is set back between two lives, in milliseconds. */
const setBacksMs = [0, 0, 5000, hourMs, 40 * 365 * 24 * hourMs] as const;

interface Wish {
  readonly service: string;
  readonly mode: SubscribeMode;
  readonly filter: InstanceFilter;
  held: SubscriberView | undefined;
  /** Instances that it holds and whose registrants come back: they must not be missing for a moment. */
  required: ReadonlySet<string>;
}

/** A client that lives longer than the registry does. */
interface Resident {
  readonly name: string;
  readonly registrations: { readonly service: string; readonly id: string; readonly mark: number }[];
  readonly wishes: Wish[];
  readonly isCounting: boolean;
  client: SimulatedClient | undefined;
  /** When it is back in this life, in milliseconds from its start; infinite: never. */
  backAtMs: number;
}

/** Runs histories in which the whole registry is lost and started anew, with clients that keep what they know; rejects with what was wrong. */
export async function runRestarts(seeds: readonly number[], faults: RestartFaults): Promise<RestartFindings> {
  const total: RestartFindings = { lives: 0, waits: 0, looks: 0, versions: 0 };
  for (const seed of seeds) {
    try {
      const history = new RestartHistory(seed, faults);
      await history.run();
      for (const name of Object.keys(total) as (keyof RestartFindings)[]) total[name] += history.findings[name];
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }
  return total;
}

class RestartHistory {
  readonly findings: RestartFindings = { lives: 0, waits: 0, looks: 0, versions: 0 };
  readonly #random: Random;
  readonly #faults: RestartFaults;
  readonly #residents: Resident[];
  #registry!: InProcessRegistry;
  /** The highest version that a client has shown in this life, by service. */
  readonly #shown: Map<string, number> = new Map();

  constructor(seed: number, faults: RestartFaults) {
    this.#random = new Random(seed);
    this.#faults = faults;
    this.#residents = Array.from({ length: 4 + this.#random.below(8) }, (_, i) => this.#createResident(i));
  }

  async run(): Promise<void> {
    let wallMicros = 1_800_000_000_000_000;
    for (let life = 0; life < 3; life++) {
      await this.#live(wallMicros, life === 0);
      const { nowMs } = this.#registry;
      const downMs = this.#random.below(45_000);
      wallMicros += (nowMs + downMs - this.#random.pick(setBacksMs)) * 1000;
    }
  }

  async #live(wallMicros: number, isFirst: boolean): Promise<void> {
    const random = this.#random;
    const settings = {
      partitions: 1 + random.below(3),
      warmUpMs,
      disconnectGraceMs: 200,
      moveSlots: 4096,
      // Here things are delivered slowly.
      slotWaitTimeoutMs: 60_000,
    };
    const hosts = 1 + random.below(2);
    this.#registry = await InProcessRegistry.start(settings, hosts, { wallStartMicros: wallMicros });
    this.findings.lives += 1;
    this.#shown.clear();
    for (const resident of this.#residents) {
      resident.client = undefined;
      // For good: a count cannot tell one who comes back after a life without it from one that is missed.
      const isLost = resident.backAtMs === Number.POSITIVE_INFINITY || (!isFirst && random.below(8) === 0);
      resident.backAtMs = isLost ? Number.POSITIVE_INFINITY : isFirst ? 0 : random.below(awayMaxMs);
    }
    this.#noteRequired();
    while (this.#registry.nowMs < 2 * warmUpMs) {
      for (const resident of this.#residents) if (this.#isDue(resident)) this.#comeBack(resident);
      if (random.below(10) === 0) this.#disturb();
      for (let left = random.below(60); left > 0; left--) this.#registry.step(random);
      await runPromises();
      this.#registry.advance(50);
    }
    await this.#registry.settle(random);
    await this.#judgeVersions();
    this.#judgeEnd();
  }

  #createResident(number: number): Resident {
    const random = this.#random;
    const wishes = services
      .filter(() => random.below(3) > 0)
      .map((service) => ({
        service,
        mode: random.pick(['delta', 'delta', 'snapshot'] as const),
        filter: random.pick(filters),
        held: undefined,
        required: new Set<string>(),
      }));
    const registrations = Array.from({ length: random.below(3) }, (_, i) => ({
      service: random.pick(services),
      id: `i${number}-${i}`,
      mark: 1 + random.below(1000),
    }));
    return {
      name: `resident ${number}`,
      registrations,
      wishes,
      isCounting: random.below(4) > 0,
      client: undefined,
      backAtMs: 0,
    };
  }

  #noteRequired(): void {
    const comingBack = new Set(
      this.#residents
        .filter(({ backAtMs }) => Number.isFinite(backAtMs))
        .flatMap(({ registrations }) => registrations.map(({ service, id }) => `${service} ${id}`)),
    );
    for (const { wishes } of this.#residents) {
      for (const wish of wishes) {
        const ids = [...(wish.held?.instances.keys() ?? [])];
        wish.required = new Set(ids.filter((id) => comingBack.has(`${wish.service} ${id}`)));
      }
    }
  }

  #isDue({ client, backAtMs }: Resident): boolean {
    return client === undefined && this.#registry.nowMs >= backAtMs;
  }

  #comeBack(resident: Resident): void {
    const random = this.#random;
    const core = random.pick(this.#registry.hosts).core;
    const client = new SimulatedClient(this.#registry, Number.POSITIVE_INFINITY, core);
    resident.client = client;
    client.isCounting = resident.isCounting;
    client.listener = {
      onAnswer: ({ method, params, result }) => {
        if (method !== 'service.subscribe' || result === undefined) return;
        if ('from' in (result as object) && 'warming' in (result as object)) this.findings.waits += 1;
        this.#look(resident, serviceKey(params as { service: string }));
      },
      onChange: (key) => {
        this.#look(resident, key);
      },
      onGone: () => undefined,
    };
    const register = (): void => {
      for (const { service, id, mark } of resident.registrations) {
        const { color, ...content } = describeMark(mark);
        const instance = { id, host: 'h', port: 1, weight: mark, ...content, metadata: { color } };
        client.request('instance.register', { service, instance });
      }
    };
    const isLate = random.below(2) === 0;
    if (!isLate) register();
    for (const wish of resident.wishes) {
      const { version } = wish.held ?? { version: 0 };
      if (version > 0) this.#shown.set(wish.service, Math.max(version, this.#shown.get(wish.service) ?? 0));
      wish.held = client.subscribe(wish.service, wish.mode, wish.held, wish.filter);
    }
    if (isLate) register();
  }

  #disturb(): void {
    const random = this.#random;
    const present = this.#residents.filter(({ client }) => client !== undefined);
    const idle = present.filter(({ registrations }) => registrations.length === 0);
    const roll = random.below(3);
    if (roll === 0 && idle.length > 0) {
      // Cut off and back again, in the middle of it: nothing goes with it.
      const resident = random.pick(idle);
      resident.client!.leave(random.below(2) === 0);
      resident.client = undefined;
      resident.backAtMs = this.#registry.nowMs + random.below(300);
    } else if (roll === 1 && this.#faults.kills) {
      random.pick(this.#registry.partitions.slice(0, this.#registry.router.table.partitions)).die(random);
    } else if (roll === 2 && this.#faults.moves && !this.#registry.migrator.isBusy) {
      // What dies meanwhile is taken up again.
      this.#registry.migrator.resize(1 + random.below(3)).catch(() => undefined);
    }
  }

  #look(resident: Resident, key: string): void {
    const wish = resident.wishes.find(({ service }) => serviceKey({ service }) === key);
    const view = resident.client?.views.get(key);
    if (wish === undefined || view === undefined) return;
    this.findings.looks += 1;
    for (const id of wish.required) {
      if (!view.instances.has(id))
        throw new Error(`[PU5] ${resident.name} lost ${wish.service} ${id}, which is coming back`);
    }
  }

  /** What is told from now on is above what clients have shown that they were told. */
  async #judgeVersions(): Promise<void> {
    const client = new SimulatedClient(this.#registry);
    for (const [service, version] of this.#shown) {
      const query = client.request('service.query', { service });
      const registration = client.request('instance.register', { service, instance: { host: 'probe', port: 1 } });
      await this.#registry.deliver(this.#random);
      for (const { method, result } of [query, registration]) {
        this.findings.versions += 1;
        const told = (result as { version: number }).version;
        if (told < version)
          throw new Error(`${method} of ${service} tells version ${told}, and ${version} was told before`);
      }
    }
    client.leave(true);
    await this.#registry.settle(this.#random);
  }

  #judgeEnd(): void {
    const there = this.#residents.filter(({ client }) => client !== undefined);
    const registrations = there.flatMap((resident) => resident.registrations);
    for (const { name, wishes, client } of this.#residents) {
      for (const wish of wishes) {
        const view = client?.views.get(serviceKey(wish));
        if (client !== undefined && view === undefined) throw new Error(`${name} has no answer for ${wish.service}`);
        if (view === undefined) continue;
        wish.held = view;
        const expected = registrations
          .filter(({ service, mark }) => service === wish.service && isShown(wish.filter, mark))
          .map(({ id }) => id);
        const held = [...view.instances.keys()].sort();
        if (held.join() !== expected.sort().join()) {
          throw new Error(`${name} holds ${held.join()} of ${wish.service}, and there are ${expected.join()}`);
        }
      }
    }
  }
}
