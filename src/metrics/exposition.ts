import type { Histogram } from '../runtime/histogram.ts';

export type Labels = Readonly<Record<string, string>>;

/** One line of a family, or, of a histogram, all its lines. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number | Histogram;
}

export interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
}

export const expositionType = 'text/plain; version=0.0.4; charset=utf-8';

/** Words one family in Prometheus' text format, version 0.0.4. */
export function formatFamily({ name, type, help }: Family, samples: readonly Sample[]): string {
  let text = `# HELP ${name} ${escape(help)}\n# TYPE ${name} ${type}\n`;
  for (const { labels, value } of samples) {
    text += typeof value === 'number' ? formatLine(name, labels, value) : formatHistogram(name, labels, value);
  }
  return text;
}

function formatHistogram(name: string, labels: Labels, histogram: Histogram): string {
  let text = '';
  let below = 0;
  for (const [i, bound] of [...histogram.bounds, Number.POSITIVE_INFINITY].entries()) {
    below += histogram.cells[i] ?? 0;
    text += formatLine(`${name}_bucket`, { ...labels, le: formatNumber(bound) }, below);
  }
  return text + formatLine(`${name}_sum`, labels, histogram.sum) + formatLine(`${name}_count`, labels, below);
}

function formatLine(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escape(text).replaceAll('"', '\\"')}"`);
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${formatNumber(value)}\n`;
}

function formatNumber(value: number): string {
  return value === Number.POSITIVE_INFINITY ? '+Inf' : String(value);
}

function escape(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}
