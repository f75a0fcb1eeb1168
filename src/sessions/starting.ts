import type { Session, Subscription } from './session.ts';

/** Subscriptions that wait for their first answer; until then an older one to the same service continues. */
export class Starting {
  readonly #bySession: Map<Session, Set<Subscription>> = new Map();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  countOf(session: Session): number {
    return this.#bySession.get(session)?.size ?? 0;
  }

  add(subscription: Subscription): void {
    const { session } = subscription;
    const starting = this.#bySession.get(session) ?? new Set();
    this.#bySession.set(session, starting.add(subscription));
    this.#count += 1;
  }

  /** It has its first answer, or was refused. */
  remove(subscription: Subscription): void {
    const starting = this.#bySession.get(subscription.session);
    if (starting?.delete(subscription) !== true) return;
    this.#count -= 1;
    if (starting.size === 0) this.#bySession.delete(subscription.session);
  }

  /** Whether a session has subscribed a service with another filter. */
  hasOtherFilter(session: Session, key: string, filter: string): boolean {
    for (const { key: other, variant } of this.#bySession.get(session) ?? []) {
      if (other === key && variant.filter !== filter) return true;
    }
    return false;
  }

  /** Those of a session to one service are not wanted any more. */
  cancel(session: Session, key: string): void {
    for (const subscription of this.#bySession.get(session) ?? []) {
      if (subscription.key === key) subscription.advance('left');
    }
  }

  /** The session's connection has gone. */
  cancelAll(session: Session): void {
    const starting = this.#bySession.get(session);
    if (starting === undefined) return;
    for (const subscription of starting) subscription.advance('left');
    this.#count -= starting.size;
    this.#bySession.delete(session);
  }
}
