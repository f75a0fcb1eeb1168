import { build, decodeFromCompressedBase64, encodeIntoCompressedBase64 } from 'hdr-histogram-js';
import type { Histogram } from 'hdr-histogram-js';

export type { Histogram } from 'hdr-histogram-js';

/** Microseconds up to ten minutes, to three digits. */
const highestUs = 600_000_000;

export function createHistogram(): Histogram {
  return build({
    bitBucketSize: 32,
    autoResize: false,
    lowestDiscernibleValue: 1,
    highestTrackableValue: highestUs,
    numberOfSignificantValueDigits: 3,
    useWebAssembly: false,
  });
}

export function recordMs(histogram: Histogram, valueMs: number, times = 1): void {
  histogram.recordValueWithCount(Math.min(highestUs, Math.max(0, Math.round(valueMs * 1000))), times);
}

export function packHistogram(histogram: Histogram): string {
  return encodeIntoCompressedBase64(histogram);
}

export function addPacked(histogram: Histogram, packed: string): void {
  histogram.add(decodeFromCompressedBase64(packed));
}

/** A histogram as results hold it. */
export interface Latency {
  readonly samples: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  /** Percentile and milliseconds, for the curve. */
  readonly curve: readonly (readonly [percentile: number, ms: number])[];
  /** The whole histogram in microseconds, in HdrHistogram's own compressed base64. */
  readonly hdr: string;
}

const curvePercentiles = [
  0, 10, 25, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 97, 98, 99, 99.5, 99.7, 99.9, 99.95, 99.99, 99.999, 100,
];

export function summarize(histogram: Histogram): Latency | undefined {
  const samples = histogram.totalCount;
  if (samples === 0) return undefined;
  const at = (percentile: number): number => histogram.getValueAtPercentile(percentile) / 1000;
  return {
    samples,
    meanMs: Number((histogram.mean / 1000).toFixed(3)),
    p50Ms: at(50),
    p90Ms: at(90),
    p99Ms: at(99),
    p999Ms: at(99.9),
    maxMs: histogram.maxValue / 1000,
    // A percentile that fewer samples cannot tell apart from the largest is left out.
    curve: curvePercentiles
      .filter((percentile) => percentile === 100 || samples * (100 - percentile) >= 100)
      .map((percentile) => [percentile, at(percentile)] as const),
    hdr: packHistogram(histogram),
  };
}
