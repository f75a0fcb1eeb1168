import { wordFamily, expositionType } from './exposition.ts';
import { metricFamilies } from './metric-families.ts';
import type { MetricsSource } from './metric-families.ts';

export interface MetricsText {
  readonly contentType: string;
  readonly text: string;
}

/** `/metrics`: reads what hosts, partitions and the supervisor count anyway, when it is asked for. */
export class Metrics {
  readonly #source: MetricsSource;

  constructor(source: MetricsSource) {
    this.#source = source;
  }

  read(): MetricsText {
    const reading = {
      hosts: this.#source.readHosts(),
      counters: this.#source.readCounters(),
      partitions: this.#source.readPartitions(),
      source: this.#source,
    };
    const text = metricFamilies.map((family) => wordFamily(family, family.read(reading))).join('');
    return { contentType: expositionType, text };
  }
}
