import type { SubscribeMode } from '../protocol/types.ts';

/** The forms in which a change can be pushed; each is encoded once, however many subscribe to it (PU3). */
export const variants: readonly SubscribeMode[] = ['delta', 'snapshot'];

/** Which session hosts have subscribers of a service, and to which variants. */
export class Interest {
  readonly #hostsByVariant: Record<SubscribeMode, Set<number>> = { delta: new Set(), snapshot: new Set() };

  add(host: number, variant: SubscribeMode): void {
    this.#hostsByVariant[variant].add(host);
  }

  remove(host: number, variant: SubscribeMode): void {
    this.#hostsByVariant[variant].delete(host);
  }

  hosts(variant: SubscribeMode): ReadonlySet<number> {
    return this.#hostsByVariant[variant];
  }

  get isEmpty(): boolean {
    return this.#hostsByVariant.delta.size === 0 && this.#hostsByVariant.snapshot.size === 0;
  }
}
