interface Reading {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What `/metrics` said at one moment. What an older or newer registry does not have is undefined here. */
export class MetricReadings {
  readonly #byName: ReadonlyMap<string, readonly Reading[]>;

  constructor(text: string) {
    const byName = new Map<string, Reading[]>();
    for (const [, name = '', labels = '', value = ''] of text.matchAll(/^([a-z_]\w*)(?:\{(.*)\})? (\S+)$/gm)) {
      const readings = byName.get(name) ?? [];
      readings.push({ labels: readLabels(labels), value: value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value) });
      byName.set(name, readings);
    }
    this.#byName = byName;
  }

  /** The sum over all labels, or over those that fit. */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    const readings = this.#byName.get(name);
    return readings === undefined ? undefined : sumOf(readings.filter((reading) => fits(reading, labels)));
  }

  /** By the value of one label, in the order of the exposition. */
  by(name: string, label: string): ReadonlyMap<string, number> {
    const sums = new Map<string, number>();
    for (const { labels, value } of this.#byName.get(name) ?? []) {
      const key = labels[label] ?? '';
      sums.set(key, (sums.get(key) ?? 0) + value);
    }
    return sums;
  }

  /** A quantile of a histogram, of what was observed since `before`; undefined if nothing was. As Prometheus does, it is interpolated within a bucket. */
  quantile(
    name: string,
    share: number,
    before?: MetricReadings,
    labels: Readonly<Record<string, string>> = {},
  ): number | undefined {
    const buckets = [...this.#cumulative(name, labels)].map(([bound, count]): [bound: number, count: number] => [
      bound,
      count - (before?.sum(`${name}_bucket`, { ...labels, le: formatBound(bound) }) ?? 0),
    ]);
    const total = buckets.at(-1)?.[1] ?? 0;
    if (!(total > 0)) return undefined;
    const rank = share * total;
    let [lower, below] = [0, 0];
    for (const [bound, count] of buckets) {
      // Nobody knows how far above the last bound.
      if (count >= rank && count > below) {
        return Number.isFinite(bound) ? lower + ((bound - lower) * (rank - below)) / (count - below) : lower;
      }
      [lower, below] = [bound, count];
    }
    return undefined;
  }

  #cumulative(name: string, wanted: Readonly<Record<string, string>>): Map<number, number> {
    const counts = new Map<number, number>();
    for (const reading of this.#byName.get(`${name}_bucket`) ?? []) {
      if (!fits(reading, wanted)) continue;
      const { le = '' } = reading.labels;
      const bound = le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le);
      counts.set(bound, (counts.get(bound) ?? 0) + reading.value);
    }
    return new Map([...counts].sort(([a], [b]) => a - b));
  }
}

function formatBound(bound: number): string {
  return Number.isFinite(bound) ? String(bound) : '+Inf';
}

function readLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [, label = '', value = ''] of text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
    labels[label] = value.replaceAll(/\\(.)/g, (_, character: string) => (character === 'n' ? '\n' : character));
  }
  return labels;
}

function fits({ labels }: Reading, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([label, value]) => labels[label] === value);
}

function sumOf(readings: readonly Reading[]): number {
  return readings.reduce((sum, { value }) => sum + value, 0);
}
