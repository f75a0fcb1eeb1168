import type { VNode } from 'preact';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import uPlot from 'uplot';

import { formatRate } from './format.ts';
import { quantileOf, rateOf } from './metrics.ts';
import type { MetricSample } from './metrics.ts';
import { usePoller } from './poller.ts';
import { metricsPoller } from './registry-state.ts';
import { useMedia } from './virtual-list.tsx';

/** What a plot shows at least. */
const spanSecondsMin = 60;
const times = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

type Reading = (before: MetricSample, after: MetricSample) => number | null;

interface Line {
  readonly label: string;
  readonly read: Reading;
}

interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly lines: readonly Line[];
}

const requests = 'slotcast_request_duration_seconds';
const publishing = { family: 'slotcast_publish_duration_seconds' };
const registering = { family: requests, labels: { method: 'instance.register' } };

function quantileMs(quantile: number, histogram: Parameters<typeof quantileOf>[3]): Reading {
  return (before, after) => {
    const seconds = quantileOf(quantile, before, after, histogram);
    return seconds === null ? null : seconds * 1000;
  };
}

function rate(family: string, labels: Readonly<Record<string, string>> = {}): Reading {
  return (before, after) => rateOf(before, after, family, labels);
}

const charts: readonly Chart[] = [
  {
    title: 'Pushes',
    unit: '/s',
    lines: [
      { label: 'frames to subscribers', read: rate('slotcast_push_frames_total') },
      { label: 'pushes of services', read: rate('slotcast_pushes_total') },
    ],
  },
  {
    title: 'Registrations',
    unit: '/s',
    lines: [
      { label: 'register', read: rate(`${requests}_count`, { method: 'instance.register' }) },
      { label: 'deregister', read: rate(`${requests}_count`, { method: 'instance.deregister' }) },
    ],
  },
  {
    title: 'From change to last subscriber',
    unit: ' ms',
    lines: [
      { label: 'p50', read: quantileMs(0.5, publishing) },
      { label: 'p99', read: quantileMs(0.99, publishing) },
    ],
  },
  {
    title: 'Answer to a registration',
    unit: ' ms',
    lines: [
      { label: 'p50', read: quantileMs(0.5, registering) },
      { label: 'p99', read: quantileMs(0.99, registering) },
    ],
  },
];

export function LoadPage(): VNode {
  const { value: samples = [], error } = usePoller(metricsPoller);
  return (
    <>
      <header class="page-head">
        <h1>Load</h1>
        <p class="figures" role="status">
          {error === undefined ? 'the last ten minutes in which this page was open' : error.message}
        </p>
      </header>
      <div class="charts scrolled" tabIndex={0} role="region" aria-label="Plots">
        {charts.map((chart) => (
          <ChartView key={chart.title} chart={chart} samples={samples} />
        ))}
      </div>
    </>
  );
}

/** Colors of lines, by the style sheet. */
const lineColors = ['--line-1', '--line-2'];

function ChartView({ chart, samples }: { readonly chart: Chart; readonly samples: readonly MetricSample[] }): VNode {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const isDark = useMedia('(prefers-color-scheme: dark)');
  const points = useMemo(() => readPoints(chart, samples), [chart, samples]);
  const latest = useRef(points);
  latest.current = points;
  useEffect(() => {
    const element = place.current!;
    const made = new uPlot(describePlot(chart, element), latest.current, element);
    plot.current = made;
    const observer = new ResizeObserver(() => {
      made.setSize({ width: element.clientWidth, height: element.clientHeight });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
    };
  }, [chart, isDark]);
  useEffect(() => {
    plot.current?.setData(points);
  }, [points]);
  const figures = chart.lines.map(({ label }, line) => {
    const value = points[line + 1]?.at(-1);
    return { label, text: value === null || value === undefined ? '–' : `${formatRate(value)}${chart.unit}` };
  });
  return (
    <figure class="chart">
      <figcaption>
        <h2>{chart.title}</h2>
        {figures.map(({ label, text }, line) => (
          <span key={label} class="legend">
            <svg class="swatch" viewBox="0 0 1 1" aria-hidden="true">
              <rect width="1" height="1" fill={`var(${lineColors[line]})`} />
            </svg>
            {label} <b>{text}</b>
          </span>
        ))}
      </figcaption>
      <div
        class="plot"
        ref={place}
        role="img"
        aria-label={`${chart.title}: ${figures.map(({ label, text }) => `${label} ${text}`).join(', ')}`}
      />
    </figure>
  );
}

function readPoints({ lines }: Chart, samples: readonly MetricSample[]): uPlot.AlignedData {
  const later = samples.slice(1);
  const columns = lines.map(({ read }) => later.map((after, i) => read(samples[i]!, after)));
  return [later.map(({ at }) => at), ...columns];
}

function describePlot({ lines, unit }: Chart, element: HTMLElement): uPlot.Options {
  const style = getComputedStyle(element);
  const [ink, grid] = [style.getPropertyValue('--dim'), style.getPropertyValue('--rule')];
  const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
  return {
    width: element.clientWidth,
    height: element.clientHeight,
    legend: { show: false },
    cursor: { y: false, points: { size: 6 } },
    scales: {
      x: { range: (_plot, min, max) => [Math.min(min ?? 0, (max ?? 0) - spanSecondsMin), max ?? spanSecondsMin] },
      y: { range: (_plot, _min, max) => [0, Math.max(1, (max ?? 0) * 1.1)] },
    },
    axes: [
      { ...axis, space: 90, values: (_plot, splits) => splits.map((at) => times.format(at * 1000)) },
      { ...axis, size: 64, values: (_plot, splits) => splits.map((value) => `${formatRate(value)}${unit}`) },
    ],
    series: [
      {},
      ...lines.map(({ label }, line) => ({
        label,
        stroke: style.getPropertyValue(lineColors[line] ?? ''),
        width: 2,
        spanGaps: false,
        points: { show: false },
      })),
    ],
  };
}
