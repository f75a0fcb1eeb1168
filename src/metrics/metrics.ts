import { sumStates } from '../control/registry-state.ts';
import type { StateReader } from '../control/state-reader.ts';
import { countDescriptors } from '../runtime/descriptor-counts.ts';
import { formatFamily, expositionType } from './exposition.ts';
import { metricFamilies } from './metric-families.ts';
import type { MetricsSource } from './metric-families.ts';

export interface MetricsText {
  readonly contentType: string;
  readonly text: string;
}

export interface MetricsOptions {
  readonly states: StateReader;
  readonly source: MetricsSource;
}

/** `/metrics`: reads what hosts, partitions and the supervisor count anyway, when it is asked for. */
export class Metrics {
  readonly #source: MetricsSource;
  readonly #states: StateReader;

  constructor({ states, source }: MetricsOptions) {
    this.#source = source;
    this.#states = states;
  }

  async read(): Promise<MetricsText> {
    const [states, descriptors] = await Promise.all([this.#states.read(), countDescriptors()]);
    const { counters, requestsWaiting, requestsInFlight } = sumStates(states);
    const reading = {
      hosts: states.map(({ figures }) => figures),
      silentHosts: this.#states.silentCount,
      counters,
      requestsWaiting,
      partitions: this.#source.readPartitions(),
      requestsInFlight,
      descriptors,
      source: this.#source,
    };
    const text = metricFamilies.map((family) => formatFamily(family, family.read(reading))).join('');
    return { contentType: expositionType, text };
  }
}
