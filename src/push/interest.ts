import type { FilterView } from './filter-view.ts';
import type { Variant } from './variant.ts';

/** Who subscribes to one variant of a service, and what they have been sent. */
export interface VariantInterest {
  readonly variant: Variant;
  /** The instances that its filter lets through; undefined without a filter. */
  readonly view: FilterView | undefined;
  hosts: readonly number[];
  /** What its subscribers have been brought to. It stays behind the service's version while nothing changes that they see. */
  pushedVersion: number;
  /** Whether somebody was sent a state from in between, so that changes that cancel out must still be pushed. */
  wasReadBetween: boolean;
  /** Whether they know the service as closed by an operator; undefined: some may, and others not. */
  knowsClosed: boolean | undefined;
}
