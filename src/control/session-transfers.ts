import { readSecretNumber } from '../sessions/session-secret.ts';
import type { TransferEvent, SessionRecord, TakeoverOutcome } from '../sessions/session-transfer.ts';
import type { SessionOrigins } from '../workers/session-numbers.ts';
import type { SessionHost } from './session-host.ts';

/** A host's request to take over a session, for a client that has come back there. */
interface TakeoverRequest {
  readonly host: SessionHost;
  readonly call: number;
  readonly secret: string;
}

/**
 * SE8: brings sessions from one host to another, for clients that come back elsewhere. It runs on the main thread, which knows the host of each
 * session that has left the one where it began: its number stays the same, so partitions keep addressing the host that the number names. Everything here
 * happens within the call that brings the news, since what one host says of a session must reach the next in the same order.
 */
export class SessionTransfers {
  readonly #origins: SessionOrigins;
  readonly #hosts: Map<number, SessionHost> = new Map();
  /** Hosts of sessions that have left the host where they began, also of those that have come back to it. */
  readonly #homes: Map<number, number> = new Map();
  /** What partitions have said of sessions on their way, the latest of each registration. */
  readonly #kept: Map<number, Map<string, SessionRecord>> = new Map();
  /** Takeover requests for the same session, the first of which is being carried out: whoever asked last has it in the end. */
  readonly #requests: Map<number, TakeoverRequest[]> = new Map();
  /** Sessions of which a host has given a part and not all. */
  #onTheirWay = 0;
  #pauses = 0;
  #waitingForArrivals: (() => void)[] = [];
  #waitingForPauses: (() => void)[] = [];

  constructor(origins: SessionOrigins) {
    this.#origins = origins;
  }

  /** From now on sessions come and go there, too. */
  join(host: SessionHost): void {
    this.#hosts.set(host.number, host);
  }

  /** Sessions that have left the host where they began, and that somebody may still take over. */
  get travelledCount(): number {
    return this.#homes.size;
  }

  handle(host: number, event: TransferEvent): void {
    switch (event.kind) {
      case 'takeover':
        this.#requestTakeover(this.#host(host), event.call, event.secret);
        return;
      case 'misrouted':
        this.#forward(event.record);
        return;
      case 'gone':
        if (this.#homes.get(event.session) === host) this.#homes.delete(event.session);
        return;
      default:
        event satisfies never;
    }
  }

  /**
   * Resolves once every session is on a host, whole, and keeps them there until {@link resume}: what hosts are asked to restore must not be on its way
   * between one that has been asked and one that has not.
   */
  pause(): Promise<void> {
    this.#pauses += 1;
    if (this.#onTheirWay === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waitingForArrivals.push(resolve));
  }

  resume(): void {
    this.#pauses -= 1;
    if (this.#pauses > 0) return;
    for (const carry of this.#waitingForPauses.splice(0)) carry();
  }

  #requestTakeover(host: SessionHost, call: number, secret: string): void {
    const number = readSecretNumber(secret);
    if (!this.#hosts.has(this.#homeOf(number))) {
      host.answerTakeover(call, 'absent');
      return;
    }
    const request = { host, call, secret };
    const requests = this.#requests.get(number);
    if (requests !== undefined) {
      requests.push(request);
      return;
    }
    this.#requests.set(number, [request]);
    this.#fulfil(number);
  }

  #fulfil(number: number): void {
    const requests = this.#requests.get(number) ?? [];
    for (let request = requests[0]; request !== undefined; request = requests[0]) {
      const { host, secret } = request;
      const home = this.#homeOf(number);
      if (home !== host.number) {
        const from = this.#host(home);
        from.detach(secret, (outcome) => {
          if (outcome === 'detached') this.#carry(number, from, host);
          else this.#finish(number, outcome);
        });
        return;
      }
      // A request before this one has brought it, or it has ended.
      requests.shift();
      host.answerTakeover(request.call, 'here');
    }
    this.#requests.delete(number);
  }

  #carry(number: number, from: SessionHost, to: SessionHost): void {
    if (this.#pauses > 0) {
      this.#waitingForPauses.push(() => {
        this.#carry(number, from, to);
      });
      return;
    }
    this.#onTheirWay += 1;
    this.#kept.set(number, new Map());
    this.#carryNext(number, from, to);
  }

  #carryNext(number: number, from: SessionHost, to: SessionHost): void {
    from.takeSlice(number, (slice) => {
      if (slice !== undefined) {
        this.#homes.set(number, to.number);
        to.bring(slice);
        if (!slice.isLast) {
          this.#carryNext(number, from, to);
          return;
        }
      }
      for (const record of this.#kept.get(number)?.values() ?? []) to.handleMisrouted(record);
      this.#kept.delete(number);
      this.#onTheirWay -= 1;
      if (this.#onTheirWay === 0) for (const resolve of this.#waitingForArrivals.splice(0)) resolve();
      this.#finish(number, slice === undefined ? 'absent' : 'here');
    });
  }

  #finish(number: number, outcome: TakeoverOutcome): void {
    const request = this.#requests.get(number)?.shift();
    request?.host.answerTakeover(request.call, outcome);
    this.#fulfil(number);
  }

  /**
   * What is said of a session that has travelled goes through here, wherever the session is, so nothing overtakes what was said before. Whoever says that a
   * session is not there any more says so after what brought it elsewhere: one that is not known here has ended.
   */
  #forward(record: SessionRecord): void {
    const [, number, key, id] = record;
    const home = this.#homes.get(number);
    const kept = this.#kept.get(number);
    if (kept !== undefined) kept.set(`${key}\n${id}`, record);
    else if (home !== undefined) this.#host(home).handleMisrouted(record);
  }

  #homeOf(number: number): number {
    return this.#homes.get(number) ?? this.#origins.hostOf(number);
  }

  #host(host: number): SessionHost {
    const sessionHost = this.#hosts.get(host);
    if (sessionHost === undefined) throw new Error(`there is no host ${host}`);
    return sessionHost;
  }
}
