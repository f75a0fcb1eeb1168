import { performance as nodePerformance } from 'node:perf_hooks';

import { nowMs } from './clock.ts';
import { Hearing } from './hearing.ts';
import { createHistogram, packHistogram, recordMs } from './histogram.ts';
import type { Histogram } from './histogram.ts';
import type {
  Beat,
  ChurnOrder,
  DeployOrder,
  HearingOutcome,
  LoadOrders,
  LoadPlan,
  OrderName,
  RegisterOrder,
  RegisterOutcome,
  StormOrder,
  StormOutcome,
  Tallies,
  VerifyOrder,
  VerifyOutcome,
} from './load-orders.ts';
import { LoadReaders } from './load-readers.ts';
import { LoadSession, openSessions } from './load-session.ts';
import type { SessionTaker } from './load-session.ts';
import { ChangeOrder, createRandom, perProvider, providerOf, serviceOf } from './population.ts';
import { buildAsk, buildOpen, buildRegister, numberRequest, readRequest, requestKinds } from './requests.ts';
import { runSchedule, waitUntil } from './schedule.ts';

type Order<K extends OrderName> = (params: LoadOrders[K]['params']) => Promise<LoadOrders[K]['result']>;

/** The part of the load that one process carries. */
export class LoadPart implements SessionTaker {
  readonly orders: { readonly [K in Exclude<OrderName, 'prepare'>]: Order<K> } = {
    open: ({ who }) => this.#open(who === 'providers' ? this.#providers : this.#readers.sessions),
    register: (order) => this.#register(order),
    subscribe: () => this.#subscribe(),
    churn: (order) => this.#churn(order),
    stall: async ({ percent }) => ({ readers: this.#readers.stall(percent) }),
    resume: async () => {
      this.#readers.resume();
      return null;
    },
    deploy: (order) => this.#deploy(order),
    introduce: () => this.#introduce(),
    storm: (order) => this.#storm(order),
    tally: async () => this.#takeTallies({ pushes: 0, pushBytes: 0 }),
    verify: (order) => this.#verify(order),
    ask: () => this.#ask(),
    close: () => this.#close(),
  };
  readonly #plan: LoadPlan;
  readonly #providers: LoadSession[];
  readonly #readers: LoadReaders;
  readonly #perProvider: number;
  readonly #onFailure: (error: Error) => void;
  /** Those that break are not lost connections: they are what is measured. */
  #isStorm = false;
  #onAcknowledged: (session: LoadSession, kind: number, index: number) => void = () => {};
  #busyAnswers = 0;
  #lostConnections = 0;
  #sent = 0;
  #acks = 0;
  #beatMark = { atMs: nowMs(), cpu: process.cpuUsage(), loop: nodePerformance.eventLoopUtilization(), ...zeroCounts };
  #refusals = 0;

  constructor(plan: LoadPlan, onFailure: (error: Error) => void) {
    const { population, part, parts } = plan;
    this.#plan = plan;
    this.#onFailure = onFailure;
    const create = (count: number): LoadSession[] =>
      Array.from(
        { length: Math.ceil((count - part) / parts) },
        (_, local) => new LoadSession(local, part + local * parts, this),
      );
    this.#providers = create(population.providers);
    this.#readers = new LoadReaders(plan, create(population.readers));
    this.#perProvider = perProvider(population);
  }

  /** What was done since the last beat. */
  beat(): Beat {
    const before = this.#beatMark;
    const cpu = process.cpuUsage(before.cpu);
    const loop = nodePerformance.eventLoopUtilization();
    const now = nowMs();
    const { pushes, pushBytes } = this.#readers;
    const beat = {
      elapsedMs: now - before.atMs,
      sent: this.#sent - before.sent,
      acks: this.#acks - before.acks,
      pushes: pushes - before.pushes,
      pushBytes: pushBytes - before.pushBytes,
      sessions: this.#openSessions().length,
      cpuMs: (cpu.user + cpu.system) / 1000,
      loopUtilization: nodePerformance.eventLoopUtilization(loop, before.loop).utilization,
      pushMaxMs: this.#readers.takeSlowestMs(),
    };
    this.#beatMark = {
      atMs: now,
      cpu: process.cpuUsage(),
      loop,
      sent: this.#sent,
      acks: this.#acks,
      pushes,
      pushBytes,
    };
    return beat;
  }

  onAnswer(session: LoadSession, id: number, bytes: Buffer, start: number, end: number): void {
    const { kind, index } = readRequest(id);
    if (kind === requestKinds.subscribe) this.#readers.takeAnswer(session, index, bytes, start, end);
    else if (kind === requestKinds.open) this.#takeOpened(session, bytes.toString('utf8', start, end));
    this.#acks += 1;
    this.#onAcknowledged(session, kind, index);
  }

  onBusy(session: LoadSession, id: number, retryAfterMs: number): void {
    this.#busyAnswers += 1;
    const { kind, index } = readRequest(id);
    setTimeout(() => this.#resend(session, id, kind, index), retryAfterMs);
  }

  onPush(session: LoadSession, bytes: Buffer, start: number, end: number): void {
    this.#readers.takePush(session, bytes, start, end);
  }

  onLost(session: LoadSession): void {
    // Who does not read may be closed; that is for the scenario to judge.
    if (session.hasStalled) return;
    this.#lostConnections += 1;
    const awayMs = nowMs() - this.#beatMark.atMs;
    const excuse =
      awayMs < awayMsMax
        ? ''
        : `; this load process had not come round for ${Math.round(awayMs / 1000)} s: it needs more CPU`;
    this.#onFailure(
      new Error(`the server ended a session that did its part (close code ${session.closeCode ?? 'none'}${excuse})`),
    );
  }

  onRefused(): void {
    this.#refusals += 1;
    if (!this.#isStorm) this.#busyAnswers += 1;
  }

  onError(error: Error): void {
    this.#onFailure(error);
  }

  #resend(session: LoadSession, id: number, kind: number, index: number): void {
    const { population } = this.#plan;
    if (kind === requestKinds.register) session.send(buildRegister(population, id, index, 0));
    else if (kind === requestKinds.change)
      session.send(buildRegister(population, id, new ChangeOrder(population).instanceOf(index), index + 1));
    else if (kind === requestKinds.subscribe) this.#readers.sendSubscribe(session, index);
    else if (kind === requestKinds.open) session.send(buildOpen(index, session.secret));
    else session.send(buildAsk(index));
  }

  #instancesOf(session: LoadSession): { readonly first: number; readonly count: number } {
    const first = session.index * this.#perProvider;
    return { first, count: Math.max(0, Math.min(this.#perProvider, this.#plan.population.instances - first)) };
  }

  #providerOf(instance: number): LoadSession | undefined {
    const { part, parts, population } = this.#plan;
    const provider = providerOf(population, instance);
    return provider % parts === part ? this.#providers[(provider - part) / parts] : undefined;
  }

  async #open(sessions: readonly LoadSession[]): Promise<LoadOrders['open']['result']> {
    const startedAtMs = nowMs();
    await openSessions(sessions, this.#plan.endpoint);
    return { tookMs: nowMs() - startedAtMs, refusals: this.#refusals };
  }

  async #register(order: RegisterOrder): Promise<RegisterOutcome> {
    this.#beginTallies();
    const [ack, lag] = [createHistogram(), createHistogram()];
    let acks = 0;
    const before = this.#countPushes();
    await waitUntil(order.startAtMs);
    acks = await (order.rate > 0 ? this.#registerOnSchedule(order, ack, lag) : this.#registerAll(order, ack));
    return {
      ...this.#takeTallies(before),
      acks,
      endedAtMs: nowMs(),
      ack: packHistogram(ack),
      lag: packHistogram(lag),
    };
  }

  async #registerAll({ window, isHalf }: RegisterOrder, ack: Histogram): Promise<number> {
    // Not all at once: a round over the sockets must not take so long that those that have nothing to do answer their pings too late.
    const rest = this.#providers.values();
    let sum = 0;
    const registerNext = async (): Promise<void> => {
      for (const session of rest) {
        const count = await this.#registerSession(session, window, isHalf ? 2 : 1, ack);
        sum += count;
      }
    };
    await Promise.all(Array.from({ length: registeringAtOnce }, registerNext));
    return sum;
  }

  readonly #registering: Map<LoadSession, (index: number) => void> = new Map();

  /** Registers what a session holds, with so many requests under way at a time; resolves with the last answer. */
  #registerSession(session: LoadSession, window: number, step: number, ack: Histogram | undefined): Promise<number> {
    const { first, count } = this.#instancesOf(session);
    const total = Math.ceil(count / step);
    if (total === 0) return Promise.resolve(0);
    const sentAtMs = new Float64Array(total);
    this.#onAcknowledged = this.#routeRegistered;
    return new Promise((resolve) => {
      let next = 0;
      let acked = 0;
      const send = (): void => {
        sentAtMs[next] = nowMs();
        this.#sendRegister(session, first + next * step);
        next += 1;
      };
      this.#registering.set(session, (index) => {
        if (ack !== undefined) recordMs(ack, nowMs() - sentAtMs[(index - first) / step]!);
        acked += 1;
        if (next < total) send();
        if (acked < total) return;
        this.#registering.delete(session);
        resolve(total);
      });
      while (next < Math.min(window, total)) send();
    });
  }

  readonly #routeRegistered = (session: LoadSession, kind: number, index: number): void => {
    if (kind === requestKinds.register) this.#registering.get(session)?.(index);
  };

  #sendRegister(session: LoadSession, instance: number): void {
    const id = numberRequest(requestKinds.register, instance);
    this.#sent += 1;
    session.send(buildRegister(this.#plan.population, id, instance, 0));
  }

  /** Sessions by turns, so that the whole of the load is spread over them at any time. */
  #registerOnSchedule(order: RegisterOrder, ack: Histogram, lag: Histogram): Promise<number> {
    const { population, part, parts } = this.#plan;
    const mine: number[] = [];
    for (let turn = 0; turn < this.#perProvider * population.providers; turn += 1) {
      const provider = turn % population.providers;
      const instance = provider * this.#perProvider + Math.floor(turn / population.providers);
      if (provider % parts === part && instance < population.instances && providerOf(population, instance) === provider)
        mine.push(turn);
    }
    const turnOf = new Map<number, number>();
    const intendedAtMs = (item: number): number => order.startAtMs + (mine[item]! * 1000) / order.rate;
    return new Promise((resolve) => {
      let acks = 0;
      this.#onAcknowledged = (_session, kind, index) => {
        if (kind !== requestKinds.register) return;
        recordMs(ack, nowMs() - intendedAtMs(turnOf.get(index)!));
        turnOf.delete(index);
        acks += 1;
        if (acks === mine.length) resolve(acks);
      };
      if (mine.length === 0) resolve(0);
      void runSchedule(mine.length, order.rate, intendedAtMs, (item, atMs) => {
        const turn = mine[item]!;
        const instance = (turn % population.providers) * this.#perProvider + Math.floor(turn / population.providers);
        recordMs(lag, atMs - intendedAtMs(item));
        turnOf.set(instance, item);
        this.#sendRegister(this.#providerOf(instance)!, instance);
      });
    });
  }

  async #subscribe(): Promise<LoadOrders['subscribe']['result']> {
    const startedAtMs = nowMs();
    let awaited = this.#readers.countSubscriptions();
    if (awaited === 0) return { tookMs: 0 };
    await new Promise<void>((resolve) => {
      // A list can be large: so many answers at a time that neither side has to hold all of them.
      const queue = this.#readers.subscriptions();
      const send = (): void => {
        const { value, done } = queue.next();
        if (done === true) return;
        this.#sent += 1;
        this.#readers.sendSubscribe(value.session, value.view);
      };
      this.#onAcknowledged = (_session, kind) => {
        if (kind !== requestKinds.subscribe) return;
        awaited -= 1;
        send();
        if (awaited === 0) resolve();
      };
      for (let i = 0; i < subscriptionsAtOnce; i += 1) send();
    });
    return { tookMs: nowMs() - startedAtMs };
  }

  async #churn(order: ChurnOrder): Promise<HearingOutcome> {
    const { population } = this.#plan;
    const changeOrder = new ChangeOrder(population);
    const intendedAtMs = (change: number): number =>
      order.startAtMs + ((change - order.firstChange) * 1000) / order.rate;
    const hearing = new Hearing(order.firstChange, order.changes, intendedAtMs);
    const watchers = this.#readers.countWatchers();
    const mine: number[] = [];
    let awaited = 0;
    for (let change = order.firstChange; change < order.firstChange + order.changes; change += 1) {
      const instance = changeOrder.instanceOf(change);
      awaited += watchers[serviceOf(population, instance)]!;
      if (this.#providerOf(instance) !== undefined) mine.push(change);
    }
    const [sentAtMs, ackAtMs] = [createMoments(order.changes), createMoments(order.changes)];
    hearing.await(awaited);
    const before = this.#beginHearing(hearing, false);
    let acks = 0;
    const acknowledged = new Promise<void>((resolve) => {
      this.#onAcknowledged = (_session, kind, index) => {
        if (kind !== requestKinds.change) return;
        ackAtMs[index - order.firstChange] = nowMs();
        acks += 1;
        if (acks === mine.length) resolve();
      };
      if (mine.length === 0) resolve();
    });
    await runSchedule(
      mine.length,
      order.rate / this.#plan.parts,
      (item) => intendedAtMs(mine[item]!),
      (item, atMs) => {
        const change = mine[item]!;
        const instance = changeOrder.instanceOf(change);
        sentAtMs[change - order.firstChange] = atMs;
        this.#sent += 1;
        const id = numberRequest(requestKinds.change, change);
        this.#providerOf(instance)!.send(buildRegister(population, id, instance, change + 1));
      },
    );
    const endAtMs = order.startAtMs + (order.changes * 1000) / order.rate;
    const isSettled = await isDoneBy(Promise.all([acknowledged, hearing.settled]), endAtMs + order.settleMs);
    return this.#endHearing(hearing, { sentAtMs, ackAtMs, awaited, isSettled, before });
  }

  #beginHearing(hearing: Hearing, isDeploy: boolean): PushCounts {
    this.#beginTallies();
    this.#readers.listen(hearing, isDeploy);
    return this.#countPushes();
  }

  #endHearing(
    hearing: Hearing,
    ended: Pick<HearingOutcome, 'sentAtMs' | 'ackAtMs' | 'awaited' | 'isSettled'> & {
      readonly before: PushCounts;
    },
  ): HearingOutcome {
    this.#readers.listen(undefined, false);
    hearing.finish();
    const { firstAtMs, lastAtMs, heard, received } = hearing;
    const { before, ...rest } = ended;
    const each = packHistogram(hearing.each);
    return { ...this.#takeTallies(before), ...rest, firstAtMs, lastAtMs, heard, received, each };
  }

  async #deploy(order: DeployOrder): Promise<HearingOutcome> {
    const { population } = this.#plan;
    const batchAtMs = (provider: number): number =>
      order.startAtMs + Math.floor(provider / order.batch) * order.batchEveryMs;
    const intendedAtMs = (instance: number): number =>
      batchAtMs(providerOf(population, instance)) + (instance % 2 === 0 ? 0 : order.restartMs);
    const hearing = new Hearing(0, population.instances, intendedAtMs);
    const [sentAtMs, ackAtMs] = [createMoments(population.instances), createMoments(population.instances)];
    const awaited = population.instances * this.#readers.countWatchers()[0]!;
    hearing.await(awaited);
    const before = this.#beginHearing(hearing, true);
    const registered = new Map<LoadSession, () => void>();
    this.#onAcknowledged = (session, kind, index) => {
      if (kind !== requestKinds.register) return;
      ackAtMs[index] = nowMs();
      registered.get(session)?.();
    };
    const restart = async (session: LoadSession): Promise<void> => {
      const { first } = this.#instancesOf(session);
      await waitUntil(intendedAtMs(first));
      sentAtMs[first] = nowMs();
      await session.close();
      await waitUntil(intendedAtMs(first + 1));
      sentAtMs[first + 1] = nowMs();
      await session.open(this.#plan.endpoint);
      await new Promise<void>((resolve) => {
        registered.set(session, resolve);
        this.#sendRegister(session, first + 1);
      });
    };
    const restarted = Promise.all(this.#providers.map(restart));
    const endAtMs = intendedAtMs(population.instances - 1);
    const isSettled = await isDoneBy(Promise.all([restarted, hearing.settled]), endAtMs + order.settleMs);
    return this.#endHearing(hearing, { sentAtMs, ackAtMs, awaited, isSettled, before });
  }

  /** What waits for the answer to `session.open`, with how many registrations the session that was taken over has. */
  readonly #opening: Map<LoadSession, (resumed: number | undefined) => void> = new Map();

  #takeOpened(session: LoadSession, text: string): void {
    const { result } = JSON.parse(text) as {
      readonly result: { readonly secret: string; readonly resumed?: { readonly registrations: number } };
    };
    session.secret = result.secret;
    const settle = this.#opening.get(session);
    this.#opening.delete(session);
    settle?.(result.resumed?.registrations);
  }

  #openSession(session: LoadSession, resume: string | undefined): Promise<number | undefined> {
    this.#sent += 1;
    return new Promise((resolve) => {
      this.#opening.set(session, resolve);
      session.send(buildOpen(session.index, resume));
    });
  }

  async #introduce(): Promise<LoadOrders['introduce']['result']> {
    await Promise.all(this.#providers.map((session) => this.#openSession(session, undefined)));
    return { introduced: this.#providers.length };
  }

  async #storm({ dropAtMs, jitterMs, window, isResuming, timeoutMs }: StormOrder): Promise<StormOutcome> {
    this.#beginTallies();
    this.#refusals = 0;
    const before = this.#countPushes();
    const random = createRandom(this.#plan.population.seed + this.#plan.part);
    const back = createHistogram();
    let [returned, resumed, lastBackAtMs] = [0, 0, dropAtMs];
    await waitUntil(dropAtMs);
    this.#isStorm = true;
    for (const session of this.#providers) session.break();
    const comeBack = async (session: LoadSession): Promise<void> => {
      await waitUntil(dropAtMs + random() * jitterMs);
      await session.open(this.#plan.endpoint);
      const held = isResuming ? await this.#openSession(session, session.secret) : undefined;
      if (held === this.#instancesOf(session).count) resumed += 1;
      else await this.#registerSession(session, window, 1, undefined);
      lastBackAtMs = nowMs();
      recordMs(back, lastBackAtMs - dropAtMs);
      returned += 1;
    };
    await isDoneBy(Promise.all(this.#providers.map(comeBack)), dropAtMs + jitterMs + timeoutMs);
    this.#isStorm = false;
    return {
      ...this.#takeTallies(before),
      back: packHistogram(back),
      returned,
      resumed,
      refusals: this.#refusals,
      lastBackAtMs,
    };
  }

  /** Looks again until all is as it should be, or time is up. */
  async #verify({ changes, holds, settleMs }: VerifyOrder): Promise<VerifyOutcome> {
    const { population } = this.#plan;
    const marks = new Int32Array(population.instances);
    if (holds !== 'all') for (let i = holds === 'even' ? 1 : 0; i < marks.length; i += 2) marks[i] = -1;
    const order = new ChangeOrder(population);
    for (let change = 0; change < changes; change += 1) marks[order.instanceOf(change)] = change + 1;
    const untilMs = nowMs() + settleMs;
    for (;;) {
      const found = this.#readers.compare((instance) => marks[instance]!);
      if (found.wrongViews === 0 || nowMs() > untilMs) return found;
      await waitUntil(nowMs() + 50);
    }
  }

  async #ask(): Promise<LoadOrders['ask']['result']> {
    const sessions = this.#openSessions();
    let answered = 0;
    const done = new Promise<void>((resolve) => {
      this.#onAcknowledged = (_session, kind) => {
        if (kind !== requestKinds.ask) return;
        answered += 1;
        if (answered === sessions.length) resolve();
      };
      if (sessions.length === 0) resolve();
    });
    for (const session of sessions) session.send(buildAsk(session.index));
    await isDoneBy(done, nowMs() + 10_000);
    return { answered, sessions: sessions.length };
  }

  async #close(): Promise<null> {
    // Readers first: then nobody is left to be told what goes.
    await Promise.all(this.#readers.sessions.map((session) => session.close()));
    await Promise.all(this.#providers.map((session) => session.close()));
    return null;
  }

  #openSessions(): LoadSession[] {
    return [...this.#providers, ...this.#readers.sessions].filter(({ isOpen }) => isOpen);
  }

  #countPushes(): PushCounts {
    const { pushes, pushBytes } = this.#readers;
    return { pushes, pushBytes };
  }

  #beginTallies(): void {
    this.#busyAnswers = 0;
    this.#lostConnections = 0;
    this.#readers.forgetSightings();
  }

  #takeTallies(before: PushCounts): Tallies {
    const { pushes, pushBytes, sightings } = this.#readers;
    return {
      ...sightings,
      busyAnswers: this.#busyAnswers,
      lostConnections: this.#lostConnections,
      pushes: pushes - before.pushes,
      pushBytes: pushBytes - before.pushBytes,
    };
  }
}

type PushCounts = Pick<Tallies, 'pushes' | 'pushBytes'>;

const subscriptionsAtOnce = 500;
/** Sessions that register at a time, each with its window: more than enough to keep a server busy. */
const registeringAtOnce = 1000;
/** It says how it does once a second; one that says nothing for so long, in milliseconds, may have answered no pings either. */
const awayMsMax = 5000;
const zeroCounts = { sent: 0, acks: 0, pushes: 0, pushBytes: 0 };

function createMoments(count: number): Float64Array {
  return new Float64Array(count).fill(Number.NaN);
}

async function isDoneBy(work: Promise<unknown>, momentMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, momentMs - nowMs()), false);
  });
  const isDone = await Promise.race([work.then(() => true), late]);
  clearTimeout(timer);
  return isDone;
}
