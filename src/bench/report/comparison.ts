import type { Better, RunResult } from '../result.ts';
import { formatFigure, formatMs, formatOption } from './formatting.ts';

export interface ComparedRow {
  readonly label: string;
  readonly before: string;
  readonly now: string;
  readonly ratio: string;
  /** One run on each side cannot show more than large differences, so small ones are not judged. */
  readonly verdict: '' | 'better' | 'worse';
}

/** Between these a difference of two single runs is taken for chance. */
const sameMax = 1.1;

export function compareRuns(
  now: RunResult,
  before: RunResult,
): { readonly rows: readonly ComparedRow[]; readonly differences: readonly string[] } {
  const latencies = now.latencies.flatMap(({ key, label, latency }) => {
    const other = before.latencies.find((each) => each.key === key)?.latency;
    if (other === undefined) return [];
    const samples = Math.min(other.samples, latency.samples);
    const shown = percentiles.filter(({ samplesMin }) => samples >= samplesMin);
    return shown.map(({ key: percentile, title }) =>
      compare(`${label}, ${title}`, other[percentile], latency[percentile], 'lower', formatMs),
    );
  });
  const figures = now.figures.flatMap((figure) => {
    const other = before.figures.find(({ key }) => key === figure.key);
    if (other === undefined) return [];
    return compare(figure.label, other.value, figure.value, figure.better, (value) =>
      formatFigure({ ...figure, value }),
    );
  });
  return { rows: [...latencies, ...figures], differences: findDifferences(now, before) };
}

function compare(
  label: string,
  before: number,
  now: number,
  better: Better,
  format: (value: number) => string,
): ComparedRow {
  const ratio = now / before;
  const isGain = better === 'higher' ? ratio > sameMax : ratio < 1 / sameMax;
  const isLoss = better === 'higher' ? ratio < 1 / sameMax : ratio > sameMax;
  const verdict = better === 'neither' || !Number.isFinite(ratio) ? '' : isGain ? 'better' : isLoss ? 'worse' : '';
  return {
    label,
    before: format(before),
    now: format(now),
    ratio: Number.isFinite(ratio) ? ratio.toFixed(2) : '–',
    verdict,
  };
}

/** With fewer samples a percentile is the luck of the slowest few. */
const percentiles = [
  { key: 'p50Ms', title: 'p50', samplesMin: 1 },
  { key: 'p99Ms', title: 'p99', samplesMin: 200 },
  { key: 'p999Ms', title: 'p99.9', samplesMin: 2000 },
] as const;

/** Runs of different settings can be set side by side, but not without saying so. */
function findDifferences(now: RunResult, before: RunResult): string[] {
  const names = new Set([...Object.keys(now.settings), ...Object.keys(before.settings)]);
  return [...names]
    .filter((name) => now.settings[name] !== before.settings[name])
    .map((name) => `${formatOption(name)}: before ${before.settings[name] ?? '–'}, now ${now.settings[name] ?? '–'}`);
}
