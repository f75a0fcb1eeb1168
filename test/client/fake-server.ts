import type { Instance, InstanceInput, ServiceName } from '../../src/protocol/types.ts';

export interface WireRequest {
  readonly id: number;
  readonly method: string;
  readonly params: ServiceName & {
    readonly instance?: InstanceInput;
    readonly id?: string;
    readonly mode?: 'delta' | 'snapshot';
    readonly version?: number;
  };
}

type Content = ReadonlyMap<string, { readonly instance: Instance; readonly owner: number }>;

interface FakeSession {
  readonly number: number;
  readonly subscriptions: Map<string, { version: number; readonly mode: 'delta' | 'snapshot' }>;
  /** Frames on their way to the client. */
  readonly outgoing: string[];
  /** Answers of batches that are not complete yet; pushes overtake them. */
  held: string[];
  isOpen: boolean;
}

/** What befalls the next push, or the next requests. */
export interface Mishaps {
  push: 'none' | 'lost' | 'twice';
  /** Requests that are refused as busy before one is served. */
  busy: number;
  /** Whether answers of batches wait until they are released. */
  holdsBatches: boolean;
  /** Whether resuming is refused, so that a snapshot is given. */
  forgets: boolean;
}

export const fakeLimits = {
  frameBytesMax: 400,
  batchEntriesMax: 3,
  requestsInFlightMax: 5,
  registrationsMax: 100,
  subscriptionsMax: 100,
} as const;

/** A registry as the protocol has it, in a few lines, that remembers every version of every list. */
export class FakeServer {
  readonly mishaps: Mishaps = { push: 'none', busy: 0, holdsBatches: false, forgets: false };
  readonly sessions: Map<number, FakeSession> = new Map();
  readonly #services: Map<string, { version: number; content: Content }> = new Map();
  readonly #history: Map<string, Content> = new Map();

  connect(socket: number): void {
    this.sessions.set(socket, { number: socket, subscriptions: new Map(), outgoing: [], held: [], isOpen: false });
  }

  /** The connection broke: no more frames either way. What it registered stays until `endSession`. */
  cut(socket: number): void {
    const session = this.sessions.get(socket);
    this.sessions.delete(socket);
    session?.subscriptions.clear();
  }

  /** SE1: takes away what is still its own. */
  endSession(owner: number): void {
    this.cut(owner);
    for (const key of this.#services.keys()) {
      this.#change(key, (content) => {
        for (const [id, held] of content) if (held.owner === owner) content.delete(id);
      });
    }
  }

  contentOf(key: string): Content {
    return this.#service(key).content;
  }

  versionOf(key: string): number {
    return this.#service(key).version;
  }

  /** The list as it was at a version. */
  listAt(key: string, version: number): readonly Instance[] | undefined {
    const content = this.#history.get(`${key}@${version}`);
    return content === undefined ? undefined : listOf(content);
  }

  keys(): string[] {
    return [...this.#services.keys()];
  }

  /** Somebody else registers an instance, or takes one away. */
  meddle(key: string, id: string, weight: number | undefined): void {
    this.#change(key, (content) => {
      if (weight === undefined) {
        if (content.get(id)?.owner === 0) content.delete(id);
      } else {
        content.set(id, { instance: { id, host: 'other', port: 1, weight, enabled: true }, owner: 0 });
      }
    });
  }

  sendGoaway(reconnectAfterMs: number): void {
    for (const { outgoing } of this.sessions.values()) {
      outgoing.push(
        JSON.stringify({ jsonrpc: '2.0', method: 'session.goaway', params: { reason: 'test', reconnectAfterMs } }),
      );
    }
  }

  release(): void {
    for (const session of this.sessions.values()) {
      session.outgoing.push(...session.held);
      session.held = [];
    }
  }

  receive(socket: number, text: string): void {
    const session = this.sessions.get(socket);
    if (session === undefined) return;
    const value = JSON.parse(text) as WireRequest | WireRequest[];
    if (!Array.isArray(value)) {
      session.outgoing.push(this.#serve(session, value));
      return;
    }
    const answers = `[${value.map((request) => this.#serve(session, request)).join(',')}]`;
    (this.mishaps.holdsBatches ? session.held : session.outgoing).push(answers);
  }

  #serve(session: FakeSession, { id, method, params }: WireRequest): string {
    if (method === 'session.open') {
      session.isOpen = true;
      return wordResult(id, { session: `s${session.number}`, heartbeatMs: 1000, limits: fakeLimits });
    }
    if (!session.isOpen) throw new Error(`${method} before session.open`);
    if (this.mishaps.busy > 0) {
      this.mishaps.busy -= 1;
      return wordError(id, -32_000, 'busy', { retryAfterMs: 40 });
    }
    const key = `${params.namespace}/${params.group}/${params.service}`;
    switch (method) {
      case 'instance.register':
        return this.#register(session, { id, key, instance: params.instance! });
      case 'instance.deregister':
        return this.#deregister(session, { id, key, instanceId: params.id! });
      case 'service.subscribe':
        return this.#subscribe(session, { id, key, mode: params.mode ?? 'delta', since: params.version });
      case 'service.unsubscribe':
        session.subscriptions.delete(key);
        return wordResult(id, {});
      case 'service.query':
        return wordResult(id, { version: this.versionOf(key), instances: listOf(this.contentOf(key)) });
      default:
        throw new Error(`unexpected ${method}`);
    }
  }

  #register(session: FakeSession, call: { id: number; key: string; instance: InstanceInput }): string {
    const { host, port, weight = 100 } = call.instance;
    const id = call.instance.id ?? `${host}:${port}`;
    if (weight === 13) return wordError(call.id, -32_602, 'invalid_params', { field: '/instance/weight' });
    this.#change(call.key, (content) => {
      content.set(id, { instance: { id, host, port, weight, enabled: true }, owner: session.number });
    });
    return wordResult(call.id, { version: this.versionOf(call.key), id });
  }

  #deregister(session: FakeSession, call: { id: number; key: string; instanceId: string }): string {
    const held = this.contentOf(call.key).get(call.instanceId);
    if (held === undefined) return wordError(call.id, -32_001, 'not_found', {});
    if (held.owner !== session.number) return wordError(call.id, -32_002, 'not_owner', {});
    this.#change(call.key, (content) => content.delete(call.instanceId));
    return wordResult(call.id, { version: this.versionOf(call.key) });
  }

  #subscribe(
    session: FakeSession,
    { id, key, mode, since }: { id: number; key: string; mode: 'delta' | 'snapshot'; since: number | undefined },
  ): string {
    const { version, content } = this.#service(key);
    session.subscriptions.set(key, { version, mode });
    const old = since === undefined || this.mishaps.forgets ? undefined : this.#history.get(`${key}@${since}`);
    if (old === undefined) return wordResult(id, { version, instances: listOf(content) });
    return wordResult(id, { from: since, version, ...difference(old, content) });
  }

  #service(key: string): { version: number; content: Content } {
    let service = this.#services.get(key);
    if (service === undefined) {
      service = { version: 1000, content: new Map() };
      this.#services.set(key, service);
      this.#history.set(`${key}@1000`, service.content);
    }
    return service;
  }

  #change(key: string, alter: (content: Map<string, { instance: Instance; owner: number }>) => void): void {
    const service = this.#service(key);
    const content = new Map(service.content);
    alter(content);
    const before = service.content;
    service.content = content;
    const { put, remove } = difference(before, content);
    // Ownership alone is no change (SE5).
    if (put.length === 0 && remove.length === 0) return;
    service.version += 1;
    this.#history.set(`${key}@${service.version}`, content);
    for (const session of this.sessions.values()) this.#push(session, key);
  }

  #push(session: FakeSession, key: string): void {
    const subscription = session.subscriptions.get(key);
    if (subscription === undefined) return;
    const { version: to, content } = this.#service(key);
    const [namespace, group, service] = key.split('/');
    const name = { namespace, group, service, count: content.size };
    const from = subscription.version;
    subscription.version = to;
    const { push } = this.mishaps;
    this.mishaps.push = 'none';
    if (push === 'lost') return;
    const params =
      subscription.mode === 'snapshot'
        ? { ...name, snapshot: true, to, instances: listOf(content) }
        : { ...name, from, to, ...difference(this.#history.get(`${key}@${from}`)!, content) };
    const text = JSON.stringify({ jsonrpc: '2.0', method: 'service.changed', params });
    session.outgoing.push(text);
    if (push === 'twice') session.outgoing.push(text);
  }
}

function listOf(content: Content): Instance[] {
  return [...content.values()].map(({ instance }) => instance);
}

function difference(before: Content, after: Content): { put: Instance[]; remove: string[] } {
  const put = listOf(after).filter(
    (instance) => JSON.stringify(before.get(instance.id)?.instance) !== JSON.stringify(instance),
  );
  return { put, remove: [...before.keys()].filter((id) => !after.has(id)) };
}

function wordResult(id: number, result: object): string {
  return JSON.stringify({ jsonrpc: '2.0', id, result });
}

function wordError(id: number, code: number, name: string, fields: object): string {
  return JSON.stringify({ jsonrpc: '2.0', id, error: { code, message: name, data: { code: name, ...fields } } });
}
