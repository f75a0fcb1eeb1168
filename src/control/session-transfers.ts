import type { TransferEvent, SessionRecord, WantedOutcome } from '../sessions/session-transfer.ts';
import { readSecretNumber } from '../sessions/sessions.ts';
import { hostOfSession } from '../workers/session-numbers.ts';
import type { HostUnit } from './host-unit.ts';

/** A host's wish for a session, for a client that has come back there. */
interface Wish {
  readonly unit: HostUnit;
  readonly call: number;
  readonly secret: string;
}

/**
 * SE8: brings sessions from one host to another, for clients that come back elsewhere. On the main thread, which knows where each session is that has
 * left the host where it began: to partitions its number stays the same, and they go on telling the host that the number names. Everything here
 * happens within the call that brings the news, since what one host says of a session must reach the next in the same order.
 */
export class SessionTransfers {
  readonly #units: ReadonlyMap<number, HostUnit>;
  /** Hosts of sessions that have left the host where they began, also of those that have come back to it. */
  readonly #homes: Map<number, number> = new Map();
  /** What partitions have said of sessions on their way, the latest of each registration. */
  readonly #kept: Map<number, Map<string, SessionRecord>> = new Map();
  /** Wishes for the same session, of which the first is being fulfilled: whoever asked last has it in the end. */
  readonly #wishes: Map<number, Wish[]> = new Map();
  /** Sessions of which a host has given a part and not all. */
  #onTheirWay = 0;
  #pauses = 0;
  #waitingForArrivals: (() => void)[] = [];
  #waitingForPauses: (() => void)[] = [];

  constructor(units: readonly HostUnit[]) {
    this.#units = new Map(units.map((unit) => [unit.number, unit]));
  }

  /** Sessions that have left the host where they began, and that somebody may still take over. */
  get travelledCount(): number {
    return this.#homes.size;
  }

  take(host: number, event: TransferEvent): void {
    switch (event.kind) {
      case 'wanted':
        this.#wish(this.#unit(host), event.call, event.secret);
        return;
      case 'astray':
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
   * Resolves once every session is on a host, whole, and keeps them there until {@link goOn}: what hosts are asked to restore must not be on its way
   * between one that has been asked and one that has not.
   */
  pause(): Promise<void> {
    this.#pauses += 1;
    if (this.#onTheirWay === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waitingForArrivals.push(resolve));
  }

  goOn(): void {
    this.#pauses -= 1;
    if (this.#pauses > 0) return;
    for (const carry of this.#waitingForPauses.splice(0)) carry();
  }

  #wish(unit: HostUnit, call: number, secret: string): void {
    const number = readSecretNumber(secret);
    if (!this.#units.has(this.#homeOf(number))) {
      unit.answerWanted(call, 'absent');
      return;
    }
    const wish = { unit, call, secret };
    const wishes = this.#wishes.get(number);
    if (wishes !== undefined) {
      wishes.push(wish);
      return;
    }
    this.#wishes.set(number, [wish]);
    this.#fulfil(number);
  }

  #fulfil(number: number): void {
    const wishes = this.#wishes.get(number) ?? [];
    for (let wish = wishes[0]; wish !== undefined; wish = wishes[0]) {
      const { unit, secret } = wish;
      const home = this.#homeOf(number);
      if (home !== unit.number) {
        const from = this.#unit(home);
        from.setAside(secret, (outcome) => {
          if (outcome === 'aside') this.#carry(number, from, unit);
          else this.#finish(number, outcome);
        });
        return;
      }
      // A wish before this one has brought it, or it has ended.
      wishes.shift();
      unit.answerWanted(wish.call, 'here');
    }
    this.#wishes.delete(number);
  }

  #carry(number: number, from: HostUnit, to: HostUnit): void {
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

  #carryNext(number: number, from: HostUnit, to: HostUnit): void {
    from.takeSlice(number, (slice) => {
      if (slice !== undefined) {
        this.#homes.set(number, to.number);
        to.bring(slice);
        if (!slice.isLast) {
          this.#carryNext(number, from, to);
          return;
        }
      }
      for (const record of this.#kept.get(number)?.values() ?? []) to.takeAstray(record);
      this.#kept.delete(number);
      this.#onTheirWay -= 1;
      if (this.#onTheirWay === 0) for (const resolve of this.#waitingForArrivals.splice(0)) resolve();
      this.#finish(number, slice === undefined ? 'absent' : 'here');
    });
  }

  #finish(number: number, outcome: WantedOutcome): void {
    const wish = this.#wishes.get(number)?.shift();
    wish?.unit.answerWanted(wish.call, outcome);
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
    else if (home !== undefined) this.#unit(home).takeAstray(record);
  }

  #homeOf(number: number): number {
    return this.#homes.get(number) ?? hostOfSession(number);
  }

  #unit(host: number): HostUnit {
    const unit = this.#units.get(host);
    if (unit === undefined) throw new Error(`there is no host ${host}`);
    return unit;
  }
}
