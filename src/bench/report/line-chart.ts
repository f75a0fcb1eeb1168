import { highestOf, lowestOf } from '../../protocol/extremes.ts';
import { escapeHtml } from './markup.ts';

/** One line of a chart; `color` is one of the page's, 1 to 4. */
export interface Series {
  readonly label: string;
  readonly color: 1 | 2 | 3 | 4;
  readonly isDashed?: boolean;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Chart {
  readonly title: string;
  readonly series: readonly Series[];
  readonly formatY: (value: number) => string;
  readonly formatX: (value: number) => string;
  /** Where the marks of the x axis stand; by default at round numbers. */
  readonly ticksX?: readonly number[];
  /** The part of the x axis that was measured. */
  readonly bands?: readonly (readonly [from: number, to: number])[];
  readonly isLogarithmic?: boolean;
  readonly captionX: string;
}

const box = { width: 600, height: 240, left: 66, right: 14, top: 12, bottom: 34 } as const;
const plotWidth = box.width - box.left - box.right;
const plotHeight = box.height - box.top - box.bottom;

/** An inline SVG that needs no script: it prints, and it follows the colours of the page. */
export function renderChart(chart: Chart): string {
  const series = chart.series.filter(({ points }) => points.length > 0);
  const all = series.flatMap(({ points }) => points);
  if (all.length === 0) return '';
  const spanX = extent([...all.map(([x]) => x), ...(chart.ticksX ?? [])]);
  const scaleX = (x: number): number => box.left + ((x - spanX[0]) / (spanX[1] - spanX[0] || 1)) * plotWidth;
  const { ticks: ticksY, scale: scaleY } = createScaleY(
    chart,
    all.map(([, y]) => y),
  );
  const ticksX = chart.ticksX ?? chooseTicks(spanX[0], spanX[1], 6).filter((x) => x >= spanX[0] && x <= spanX[1]);
  const bottom = box.height - box.bottom;
  const parts = [
    ...(chart.bands ?? []).map(([from, to]) => {
      const [x, width] = [
        scaleX(Math.max(from, spanX[0])),
        scaleX(Math.min(to, spanX[1])) - scaleX(Math.max(from, spanX[0])),
      ];
      return `<rect class="band" x="${fix(x)}" y="${box.top}" width="${fix(Math.max(0, width))}" height="${plotHeight}"/>`;
    }),
    ...ticksY.map(
      (y) =>
        `<line class="grid" x1="${box.left}" x2="${box.width - box.right}" y1="${fix(scaleY(y))}" y2="${fix(scaleY(y))}"/><text class="tick" x="${box.left - 8}" y="${fix(scaleY(y) + 4)}" text-anchor="end">${escapeHtml(chart.formatY(y))}</text>`,
    ),
    ...ticksX.map(
      (x) =>
        `<text class="tick" x="${fix(scaleX(x))}" y="${bottom + 16}" text-anchor="middle">${escapeHtml(chart.formatX(x))}</text>`,
    ),
    `<text class="caption" x="${box.left + plotWidth / 2}" y="${box.height - 3}" text-anchor="middle">${escapeHtml(chart.captionX)}</text>`,
    `<line class="axis" x1="${box.left}" x2="${box.width - box.right}" y1="${bottom}" y2="${bottom}"/>`,
    // The first line is the one that matters, so it is drawn last, over the others.
    ...series.toReversed().map((one) => renderSeries(one, chart, scaleX, scaleY)),
  ];
  const legend = series
    .map(
      ({ label, color, isDashed }) =>
        `<span class="key c${color}${isDashed === true ? ' dashed' : ''}">${escapeHtml(label)}</span>`,
    )
    .join('');
  return `<figure class="chart"><figcaption><b>${escapeHtml(chart.title)}</b><span class="legend">${legend}</span></figcaption><svg viewBox="0 0 ${box.width} ${box.height}" role="img" aria-label="${escapeHtml(chart.title)}">${parts.join('')}</svg></figure>`;
}

function renderSeries(
  { label, color, isDashed, points }: Series,
  { formatX, formatY }: Chart,
  scaleX: (x: number) => number,
  scaleY: (y: number) => number,
): string {
  const at = points.map(([x, y]) => [fix(scaleX(x)), fix(scaleY(y))] as const);
  const line = at.map(([x, y]) => `${x},${y}`).join(' ');
  const shape =
    at.length === 1
      ? `<circle class="dot c${color}" cx="${at[0]![0]}" cy="${at[0]![1]}" r="3"/>`
      : `<polyline class="line c${color}${isDashed === true ? ' dashed' : ''}" points="${line}"/>`;
  // What browsers show under the pointer, without a script.
  const spots =
    points.length > spotsMax
      ? []
      : points.map(
          ([x, y], i) =>
            `<circle class="spot" cx="${at[i]![0]}" cy="${at[i]![1]}" r="7"><title>${escapeHtml(`${label}, ${formatX(x)}: ${formatY(y)}`)}</title></circle>`,
        );
  return shape + spots.join('');
}

const spotsMax = 150;

function createScaleY(
  { isLogarithmic }: Chart,
  values: readonly number[],
): { readonly ticks: readonly number[]; readonly scale: (y: number) => number } {
  const max = Math.max(highestOf(values), 0);
  if (isLogarithmic === true) {
    const positive = values.filter((value) => value > 0);
    const low = Math.floor(Math.log10(Math.min(lowestOf(positive), max || 1)));
    const high = Math.max(low + 1, Math.ceil(Math.log10(max || 1)));
    const ticks = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
    const scale = (y: number): number =>
      box.top + plotHeight * (1 - (Math.log10(Math.max(y, 10 ** low)) - low) / (high - low));
    return { ticks, scale };
  }
  const ticks = chooseTicks(0, max || 1, 5);
  const top = ticks.at(-1)!;
  return { ticks, scale: (y) => box.top + plotHeight * (1 - y / top) };
}

/** Round numbers from at most `low` to at least `high`. */
function chooseTicks(low: number, high: number, count: number): number[] {
  const rough = (high - low || 1) / count;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * unit).find((candidate) => candidate >= rough)!;
  const first = Math.floor(low / step);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function extent(values: readonly number[]): readonly [number, number] {
  return [lowestOf(values), highestOf(values)];
}

function fix(value: number): string {
  return String(Math.round(value * 10) / 10);
}
