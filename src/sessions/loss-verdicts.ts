import type { ContestedClaims } from './contested-claims.ts';
import type { Departures } from './departures.ts';
import type { DrainState } from './drain-state.ts';
import type { HostLosses } from './host-losses.ts';
import type { GuardOrders, Verdict } from './loss-messages.ts';
import type { Sessions } from './sessions.ts';

export interface LossVerdictsOptions {
  readonly losses: HostLosses;
  readonly sessions: Sessions;
  readonly departures: Departures;
  readonly claims: ContestedClaims;
  readonly drain: DrainState;
}

/** Carries out the verdicts of the registry-wide guard on this host's broken sessions: what it does not hold back is removed. */
export class LossVerdicts {
  readonly #options: LossVerdictsOptions;
  /** How often the guard has let something go, so that verdicts of before may be outdated. */
  #rechecks = 0;

  constructor(options: LossVerdictsOptions) {
    this.#options = options;
  }

  obey(orders: GuardOrders): void {
    const { losses, sessions } = this.#options;
    for (const verdict of losses.obey(orders)) this.#carryOut(verdict);
    if (orders.isRecheck) {
      this.#rechecks += 1;
      sessions.recheckHeld();
    }
    losses.flush();
  }

  #carryOut({ session: number, held }: Verdict): void {
    const { sessions, departures, claims, drain } = this.#options;
    const session = sessions.find(number);
    // PU5: a verdict from before a registry began to stop is void, too.
    if (session === undefined || drain.isDraining) return;
    const kept = new Set(held === 'all' || held === 'none' ? [] : held);
    const rechecksBefore = this.#rechecks;
    departures.lose(session, {
      isHeld: (key) => held === 'all' || kept.has(key),
      onHidden: (name) => {
        claims.giveUp(session, name);
      },
      onCarriedOut: () => {
        sessions.settle(session);
        // What was released while it waited for a slot, it was not looked at for: it was not held yet.
        if (this.#rechecks !== rechecksBefore) sessions.recheckHeld();
      },
    });
  }
}
