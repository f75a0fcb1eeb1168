import type { Router } from '../routing/router.ts';
import type { Counters } from '../runtime/counters.ts';
import type { NamespaceLimits } from './namespace-limits.ts';
import type { Registrar } from './registrar.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import { isThawed, markBy } from './standing-orders.ts';
import type { Orders, StandingOrders } from './standing-orders.ts';
import type { Subscriptions } from './subscriptions.ts';

export interface OrderChangesOptions {
  readonly orders: StandingOrders;
  readonly namespaceLimits: NamespaceLimits;
  readonly sessions: Sessions;
  readonly registrar: Registrar;
  readonly subscriptions: Subscriptions;
  readonly router: Router;
  readonly counters: Pick<Counters, 'countClose'>;
  /** Registrations that are looked at in one turn. */
  readonly sliceRegistrations: number;
  /** Runs a task in a later turn. */
  readonly schedule: (task: () => void) => void;
}

/** A change of orders. */
interface Change {
  readonly before: Orders;
  readonly after: Orders;
}

/** What follows on a host when operators order something, for the sessions that are there. */
export class OrderChanges {
  readonly #options: OrderChangesOptions;
  /** Changes of which not all partitions have been told. */
  readonly #underWay: Set<Change> = new Set();

  constructor(options: OrderChangesOptions) {
    this.#options = options;
  }

  /** Resolves when partitions show what sessions have registered as it is to be shown now. */
  async carryOut(after: Orders): Promise<void> {
    const { orders, subscriptions, namespaceLimits, sessions } = this.#options;
    const before = orders.present;
    orders.set(after);
    if (!isSame(before.limits, after.limits)) namespaceLimits.set(after.limits, sessions.all());
    if (after.quarantined.length > 0) this.#close();
    if (before.frozen.length > 0) void subscriptions.thaw(isThawed(before, after), () => this.#nextTurn());
    const change = { before, after };
    this.#underWay.add(change);
    await this.#remark(change);
    this.#underWay.delete(change);
  }

  /** Whether a session's registration is marked in another way than before, and its partition may not have been told: if that is rebuilt meanwhile, nobody else tells subscribers. */
  isUnderWay(session: Session, fragment: string): boolean {
    for (const { before, after } of this.#underWay) {
      if (markBy(before, session, fragment) !== markBy(after, session, fragment)) return true;
    }
    return false;
  }

  /** Whoever is quarantined goes; what it registered ends as if its connection had broken. */
  #close(): void {
    const { sessions, orders, counters } = this.#options;
    for (const session of sessions.all()) {
      if (session.socket === undefined || orders.refuseCaller(session) === undefined) continue;
      counters.countClose('quarantined');
      session.socket.end('quarantined');
    }
  }

  /** What came meanwhile has been marked as it came. */
  async #remark({ before, after }: Change): Promise<void> {
    if (isSame(before.off, after.off) && isSame(before.drained, after.drained)) return;
    const { sessions, registrar, router, sliceRegistrations } = this.#options;
    const keys = new Set<string>();
    let looked = 0;
    for (const session of sessions.all()) {
      if (!concerns(before, after, session)) continue;
      for (const { key, id } of session.registrations.names()) {
        looked += 1;
        if (looked % sliceRegistrations === 0) await this.#nextTurn();
        const registration = session.registrations.get(key, id);
        if (registration === undefined) continue;
        const { fragment } = registration;
        if (markBy(before, session, fragment) === markBy(after, session, fragment)) continue;
        registrar.remark(session, registration);
        keys.add(key);
      }
    }
    await new Promise<void>((resolve) => {
      router.whenThawed([...keys], resolve);
    });
    await router.whenApplied(keys);
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => {
      this.#options.schedule(resolve);
    });
  }
}

/** Whether something that it registered may be marked in another way. */
function concerns(before: Orders, after: Orders, session: Session): boolean {
  if (session.registrations.size === 0) return false;
  if (!isSame(before.drained, after.drained)) return true;
  // Without anything drained the mark is the same for all that it registered.
  const [was, is] = [before, after].map(({ off }) => markBy({ ...after, off, drained: [] }, session, ''));
  return was !== is;
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
