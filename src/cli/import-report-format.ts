import type { ImportReport, ReportLine } from '../archive/import-report.ts';
import { escapeTerminal } from '../runtime/terminal-escapes.ts';
import { formatText } from './output.ts';

/** A report for people. What it quotes of a dump is shown as such. */
export function formatReport(report: ImportReport, isDryRun: boolean): string {
  const { service, instance, key } = report.taken;
  const would = isDryRun ? 'would be ' : '';
  const taken = `${formatCount(service, 'service')} with settings, ${formatCount(instance, 'instance')} and ${formatCount(key, 'key')}`;
  return [
    `${would}taken: ${taken}`,
    ...formatLines(`${would}left out`, report.leftOut),
    ...formatLines(`${would}altered`, report.altered),
  ].join('\n');
}

export function describeReport(report: ImportReport, isDryRun: boolean): object {
  const { service, instance, key } = report.taken;
  return {
    dryRun: isDryRun,
    taken: { services: service, instances: instance, keys: key },
    leftOut: report.leftOut,
    altered: report.altered,
  };
}

function formatLines(verb: string, lines: readonly ReportLine[]): string[] {
  if (lines.length === 0) return [];
  const total = lines.reduce((sum, { count }) => sum + count, 0);
  return [
    `${verb} ${total}:`,
    ...lines.map(({ reason, count, examples }) => {
      const more = count > examples.length ? ', …' : '';
      // Reasons are written here, but some quote a name.
      return `  ${count} × ${escapeTerminal(reason)}: ${examples.map(formatText).join(', ')}${more}`;
    }),
  ];
}

function formatCount(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
