import { highestOf } from '../../protocol/extremes.ts';
import type { NamedLatency, RunResult, Sample } from '../result.ts';
import { formatBytes, formatMs, formatNumber } from './formatting.ts';
import { renderChart } from './line-chart.ts';
import type { Series } from './line-chart.ts';

const formatSeconds = (seconds: number): string => `${seconds} s`;

/** The charts of one run; with `before`, those of another dashed behind it where they can be laid over each other. */
export function renderCharts(run: RunResult, before: RunResult | undefined): string {
  const bands = findBands(run.timeline);
  const overTime = { formatX: formatSeconds, captionX: 'since the start of the run; shaded: measured', bands };
  const charts = [
    renderChart({
      ...overTime,
      title: 'Latency over time',
      isLogarithmic: true,
      formatY: formatMs,
      series: [
        { label: 'p50', color: 1, points: run.latencyOverTime.map(({ atS, p50Ms }) => [atS, p50Ms]) },
        { label: 'p99', color: 2, points: run.latencyOverTime.map(({ atS, p99Ms }) => [atS, p99Ms]) },
        { label: 'max', color: 3, points: run.latencyOverTime.map(({ atS, maxMs }) => [atS, maxMs]) },
      ],
    }),
    renderPercentiles(run, before),
    renderChart({
      ...overTime,
      title: 'Throughput over time',
      formatY: (value) => `${formatNumber(value)}/s`,
      series: [
        draw('pushes', 1, run.timeline, ({ pushesPerS }) => pushesPerS),
        draw('requests sent', 2, run.timeline, ({ sentPerS }) => sentPerS),
        draw('answers', 3, run.timeline, ({ acksPerS }) => acksPerS),
      ].filter(({ points }) => points.some(([, y]) => y > 0)),
    }),
    renderChart({
      ...overTime,
      title: 'CPU over time, of one core',
      formatY: (value) => `${formatNumber(value)} %`,
      series: [
        draw('server', 1, run.timeline, ({ serverCpuPercent }) => serverCpuPercent),
        draw('busiest load process', 2, run.timeline, ({ loadCpuPercent }) => loadCpuPercent),
      ],
    }),
    renderChart({
      ...overTime,
      title: 'Memory over time',
      formatY: formatBytes,
      series: [
        draw('server, resident', 1, run.timeline, ({ serverRssBytes }) => serverRssBytes),
        draw('TCP buffers of this machine', 2, run.timeline, ({ tcpMemoryBytes }) => tcpMemoryBytes),
      ],
    }),
    renderChart({
      ...overTime,
      title: 'Sessions over time',
      formatY: formatNumber,
      series: [draw('sessions', 1, run.timeline, ({ sessions }) => sessions)],
    }),
  ];
  return `<div class="charts">${charts.join('')}</div>`;
}

function draw(
  label: string,
  color: Series['color'],
  timeline: readonly Sample[],
  of: (sample: Sample) => number | null,
): Series {
  const points = timeline.flatMap((sample) => {
    const value = of(sample);
    return value === null ? [] : [[sample.atS, value] as const];
  });
  return { label, color, points };
}

/** Neighbouring samples that were measured, as spans of time. */
function findBands(timeline: readonly Sample[]): (readonly [number, number])[] {
  const bands: [number, number][] = [];
  for (const [index, { atS, isMeasured }] of timeline.entries()) {
    if (!isMeasured) continue;
    const from = timeline[index - 1]?.atS ?? 0;
    const last = bands.at(-1);
    if (last !== undefined && last[1] === from) last[1] = atS;
    else bands.push([from, atS]);
  }
  return bands;
}

const percentileTicks = [0, 90, 99, 99.9, 99.99, 99.999];
/** More curves than this are no longer told apart. */
const curvesMax = 4;
const curvesBesideMax = 2;

/** As HdrHistogram draws it: each nine takes as much room as the one before. */
function renderPercentiles(run: RunResult, before: RunResult | undefined): string {
  const curve = ({ latency }: NamedLatency): (readonly [number, number])[] =>
    latency.curve.filter(([percentile]) => percentile < 100).map(([percentile, ms]) => [nines(percentile), ms]);
  const chosen = run.latencies
    .filter(({ key }) => !key.startsWith('each'))
    .slice(0, before === undefined ? curvesMax : curvesBesideMax);
  const series = chosen.flatMap((named, index): Series[] => {
    const color = (index + 1) as Series['color'];
    const other = before?.latencies.find(({ key }) => key === named.key);
    const label = shorten(named.label);
    return [
      { label, color, points: curve(named) },
      ...(other === undefined ? [] : [{ label: `${label}, before`, color, isDashed: true, points: curve(other) }]),
    ];
  });
  const right = Math.max(1, highestOf(series.flatMap(({ points }) => points.map(([x]) => x))));
  return renderChart({
    title: 'Latency by percentile',
    isLogarithmic: true,
    formatY: formatMs,
    formatX: (x) => `${Number((100 - 100 * 10 ** -x).toPrecision(5))} %`,
    ticksX: percentileTicks.map(nines).filter((x) => x <= right + 0.01),
    captionX: 'share of the samples that took at most so long',
    series,
  });
}

function nines(percentile: number): number {
  return -Math.log10(1 - percentile / 100);
}

function shorten(label: string): string {
  return label.replace(/^churn: /, '');
}
