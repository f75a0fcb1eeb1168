import { wordFamily, expositionType } from './exposition.ts';
import type { HostUnit, UnitState } from './host-unit.ts';
import { metricFamilies } from './metric-families.ts';
import type { MetricsSource } from './metric-families.ts';
import { sumStates } from './registry-state.ts';

export interface MetricsText {
  readonly contentType: string;
  readonly text: string;
}

export interface MetricsOptions {
  readonly units: readonly Pick<HostUnit, 'readState'>[];
  readonly source: MetricsSource;
  readonly delay: (ms: number) => Promise<void>;
}

/** How long a session host may take to say its figures before its last ones are told, in milliseconds. */
const answerTimeoutMs = 1000;

/** `/metrics`: reads what hosts, partitions and the supervisor count anyway, when it is asked for. */
export class Metrics {
  readonly #source: MetricsSource;
  readonly #hosts: readonly HostReader[];
  readonly #delay: MetricsOptions['delay'];

  constructor({ units, source, delay }: MetricsOptions) {
    this.#source = source;
    this.#hosts = units.map((unit) => new HostReader(unit));
    this.#delay = delay;
  }

  async read(): Promise<MetricsText> {
    const all = Promise.all(this.#hosts.map((host) => host.ask()));
    await Promise.race([all, this.#delay(answerTimeoutMs)]);
    const states = this.#hosts.flatMap(({ last }) => last ?? []);
    const { counters, requestsWaiting, requestsInFlight } = sumStates(states);
    const reading = {
      hosts: states.map(({ figures }) => figures),
      silentHosts: this.#hosts.filter(({ isAsked }) => isAsked).length,
      counters,
      requestsWaiting,
      partitions: this.#source.readPartitions(),
      requestsInFlight,
      source: this.#source,
    };
    const text = metricFamilies.map((family) => wordFamily(family, family.read(reading))).join('');
    return { contentType: expositionType, text };
  }
}

/** Asks one host, whose thread may hang: never twice at a time, so that questions do not pile up. */
class HostReader {
  readonly #unit: Pick<HostUnit, 'readState'>;
  #asked: Promise<void> | undefined;
  last: UnitState | undefined;

  constructor(unit: Pick<HostUnit, 'readState'>) {
    this.#unit = unit;
  }

  /** It has been asked and has not answered. */
  get isAsked(): boolean {
    return this.#asked !== undefined;
  }

  ask(): Promise<void> {
    this.#asked ??= this.#unit.readState().then((state) => {
      this.last = state;
      this.#asked = undefined;
    });
    return this.#asked;
  }
}
