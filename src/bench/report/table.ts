import { highestOf } from '../../protocol/extremes.ts';
import type { BenchResult, RunResult } from '../result.ts';
import { compareRuns } from './comparison.ts';
import { formatEnvironment, formatFigure, formatMs, formatOption } from './formatting.ts';

/** Columns as wide as their widest cell; the first to the left, the others to the right. */
function layTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => highestOf(rows.map((row) => (row[column] ?? '').length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** A result for a terminal; with `before`, that of another run beside it. */
export function formatResult(result: BenchResult, before?: BenchResult): string {
  const parts = [formatEnvironment(result)];
  for (const run of result.runs) {
    const beside = before?.runs.find(({ scenario }) => scenario === run.scenario);
    parts.push(formatRun(run, beside));
    if (before !== undefined && beside === undefined) parts.push(`the run to compare with has no ${run.scenario}`);
  }
  return `${parts.join('\n\n')}\n`;
}

function formatRun(run: RunResult, before: RunResult | undefined): string {
  const settings = Object.entries(run.settings).map(([name, value]) => `${formatOption(name)} ${value}`);
  const parts = [
    `${run.scenario}: ${formatStatus(run)} in ${run.tookS} s\n  ${settings.join(' ')} --seed ${run.seed}`,
    before === undefined ? formatMeasured(run) : formatBeside(run, before),
    layChecks(run),
    formatList('limits', run.limits),
    formatList('notes', run.notes),
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

export function formatStatus({ status }: RunResult): string {
  return status === 'failed' ? 'FAILED' : status;
}

function formatMeasured(run: RunResult): string {
  const latencies = run.latencies.map(({ label, latency }) => [
    label,
    ...[latency.p50Ms, latency.p90Ms, latency.p99Ms, latency.p999Ms, latency.maxMs].map(formatMs),
    String(latency.samples),
  ]);
  const parts: string[] = [];
  if (latencies.length > 0)
    parts.push(layTable([['latency', 'p50', 'p90', 'p99', 'p99.9', 'max', 'samples'], ...latencies]));
  if (run.figures.length > 0)
    parts.push(layTable([['figure', 'value'], ...run.figures.map((figure) => [figure.label, formatFigure(figure)])]));
  return parts.join('\n\n');
}

function formatBeside(run: RunResult, before: RunResult): string {
  const { rows, differences } = compareRuns(run, before);
  const table = layTable([
    ['', 'before', 'now', 'now / before', ''],
    ...rows.map(({ label, before, now, ratio, verdict }) => [label, before, now, ratio, verdict]),
  ]);
  return [table, formatList('the runs differ in', differences)].filter((part) => part !== '').join('\n\n');
}

function layChecks({ checks }: RunResult): string {
  return checks.map(({ name, isHeld, detail }) => `  ${isHeld ? 'ok    ' : 'FAILED'}  ${name}: ${detail}`).join('\n');
}

function formatList(title: string, items: readonly string[]): string {
  return items.length === 0 ? '' : [`${title}:`, ...items.map((item) => `  - ${item}`)].join('\n');
}
