/** Who registers what and who watches it, as arithmetic: every load process knows the whole of it without a message. */
export interface Population {
  /** Of this run alone, so that nothing from before or beside it is counted. */
  readonly namespace: string;
  readonly seed: number;
  readonly services: number;
  /** Of all services together. */
  readonly instances: number;
  /** Sessions that register; each holds neighbouring instances, which belong to different services where there are enough. */
  readonly providers: number;
  /** Of each service. */
  readonly subscribers: number;
  /** Sessions that subscribe. */
  readonly readers: number;
  /** Keys and values of one instance's metadata together. */
  readonly metadataBytes: number;
}

/** The number in an instance's metadata takes this much. */
const markBytes = 20;
const namedFields = '"app":"checkout","env":"production","owner":"payments","version":"12.4.1",';
const namedBytes = 50;
const padKeyBytes = 3;

export function perProvider({ instances, providers }: Population): number {
  return Math.ceil(instances / providers);
}

/** At most; the last reader may have fewer. */
export function perReader({ services, subscribers, readers }: Population): number {
  return readers === 0 ? 0 : Math.ceil((services * subscribers) / readers);
}

export function providerOf(population: Population, instance: number): number {
  return Math.floor(instance / perProvider(population));
}

export function serviceOf({ services }: Population, instance: number): number {
  return instance % services;
}

/** Where an instance stands among those of its service. */
export function placeOf({ services }: Population, instance: number): number {
  return Math.floor(instance / services);
}

/** Places of the service that has most. */
export function placesPerService({ instances, services }: Population): number {
  return Math.ceil(instances / services);
}

/** Equally long for all services, so that readers find it at a fixed place. */
export function nameService(service: number): string {
  return `s-${String(service).padStart(8, '0')}`;
}

function nameInstance(instance: number): string {
  return `i-${String(instance).padStart(8, '0')}`;
}

/** An instance as JSON. `mark` numbers what it holds: 0 at first, `change + 1` after a change. */
export function encodeInstance(population: Population, instance: number, mark: number): string {
  const host = `10.${(instance >> 16) & 255}.${(instance >> 8) & 255}.${instance & 255}`;
  const n = `${String(instance).padStart(8, '0')}.${String(mark).padStart(10, '0')}`;
  const pad = population.metadataBytes - markBytes - padKeyBytes;
  const fields = pad > namedBytes ? namedFields : '';
  const filler = buildFiller(population.seed ^ instance, fields === '' ? pad : pad - namedBytes);
  return `{"id":"${nameInstance(instance)}","host":"${host}","port":8080,"metadata":{${fields}"pad":"${filler}","n":"${n}"}}`;
}

/** Different for every instance, as real metadata is: equal text could be stored once for all. */
function buildFiller(seed: number, length: number): string {
  let state = seed | 0;
  let text = '';
  while (text.length < length) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    text += ((state ^ (state >>> 15)) >>> 0).toString(36);
  }
  return text.slice(0, length);
}

/** Which instance each change touches: all in turn, in an order that the seed gives. */
export class ChangeOrder {
  readonly #instances: number;
  readonly #stride: number;
  readonly #offset: number;

  constructor({ instances, seed }: Population) {
    this.#instances = instances;
    this.#offset = seed % instances;
    let stride = Math.max(1, Math.floor(instances * 0.618) + (seed % 97)) % instances || 1;
    while (greatestDivisor(stride, instances) !== 1) stride += 1;
    this.#stride = stride;
  }

  instanceOf(change: number): number {
    return ((change % this.#instances) * this.#stride + this.#offset) % this.#instances;
  }
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

/** Mulberry32: the same numbers for the same seed, everywhere. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
