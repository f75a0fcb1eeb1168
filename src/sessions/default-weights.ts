import { giveWeight } from '../protocol/instance-encoding.ts';
import type { EncodedInstance } from '../protocol/instance-encoding.ts';

/** The weights that services are declared with: what instances get that are registered without one. Every host knows them all. */
export class DefaultWeights {
  readonly #weights: Map<string, number> = new Map();

  /** `weight` undefined: the service is declared with none any more. */
  set(key: string, weight: number | undefined): void {
    if (weight === undefined) this.#weights.delete(key);
    else this.#weights.set(key, weight);
  }

  /** The instance as its service has it. */
  fill(key: string, instance: EncodedInstance): EncodedInstance {
    if (instance.hasWeight || this.#weights.size === 0) return instance;
    const weight = this.#weights.get(key);
    return weight === undefined ? instance : giveWeight(instance, weight);
  }
}
