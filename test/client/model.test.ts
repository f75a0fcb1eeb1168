import fc from 'fast-check';
import { expect, test } from 'vitest';

import type { SubscriptionEntry, Ticket } from '../../src/client/books.ts';
import type { ClientEffect } from '../../src/client/effects.ts';
import { utf8Bytes } from '../../src/client/frames.ts';
import { isSame } from '../../src/client/view.ts';
import { serviceKey } from '../../src/protocol/service-key.ts';
import type { Instance, ServiceName } from '../../src/protocol/types.ts';
import { fakeLimits, FakeServer } from './fake-server.ts';
import type { WireRequest } from './fake-server.ts';
import { SimulatedShell } from './simulated-shell.ts';

const services: readonly ServiceName[] = ['one', 'two', 'three', 'four'].map((service) => ({
  namespace: 'public',
  group: 'DEFAULT',
  service,
}));

const service = fc.constantFrom(...services);
const instance = fc.constantFrom('i', 'j', 'k', 'l');
const mode = fc.constantFrom('delta' as const, 'snapshot' as const);
/** 13 is refused by the fake server for good. */
const weight = fc.constantFrom(1, 2, 3, 13);

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('deliver' as const), frames: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('register' as const), service, id: instance, weight }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('deregister' as const), service, id: instance }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('subscribe' as const), service, mode }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('release' as const), pick: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('query' as const), service }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('meddle' as const), service, id: fc.constantFrom('x', 'y', 'i'), weight }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), service, id: fc.constantFrom('x', 'y') }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('mishap' as const),
      push: fc.constantFrom('lost' as const, 'twice' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('busy' as const), times: fc.integer({ min: 1, max: 4 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('toggle' as const),
      what: fc.constantFrom('holdsBatches' as const, 'forgets' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cut' as const), isNoticed: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('grace' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lateClose' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('goaway' as const), ms: fc.integer({ min: 0, max: 500 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 900 }) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** The client's machine, the fake server, and the wires between them, which the history bends. */
class World {
  readonly server = new FakeServer();
  readonly shell = new SimulatedShell({
    requestTimeoutMs: 2000,
    connectTimeoutMs: 700,
    keepAliveMs: 1000,
    keepAliveTimeoutMs: 300,
    backoffMinMs: 20,
    backoffMaxMs: 400,
  });
  /** What users saw: every change event applied to what they had. */
  readonly seen: Map<SubscriptionEntry, Map<string, Instance>> = new Map();
  readonly handles: SubscriptionEntry[] = [];
  /** The last call for each registration, if it was a register. */
  readonly lastRegister: Map<string, { readonly ticket: Ticket; readonly weight: number } | undefined> = new Map();
  readonly #toServer: { readonly socket: number; readonly text: string }[] = [];
  readonly #dialled: number[] = [];
  readonly #broken: number[] = [];
  readonly #lateCloses: number[] = [];
  /** Frames that were under way on connections that are gone. */
  readonly #lateFrames: { readonly socket: number; readonly text: string }[] = [];
  readonly #unanswered: Map<number, number> = new Map();

  constructor() {
    this.shell.onEffect = (effect) => {
      this.#take(effect);
    };
    this.shell.dispatch({ kind: 'tick' });
  }

  do(action: Step): void {
    const { shell, server } = this;
    switch (action.do) {
      case 'deliver':
        this.deliver(action.frames);
        break;
      case 'register': {
        const { service, id, weight } = action;
        const ticket = shell.call({ kind: 'register', service, instance: { id, host: 'h', port: 1, weight } });
        this.lastRegister.set(`${serviceKey(service)}\n${id}`, { ticket, weight });
        break;
      }
      case 'deregister':
        shell.call({ kind: 'deregister', service: action.service, id: action.id });
        this.lastRegister.set(`${serviceKey(action.service)}\n${action.id}`, undefined);
        break;
      case 'subscribe':
        shell.call({ kind: 'subscribe', service: action.service, mode: action.mode });
        break;
      case 'release': {
        const [entry] = this.handles.splice(action.pick % Math.max(1, this.handles.length), 1);
        if (entry !== undefined) shell.release(entry);
        break;
      }
      case 'query':
        shell.call({ kind: 'query', service: action.service });
        break;
      case 'meddle':
        server.meddle(serviceKey(action.service), action.id, action.weight);
        break;
      case 'leave':
        server.meddle(serviceKey(action.service), action.id, undefined);
        break;
      case 'mishap':
        server.mishaps.push = action.push;
        break;
      case 'busy':
        server.mishaps.busy = action.times;
        break;
      case 'toggle':
        server.mishaps[action.what] = !server.mishaps[action.what];
        break;
      case 'cut':
        for (const socket of server.sessions.keys()) this.#cut(socket, action.isNoticed);
        break;
      case 'grace':
        for (const socket of this.#broken.splice(0)) server.endSession(socket);
        break;
      case 'lateClose':
        for (const { socket, text } of this.#lateFrames.splice(0)) {
          this.#noteAnswers(text);
          shell.dispatch({ kind: 'frame', socket, text });
        }
        for (const socket of this.#lateCloses.splice(0))
          shell.dispatch({ kind: 'socketClosed', socket, cause: 'late' });
        break;
      case 'goaway':
        server.sendGoaway(action.ms);
        break;
      case 'wait':
        shell.advance(action.ms);
        break;
      default:
        action satisfies never;
    }
    this.checkViews();
  }

  /** Moves some frames each way, oldest first. */
  deliver(frames: number): void {
    this.shell.flush();
    for (const socket of this.#dialled.splice(0)) {
      this.server.connect(socket);
      this.shell.dispatch({ kind: 'socketOpened', socket });
    }
    for (let n = 0; n < frames; n++) {
      const up = this.#toServer.shift();
      if (up !== undefined) this.server.receive(up.socket, up.text);
      const sessions = [...this.server.sessions];
      for (const [socket, { outgoing }] of sessions) {
        const text = outgoing.shift();
        if (text === undefined) continue;
        this.#noteAnswers(text);
        this.shell.dispatch({ kind: 'frame', socket, text });
        this.checkViews();
      }
    }
    this.shell.flush();
  }

  /** All faults end, and enough time passes for everything to be put right. */
  settle(): void {
    const { server, shell } = this;
    Object.assign(server.mishaps, { push: 'none', busy: 0, holdsBatches: false, forgets: false });
    server.release();
    this.#run(60);
    for (const socket of this.#broken.splice(0)) server.endSession(socket);
    this.#run(20);
    // A lost push with nothing after it cannot be noticed by anybody: so every list changes once more.
    for (const key of server.keys()) server.meddle(key, 'last', shell.nowMs);
    this.#run(40);
  }

  #run(rounds: number): void {
    for (let round = 0; round < rounds; round++) {
      this.deliver(30);
      this.shell.advance(100);
    }
  }

  #lose(socket: number): void {
    for (const text of this.server.sessions.get(socket)?.outgoing ?? []) this.#lateFrames.push({ socket, text });
    this.server.cut(socket);
    this.#broken.push(socket);
  }

  #cut(socket: number, isNoticed: boolean): void {
    this.#lose(socket);
    if (isNoticed) this.shell.dispatch({ kind: 'socketClosed', socket, cause: 'cut' });
    // Otherwise half-open: only silence tells, and perhaps a close event that comes when another socket is in use.
    else this.#lateCloses.push(socket);
  }

  #take(effect: ClientEffect): void {
    switch (effect.kind) {
      case 'openSocket':
        this.#dialled.push(effect.socket);
        this.#unanswered.clear();
        break;
      case 'closeSocket':
        this.#dialled.splice(0, this.#dialled.length, ...this.#dialled.filter((socket) => socket !== effect.socket));
        this.#lose(effect.socket);
        this.#lateCloses.push(effect.socket);
        break;
      case 'send':
        this.#checkLimits(effect.text);
        this.#toServer.push({ socket: effect.socket, text: effect.text });
        break;
      case 'resolve':
        if (effect.settlement.kind === 'subscribed') this.#begin(effect.settlement.subscription);
        break;
      case 'changed':
        this.#see(effect);
        break;
      default:
    }
  }

  #begin(entry: SubscriptionEntry): void {
    this.handles.push(entry);
    if (!this.seen.has(entry)) this.seen.set(entry, new Map(entry.view.instances.map((each) => [each.id, each])));
  }

  /** A change event says exactly what is different from what the user had. */
  #see({ subscription, difference }: Extract<ClientEffect, { kind: 'changed' }>): void {
    const seen = this.seen.get(subscription);
    if (seen === undefined) return;
    demand(difference.length > 0, 'a change event says something');
    for (const { before, after } of difference) {
      const id = (after ?? before)!.id;
      demand(!isSame(before, after), 'a redundant put is no change');
      demand(isSame(seen.get(id), before), 'a change starts from what was seen');
      if (after === undefined) seen.delete(id);
      else seen.set(id, after);
    }
  }

  #checkLimits(text: string): void {
    demand(utf8Bytes(text) <= fakeLimits.frameBytesMax, 'frameBytesMax is kept');
    const value = JSON.parse(text) as WireRequest | WireRequest[];
    const requests = Array.isArray(value) ? value : [value];
    demand(requests.length <= fakeLimits.batchEntriesMax, 'batchEntriesMax is kept');
    for (const { id } of requests) this.#unanswered.set(id, this.shell.nowMs);
    // A request that was given up after its timeout may be asked again.
    for (const [id, sentAtMs] of this.#unanswered) {
      if (this.shell.nowMs - sentAtMs >= this.shell.settings.requestTimeoutMs) this.#unanswered.delete(id);
    }
    demand(this.#unanswered.size <= fakeLimits.requestsInFlightMax, 'requestsInFlightMax is kept');
  }

  #noteAnswers(text: string): void {
    const value = JSON.parse(text) as { id?: number } | { id?: number }[];
    for (const { id } of Array.isArray(value) ? value : [value]) if (id !== undefined) this.#unanswered.delete(id);
  }

  /** At every moment, a view is exactly what the server had at the view's version: so only deltas that chain were applied. */
  checkViews(): void {
    for (const { key, view } of this.shell.state.books.subscriptions.values()) {
      if (view.version !== undefined) expectSameList(view.instances, this.server.listAt(key, view.version));
    }
    for (const [entry, seen] of this.seen) expectSameList([...seen.values()], entry.view.instances);
  }
}

function demand(holds: boolean, what: string): void {
  if (!holds) throw new Error(`it must hold that ${what}`);
}

function compareIds(a: Instance, b: Instance): number {
  return a.id < b.id ? -1 : 1;
}

function expectSameList(actual: readonly Instance[], expected: readonly Instance[] | undefined): void {
  expect([...actual].sort(compareIds)).toEqual([...(expected ?? [])].sort(compareIds));
}

/** What must hold once all is quiet, whatever happened before. */
function checkQuiet({ server, shell, lastRegister, handles }: World): void {
  const { books, link } = shell.state;
  expect(link.kind).toBe('ready');
  expect(books.tickets.size).toBe(0);
  expect(shell.outcomes.size).toBe(shell.ticketsGiven);
  for (const entry of books.subscriptions.values()) {
    expect(entry.phase).toBe('settled');
    expect(entry.view.version).toBe(server.versionOf(entry.key));
    expectSameList(
      entry.view.instances,
      [...server.contentOf(entry.key).values()].map(({ instance }) => instance),
    );
  }
  expect(new Set(handles.map(({ key }) => key))).toEqual(new Set(books.subscriptions.keys()));
  expect(new Set(server.sessions.get(link.socket)?.subscriptions.keys())).toEqual(new Set(books.subscriptions.keys()));
  for (const { key, id, instance } of books.registrations.values()) {
    const held = server.contentOf(key).get(id);
    // Another's later registration of the same id stands (SE1); it does not come back from the dead here.
    if (held?.owner === 0) continue;
    expect(held?.owner).toBe(link.socket);
    expect(held?.instance.weight).toBe(instance.weight);
  }
  for (const key of server.keys()) {
    for (const [id, { owner }] of server.contentOf(key)) {
      if (owner !== 0) expect(books.registrations.has(`${key}\n${id}`)).toBe(true);
    }
  }
  for (const [name, last] of lastRegister) {
    if (last === undefined) expect(books.registrations.has(name)).toBe(false);
    else if (shell.outcomes.get(last.ticket)?.kind === 'resolved') {
      expect(books.registrations.get(name)?.instance.weight).toBe(last.weight);
    }
  }
}

test('[PU1] [SE1] [SE2] after any history and then quiet, views are the server’s lists, what stands is registered, and every call is settled', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (history) => {
      const world = new World();
      for (const action of history) world.do(action);
      world.settle();
      checkQuiet(world);
      world.shell.call({ kind: 'query', service: services[0]! });
      world.shell.dispatch({ kind: 'close' });
      expect(world.shell.outcomes.size).toBe(world.shell.ticketsGiven);
    }),
    { numRuns: Number(process.env['MODEL_RUNS'] ?? 150) },
  );
}, 60_000);
