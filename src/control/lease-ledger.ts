import type { LeaseNews, LeaseRecord } from '../sessions/lease-record.ts';
import { sessionsPerHostMax } from '../workers/session-numbers.ts';
import type { SessionOrigins } from '../workers/session-numbers.ts';

/** The existing leases, as reported by their hosts: what a thread that replaces another needs to know of those that the other had granted. */
export class LeaseLedger {
  readonly #byNumber: Map<number, LeaseRecord> = new Map();
  /** By host: the highest number of a lease's session. */
  readonly #highest: Map<number, number> = new Map();
  readonly #origins: SessionOrigins;

  constructor(origins: SessionOrigins) {
    this.#origins = origins;
  }

  note(news: LeaseNews): void {
    switch (news.kind) {
      case 'granted': {
        const { number } = news.record;
        this.#byNumber.set(number, news.record);
        this.#highest.set(this.#origins.hostOf(number), number);
        return;
      }
      case 'ended':
        this.#byNumber.delete(news.number);
        return;
      default:
        news satisfies never;
    }
  }

  /** Of one host. */
  leasesOf(host: number): LeaseRecord[] {
    return [...this.#byNumber.values()].filter(({ number }) => this.#origins.hostOf(number) === host);
  }

  /** How many sessions a host has begun up to the last that had a lease. */
  sessionsOf(host: number): number {
    return Math.max((this.#highest.get(host) ?? 0) % sessionsPerHostMax, this.#origins.sessionsBefore(host));
  }
}
