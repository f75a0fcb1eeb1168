import { isDeepStrictEqual } from 'node:util';

import type { Failure } from '../../src/protocol/errors.ts';
import { RegistrationDigest } from '../../src/protocol/registration-digest.ts';
import { serviceKey } from '../../src/protocol/service-key.ts';
import type { SessionOpenResult } from '../../src/protocol/types.ts';
import type { LeaseAnswer, LeaseCall } from '../../src/sessions/leases.ts';
import type { GuardDescription } from '../../src/sessions/loss-guard.ts';
import type { SessionCore } from '../../src/sessions/session-core.ts';
import { noOrders } from '../../src/sessions/standing-orders.ts';
import { slotOf } from '../../src/slots/slot.ts';
import { encodeOverlay } from '../../src/store/service-overlay.ts';
import { InProcessRegistry, runPromises } from './in-process-registry.ts';
import { Ledger } from './ledger.ts';
import type { Change, Fate } from './ledger.ts';
import { describeMark, filters, isShown } from './marked-content.ts';
import { MemoryStore } from './memory-store.ts';
import { PersistentActor } from './persistent-actor.ts';
import { Random } from './random.ts';
import { SimulatedClient } from './simulated-client.ts';
import type { Answered } from './simulated-client.ts';
import type { SubscriberView } from './subscriber-view.ts';

// One name needs more than ASCII, for wherever a slot is computed.
const services = ['pay', 'ship', 'größe/世界'] as const;
/** So many that most have few instances, or none, and hardly a subscriber. */
const manyServices: readonly string[] = [...services, 'mail', 'tax', 'stock', 'rating', 'search', 'cart', 'auth'];
const ids = ['a', 'b', 'c', 'd'] as const;
const disconnectGraceMs = 200;
/** How long a session may be on its way to another host. */
const takeoverMaxMs = 5000;
/** Of contents that must never be seen. */
const lateMark = 9999;
/** On the world's clock, in milliseconds: once a history is over and everything comes to rest. */
const atRestMs = Number.MAX_SAFE_INTEGER;
/** A gap between ticks counts for at most this long on the host's clock. */
const tickGapMaxMs = 200;

export interface Faults {
  /** Of a hundred steps, how many disturb the registry rather than use it. */
  readonly percent: number;
  readonly kills: boolean;
  readonly moves: boolean;
  /** Whether mass losses are held back. All connections are cut now and then, come back together, or are let go. */
  readonly guards?: boolean;
  /** Clients take over the sessions that they had. */
  readonly resumes?: boolean;
  /** There is little room for instances, and for claims that do not show. */
  readonly bounds?: boolean;
  /** Few clients and many services: those that nobody needs are forgotten. */
  readonly sparse?: boolean;
  /** Partitions that have died are back at once: more of them are rebuilt, and die again soon. */
  readonly hasty?: boolean;
  /** Partitions work off in one turn what has come. */
  readonly longTurns?: boolean;
  /** Some instances are registered for good, and what stores them fails now and then. */
  readonly persistent?: boolean;
  /** Operators switch services off and on. */
  readonly switches?: boolean;
  /** Operators switch clients off and on, and freeze pushes: what subscribers have meanwhile is not looked at, but what they have in the end. */
  readonly orders?: boolean;
  /** There is a host with leases, which dies now and then, and callers that watch there. */
  readonly edges?: boolean;
}

/** What a history did, and what was compared. */
export interface Findings {
  views: number;
  pushes: number;
  resyncs: number;
  deaths: number;
  moves: number;
  /** Sessions that were taken over. */
  resumed: number;
  /** Mass losses of which nothing was removed. */
  heldBack: number;
  /** Registrations for which there was no room. */
  refused: number;
  /** Hosts with leases that died, and leases that were renewed after that. */
  edgeDeaths: number;
  renewed: number;
  /** Changes of what is persistent that were answered with success, and refused. */
  stored: number;
  unstored: number;
  /** Services that were switched off or on. */
  switched: number;
  checks: number;
}

/** Something is done, or something that waits is delivered. Its own number seeds it, so that other steps can be left out. */
interface Step {
  readonly kind: 'act' | 'deliver';
  readonly seed: number;
}

/** The same history runs the same way every time. */
export interface History {
  readonly seed: number;
  readonly steps: readonly Step[];
}

interface Player {
  readonly client: SimulatedClient;
  /** That of the session which it has taken over, if it has been told so. */
  fate: Fate;
  /** Of the same session. */
  secret: string;
  /** While it is taking a session over: that one's. */
  wanted: Fate | undefined;
  readonly changes: Map<object, Change>;
  /** Of requests under way: the highest version that anybody had been told of the service when it was asked for. */
  readonly toldBefore: Map<object, number>;
}

/** Somebody who registers by a lease. */
interface Holder {
  readonly fate: Fate;
  /** Undefined: it has not been told, and never will be. */
  lease: string | undefined;
  /** What it has asked to end: it may or may not have. */
  isEnding: boolean;
}

interface World {
  readonly registry: InProcessRegistry;
  readonly persistent: PersistentActor;
  readonly ledger: Ledger;
  readonly players: Player[];
  /** Of leases that may be there. */
  readonly holders: Holder[];
  /** Connections that only subscribe, on the host with leases. */
  readonly watchers: SimulatedClient[];
  /** What they register and subscribe. */
  readonly services: readonly string[];
  /** Views of clients that have gone: somebody may come back with one. */
  readonly abandoned: Map<string, SubscriberView>;
  /** The highest version of each service that an answer has told. */
  readonly toldVersions: Map<string, number>;
  readonly trace: string[];
  /** Whether clients take over the sessions that they had. */
  readonly mayComeBack: boolean;
  /** As the session host's clock goes. */
  clockMs: number;
  /** When the slot of a service was last known to be frozen, on the same clock. */
  readonly closedUntilMs: Map<string, number>;
  /** Services that operators have switched off, or are about to. */
  readonly off: Set<string>;
  /** Names of sessions that they have switched off, and services whose pushes they have frozen. */
  readonly offSessions: Set<string>;
  readonly frozen: Set<string>;
  readonly hasOrders: boolean;
  switched: number;
  nextMark: number;
  resumed: number;
  heldBack: number;
  edgeDeaths: number;
  renewed: number;
  /** Asked for by holders and not answered, since somebody must see that. */
  readonly failures: string[];
  /** From when on, after it may go, a broken session must be gone; for long if guards may hold it back. */
  readonly lingerMs: number;
  /** Until when nothing of a session that is connected may go: where room is narrow, what others registered later may be in its place at any time. */
  readonly wholeMs: number;
}

/** After each of so many acts up to six things are delivered. */
export function createHistory(seed: number, acts: number): History {
  const random = new Random(seed);
  const steps: Step[] = [];
  for (let i = 0; i < acts; i++) {
    steps.push({ kind: 'act', seed: random.below(2 ** 31) });
    for (let left = random.below(7); left > 0; left--) steps.push({ kind: 'deliver', seed: random.below(2 ** 31) });
  }
  return { seed, steps };
}

const smallSliceBytes = 1024;

/** Sessions break all the time. */
const unguarded = { lossSessionsPercent: 101, lossServicePercent: 101 };
const guarded = {
  lossWindowMs: 1000,
  lossSessionsMin: 2,
  lossSessionsPercent: 60,
  lossServiceInstancesMin: 2,
  lossServicePercent: 60,
  lossHoldMaxMs: 4000,
};
/** Room for three instances or four, and for some claims beside them. */
const narrow = { claimsPerInstanceMax: 2, instancesPerServiceMax: 3, serviceListBytesMax: 1024 };
/** Histories are short: with the usual backoff, which doubles, a partition is rebuilt a few times, and then gone for most of what is left. */
const hasty = { partitionRestartBackoffMs: 1, partitionRestartWindowMs: 1000 };
/** Of a hundred steps of a history with guards, how many concern all clients. */
const massPercent = 6;
/** Of a hundred steps of a history with leases, how many concern them. */
const leasePercent = 35;
const switchPercent = 15;
/** Of a hundred steps of a history with persistent instances, how many concern those. */
const persistentPercent = 25;
/** Longer than any history. */
const leaseTtlMs = 600_000;
/** Longer than any history, and over at its end. */
const unboundedMs = Number.MAX_SAFE_INTEGER / 2;

/** Runs one history, judges every view whenever it changes, and compares everything at its end; rejects with what was wrong. */
async function runHistory(history: History, faults: Faults, trace: string[] = []): Promise<Findings> {
  const { seed } = history;
  const settings = {
    partitions: 1 + (seed % 3),
    // In some histories nothing is merged, and every change leaves in the turn that it came in.
    coalesceWindowMinMs: seed % 5 === 0 ? 0 : 20,
    disconnectGraceMs,
    heartbeatTimeoutMs: 3000,
    // In some histories large answers wait for their turn nearly always.
    ...(seed % 3 === 0 ? { fanOutSliceBytes: smallSliceBytes } : {}),
    changeLogEntriesMax: 8,
    pushCharactersInFlightMax: 1024,
    restoreSliceRegistrations: 2,
    // In most histories what goes with its session takes several turns.
    turnStepsMax: 1 + (seed % 4),
    moveSlots: 2048,
    ...(faults.guards === true ? guarded : unguarded),
    ...(faults.bounds === true ? narrow : {}),
    ...(faults.hasty === true ? hasty : {}),
    ...(faults.longTurns === true ? { partitionTurnWorkMax: 1_000_000 } : {}),
  };
  const store = new MemoryStore();
  const edges = faults.edges === true ? 1 : 0;
  const registry = await InProcessRegistry.start(settings, countHosts(seed), { edges, store });
  const lingerMs = faults.guards === true ? unboundedMs : 1000;
  const closedUntilMs = new Map<string, number>();
  // Nothing is taken away while a slot is being moved or rebuilt; what should have gone by then goes when it is open again.
  const ledger = new Ledger((service, { goneByMs }) =>
    Math.max(goneByMs, (closedUntilMs.get(service) ?? 0) + lingerMs),
  );
  const world: World = {
    registry,
    persistent: new PersistentActor({ persistent: registry.persistent, store, ledger }),
    ledger,
    closedUntilMs,
    players: [],
    holders: [],
    watchers: [],
    services: faults.sparse === true ? manyServices : services,
    abandoned: new Map(),
    toldVersions: new Map(),
    trace,
    mayComeBack: faults.resumes === true,
    clockMs: 0,
    off: new Set(),
    offSessions: new Set(),
    frozen: new Set(),
    hasOrders: faults.orders === true,
    switched: 0,
    nextMark: 0,
    resumed: 0,
    heldBack: 0,
    edgeDeaths: 0,
    renewed: 0,
    failures: [],
    lingerMs,
    wholeMs: faults.bounds === true ? 0 : Number.POSITIVE_INFINITY,
  };
  for (const { kind, seed } of history.steps) {
    const random = new Random(seed);
    if (kind === 'deliver') registry.step(random);
    else if (random.below(100) < faults.percent) disturb(world, faults, random);
    else if (faults.persistent === true && random.below(100) < persistentPercent) actForGood(world, random);
    else if (faults.switches === true && random.below(100) < switchPercent) actAsOperator(world, random);
    else if (faults.orders === true && random.below(100) < switchPercent) orderSomething(world, random);
    else if (faults.edges === true && random.below(100) < leasePercent) actByLease(world, random);
    else if (faults.guards === true && random.below(100) < massPercent) actTogether(world, random);
    else act(world, random);
    if (faults.percent > 0 || faults.persistent === true) await runPromises();
    const [failure] = world.failures;
    if (failure !== undefined) throw new Error(failure);
  }
  for (const client of [...world.players.map((player) => player.client), ...world.watchers]) {
    if (client.closed === undefined) client.resume();
  }
  trace.push('all read again, and everything comes to rest');
  world.persistent.allow();
  if (world.frozen.size > 0) {
    world.frozen.clear();
    giveOrders(world);
  }
  // From here on only the judgement at the end counts: time moves on behind the world's back.
  world.clockMs = atRestMs;
  await comeToRest(world, new Random(seed));
  const [failure] = world.failures;
  if (failure !== undefined) throw new Error(failure);
  return judgeEnd(world, await registry.describeGuard(new Random(seed)));
}

/** All broken sessions go in the end: in some histories guards are told to let go, in others their time runs out. */
async function comeToRest({ registry }: World, random: Random): Promise<void> {
  await registry.settle(random);
  const isReleased = random.below(2) === 0;
  for (let waitedMs = 0; waitedMs < guarded.lossHoldMaxMs && isHolding(registry); waitedMs += 500) {
    if (isReleased) await registry.releaseGuard(random);
    await registry.settle(random);
  }
  // What was let go last is to be told, too.
  await registry.settle(random);
}

function isHolding({ guard, hosts }: InProcessRegistry): boolean {
  const { registry, service } = guard.holding;
  return registry + service > 0 || hosts.some(({ core }) => core.sessions.heldCount > 0);
}

/** Session hosts in the history of a seed: every number of partitions meets one to three of them. */
function countHosts(seed: number): number {
  return 1 + (Math.floor(seed / 3) % 3);
}

/** Runs the histories of many seeds; on a failure shortens the history and says which it was. */
export async function runHistories(seeds: readonly number[], steps: number, faults: Faults): Promise<Findings> {
  const total: Findings = {
    views: 0,
    pushes: 0,
    resyncs: 0,
    deaths: 0,
    moves: 0,
    resumed: 0,
    heldBack: 0,
    refused: 0,
    edgeDeaths: 0,
    renewed: 0,
    stored: 0,
    unstored: 0,
    switched: 0,
    checks: 0,
  };
  for (const seed of seeds) {
    const history = createHistory(seed, steps);
    try {
      const found = await runHistory(history, faults);
      for (const name of Object.keys(total) as (keyof Findings)[]) total[name] += found[name];
    } catch (error) {
      throw new Error(await formatFailure(history, faults, error), { cause: error });
    }
  }
  return total;
}

async function formatFailure(history: History, faults: Faults, error: unknown): Promise<string> {
  const short = await shortenHistory(history, faults);
  const trace: string[] = [];
  const failure = await findFailure(short, faults, trace);
  return [
    `seed ${history.seed}: ${error instanceof Error ? error.message : String(error)}`,
    `the shortest history found has ${short.steps.length} of ${history.steps.length} steps, and ends so: ${failure ?? 'well'}`,
    ...trace.map((line) => `  ${line}`),
  ].join('\n');
}

/** The failure of a history, or undefined if there is none. */
export async function findFailure(history: History, faults: Faults, trace: string[] = []): Promise<string | undefined> {
  try {
    await runHistory(history, faults, trace);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Leaves out steps as long as the history still fails, in smaller and smaller pieces. */
export async function shortenHistory(history: History, faults: Faults, attemptsMax = 1500): Promise<History> {
  let { steps } = history;
  let attempts = 0;
  for (let size = Math.ceil(steps.length / 2); size >= 1 && attempts < attemptsMax;) {
    const { length } = steps;
    // From the end, since what comes after the failure is most of it.
    for (let at = length - size; at > -size && attempts < attemptsMax; at -= size) {
      const fewer = [...steps.slice(0, Math.max(0, at)), ...steps.slice(at + size)];
      attempts += 1;
      if ((await findFailure({ seed: history.seed, steps: fewer }, faults)) !== undefined) steps = fewer;
    }
    if (size > 1 || steps.length === length) size = Math.floor(size / 2);
  }
  return { seed: history.seed, steps };
}

function act(world: World, random: Random): void {
  const { players, abandoned, trace } = world;
  const live = players.filter(({ client, wanted }) => client.closed === undefined && wanted === undefined);
  const roll = random.below(100);
  const service = random.pick(world.services);
  const id = random.pick(ids);
  if (live.length < 2 || roll < 5) {
    join(world);
    return;
  }
  const player = random.pick(live);
  const { client, fate } = player;
  if (roll < 40) {
    register(world, player, { service, id, isAgain: random.below(3) === 0 });
  } else if (roll < 52) {
    trace.push(`${fate.name} deregisters ${service} ${id}`);
    const change = world.ledger.ask('deregister', fate, { service, id }, world.clockMs);
    track(world, player, change, () => client.request('instance.deregister', { service, id }));
  } else if (roll < 66) {
    const held = random.below(2) === 0 ? abandoned.get(service) : undefined;
    const mode = random.pick(['delta', 'delta', 'snapshot'] as const);
    const filter = held?.filter ?? random.pick(filters);
    const what = Object.keys(filter).length === 0 ? mode : `${mode}, ${JSON.stringify(filter)}`;
    trace.push(`${fate.name} subscribes ${service} (${what}${held === undefined ? '' : `, from ${held.version}`})`);
    client.subscribe(service, mode, held, filter);
  } else if (roll < 70) {
    trace.push(`${fate.name} unsubscribes ${service}`);
    client.unsubscribe(service);
  } else if (roll < 76) {
    for (const [key, view] of client.views) abandoned.set(nameService(key), view);
    const isClean = random.below(2) === 0;
    trace.push(`${fate.name} ${isClean ? 'leaves' : 'breaks'}`);
    client.leave(isClean);
  } else if (roll < 80) {
    trace.push(`${fate.name} stops reading`);
    client.isReading = false;
  } else if (roll < 86) {
    trace.push(`${fate.name} reads again`);
    client.resume();
  } else if (roll < 92) {
    advance(world, random.below(60));
  } else if (roll < 97) {
    if (world.mayComeBack) comeBack(world, random);
  } else if (roll < 98) {
    sendLate(world, random, { service, id });
  } else if (roll < 99) {
    trace.push('the wall clock is set back by a minute');
    world.registry.setWallBack(60_000);
  } else {
    trace.push('the process is suspended for an hour');
    advance(world, 3_600_000);
  }
}

function join(world: World): void {
  const { hosts } = world.registry;
  const player = connect(world, hosts[world.players.length % hosts.length]!.core);
  world.trace.push(`${player.fate.name} comes`);
}

/** `old`: as whom the client comes back, if it does. */
function connect(world: World, core: SessionCore, old?: Player): Player {
  const client = new SimulatedClient(world.registry, 6, core);
  client.isPrompt = false;
  const fate: Fate = {
    name: `client ${world.players.length + 1}`,
    mayLeaveFromMs: Number.POSITIVE_INFINITY,
    isWholeUntilMs: world.wholeMs,
    goneByMs: Number.POSITIVE_INFINITY,
  };
  const { secret } = client.session;
  const player: Player = { client, fate, secret, wanted: old?.fate, changes: new Map(), toldBefore: new Map() };
  world.players.push(player);
  client.listener = {
    onAnswer: (answered) => {
      if (answered.method === 'session.open') handleOpened(world, player, answered);
      else handleAnswer(world, player, answered);
    },
    onChange: (key, view) => {
      judgeView(world, key, view, world.clockMs);
    },
    onGone: (isClean) => {
      // While everything comes to rest, nobody knows how much time has passed.
      const isAtRest = world.clockMs === atRestMs;
      player.fate.mayLeaveFromMs = isClean || isAtRest ? world.clockMs : world.clockMs + disconnectGraceMs;
      player.fate.isWholeUntilMs = Math.min(world.wholeMs, player.fate.mayLeaveFromMs);
      player.fate.goneByMs = player.fate.mayLeaveFromMs + (isClean ? 1000 : world.lingerMs);
      const { wanted } = player;
      player.wanted = undefined;
      if (wanted !== undefined) endWish(world, wanted);
    },
  };
  // It may live longer than its connection.
  if (old !== undefined) old.fate.goneByMs = Number.POSITIVE_INFINITY;
  const resume = old === undefined ? {} : { resume: old.secret };
  client.request('session.open', { client: 'simulated', capabilities: ['claims'], ...resume });
  return player;
}

/** Somebody's client comes back on some host, whether its connection is gone, or broken, or nobody has noticed, or not at all. */
function comeBack(world: World, random: Random): void {
  takeBack(world, random.pick(world.players.filter(({ wanted }) => wanted === undefined)), random);
}

function takeBack(world: World, old: Player, random: Random): void {
  const { number, core } = random.pick(world.registry.hosts);
  world.trace.push(`client ${world.players.length + 1} comes as ${old.fate.name}, on host ${number}`);
  connect(world, core, old);
}

function handleOpened(world: World, player: Player, { result, error }: Answered): void {
  const { wanted } = player;
  if (wanted === undefined) return;
  if (error !== undefined) {
    // It could try again; this one gives up, and leaves the session to whoever else comes.
    world.trace.push(`${player.fate.name} is refused to be ${wanted.name}: ${error.data.code}`);
    player.client.leave(false);
    return;
  }
  player.wanted = undefined;
  const { resumed } = result as SessionOpenResult;
  if (resumed === undefined) {
    endWish(world, wanted);
    return;
  }
  world.trace.push(`${player.fate.name} is ${wanted.name} now`);
  const { registrations } = player.client.session;
  // Where room is narrow, something may have been given up since.
  if (world.wholeMs > 0) {
    expectEqual('what is said of a session that is taken over', resumed, {
      registrations: registrations.size,
      digest: digestOf(registrations.values()),
    });
  }
  const isRegistered = (service: string, id: string): boolean => registrations.has(serviceKey({ service }), id);
  const lost = world.ledger.resume(wanted, isRegistered, world.clockMs);
  if (lost !== undefined) throw new Error(lost);
  player.fate = wanted;
  player.secret = player.client.session.secret;
  wanted.mayLeaveFromMs = Number.POSITIVE_INFINITY;
  wanted.isWholeUntilMs = world.wholeMs;
  wanted.goneByMs = Number.POSITIVE_INFINITY;
  world.resumed += 1;
}

function digestOf(registrations: Iterable<{ readonly key: string; readonly fragment: string }>): string {
  const digest = new RegistrationDigest();
  for (const { key, fragment } of registrations) digest.add(key, fragment);
  return digest.toString();
}

/** Somebody could not take a session over. If nobody else has it or wants it, it ends in time. */
function endWish({ players, clockMs, lingerMs }: World, wanted: Fate): void {
  const isWanted = players.some(
    ({ client, fate, wanted: other }) => other === wanted || (client.closed === undefined && fate === wanted),
  );
  if (!isWanted) wanted.goneByMs = clockMs + takeoverMaxMs + disconnectGraceMs + lingerMs;
}

/** What concerns all clients at once. */
function actTogether(world: World, random: Random): void {
  const { players, registry, trace } = world;
  const roll = random.below(10);
  if (roll < 5) cut(world, random);
  else if (roll < 8) {
    const known = new Set(players.filter(({ client }) => client.closed === undefined).map(({ fate }) => fate));
    const wanted = new Set(players.map(({ wanted }) => wanted));
    for (const player of players.slice(-returnersMax)) {
      if (!known.has(player.fate) && !wanted.has(player.fate)) takeBack(world, player, random);
      known.add(player.fate);
    }
  } else {
    trace.push('an operator lets go what is held back');
    void registry.guard.release();
  }
}

/** Come back together, at most. */
const returnersMax = 8;

/**
 * All connections break at once, and for longer than the grace nobody comes back. If those are a mass loss beyond doubt, nothing of what they registered may
 * go meanwhile, as somebody sees who came right after.
 */
function cut(world: World, random: Random): void {
  const { players, registry, trace } = world;
  while (registry.step(random));
  const wanted = new Set(players.flatMap(({ wanted }) => wanted ?? []));
  const lost = players.filter(({ client, wanted }) => client.closed === undefined && wanted === undefined);
  // Somebody else may go on as one of those, and what another's claim hides is not missing.
  const certain = lost.filter(
    ({ client, fate }) =>
      !wanted.has(fate) && [...client.session.registrations.values()].some(({ isHidden }) => !isHidden),
  );
  const total = registry.hosts
    .flatMap(({ core }) => [...core.sessions.all()])
    .filter(({ registrations, isPersistent }) => registrations.size > 0 && !isPersistent).length;
  const { lossSessionsMin, lossSessionsPercent } = guarded;
  const isMassLoss =
    certain.length >= lossSessionsMin &&
    certain.length * 100 >= lossSessionsPercent * (total + wanted.size) &&
    registry.hosts.every(({ router }) => router.gate.isThawed);
  trace.push(`all ${lost.length} connections are cut${isMassLoss ? ', which is a mass loss' : ''}`);
  for (const { client } of lost) client.leave(false);
  if (isMassLoss) for (const { fate } of certain) fate.mayLeaveFromMs = Number.POSITIVE_INFINITY;
  const { client: watcher } = connect(world, random.pick(registry.hosts).core);
  for (const service of world.services) watcher.subscribe(service);
  for (let waitedMs = 0; waitedMs < 2 * disconnectGraceMs; waitedMs += 50) {
    while (registry.step(random));
    advance(world, 50);
  }
  while (registry.step(random));
  for (const [key, view] of watcher.views) judgeView(world, key, view, world.clockMs);
  if (!isMassLoss) return;
  world.heldBack += 1;
  for (const { fate } of certain) fate.mayLeaveFromMs = world.clockMs;
}

/** Something comes late on a connection that another has taken the place of: it must not count, so the ledger does not hear of it. */
function sendLate(world: World, random: Random, { service, id }: { service: string; id: string }): void {
  const fenced = world.players.filter(({ client }) => client.closed === 'resumed_elsewhere');
  if (fenced.length === 0) return;
  const { client, fate } = random.pick(fenced);
  world.trace.push(`late, on a connection that ${fate.name} had: ${service} ${id}`);
  if (random.below(2) === 0) client.request('instance.deregister', { service, id });
  else client.request('instance.register', { service, instance: { id, host: 'late', port: 1, weight: lateMark } });
}

function register(
  world: World,
  player: Player,
  { service, id, isAgain }: { service: string; id: string; isAgain: boolean },
): void {
  const { client, fate } = player;
  const mark = (isAgain ? world.ledger.lastMark(service, id) : undefined) ?? (world.nextMark += 1);
  world.trace.push(`${fate.name} registers ${service} ${id} = ${mark}`);
  const change = world.ledger.ask('register', fate, { service, id, mark }, world.clockMs);
  const { color, ...content } = describeMark(mark);
  // Where slices are small lists are larger than one.
  const { fanOutSliceBytes, serviceListBytesMax } = world.registry.config;
  const isNarrow = serviceListBytesMax === narrow.serviceListBytesMax;
  const fillingLength = isNarrow ? (mark % 4) * 100 : fanOutSliceBytes === smallSliceBytes ? 600 : 0;
  const filling = fillingLength > 0 ? { filling: 'x'.repeat(fillingLength) } : {};
  const instance = { id, host: 'h', port: 1, weight: mark, ...content, metadata: { color, ...filling } };
  track(world, player, change, () => client.request('instance.register', { service, instance }));
}

/** Answers may come before the request returns. */
function track(world: World, player: Player, change: Change, request: () => Answered): void {
  const toldBefore = world.toldVersions.get(change.service) ?? 0;
  const answered = request();
  player.changes.set(answered, change);
  player.toldBefore.set(answered, toldBefore);
  if (answered.result !== undefined || answered.error !== undefined) handleAnswer(world, player, answered);
}

function handleAnswer(world: World, player: Player, answered: Answered): void {
  const { service } = answered.params as { service: string };
  const key = serviceKey({ service });
  if (answered.method === 'service.subscribe' && answered.result !== undefined) {
    const view = player.client.views.get(key);
    if (view !== undefined) judgeView(world, key, view, world.clockMs);
  }
  const change = player.changes.get(answered);
  if (change === undefined) return;
  player.changes.delete(answered);
  if (answered.result === undefined) {
    // What was under way at two deaths may or may not have been carried out.
    if (answered.error?.data.code !== 'internal') world.ledger.refuse(change);
    return;
  }
  const { version } = answered.result as { version: number };
  const toldBefore = player.toldBefore.get(answered) ?? 0;
  player.toldBefore.delete(answered);
  acknowledge(world, change, version, toldBefore);
}

/** A change has been answered. `toldBefore`: the highest version that anybody had been told of the service when it was asked for. */
function acknowledge(world: World, change: Change, version: number, toldBefore: number): void {
  const { service } = change;
  if (version < toldBefore) throw new Error(`the version of ${service} went back from ${toldBefore} to ${version}`);
  world.toldVersions.set(service, Math.max(version, world.toldVersions.get(service) ?? 0));
  world.ledger.acknowledge(change, version);
  const key = serviceKey({ service });
  for (const client of [...world.players.map((player) => player.client), ...world.watchers]) {
    const view = client.views.get(key);
    if (view !== undefined && client.closed === undefined) judgeView(world, key, view, world.clockMs);
  }
}

function advance(world: World, ms: number): void {
  const { registry, services, closedUntilMs, trace } = world;
  trace.push(`${ms} ms pass`);
  world.clockMs += Math.min(ms, tickGapMaxMs);
  for (const service of services) {
    const isClosed = registry.liveHosts.some(({ router }) => router.isFrozen(serviceKey({ service })));
    if (isClosed) closedUntilMs.set(service, world.clockMs);
  }
  registry.advance(ms);
}

/** Something that a control plane does: what it registers stays until it says otherwise. */
function actForGood(world: World, random: Random): void {
  const { persistent, trace, services, failures, toldVersions } = world;
  const target = { service: random.pick(services), id: random.pick(ids) };
  const toldBefore = toldVersions.get(target.service) ?? 0;
  const asked =
    random.below(12) === 0
      ? persistent.fail(random)
      : persistent.act(target, random, {
          nextMark: () => (world.nextMark += 1),
          nowMs: world.clockMs,
          onDone: (change, version) => {
            try {
              acknowledge(world, change, version, toldBefore);
            } catch (error) {
              failures.push(error instanceof Error ? error.message : String(error));
            }
          },
          onWrong: (wrong) => failures.push(wrong),
        });
  trace.push(asked);
}

/** A switch is stored at once here: what is tried is how it takes effect. */
function actAsOperator(world: World, random: Random): void {
  const { off, registry, services, trace } = world;
  const service = random.pick(services);
  const isOff = !off.has(service);
  trace.push(`an operator switches ${service} ${isOff ? 'off' : 'on'}`);
  if (isOff) off.add(service);
  else off.delete(service);
  void registry.layOver(serviceKey({ service }), encodeOverlay({ isClosed: isOff, overrides: new Map() })).then(() => {
    world.switched += 1;
  });
}

function orderSomething(world: World, random: Random): void {
  const { players, services, offSessions, frozen, trace } = world;
  const live = players.filter(({ client, wanted }) => client.closed === undefined && wanted === undefined);
  if (live.length === 0 || random.below(3) === 0) {
    const service = random.pick(services);
    const isFrozen = toggle(frozen, service);
    trace.push(`an operator ${isFrozen ? 'freezes' : 'thaws'} the pushes of ${service}`);
  } else {
    const { client, fate } = random.pick(live);
    const isOff = toggle(offSessions, client.session.name);
    trace.push(`an operator switches ${fate.name} ${isOff ? 'off' : 'on'}`);
  }
  giveOrders(world);
}

function toggle(names: Set<string>, name: string): boolean {
  if (names.delete(name)) return false;
  names.add(name);
  return true;
}

function giveOrders(world: World): void {
  const { registry, offSessions, frozen } = world;
  const off = [...offSessions].map((session) => ({ session }));
  const orders = { ...noOrders, off, frozen: [...frozen].map((service) => serviceKey({ service })) };
  void registry.setOrders(orders).then(() => {
    world.switched += 1;
  });
}

/** Something that a caller over HTTP does, or one who watches. */
function actByLease(world: World, random: Random): void {
  const { holders, trace, registry } = world;
  const edge = registry.edges[0]!;
  // The door is closed.
  if (!edge.isWhole) return;
  const roll = random.below(100);
  const target = { service: random.pick(world.services), id: random.pick(ids) };
  const known = holders.filter(({ lease }) => lease !== undefined);
  if (roll < 15) {
    trace.push(`somebody watches ${target.service}`);
    watch(world, target.service, random.pick(['delta', 'snapshot'] as const));
    return;
  }
  if (known.length === 0 || roll < 35) {
    registerByLease(world, newHolder(world), target);
    return;
  }
  const holder = random.pick(known);
  if (roll < 65) registerByLease(world, holder, target);
  else if (roll < 80) deregisterByLease(world, holder, target);
  else if (roll < 92) renew(world, holder);
  else endLease(world, holder);
}

function newHolder({ holders, wholeMs }: World): Holder {
  const fate: Fate = {
    name: `lease ${holders.length + 1}`,
    mayLeaveFromMs: Number.POSITIVE_INFINITY,
    isWholeUntilMs: wholeMs,
    goneByMs: Number.POSITIVE_INFINITY,
  };
  const holder: Holder = { fate, lease: undefined, isEnding: false };
  holders.push(holder);
  return holder;
}

function registerByLease(world: World, holder: Holder, { service, id }: { service: string; id: string }): void {
  const { ledger, trace, toldVersions } = world;
  const { fate, lease } = holder;
  const mark = (world.nextMark += 1);
  trace.push(`${fate.name} registers ${service} ${id} = ${mark}`);
  const change = ledger.ask('register', fate, { service, id, mark }, world.clockMs);
  const toldBefore = toldVersions.get(service) ?? 0;
  const { color, ...content } = describeMark(mark);
  const instance = { id, host: 'h', port: 1, weight: mark, ...content, metadata: { color } };
  const body = { service, instance, ttlMs: leaseTtlMs, ...(lease === undefined ? {} : { lease }) };
  carryOut(world, { kind: 'register', body, address: '10.0.0.2' }, (answer) => {
    if ('code' in answer) {
      if (isWithout(world, answer, holder)) ledger.refuse(change);
      return;
    }
    if (answer.kind !== 'registered') throw new Error(`not an answer to a registration: ${answer.kind}`);
    holder.lease = answer.lease.lease;
    acknowledge(world, change, answer.result.version, toldBefore);
  });
}

function deregisterByLease(world: World, holder: Holder, { service, id }: { service: string; id: string }): void {
  const { ledger, trace, toldVersions } = world;
  const { fate, lease = '' } = holder;
  trace.push(`${fate.name} deregisters ${service} ${id}`);
  const change = ledger.ask('deregister', fate, { service, id }, world.clockMs);
  const toldBefore = toldVersions.get(service) ?? 0;
  carryOut(world, { kind: 'deregister', query: { service, id, lease } }, (answer) => {
    if (!('code' in answer)) {
      if (answer.kind === 'deregistered') acknowledge(world, change, answer.result.version, toldBefore);
    } else if (isWithout(world, answer, holder)) ledger.refuse(change);
  });
}

/**
 * Whether nothing was done: what was under way at two deaths may have been, and what was when its lease ended, and then have gone with that. A lease also ends where room is
 * narrow and others have taken its last.
 */
function isWithout({ wholeMs }: World, { code }: Failure, { isEnding }: Holder): boolean {
  return code !== 'internal' && !((isEnding || wholeMs === 0) && code === 'not_found');
}

/** RE4: as long as it holds something, a lease is there, whatever has happened to its thread. */
function renew(world: World, holder: Holder): void {
  const { ledger, trace, wholeMs } = world;
  const { fate, lease = '', isEnding } = holder;
  trace.push(`${fate.name} is renewed`);
  const isHeld = (): boolean =>
    wholeMs > 0 &&
    !holder.isEnding &&
    ledger.possessionsOf(fate).some(({ isCertain, isDoubtful }) => isCertain && !isDoubtful);
  const wasHeld = !isEnding && isHeld();
  carryOut(world, { kind: 'renew', lease }, (answer) => {
    if (!('code' in answer)) world.renewed += world.edgeDeaths > 0 ? 1 : 0;
    else if (wasHeld && isHeld())
      world.failures.push(`${fate.name} holds something, and its renewal got ${answer.code}`);
  });
}

function endLease(world: World, holder: Holder): void {
  const { trace } = world;
  const { fate, lease = '' } = holder;
  trace.push(`${fate.name} is ended`);
  holder.isEnding = true;
  fate.mayLeaveFromMs = world.clockMs;
  fate.isWholeUntilMs = Math.min(world.wholeMs, world.clockMs);
  carryOut(world, { kind: 'end', lease }, (answer) => {
    if ('code' in answer) return;
    fate.goneByMs = world.clockMs + 1000;
  });
}

/** The callback is not called if the host dies first. */
function carryOut({ registry, failures }: World, call: LeaseCall, settle: (answer: LeaseAnswer) => void): void {
  const edge = registry.edges[0]!;
  void edge.host.carryOutLease(call).then((answer) => {
    // What had not left when the thread died is never heard.
    if (!edge.isAlive) return;
    try {
      settle(answer);
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  });
}

function watch(world: World, service: string, mode: 'delta' | 'snapshot'): void {
  const client = new SimulatedClient(world.registry, 6, world.registry.edges[0]!.host.core);
  client.isPrompt = false;
  world.watchers.push(client);
  client.listener = {
    onAnswer: ({ params }) => {
      const key = serviceKey(params as { service: string });
      const view = client.views.get(key);
      if (view !== undefined) judgeView(world, key, view, world.clockMs);
    },
    onChange: (key, view) => {
      judgeView(world, key, view, world.clockMs);
    },
    onGone: () => undefined,
  };
  client.subscribe(service, mode);
}

/** The thread of the host with leases dies: who watched there is cut off, and what was under way there is never answered. */
function killEdge(world: World): void {
  const { registry, watchers, trace } = world;
  const edge = registry.edges[0]!;
  // If both die before either has told the other what it held, that is lost.
  if (!edge.isWhole || registry.supervisor.states().some((state) => state !== 'ready')) return;
  trace.push('the host with leases dies');
  world.edgeDeaths += 1;
  for (const client of watchers.splice(0)) client.closed = 'client';
  edge.kill('killed');
}

function disturb(world: World, { kills, moves, edges }: Faults, random: Random): void {
  const { registry, trace } = world;
  if (edges === true && random.below(2) === 0) {
    killEdge(world);
    return;
  }
  const roll = random.below(10);
  if (kills && roll < 5) {
    if (registry.edges.some(({ isWhole }) => !isWhole)) return;
    const partition = random.below(registry.partitions.length);
    trace.push(`partition ${partition} dies`);
    registry.partitions[partition]?.die(random);
  } else if (moves && !registry.migrator.isBusy) {
    const partitions = 1 + random.below(4);
    trace.push(roll < 8 ? `resize to ${partitions}` : 'rebalance');
    const change = roll < 8 ? registry.migrator.resize(partitions) : registry.migrator.rebalance();
    change.catch((error: unknown) => {
      registry.fatal = error instanceof Error ? error : new Error(String(error));
    });
  } else advance(world, random.below(60));
}

/** Marks by id, of what a view holds. */
function readMarks(view: SubscriberView): Map<string, number> {
  return new Map([...view.instances].map(([id, { weight }]) => [id, weight]));
}

/** As clients name it. */
function nameService(key: string): string {
  return key.slice(key.indexOf('DEFAULT/') + 8);
}

function judgeView({ ledger, hasOrders }: World, key: string, view: SubscriberView, nowMs: number): void {
  if (hasOrders) return;
  // An empty list; the view has looked at that.
  if (view.isClosed) return;
  const service = nameService(key);
  const wrong = ledger.judge(service, view.version, readMarks(view), nowMs, (mark) => isShown(view.filter, mark));
  if (wrong !== undefined) throw new Error(wrong);
}

/** What the sessions that are there hold, by service key: id → mark. Of several that hold an instance the last to register shows (SE7). */
function readLogs({ registry, offSessions }: World): Map<string, Map<string, number>> {
  const logs = new Map<string, Map<string, number>>();
  const held = registry.liveHosts
    .flatMap(({ core }) => [...core.sessions.all()])
    .flatMap(({ name, registrations }) => Array.from(registrations.values(), (held) => ({ ...held, name })));
  for (const { key, id, fragment, name } of held.sort((a, b) => a.stamp - b.stamp)) {
    const log = logs.get(key) ?? new Map<string, number>();
    logs.set(key, log.set(id, (JSON.parse(fragment) as { weight: number }).weight));
    if (offSessions.has(name)) log.delete(id);
  }
  return logs;
}

/** All is quiet: everything that knows of registrations and subscriptions must say the same. */
function judgeEnd(world: World, { isHolding, missingSessions, sessions, services }: GuardDescription): Findings {
  const { registry, players, ledger, watchers } = world;
  checkAgreement(world);
  const holders = players.filter(({ client }) => client.closed === undefined && client.session.registrations.size > 0);
  expectEqual(
    'what the guard knows of sessions, and what it holds back',
    { missingSessions, sessions, isHolding, services },
    { missingSessions: 0, sessions: holders.length, isHolding: false, services: [] },
  );
  world.persistent.judgeEnd();
  const logged = readLogs(world);
  let views = 0;
  let pushes = 0;
  for (const client of [...players.map((player) => player.client), ...watchers]) {
    if (client.closed !== undefined) continue;
    for (const { method, result, error } of client.requests.values()) {
      if (result === undefined && error === undefined) throw new Error(`${method} was never answered`);
    }
    for (const [key, view] of client.views) {
      expectEqual(`whether the view of ${key} is closed`, view.isClosed, world.off.has(nameService(key)));
      if (view.isClosed) continue;
      const held = readMarks(view);
      expectEqual(
        `the view of ${key} and the logs of sessions`,
        sortMarks(held),
        sortMarks(logged.get(key) ?? new Map()).filter((text) => isShown(view.filter, Number(text.split(' ')[1]))),
      );
      judgeView(world, key, view, world.clockMs);
      const ghost = ledger.findGhost(nameService(key), held, Number.MAX_SAFE_INTEGER);
      if (ghost !== undefined) throw new Error(ghost);
      views += 1;
      pushes += view.pushes;
    }
  }
  const { push_resynced: resyncs = 0, partition_died: deaths = 0 } = registry.counters.snapshot();
  const { refused_limit_exceeded: refused = 0 } = registry.counters.snapshot();
  return {
    views,
    pushes,
    resyncs,
    deaths,
    moves: registry.router.table.epoch,
    resumed: world.resumed,
    heldBack: world.heldBack,
    refused,
    edgeDeaths: world.edgeDeaths,
    renewed: world.renewed,
    stored: world.persistent.stored,
    unstored: world.persistent.unstored,
    switched: world.switched,
    checks: ledger.checks,
  };
}

/** Session logs, partitions and table agree: what sessions hold is what owners hold, and where the table says; so do subscriptions. */
function checkAgreement({ registry, players, watchers }: World): void {
  const { router, supervisor, liveHosts: hosts } = registry;
  if (registry.fatal !== undefined) throw registry.fatal;
  const partitions = registry.partitions.slice(0, router.table.partitions);
  expectEqual(
    'states',
    supervisor.states(),
    partitions.map(() => 'ready'),
  );
  for (const { router } of hosts) {
    expectEqual(
      'slots that are frozen, requests that wait',
      [!router.gate.isThawed, router.gate.waitingCount],
      [false, 0],
    );
  }
  const live = players.map(({ client }) => client).filter((client) => client.closed === undefined);
  const leases = registry.edges.flatMap(({ host: unit }) => [...unit.core.sessions.all()]);
  const persistent = [...hosts[0]!.core.sessions.all()].filter(({ isPersistent }) => isPersistent);
  const sessions = [...live.map(({ session }) => session), ...leases, ...persistent];
  const logged = sessions.flatMap(({ number, registrations }) =>
    [...registrations.values()].map(
      ({ key, id, stamp, isHidden }) => `${key} ${id} ${stamp} ${number} ${isHidden ? 'hidden' : 'shown'}`,
    ),
  );
  const isOwner = (partition: number, key: string): boolean => router.table.ownerOf(slotOf(key)) === partition;
  const held = partitions.flatMap((partition, number) =>
    (partition.core?.describeInstances() ?? []).filter((text) => isOwner(number, text.split(' ')[0] ?? '')),
  );
  expectEqual('what partitions hold and what sessions hold', held.sort(), logged.sort());
  expectEqual(
    'instances of partitions, wherever they are',
    partitions.reduce((sum, { core }) => sum + (core?.instanceCount ?? 0), 0),
    logged.filter((text) => text.endsWith(' shown')).length,
  );
  for (const { session, hidden } of live) {
    const expected = [...session.registrations.values()].filter(({ isHidden }) => isHidden);
    const told = [...hidden].filter((name) => session.registrations.has(...(name.split(' ') as [string, string])));
    expectEqual(
      'what a client was told of its registrations',
      told.sort(),
      expected.map(({ key, id }) => `${key} ${id}`).sort(),
    );
  }
  const watched = hosts.flatMap(({ core, number }) =>
    core.watched(() => true).map(({ key, variant }) => `${key} ${variant} ${number}`),
  );
  const interest = partitions.flatMap((partition) => partition.core?.describeInterest() ?? []);
  expectEqual('what partitions and hosts know of subscriptions', interest.sort(), watched.sort());
  const wanted = new Set([...live, ...watchers].flatMap(({ views }) => [...views.keys()]));
  const keys = new Set(hosts.flatMap(({ core }) => core.watched(() => true).map(({ key }) => key)));
  expectEqual('what clients subscribe and hosts know of', [...keys].sort(), [...wanted].sort());
}

function expectEqual(what: string, found: unknown, expected: unknown): void {
  if (isDeepStrictEqual(found, expected)) return;
  throw new Error(`${what}: found ${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`);
}

function sortMarks(marks: ReadonlyMap<string, number>): string[] {
  return [...marks].map(([id, mark]) => `${id} ${mark}`).sort((a, b) => (a < b ? -1 : 1));
}
