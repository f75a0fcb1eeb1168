/** The values of metrics by name and labels, as they stand in the text: `name{label="value"}`. */
export type MetricValues = ReadonlyMap<string, number>;

export interface MetricSample {
  /** In seconds since 1970. */
  readonly at: number;
  readonly values: MetricValues;
}

/** Reads the Prometheus text format, as far as this server writes it. */
export function parseMetrics(text: string): MetricValues {
  const values = new Map<string, number>();
  for (const line of text.split('\n')) {
    const end = line.lastIndexOf(' ');
    if (end > 0 && !line.startsWith('#')) values.set(line.slice(0, end), Number(line.slice(end + 1)));
  }
  return values;
}

/** The labels of a series of a family; undefined: it is of another. */
export function readLabels(series: string, family: string): Readonly<Record<string, string>> | undefined {
  if (!series.startsWith(family)) return undefined;
  const rest = series.slice(family.length);
  if (rest === '') return {};
  if (!rest.startsWith('{')) return undefined;
  return Object.fromEntries(
    [...rest.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name = '', value = '']) => [name, value]),
  );
}

/** The sum of all series of a family with these labels. */
export function sumOf(values: MetricValues, family: string, wanted: Readonly<Record<string, string>> = {}): number {
  let sum = 0;
  for (const [series, value] of values) {
    const labels = readLabels(series, family);
    if (labels !== undefined && hasLabels(labels, wanted)) sum += value;
  }
  return sum;
}

/** Of a counter, per second; null: a counter that has begun anew. */
export function rateOf(
  before: MetricSample,
  after: MetricSample,
  family: string,
  wanted: Readonly<Record<string, string>> = {},
): number | null {
  const rise = sumOf(after.values, family, wanted) - sumOf(before.values, family, wanted);
  return rise < 0 || after.at <= before.at ? null : rise / (after.at - before.at);
}

/** A quantile of what a histogram observed between two samples, in its unit; null: nothing. */
export function quantileOf(
  quantile: number,
  before: MetricSample,
  after: MetricSample,
  histogram: { readonly family: string; readonly labels?: Readonly<Record<string, string>> },
): number | null {
  const bounds = new Map<number, number>();
  for (const [series, value] of after.values) {
    const { le, ...labels } = readLabels(series, `${histogram.family}_bucket`) ?? {};
    if (le === undefined || !hasLabels(labels, histogram.labels ?? {})) continue;
    const bound = le === '+Inf' ? Infinity : Number(le);
    bounds.set(bound, (bounds.get(bound) ?? 0) + value - (before.values.get(series) ?? 0));
  }
  const buckets = [...bounds].sort(([a], [b]) => a - b);
  const total = buckets.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  const rank = quantile * total;
  let [lowerBound, lowerCount] = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= rank) {
      // Beyond the last bound nothing more is known.
      if (bound === Infinity) return lowerBound;
      return lowerBound + ((bound - lowerBound) * (rank - lowerCount)) / Math.max(1, count - lowerCount);
    }
    [lowerBound, lowerCount] = [bound, count];
  }
  return lowerBound;
}

function hasLabels(labels: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([name, value]) => labels[name] === value);
}
