import type { AuditTrail } from '../audit/audit-trail.ts';
import { carryOutNoted } from '../audit/audit-trail.ts';
import type { ServerConfig } from '../config/config.ts';
import type { DurableStore, DurableWrite } from '../durable/commits.ts';
import { serverActor } from '../protocol/actor.ts';
import type { Actor } from '../protocol/actor.ts';
import type { Failure } from '../protocol/errors.ts';
import { parseServiceKey, serviceKey } from '../protocol/service-key.ts';
import type {
  NamespaceLimits,
  Switch,
  SwitchBody,
  SwitchesResult,
  SwitchKind,
  SwitchQuery,
} from '../protocol/switches.ts';
import { switchKinds } from '../protocol/switches.ts';
import type { Orders } from '../sessions/standing-orders.ts';
import { disabledMark, markPercent } from '../store/instance-mark.ts';
import { quotasMax } from '../store/namespace-quotas.ts';
import { encodeOverlay } from '../store/service-overlay.ts';
import type { InstanceOverlay } from '../store/service-overlay.ts';
import type { Hosts } from './hosts.ts';
import { storeRows } from './persistent-rows.ts';
import type { RegistryGuard } from './registry-guard.ts';
import { ServiceTurns } from './service-turns.ts';
import { checkBody, checkTarget, isGuarding, isOverlay, keyOf, nameOf, scopeOf, selectorOf } from './switch-targets.ts';

/** What operators do with switches. */
export interface SwitchCalls {
  listSwitches(): Promise<SwitchesResult>;
  setSwitch(body: SwitchBody, actor: Actor): Promise<Switch | Failure>;
  liftSwitch(query: SwitchQuery, actor: Actor): Promise<Switch | Failure>;
}

export interface SwitchesOptions {
  readonly store: DurableStore;
  /** Undefined: nothing is noted. */
  readonly audit?: AuditTrail | undefined;
  readonly config: Pick<ServerConfig, 'switchesMax' | 'serviceSwitchBytesMax' | 'persistentWritesMax'>;
  readonly hosts: Pick<Hosts, 'layOver' | 'restoreOverlay' | 'setOrders' | 'setQuotas'>;
  readonly guard: Pick<RegistryGuard, 'setStanding'>;
  readonly delay: (ms: number) => Promise<void>;
  /** Milliseconds since the epoch. */
  readonly readWallMs: () => number;
  readonly onEvent: (event: SwitchEvent) => void;
}

export type SwitchEvent =
  | { readonly kind: 'set' | 'lifted' | 'ended'; readonly order: Switch }
  | { readonly kind: 'unreadable'; readonly error: unknown };

/** A switch as it is stored. */
interface StoredSwitch extends Switch {
  /** It has been lifted, and clients may not have been told before a crash. */
  readonly isLifted?: true;
}

const table = 'registry';
/** Stands before the names of switches there. */
const rowPrefix = 'switch\n';
/** How long after it was lifted it is known of a switch that there was one: journals know by then what its service looks like without it. */
const liftedMs = 5000;
/** How long until what could not be stored or read is tried again, in milliseconds. */
const retryMs = 1000;
const busyRetryMs = 200;
/** The weight of an instance that is drained goes down in so many steps. */
const drainSteps = 10;
const drainMsDefault = 60_000;
/** Switches that are ended, or whose rows are deleted, at a time. */
const batchSize = 100;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * Operators' standing orders, on the main thread: each is stored, then it takes effect, then it is answered; so it outlives the process. One of each kind for a service, or an instance: setting it again replaces it.
 */
export class Switches implements SwitchCalls {
  readonly #options: SwitchesOptions;
  readonly #turns: ServiceTurns = new ServiceTurns();
  /** In force, by name, in the order in which they were set. */
  readonly #orders: Map<string, Switch> = new Map();
  /** Names by service. */
  readonly #byService: Map<string, Set<string>> = new Map();
  /** Of instances that are drained: the step that is in effect, by name. */
  readonly #steps: Map<string, number> = new Map();
  /** Of namespaces that have limits. */
  readonly #places: Map<string, number> = new Map();
  /** Lifted ones whose rows are still there, by name, and when those may go. */
  readonly #lifted: Map<string, { readonly order: SwitchQuery; readonly atMs: number }> = new Map();
  #underWay = 0;
  #isLoaded = false;
  #isUnreadable = false;
  #isTrying = false;
  #nextTryMs = 0;

  constructor(options: SwitchesOptions) {
    this.#options = options;
  }

  /** How many are in force, by kind. */
  get counts(): Readonly<Record<SwitchKind, number>> {
    const counts = Object.fromEntries(switchKinds.map((kind) => [kind, 0])) as Record<SwitchKind, number>;
    for (const { kind } of this.#orders.values()) counts[kind] += 1;
    return counts;
  }

  /** Brings back what is stored, before anybody is served. If it cannot be read, resolves all the same, and {@link tick} tries again. */
  load(): Promise<void> {
    const { hosts } = this.#options;
    return this.#load((key, overlay) => {
      hosts.restoreOverlay(key, overlay);
      return Promise.resolve();
    });
  }

  async #load(layOver: Hosts['layOver']): Promise<void> {
    const { store, readWallMs, onEvent } = this.#options;
    const stored: StoredSwitch[] = [];
    try {
      for await (const rows of store.load(table, rowPrefix))
        for (const { payload } of rows) stored.push(decode(payload));
    } catch (error) {
      if (!this.#isUnreadable) onEvent({ kind: 'unreadable', error });
      this.#isUnreadable = true;
      return;
    }
    stored.sort((a, b) => (a.since < b.since ? -1 : Number(a.since > b.since)));
    const nowMs = readWallMs();
    for (const { isLifted, ...order } of stored) {
      if (isLifted !== true && !isOver(order, nowMs)) {
        this.#keep(order);
        continue;
      }
      this.#noteLifted(order);
      if (isLifted !== true) onEvent({ kind: 'ended', order });
    }
    const overlaid = stored.filter((order) => isOverlay(order)).flatMap((order) => keyOf(order) ?? []);
    for (const key of new Set(overlaid)) await layOver(key, this.#overlayOf(key));
    await this.#tellHosts();
    // Hosts whose threads have not begun cannot be heard yet.
    if (stored.some((order) => isGuarding(order))) void this.#tellGuard();
    this.#isLoaded = true;
  }

  /** Lifts those whose time is over, and forgets those that were lifted long enough ago. */
  tick(nowMs: number): void {
    if (this.#isTrying || nowMs < this.#nextTryMs) return;
    this.#nextTryMs = nowMs + retryMs;
    this.#isTrying = true;
    const { hosts } = this.#options;
    const work = this.#isLoaded ? this.#catchUp() : this.#load((key, overlay) => hosts.layOver(key, overlay));
    void work.finally(() => {
      this.#isTrying = false;
    });
  }

  listSwitches(): Promise<SwitchesResult> {
    return Promise.resolve({ switches: [...this.#orders.values()] });
  }

  async setSwitch(body: SwitchBody, actor: Actor): Promise<Switch | Failure> {
    const failure = checkBody(body);
    if (failure !== undefined) return failure;
    const { forMs, ...fields } = body;
    const since = this.#options.readWallMs();
    const { service } = body;
    const order: Switch = {
      ...fields,
      ...(service === undefined ? {} : parseServiceKey(serviceKey({ ...body, service }))),
      orderedFrom: actor.address,
      since: toTime(since),
      ...(forMs === undefined ? {} : { until: toTime(since + forMs) }),
    };
    return this.#run(order, () => {
      const before = this.#orders.get(nameOf(order));
      const act = { actor, what: 'switch.set', target: targetOf(order) } as const;
      return carryOutNoted(
        this.#options.audit,
        act,
        () => this.#set(order),
        (after) => ({ before, after }),
      );
    });
  }

  async #set(order: Switch): Promise<Switch | Failure> {
    const name = nameOf(order);
    const { switchesMax } = this.#options.config;
    if (!this.#orders.has(name) && this.#orders.size >= switchesMax) {
      const message = `there are ${switchesMax} switches in force`;
      return { code: 'limit_exceeded', message, limit: 'switchesMax', max: switchesMax };
    }
    if (order.kind === 'namespace-limit' && !this.#orders.has(name) && this.counts[order.kind] >= quotasMax) {
      const message = `${quotasMax} namespaces have limits`;
      return { code: 'limit_exceeded', message, limit: 'namespaceLimitsMax', max: quotasMax };
    }
    const refused = this.#refuseBytes(order) ?? (await this.#store([writeSwitch(order)]));
    if (refused !== undefined) return refused;
    this.#lifted.delete(name);
    this.#forget(name);
    this.#keep(order);
    await this.#apply(order);
    this.#options.onEvent({ kind: 'set', order });
    return order;
  }

  async liftSwitch(query: SwitchQuery, actor: Actor): Promise<Switch | Failure> {
    const failure = checkTarget(query);
    if (failure !== undefined) return failure;
    return this.#run(query, () =>
      carryOutNoted(
        this.#options.audit,
        { actor, what: 'switch.lift', target: targetOf(query) },
        () => this.#lift(nameOf(query), 'lifted'),
        (before) => ({ before }),
      ),
    );
  }

  /** Whether what lies over its service would be too much with it. */
  #refuseBytes(order: Switch): Failure | undefined {
    const key = keyOf(order);
    if (key === undefined || order.id === undefined) return undefined;
    const { serviceSwitchBytesMax: max } = this.#options.config;
    const name = nameOf(order);
    const others = this.#ordersOf(key).filter((other) => nameOf(other) !== name);
    if (Buffer.byteLength(this.#encode([...others, order])) <= max) return undefined;
    const message = `switches lay more than ${max} bytes over the service`;
    return { code: 'limit_exceeded', message, limit: 'serviceSwitchBytesMax', max };
  }

  async #lift(name: string, kind: 'lifted' | 'ended'): Promise<Switch | Failure> {
    const order = this.#orders.get(name);
    if (order === undefined) return { code: 'not_found', message: 'there is no such switch' };
    const refused = await this.#store([writeSwitch({ ...order, isLifted: true })]);
    // One whose time is over need not be stored as such: whoever reads it sees that.
    if (refused !== undefined && kind === 'lifted') return refused;
    this.#forget(name);
    await this.#apply(order);
    this.#noteLifted(order);
    this.#options.onEvent({ kind, order });
    // Its time is over whatever can be noted.
    if (kind === 'ended') await this.#noteEnded(order);
    return order;
  }

  async #noteEnded(before: Switch): Promise<void> {
    const target = targetOf(before);
    await this.#options.audit?.note({ actor: serverActor, what: 'switch.end', target, before, outcome: 'done' });
  }

  async #catchUp(): Promise<void> {
    const nowMs = this.#options.readWallMs();
    const over = [...this.#orders].filter(([, order]) => isOver(order, nowMs));
    await inBatches(over, ([name, order]) =>
      this.#run(order, async () => {
        // It may have been replaced while it waited for its turn.
        const present = this.#orders.get(name);
        return present === undefined || !isOver(present, nowMs) ? undefined : this.#lift(name, 'ended');
      }),
    );
    await this.#drain(nowMs);
    const gone = [...this.#lifted].filter(([, { atMs }]) => atMs <= nowMs);
    await inBatches(gone, ([name, { order }]) => this.#run(order, () => this.#forgetRow(name)));
  }

  /** In its turn: the row of one that was set again meanwhile must stay. */
  async #forgetRow(name: string): Promise<Failure | undefined> {
    if (!this.#lifted.has(name)) return undefined;
    const refused = await this.#store([{ table, key: rowPrefix + name, payload: undefined, createVersion: 0 }]);
    if (refused === undefined) this.#lifted.delete(name);
    return refused;
  }

  /** One change of a service's switches at a time, and a limited number in all. */
  async #run<T>(name: SwitchQuery, work: () => Promise<T | Failure>): Promise<T | Failure> {
    if (!this.#isLoaded) return { code: 'storage_unavailable', message: 'switches have not been read yet' };
    const { persistentWritesMax: max } = this.#options.config;
    if (this.#underWay >= max) {
      const message = 'too many changes are being stored';
      return { code: 'busy', message, limit: 'persistentWritesMax', max, retryAfterMs: busyRetryMs };
    }
    this.#underWay += 1;
    try {
      return await this.#turns.run(keyOf(name) ?? '', undefined, work);
    } finally {
      this.#underWay -= 1;
    }
  }

  #store(rows: readonly DurableWrite[]): Promise<Failure | undefined> {
    return storeRows(this.#options, rows);
  }

  #apply(name: SwitchQuery): Promise<void> {
    if (isGuarding(name)) return this.#tellGuard();
    const key = isOverlay(name) ? keyOf(name) : undefined;
    if (key === undefined) return this.#tellHosts();
    this.#noteSteps(key);
    return this.#options.hosts.layOver(key, this.#overlayOf(key));
  }

  /** What is applied now shows these steps. */
  #noteSteps(key: string): void {
    for (const name of this.#byService.get(key) ?? []) {
      const order = this.#orders.get(name);
      if (order?.kind === 'instance-drain') this.#steps.set(name, stepOf(order, this.#options.readWallMs()));
    }
  }

  /** All that concerns sessions, and what they register. */
  async #tellHosts(): Promise<void> {
    const { hosts } = this.#options;
    await Promise.all([hosts.setQuotas(this.#placeLimits()), hosts.setOrders(this.#describeOrders())]);
  }

  /** Threads count what namespaces have in places: a namespace keeps its own as long as it has limits. */
  #placeLimits(): (NamespaceLimits & { readonly namespace: string; readonly place: number })[] {
    const limited = [...this.#orders.values()].flatMap(({ kind, namespace, limits }) =>
      kind === 'namespace-limit' ? [{ namespace: namespace!, limits }] : [],
    );
    const present = new Set(limited.map(({ namespace }) => namespace));
    for (const namespace of this.#places.keys()) if (!present.has(namespace)) this.#places.delete(namespace);
    const taken = new Set(this.#places.values());
    return limited.map(({ namespace, limits }) => {
      let place = this.#places.get(namespace) ?? 0;
      if (!this.#places.has(namespace)) while (taken.has(place)) place += 1;
      taken.add(place);
      this.#places.set(namespace, place);
      return { namespace, place, ...limits };
    });
  }

  #tellGuard(): Promise<void> {
    const of = (wanted: SwitchKind): string[] =>
      [...this.#orders.values()].filter(({ kind }) => kind === wanted).map((order) => scopeOf(order));
    return this.#options.guard.setStanding({ held: of('guard-hold'), released: of('guard-off') });
  }

  #describeOrders(): Orders {
    const nowMs = this.#options.readWallMs();
    const of = (wanted: SwitchKind): [name: string, order: Switch][] =>
      [...this.#orders].filter(([, { kind }]) => kind === wanted);
    return {
      isReadOnly: of('read-only').length > 0,
      off: of('client-off').map(([, order]) => selectorOf(order)),
      drained: of('host-drain').map(([name, order]) => {
        const step = stepOf(order, nowMs);
        this.#steps.set(name, step);
        return { host: order.host!, mark: step > drainSteps ? disabledMark : markPercent(percentAt(step)) };
      }),
      limits: this.#placeLimits(),
      frozen: of('push-freeze').map(([, order]) => scopeOf(order)),
      quarantined: of('quarantine').map(([, order]) => {
        const { reason } = order;
        const key = keyOf(order);
        return {
          ...(key === undefined ? selectorOf(order) : { key }),
          ...(reason === undefined ? {} : { reason }),
        };
      }),
    };
  }

  #keep(order: Switch): void {
    const name = nameOf(order);
    this.#orders.set(name, order);
    const key = keyOf(order);
    if (key === undefined) return;
    const names = this.#byService.get(key) ?? new Set();
    this.#byService.set(key, names.add(name));
  }

  #noteLifted(order: Switch): void {
    this.#lifted.set(nameOf(order), { order, atMs: this.#options.readWallMs() + liftedMs });
  }

  #forget(name: string): void {
    const order = this.#orders.get(name);
    if (order === undefined) return;
    this.#orders.delete(name);
    this.#steps.delete(name);
    const key = keyOf(order) ?? '';
    const names = this.#byService.get(key);
    names?.delete(name);
    if (names?.size === 0) this.#byService.delete(key);
  }

  #overlayOf(key: string): string {
    return this.#encode(this.#ordersOf(key));
  }

  #ordersOf(key: string): Switch[] {
    return [...(this.#byService.get(key) ?? [])].flatMap((name) => this.#orders.get(name) ?? []);
  }

  #encode(orders: readonly Switch[]): string {
    return encodeOverlay({
      isClosed: orders.some(({ kind }) => kind === 'service-off'),
      overrides: this.#overridesOf(orders),
    });
  }

  #overridesOf(orders: readonly Switch[]): Map<string, InstanceOverlay> {
    const overrides = new Map<string, InstanceOverlay>();
    for (const { id, override } of orders) if (id !== undefined && override !== undefined) overrides.set(id, override);
    // Over an override, whichever came first: who drains an instance may be about to stop it.
    for (const order of orders) {
      const { kind, id } = order;
      if (kind !== 'instance-drain' || id === undefined) continue;
      overrides.set(id, { ...overrides.get(id), ...describeStep(stepOf(order, this.#options.readWallMs())) });
    }
    return overrides;
  }

  /** Lowers the weights of instances that are drained, when it is time. */
  async #drain(nowMs: number): Promise<void> {
    for (const [name, order] of this.#orders) {
      const isDrain = order.kind === 'instance-drain' || order.kind === 'host-drain';
      if (!isDrain || this.#steps.get(name) === stepOf(order, nowMs)) continue;
      await this.#run(order, async () => {
        if (this.#orders.get(name) === order) await this.#apply(order);
        return undefined;
      });
    }
  }
}

/** What a switch is about. */
function targetOf({ kind, namespace, group, service, id, host, address, app, session }: SwitchQuery): object {
  return { kind, namespace, group, service, id, host, address, app, session };
}

function isOver({ until }: Switch, nowMs: number): boolean {
  return until !== undefined && Date.parse(until) <= nowMs;
}

/** Some at a time, so that operators find room beside them. */
async function inBatches<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < items.length; at += batchSize)
    await Promise.all(items.slice(at, at + batchSize).map((item) => work(item)));
}

/** How far the draining of an instance has come: 1 to {@link drainSteps}, and one more when it is over. */
function stepOf({ since, overMs = drainMsDefault }: Switch, nowMs: number): number {
  const elapsedMs = Math.max(0, nowMs - Date.parse(since));
  return 1 + Math.min(drainSteps, Math.floor((elapsedMs * drainSteps) / overMs));
}

/** How much of its weight an instance has left. */
function percentAt(step: number): number {
  return Math.max(0, 100 - (100 * step) / drainSteps);
}

function describeStep(step: number): InstanceOverlay {
  const weightPercent = percentAt(step);
  return step > drainSteps ? { weightPercent, enabled: false } : { weightPercent };
}

function writeSwitch(stored: StoredSwitch): DurableWrite {
  const payload = encoder.encode(JSON.stringify(stored));
  return { table, key: rowPrefix + nameOf(stored), payload, createVersion: 0 };
}

function decode(payload: Uint8Array): StoredSwitch {
  return JSON.parse(decoder.decode(payload)) as StoredSwitch;
}

function toTime(ms: number): string {
  return new Date(ms).toISOString();
}
