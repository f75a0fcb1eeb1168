import { LoadCounters } from './load-counters.ts';
import type { LoadPlan } from './load-orders.ts';
import { LoadReaders } from './load-readers.ts';
import { LoadSession } from './load-session.ts';
import type { SessionListener } from './load-session.ts';
import { ChangeOrder, perProvider, providerOf } from './population.ts';
import { buildAsk, buildOpen, buildRegister, numberRequest, readRequest, requestKinds } from './requests.ts';

/** It reports once a second; one that has not for so long, in milliseconds, may have answered no pings either. */
const awayMsMax = 5000;

interface OpenResult {
  readonly secret: string;
  readonly resumed?: { readonly registrations: number };
}

/** The sessions of one load process, what they send, and what is made of what comes back. */
export class LoadTraffic implements SessionListener {
  readonly plan: LoadPlan;
  readonly providers: readonly LoadSession[];
  readonly readers: LoadReaders;
  readonly counters: LoadCounters;
  readonly perProvider: number;
  /** What the order in progress does with an acknowledgement. */
  onAcknowledged: (session: LoadSession, kind: number, index: number) => void = () => {};
  /** Refused handshakes are what is measured, and no fault of the server. */
  isStorm = false;
  readonly #onFailure: (error: Error) => void;
  /** What waits for the answer to `session.open`, with how many registrations the session that was taken over has. */
  readonly #opening: Map<LoadSession, (resumed: number | undefined) => void> = new Map();

  constructor(plan: LoadPlan, onFailure: (error: Error) => void) {
    const { population, part, parts } = plan;
    this.plan = plan;
    this.#onFailure = onFailure;
    const create = (count: number): LoadSession[] =>
      Array.from(
        { length: Math.ceil((count - part) / parts) },
        (_, local) => new LoadSession(local, part + local * parts, this),
      );
    this.providers = create(population.providers);
    this.readers = new LoadReaders(plan, create(population.readers));
    this.counters = new LoadCounters(this.readers);
    this.perProvider = perProvider(population);
  }

  get openSessions(): LoadSession[] {
    return [...this.providers, ...this.readers.sessions].filter(({ isOpen }) => isOpen);
  }

  instancesOf(session: LoadSession): { readonly first: number; readonly count: number } {
    const first = session.index * this.perProvider;
    return { first, count: Math.max(0, Math.min(this.perProvider, this.plan.population.instances - first)) };
  }

  /** The session of this process that holds an instance, if one does. */
  providerOf(instance: number): LoadSession | undefined {
    const { part, parts, population } = this.plan;
    const provider = providerOf(population, instance);
    return provider % parts === part ? this.providers[(provider - part) / parts] : undefined;
  }

  sendRegister(session: LoadSession, instance: number): void {
    const id = numberRequest(requestKinds.register, instance);
    this.counters.sent += 1;
    session.send(buildRegister(this.plan.population, id, instance, 0));
  }

  sendChange(change: number, instance: number): void {
    const id = numberRequest(requestKinds.change, change);
    this.counters.sent += 1;
    this.providerOf(instance)!.send(buildRegister(this.plan.population, id, instance, change + 1));
  }

  sendSubscribe(session: LoadSession, view: number, isResuming = false): void {
    this.counters.sent += 1;
    this.readers.sendSubscribe(session, view, isResuming);
  }

  /** Opens a session, or takes one over; resolves with how many registrations the latter has. */
  openSession(session: LoadSession, resume: string | undefined): Promise<number | undefined> {
    this.counters.sent += 1;
    return new Promise((resolve) => {
      this.#opening.set(session, resolve);
      session.send(buildOpen(session.index, resume));
    });
  }

  onAnswer(session: LoadSession, id: number, bytes: Buffer, start: number, end: number): void {
    const { kind, index } = readRequest(id);
    if (kind === requestKinds.subscribe) this.readers.handleAnswer(session, index, bytes, start, end);
    else if (kind === requestKinds.open) this.#handleOpened(session, bytes.toString('utf8', start, end));
    this.counters.acks += 1;
    this.onAcknowledged(session, kind, index);
  }

  onBusy(session: LoadSession, id: number, retryAfterMs: number): void {
    this.counters.busyAnswers += 1;
    const { kind, index } = readRequest(id);
    setTimeout(() => this.#resend(session, id, kind, index), retryAfterMs);
  }

  onPush(session: LoadSession, bytes: Buffer, start: number, end: number): void {
    this.readers.handlePush(session, bytes, start, end);
  }

  onLost(session: LoadSession): void {
    // Who does not read may be closed; that is for the scenario to judge.
    if (session.hasStalled) return;
    this.counters.lostConnections += 1;
    const awayMs = this.counters.sinceBeatMs;
    const excuse =
      awayMs < awayMsMax
        ? ''
        : `; this load process had not come round for ${Math.round(awayMs / 1000)} s: it needs more CPU`;
    this.#onFailure(
      new Error(`the server ended a session that did its part (close code ${session.closeCode ?? 'none'}${excuse})`),
    );
  }

  onRefused(): void {
    this.counters.refusals += 1;
    if (!this.isStorm) this.counters.busyAnswers += 1;
  }

  onError(error: Error): void {
    this.#onFailure(error);
  }

  #resend(session: LoadSession, id: number, kind: number, index: number): void {
    const { population } = this.plan;
    if (kind === requestKinds.register) session.send(buildRegister(population, id, index, 0));
    else if (kind === requestKinds.change)
      session.send(buildRegister(population, id, new ChangeOrder(population).instanceOf(index), index + 1));
    else if (kind === requestKinds.subscribe) this.readers.sendSubscribe(session, index);
    else if (kind === requestKinds.open) session.send(buildOpen(index, session.secret));
    else session.send(buildAsk(index));
  }

  #handleOpened(session: LoadSession, text: string): void {
    const { result } = JSON.parse(text) as { readonly result: OpenResult };
    session.secret = result.secret;
    const settle = this.#opening.get(session);
    this.#opening.delete(session);
    settle?.(result.resumed?.registrations);
  }
}
