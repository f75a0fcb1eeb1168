import type { Failure } from '../protocol/errors.ts';
import { namespaceOf, quotasMax, refuseQuota } from '../store/namespace-quotas.ts';
import type { Session } from './session.ts';

/** What an operator lets a namespace's sessions do at most; `place`: where threads count it. */
export interface NamespaceLimit {
  readonly namespace: string;
  readonly place: number;
  /** That have registered something in it. */
  readonly sessions?: number;
  readonly registrationsPerSecond?: number;
}

/** Of the rate: the second that is counted, and what came in it. */
const wordsPerRate = 2;
/** How often what others take at the same moment is met before it is refused. */
const triesMax = 10;

/** Bytes that threads share for so many hosts. */
export function namespaceLimitBytes(hosts: number): number {
  return quotasMax * (wordsPerRate + hosts) * Int32Array.BYTES_PER_ELEMENT;
}

/** Which sessions of this host have registered something in namespaces that have a limit, and how fast: each host counts in a row of its own, and all together know the sum. */
export class NamespaceLimits {
  readonly #words: Int32Array;
  readonly #host: number;
  /** On the wall clock, in milliseconds. */
  readonly #readMs: () => number;
  #limits: ReadonlyMap<string, NamespaceLimit> = new Map();
  /** Registrations of each session, by namespace. */
  readonly #sessions: Map<string, Map<number, number>> = new Map();

  /** `memory`: {@link namespaceLimitBytes} of it, of zeros at first. */
  constructor(memory: SharedArrayBuffer, host: number, readMs: () => number) {
    this.#words = new Int32Array(memory);
    this.#host = host;
    this.#readMs = readMs;
  }

  /** From now on these apply. */
  set(limits: readonly NamespaceLimit[], sessions: Iterable<Session>): void {
    if (limits.length === 0 && this.#limits.size === 0) return;
    for (const { place } of this.#limits.values()) this.#share(place, 0);
    this.#limits = new Map(limits.map((limit) => [limit.namespace, limit]));
    this.#sessions.clear();
    if (limits.length === 0) return;
    for (const { number, registrations, isPersistent } of sessions) {
      if (isPersistent) continue;
      for (const key of registrations.services()) this.#count(number, key, 1);
    }
    for (const limit of limits) this.#shareOf(limit);
  }

  /** A session has registered something, or it is gone again. */
  note(session: number, key: string, change: 1 | -1): void {
    if (this.#limits.size === 0) return;
    const limit = this.#count(session, key, change);
    if (limit !== undefined) this.#shareOf(limit);
  }

  /** Why a session may not register something now; else it counts. */
  judge({ number, isPersistent }: Session, key: string): Failure | undefined {
    const limit = this.#limits.size === 0 ? undefined : this.#limits.get(namespaceOf(key));
    if (limit === undefined) return undefined;
    const { namespace, sessions, registrationsPerSecond } = limit;
    const isNew = !isPersistent && this.#sessions.get(namespace)?.has(number) !== true;
    const full = isNew && sessions !== undefined ? this.#takePlace(limit, sessions) : undefined;
    if (full !== undefined || registrationsPerSecond === undefined) return full;
    const tooFast = this.#judgeRate(limit, registrationsPerSecond);
    if (tooFast !== undefined) this.#shareOf(limit);
    return tooFast;
  }

  /** Counts another session before it has registered anything, which it does at once: other hosts look at the same time, and whoever counts first sees all who did so before. */
  #takePlace(limit: NamespaceLimit, max: number): Failure | undefined {
    const { namespace } = limit;
    // Two that saw each other's count have both stepped back, though there may be room for one: so each looks again.
    for (let tries = 0; tries < triesMax && this.#sumSessions(limit) < max; tries++) {
      this.#share(limit.place, (this.#sessions.get(namespace)?.size ?? 0) + 1);
      if (this.#sumSessions(limit) <= max) return undefined;
      this.#shareOf(limit);
    }
    return refuseQuota(namespace, 'namespaceSessions', max);
  }

  #judgeRate({ namespace, place }: NamespaceLimit, max: number): Failure | undefined {
    const nowMs = this.#readMs();
    const second = Math.floor(nowMs / 1000) | 0;
    const at = place * wordsPerRate;
    const known = Atomics.load(this.#words, at);
    // Whoever sees the second first begins to count anew.
    if (known !== second && Atomics.compareExchange(this.#words, at, known, second) === known)
      Atomics.store(this.#words, at + 1, 0);
    if (Atomics.add(this.#words, at + 1, 1) < max) return undefined;
    const { message } = refuseQuota(namespace, '', max);
    const retryAfterMs = Math.ceil(1000 - (nowMs % 1000));
    return { code: 'busy', message, limit: 'namespaceRegistrationsPerSecond', max, retryAfterMs };
  }

  #count(session: number, key: string, change: 1 | -1): NamespaceLimit | undefined {
    const namespace = namespaceOf(key);
    const limit = this.#limits.get(namespace);
    if (limit === undefined) return undefined;
    const counts = this.#sessions.get(namespace) ?? new Map<number, number>();
    this.#sessions.set(namespace, counts);
    const count = (counts.get(session) ?? 0) + change;
    if (count > 0) counts.set(session, count);
    else counts.delete(session);
    return limit;
  }

  #shareOf({ namespace, place }: NamespaceLimit): void {
    this.#share(place, this.#sessions.get(namespace)?.size ?? 0);
  }

  #share(place: number, sessions: number): void {
    Atomics.store(this.#words, quotasMax * (wordsPerRate + this.#host) + place, sessions);
  }

  #sumSessions({ place }: NamespaceLimit): number {
    let sum = 0;
    for (let at = quotasMax * wordsPerRate + place; at < this.#words.length; at += quotasMax) {
      sum += Atomics.load(this.#words, at);
    }
    return sum;
  }
}
