import { capabilityNames } from '../../src/protocol/capabilities.ts';
import { encodeInstance } from '../../src/protocol/instance-encoding.ts';
import { encodeFilter, matchesFilter } from '../../src/protocol/instance-filter.ts';
import { hashRegistration, RegistrationDigest } from '../../src/protocol/registration-digest.ts';
import { parseServiceKey } from '../../src/protocol/service-key.ts';
import type { Instance, InstanceFilter, InstanceInput, ServiceName } from '../../src/protocol/types.ts';

export interface WireRequest {
  readonly id: number;
  readonly method: string;
  readonly params: ServiceName &
    InstanceFilter & {
      readonly instance?: InstanceInput;
      readonly id?: string;
      readonly mode?: 'delta' | 'snapshot';
      readonly version?: number;
      readonly resume?: string;
      readonly capabilities?: readonly string[];
      readonly cursor?: string;
    };
}

interface Claim {
  readonly instance: Instance;
  /** Number of a session; 0 is somebody else. */
  readonly owner: number;
}
/** What each instance's id is claimed as, the newest last: that one is shown. */
type Content = ReadonlyMap<string, readonly Claim[]>;

interface FakeSubscription {
  version: number;
  /** It waits until the registry is warm; then it gets the list. */
  isWaiting: boolean;
  readonly mode: 'delta' | 'snapshot';
  readonly filter: InstanceFilter;
}

/** What outlives its connection until it is ended. */
interface FakeSession {
  readonly number: number;
  readonly secret: string;
  hearsClaims: boolean;
  /** Whether a connection of it has always been there: claims that change while there is none are not told later. */
  isUnbroken: boolean;
}

interface FakeConnection {
  session: FakeSession | undefined;
  readonly subscriptions: Map<string, FakeSubscription>;
  /** Frames on their way to the client. */
  readonly outgoing: string[];
  /** Answers of batches that are not complete yet; pushes overtake them. */
  held: string[];
}

/** What befalls the next push, or the next requests. */
export interface Mishaps {
  push: 'none' | 'lost' | 'twice';
  /** Requests that are refused as busy before one is served. */
  busy: number;
  /** Whether answers of batches wait until they are released. */
  holdsBatches: boolean;
  /** Whether resuming is refused, so that a snapshot is given, and sessions are not taken over. */
  forgets: boolean;
  /** A server that knows of no secrets, registries and capabilities. */
  isFirstEdition: boolean;
  /** It says that it has just started. */
  isWarming: boolean;
}

export const fakeLimits = {
  frameBytesMax: 400,
  batchEntriesMax: 3,
  requestsInFlightMax: 5,
  registrationsMax: 100,
  subscriptionsMax: 100,
} as const;

/** Registrations to a page. */
const pageMax = 2;

/** A registry as the protocol has it, in a few lines, that remembers every version of every list. */
export class FakeServer {
  readonly mishaps: Mishaps = {
    push: 'none',
    busy: 0,
    holdsBatches: false,
    forgets: false,
    isFirstEdition: false,
    isWarming: false,
  };
  readonly connections: Map<number, FakeConnection> = new Map();
  readonly #sessions: Map<string, FakeSession> = new Map();
  readonly #services: Map<string, { version: number; content: Content }> = new Map();
  readonly #history: Map<string, Content> = new Map();
  /** Ids that the present registry has ever had. */
  readonly #everHad: Set<string> = new Set();
  #sessionsBegun = 0;
  #registry = 1;

  connect(socket: number): void {
    this.connections.set(socket, { session: undefined, subscriptions: new Map(), outgoing: [], held: [] });
  }

  /** The connection broke: no more frames either way. What its session registered stays until that is ended. */
  cut(socket: number): void {
    this.connections.delete(socket);
  }

  /** A clean close. */
  leave(socket: number): void {
    const session = this.connections.get(socket)?.session;
    this.cut(socket);
    if (session !== undefined) this.#end(session);
  }

  /** The grace is over: sessions without a connection end. */
  endBroken(): void {
    const alive = new Set([...this.connections.values()].map(({ session }) => session));
    for (const session of this.#sessions.values()) if (!alive.has(session)) this.#end(session);
  }

  /** Another registry takes its place, which knows nobody yet. Others come to it sooner or later. */
  replace(): void {
    this.#registry += 1;
    this.connections.clear();
    this.#sessions.clear();
    this.#everHad.clear();
    for (const [key, service] of this.#services) {
      service.version = Math.max(service.version, this.#registry * 1000);
      service.content = new Map();
      this.#history.set(`${key}@${service.version}`, service.content);
    }
  }

  contentOf(key: string): Content {
    return this.#service(key).content;
  }

  versionOf(key: string): number {
    return this.#service(key).version;
  }

  /** The list as it was at a version. */
  listAt(key: string, version: number, filter: InstanceFilter = {}): readonly Instance[] | undefined {
    const content = this.#history.get(`${key}@${version}`);
    return content === undefined ? undefined : listOf(content, filter);
  }

  hasEverHad(key: string, id: string): boolean {
    return this.#everHad.has(`${key}\n${id}`);
  }

  /** What a connection's session has registered, and whether that is what is shown, if it was told of every change. */
  claimOf(
    socket: number,
    key: string,
    id: string,
  ): { readonly instance: Instance; readonly isShown: boolean | undefined } | undefined {
    const { number: owner, hearsClaims, isUnbroken } = this.connections.get(socket)?.session ?? {};
    const claims = this.contentOf(key).get(id) ?? [];
    const claim = claims.find((each) => each.owner === owner);
    if (claim === undefined) return undefined;
    const isTold = hearsClaims === true && isUnbroken === true;
    return { instance: claim.instance, isShown: isTold ? claims.at(-1) === claim : undefined };
  }

  keys(): string[] {
    return [...this.#services.keys()];
  }

  /** Somebody else registers an instance, or takes one away. */
  meddle(key: string, id: string, weight: number | undefined): void {
    const zone = id === 'x' ? { zone: 'z1' } : {};
    const instance = { id, host: 'other', port: 1, weight: weight ?? 0, enabled: weight !== 3, ...zone };
    this.#claim(key, id, 0, weight === undefined ? undefined : instance);
  }

  sendGoaway(reconnectAfterMs: number): void {
    for (const { outgoing } of this.connections.values()) {
      outgoing.push(encodeNotification('session.goaway', { reason: 'test', reconnectAfterMs }));
    }
  }

  release(): void {
    for (const connection of this.connections.values()) {
      connection.outgoing.push(...connection.held);
      connection.held = [];
    }
  }

  receive(socket: number, text: string): void {
    const connection = this.connections.get(socket);
    if (connection === undefined) return;
    const value = JSON.parse(text) as WireRequest | WireRequest[];
    if (!Array.isArray(value)) {
      connection.outgoing.push(this.#serve(connection, value));
      return;
    }
    const answers = `[${value.map((request) => this.#serve(connection, request)).join(',')}]`;
    (this.mishaps.holdsBatches ? connection.held : connection.outgoing).push(answers);
  }

  #serve(connection: FakeConnection, request: WireRequest): string {
    const { id, method, params } = request;
    if (method === 'session.open') return this.#open(connection, request);
    const { session } = connection;
    if (session === undefined) throw new Error(`${method} before session.open`);
    if (this.mishaps.busy > 0) {
      this.mishaps.busy -= 1;
      return encodeError(id, -32_000, 'busy', { retryAfterMs: 40 });
    }
    const key = `${params.namespace}/${params.group}/${params.service}`;
    switch (method) {
      case 'instance.register':
        return this.#register(session, { id, key, instance: params.instance! });
      case 'instance.deregister':
        return this.#deregister(session, { id, key, instanceId: params.id! });
      case 'session.registrations':
        return this.#listHeld(session, id, Number(params.cursor ?? 0));
      case 'service.subscribe':
        return this.#subscribe(connection, key, request);
      case 'service.unsubscribe':
        connection.subscriptions.delete(key);
        return encodeResult(id, {});
      case 'service.query':
        return encodeResult(id, { version: this.versionOf(key), instances: listOf(this.contentOf(key), {}) });
      default:
        throw new Error(`unexpected ${method}`);
    }
  }

  #open(connection: FakeConnection, { id, params }: WireRequest): string {
    const { isFirstEdition, forgets, isWarming } = this.mishaps;
    const { resume, capabilities } = params;
    const unknown = ['resume', 'capabilities', 'protocol'].find((name) => name in params);
    if (isFirstEdition && unknown !== undefined) {
      return encodeError(id, -32_602, 'invalid_params', { field: `/${unknown}` });
    }
    const before = forgets || resume === undefined ? undefined : this.#sessions.get(resume);
    // The connection before is fenced.
    for (const [socket, other] of this.connections) if (before && other.session === before) this.cut(socket);
    const number = before?.number ?? (this.#sessionsBegun += 1);
    const session = before ?? { number, secret: `secret-${number}`, hearsClaims: false, isUnbroken: true };
    session.isUnbroken = before === undefined;
    session.hearsClaims = capabilities?.includes('claims') === true;
    this.#sessions.set(session.secret, session);
    connection.session = session;
    const first = { session: `s${number}`, heartbeatMs: 1000, limits: fakeLimits };
    if (isFirstEdition) return encodeResult(id, first);
    const held = this.#heldBy(session);
    const digest = new RegistrationDigest();
    for (const { key, instance } of held) digest.add(key, encodeInstance(instance).fragment);
    const resumed = { registrations: held.length, digest: digest.toString() };
    return encodeResult(id, {
      ...first,
      secret: session.secret,
      registry: `r${this.#registry}`,
      warming: isWarming,
      protocol: 1,
      capabilities: capabilityNames,
      ...(before === undefined ? {} : { resumed }),
    });
  }

  #heldBy({ number }: FakeSession): { readonly key: string; readonly instance: Instance }[] {
    return [...this.#services].flatMap(([key, { content }]) =>
      [...content.values()].flat().flatMap(({ owner, instance }) => (owner === number ? [{ key, instance }] : [])),
    );
  }

  #listHeld(session: FakeSession, id: number, from: number): string {
    const held = this.#heldBy(session);
    const page = held.slice(from, from + pageMax).map(({ key, instance }) => ({
      ...parseServiceKey(key),
      id: instance.id,
      hash: hashRegistration(key, encodeInstance(instance).fragment),
    }));
    const isMore = from + pageMax < held.length;
    return encodeResult(id, { registrations: page, ...(isMore ? { cursor: String(from + pageMax) } : {}) });
  }

  #end(session: FakeSession): void {
    this.#sessions.delete(session.secret);
    for (const { key, instance } of this.#heldBy(session)) this.#claim(key, instance.id, session.number, undefined);
  }

  #register(session: FakeSession, call: { id: number; key: string; instance: InstanceInput }): string {
    const { host, port, weight = 100 } = call.instance;
    const id = call.instance.id ?? `${host}:${port}`;
    if (weight === 13) return encodeError(call.id, -32_602, 'invalid_params', { field: '/instance/weight' });
    this.#claim(call.key, id, session.number, { id, host, port, weight, enabled: true });
    return encodeResult(call.id, { version: this.versionOf(call.key), id });
  }

  #deregister(session: FakeSession, call: { id: number; key: string; instanceId: string }): string {
    const claims = this.contentOf(call.key).get(call.instanceId);
    if (claims === undefined) return encodeError(call.id, -32_001, 'not_found', {});
    if (!claims.some(({ owner }) => owner === session.number)) return encodeError(call.id, -32_002, 'not_owner', {});
    this.#claim(call.key, call.instanceId, session.number, undefined);
    return encodeResult(call.id, { version: this.versionOf(call.key) });
  }

  #subscribe(connection: FakeConnection, key: string, { id, params }: WireRequest): string {
    const { mode = 'delta', version: since } = params;
    const filter = readFilter(params);
    const before = connection.subscriptions.get(key);
    const isSame = before === undefined || encodeFilter(before.filter) === encodeFilter(filter);
    const { version, content } = this.#service(key);
    const { isWarming } = this.mishaps;
    const old = since === undefined || !isSame || this.mishaps.forgets ? undefined : this.#knownAt(key, since);
    const isWaiting = isWarming && since !== undefined && isSame && old === undefined;
    connection.subscriptions.set(key, { version, isWaiting, mode, filter });
    if (isWaiting) return encodeResult(id, { from: since, version: since, put: [], remove: [], warming: true });
    if (old !== undefined) return encodeResult(id, { from: since, version, ...difference(old, content, filter) });
    const warming = isWarming ? { warming: true } : {};
    return encodeResult(id, { version, instances: listOf(content, filter), ...warming });
  }

  /** Those who were there before are back, or had their time. */
  warm(): void {
    this.mishaps.isWarming = false;
    for (const { subscriptions, outgoing, held } of this.connections.values()) {
      // This push does not overtake the answer that announces it, be that part of a batch.
      const frames = held.length > 0 ? held : outgoing;
      for (const [key, subscription] of subscriptions) {
        if (!subscription.isWaiting) continue;
        subscription.isWaiting = false;
        const { version: to, content } = this.#service(key);
        subscription.version = to;
        const instances = listOf(content, subscription.filter);
        const name = { ...parseServiceKey(key), count: instances.length };
        frames.push(encodeNotification('service.changed', { ...name, snapshot: true, to, instances }));
      }
    }
  }

  /** Only what was in this registry. */
  #knownAt(key: string, version: number): Content | undefined {
    return version < this.#registry * 1000 ? undefined : this.#history.get(`${key}@${version}`);
  }

  #service(key: string): { version: number; content: Content } {
    let service = this.#services.get(key);
    if (service === undefined) {
      service = { version: this.#registry * 1000, content: new Map() };
      this.#services.set(key, service);
      this.#history.set(`${key}@${service.version}`, service.content);
    }
    return service;
  }

  /** SE7: the newest claim is shown; when it goes, the next newest is. */
  #claim(key: string, id: string, owner: number, instance: Instance | undefined): void {
    const service = this.#service(key);
    const before = service.content;
    const claims = (before.get(id) ?? []).filter((claim) => claim.owner !== owner);
    if (instance !== undefined) claims.push({ instance, owner });
    const content = new Map(before);
    if (claims.length === 0) content.delete(id);
    else content.set(id, claims);
    service.content = content;
    if (instance !== undefined) this.#everHad.add(`${key}\n${id}`);
    this.#tellClaims(key, id, owner, before);
    const { put, remove } = difference(before, content, {});
    // Ownership alone is no change (SE5).
    if (put.length === 0 && remove.length === 0) return;
    service.version += 1;
    this.#history.set(`${key}@${service.version}`, content);
    for (const connection of this.connections.values()) this.#push(connection, key);
  }

  #tellClaims(key: string, id: string, cause: number, before: Content): void {
    const shownBefore = before.get(id)?.at(-1)?.owner;
    const shown = this.contentOf(key).get(id)?.at(-1)?.owner;
    if (shown === shownBefore) return;
    for (const { session, outgoing, held } of this.connections.values()) {
      if (session?.hearsClaims !== true || session.number === cause) continue;
      if (session.number !== shown && session.number !== shownBefore) continue;
      const params = { ...parseServiceKey(key), id, shown: session.number === shown };
      // The answer to the registration may be held: a notice before it would be taken for older.
      (held.length > 0 ? held : outgoing).push(encodeNotification('instance.claim', params));
    }
  }

  #push(connection: FakeConnection, key: string): void {
    const subscription = connection.subscriptions.get(key);
    if (subscription === undefined || subscription.isWaiting) return;
    const { version: from, filter, mode } = subscription;
    const { version: to, content } = this.#service(key);
    const { put, remove } = difference(this.#history.get(`${key}@${from}`)!, content, filter);
    // Nothing changed of what the filter lets through.
    if (put.length === 0 && remove.length === 0) return;
    const list = listOf(content, filter);
    const name = { ...parseServiceKey(key), count: list.length };
    subscription.version = to;
    const { push } = this.mishaps;
    this.mishaps.push = 'none';
    if (push === 'lost') return;
    const params =
      mode === 'snapshot' ? { ...name, snapshot: true, to, instances: list } : { ...name, from, to, put, remove };
    const text = encodeNotification('service.changed', params);
    connection.outgoing.push(text);
    if (push === 'twice') connection.outgoing.push(text);
  }
}

function readFilter({ zone, enabledOnly, selector }: InstanceFilter): InstanceFilter {
  return {
    ...(zone === undefined ? {} : { zone }),
    ...(enabledOnly === undefined ? {} : { enabledOnly }),
    ...(selector === undefined ? {} : { selector }),
  };
}

function listOf(content: Content, filter: InstanceFilter): Instance[] {
  return [...content.values()]
    .map((claims) => claims.at(-1)!.instance)
    .filter((instance) => matchesFilter(instance, filter));
}

function difference(before: Content, after: Content, filter: InstanceFilter): { put: Instance[]; remove: string[] } {
  const old = new Map(listOf(before, filter).map((instance) => [instance.id, JSON.stringify(instance)]));
  const list = listOf(after, filter);
  const present = new Set(list.map(({ id }) => id));
  return {
    put: list.filter((instance) => old.get(instance.id) !== JSON.stringify(instance)),
    remove: [...old.keys()].filter((id) => !present.has(id)),
  };
}

function encodeNotification(method: string, params: object): string {
  return JSON.stringify({ jsonrpc: '2.0', method, params });
}

function encodeResult(id: number, result: object): string {
  return JSON.stringify({ jsonrpc: '2.0', id, result });
}

function encodeError(id: number, code: number, name: string, fields: object): string {
  return JSON.stringify({ jsonrpc: '2.0', id, error: { code, message: name, data: { code: name, ...fields } } });
}
