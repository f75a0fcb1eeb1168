import fc from 'fast-check';
import { expect, test } from 'vitest';

import type { ClientEffect } from '../../src/client/effects.ts';
import type { SubscriptionEntry, Ticket } from '../../src/client/entries.ts';
import type { FilteredView } from '../../src/client/entries.ts';
import { utf8Bytes } from '../../src/client/frames.ts';
import { servingOf } from '../../src/client/link.ts';
import { isSame } from '../../src/client/view.ts';
import { matchesFilter } from '../../src/protocol/instance-filter.ts';
import { serviceKey } from '../../src/protocol/service-key.ts';
import type { Instance, InstanceFilter, ServiceName } from '../../src/protocol/types.ts';
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
const filter = fc.constantFrom<InstanceFilter>(
  {},
  {},
  {},
  { enabledOnly: true },
  { zone: 'z1' },
  { zone: 'z1', enabledOnly: true },
);
/** 13 is refused by the fake server for good. */
const weight = fc.constantFrom(1, 2, 3, 13);

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('deliver' as const), frames: fc.integer({ min: 1, max: 4 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('register' as const),
      service,
      id: instance,
      weight,
      isStanding: fc.boolean(),
      isHurried: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('deregister' as const), service, id: instance, isPatient: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('subscribe' as const), service, mode, filter, isStanding: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('abort' as const), last: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('replace' as const) }) },
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
      what: fc.constantFrom(
        'holdsBatches' as const,
        'forgets' as const,
        'isFirstEdition' as const,
        'isWarming' as const,
      ),
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
    returnAfterMs: 700,
    confirmWithinMs: 900,
  });
  /** What users saw: every change event applied to what they had. */
  readonly seen: Map<FilteredView, Map<string, Instance>> = new Map();
  readonly handles: FilteredView[] = [];
  /** What views held when the client came to another registry. */
  readonly #known: Map<SubscriptionEntry, ReadonlySet<string>> = new Map();
  /** The last call for each registration, if it was a register. */
  readonly lastRegister: Map<
    string,
    { readonly ticket: Ticket; readonly weight: number; readonly isStanding: boolean } | undefined
  > = new Map();
  readonly aborted: Set<Ticket> = new Set();
  readonly #toServer: { readonly socket: number; readonly text: string }[] = [];
  readonly #dialled: number[] = [];
  readonly #lateCloses: number[] = [];
  /** Frames that were under way on connections that are gone. */
  readonly #lateFrames: { readonly socket: number; readonly text: string }[] = [];
  readonly #unanswered: Map<number, { readonly socket: number; readonly sentAtMs: number }> = new Map();

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
        const { service, id, weight, isStanding, isHurried } = action;
        const content = { id, host: 'h', port: 1, weight };
        const timeoutMs = isHurried ? 150 : undefined;
        const ticket = shell.call({ kind: 'register', service, instance: content, isStanding, timeoutMs });
        this.lastRegister.set(`${serviceKey(service)}\n${id}`, { ticket, weight, isStanding });
        break;
      }
      case 'deregister': {
        const { service, id, isPatient } = action;
        shell.call({ kind: 'deregister', service, id, isPatient });
        this.lastRegister.set(`${serviceKey(service)}\n${id}`, undefined);
        break;
      }
      case 'subscribe': {
        const { service, mode, filter, isStanding } = action;
        shell.call({ kind: 'subscribe', service, mode, filter, isStanding });
        break;
      }
      case 'abort': {
        const ticket = shell.ticketsGiven - action.last;
        if (!shell.state.tables.tickets.has(ticket)) break;
        this.aborted.add(ticket);
        shell.dispatch({ kind: 'abort', ticket });
        break;
      }
      case 'replace':
        for (const socket of server.connections.keys()) this.#cut(socket, true);
        server.replace();
        break;
      case 'release': {
        const [entry] = this.handles.splice(action.pick % Math.max(1, this.handles.length), 1);
        if (entry === undefined) break;
        shell.release(entry);
        if (entry.handles === 0) this.seen.delete(entry);
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
        if (action.what === 'isWarming' && server.mishaps.isWarming) server.warm();
        else server.mishaps[action.what] = !server.mishaps[action.what];
        break;
      case 'cut':
        for (const socket of server.connections.keys()) this.#cut(socket, action.isNoticed);
        break;
      case 'grace':
        server.endBroken();
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
      for (const [socket, { outgoing }] of this.server.connections) {
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
    server.warm();
    server.release();
    this.#run(60);
    server.endBroken();
    this.#run(20);
    // A lost push with nothing after it cannot be noticed by anybody: so every list changes once more.
    for (const key of server.keys()) {
      // Every filter lets one of them through.
      server.meddle(key, 'last', shell.nowMs);
      server.meddle(key, 'x', shell.nowMs);
    }
    this.#run(40);
  }

  #run(rounds: number): void {
    for (let round = 0; round < rounds; round++) {
      this.deliver(30);
      this.shell.advance(100);
    }
  }

  #lose(socket: number, manner: 'orderly' | 'abandon'): void {
    for (const text of this.server.connections.get(socket)?.outgoing ?? []) this.#lateFrames.push({ socket, text });
    if (manner === 'orderly') this.server.leave(socket);
    else this.server.cut(socket);
  }

  #cut(socket: number, isNoticed: boolean): void {
    this.#lose(socket, 'abandon');
    if (isNoticed) this.shell.dispatch({ kind: 'socketClosed', socket, cause: 'cut' });
    // Otherwise half-open: only silence tells, and perhaps a close event that comes when another socket is in use.
    else this.#lateCloses.push(socket);
  }

  #take(effect: ClientEffect): void {
    switch (effect.kind) {
      case 'openSocket':
        this.#dialled.push(effect.socket);
        break;
      case 'closeSocket':
        this.#dialled.splice(0, this.#dialled.length, ...this.#dialled.filter((socket) => socket !== effect.socket));
        this.#lose(effect.socket, effect.manner);
        this.#lateCloses.push(effect.socket);
        break;
      case 'send':
        this.#checkLimits(effect.socket, effect.text);
        this.#toServer.push({ socket: effect.socket, text: effect.text });
        break;
      case 'resolve':
        if (effect.settlement.kind === 'subscribed') this.#begin(effect.settlement.subscription);
        break;
      case 'changed':
        this.#see(effect);
        break;
      case 'notify':
        if (effect.notice.kind === 'registry') this.#noteKnown();
        break;
      default:
    }
  }

  /** The client has come to another registry. */
  #noteKnown(): void {
    for (const entry of this.shell.state.tables.subscriptions.values()) {
      this.#known.set(entry, new Set(entry.view.instances.map(({ id }) => id)));
    }
  }

  #begin(view: FilteredView): void {
    this.handles.push(view);
    if (!this.seen.has(view)) this.seen.set(view, new Map(view.instances.map((each) => [each.id, each])));
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

  #checkLimits(socket: number, text: string): void {
    demand(utf8Bytes(text) <= fakeLimits.frameBytesMax, 'frameBytesMax is kept');
    const value = JSON.parse(text) as WireRequest | WireRequest[];
    const requests = Array.isArray(value) ? value : [value];
    demand(requests.length <= fakeLimits.batchEntriesMax, 'batchEntriesMax is kept');
    for (const { id } of requests) this.#unanswered.set(id, { socket, sentAtMs: this.shell.nowMs });
    let inFlight = 0;
    for (const [id, request] of this.#unanswered) {
      // A request that was given up after its timeout may be asked again.
      if (this.shell.nowMs - request.sentAtMs >= this.shell.settings.requestTimeoutMs) this.#unanswered.delete(id);
      else inFlight += Number(request.socket === socket);
    }
    demand(inFlight <= fakeLimits.requestsInFlightMax, 'requestsInFlightMax is kept');
  }

  #noteAnswers(text: string): void {
    const value = JSON.parse(text) as { id?: number } | { id?: number }[];
    for (const { id } of Array.isArray(value) ? value : [value]) if (id !== undefined) this.#unanswered.delete(id);
  }

  /**
   * At every moment, what is confirmed of a view is exactly what the server had at the view's version: so only deltas that chain were
   * applied. And as long as known instances are kept, none of them is missing that the registry has not had itself.
   */
  checkViews(): void {
    for (const entry of this.shell.state.tables.subscriptions.values()) {
      const { key, view, viewFilter } = entry;
      if (view.version === undefined) continue;
      const confirmed = view.instances.filter(({ id }) => !view.isUnconfirmed(id));
      expectSameList(confirmed, this.server.listAt(key, view.version, viewFilter));
      if (entry.retention === undefined) this.#known.delete(entry);
      for (const id of this.#known.get(entry) ?? []) {
        const mayBeGone = view.get(id) !== undefined || this.server.hasEverHad(key, id);
        // With another filter the registry's list is another one.
        demand(mayBeGone || entry.filtered.size > 1, 'what is known is kept until the registry can know it');
      }
    }
    for (const [view, seen] of this.seen) {
      expectSameList([...seen.values()], view.instances);
      expectSameList(
        view.instances,
        view.entry.view.instances.filter((each) => matchesFilter(each, view.filter)),
      );
    }
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
function checkQuiet({ server, shell, lastRegister, handles, aborted }: World): void {
  const { tables, link } = shell.state;
  const socket = servingOf(link)?.socket ?? 0;
  expect(link.kind === 'ready' || link.kind === 'moving').toBe(true);
  expect(tables.tickets.size).toBe(0);
  expect(tables.ticketsByTimeout.size).toBe(0);
  expect(tables.reconciliation).toBeUndefined();
  expect(tables.previousConnection).toBeUndefined();
  expect(shell.outcomes.size + aborted.size).toBe(shell.ticketsGiven);
  for (const entry of tables.subscriptions.values()) {
    expect(entry.phase.kind).toBe('live');
    expect(entry.view.unconfirmedCount).toBe(0);
    for (const view of entry.filtered.values()) {
      expectSameList(view.instances, server.listAt(entry.key, server.versionOf(entry.key), view.filter));
      expect(view.isStale).toBe(false);
    }
  }
  expect(new Set(handles.map(({ entry }) => entry.key))).toEqual(new Set(tables.subscriptions.keys()));
  const subscribed = server.connections.get(socket)?.subscriptions;
  expect(new Set(subscribed?.keys())).toEqual(new Set(tables.subscriptions.keys()));
  for (const { key, id, wanted, accepted, isShown } of tables.registrations.values()) {
    expect(wanted).toBeDefined();
    const claim = server.claimOf(socket, key, id);
    // What no server ever accepted stands only in wish.
    if (accepted === undefined) expect(wanted?.weight).toBe(13);
    else expect(claim).toMatchObject({ instance: { weight: wanted?.weight } });
    if (claim?.isShown !== undefined) expect(isShown).toBe(claim.isShown);
  }
  for (const key of server.keys()) {
    for (const [id, claims] of server.contentOf(key)) {
      for (const { owner } of claims) if (owner !== 0) expect(tables.registrations.has(`${key}\n${id}`)).toBe(true);
    }
  }
  for (const [name, last] of lastRegister) {
    if (last === undefined) expect(tables.registrations.has(name)).toBe(false);
    else if (shell.outcomes.get(last.ticket)?.kind === 'resolved' && !last.isStanding) {
      expect(tables.registrations.get(name)?.wanted?.weight).toBe(last.weight);
    }
  }
}

/** `MODEL_RUNS` tries so many histories that nobody has tried; without it they are always the same. */
const { MODEL_RUNS: wantedRuns } = process.env;
const modelRuns = Number(wantedRuns ?? 150);
const seed = wantedRuns === undefined ? { seed: 1 } : {};

test(
  '[PU1] [PU5] [SE1] [SE2] [SE8] after any history and then quiet, views are the server’s lists, what stands is registered, and every call is settled',
  () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (history) => {
        const world = new World();
        for (const action of history) world.do(action);
        world.settle();
        checkQuiet(world);
        world.shell.call({ kind: 'query', service: services[0]! });
        world.shell.dispatch({ kind: 'close' });
        expect(world.shell.outcomes.size + world.aborted.size).toBe(world.shell.ticketsGiven);
      }),
      { numRuns: modelRuns, ...seed },
    );
  },
  60_000 + modelRuns * 500,
);
