import type { TransferReport, ReportLine } from '../archive/transfer-report.ts';
import { escapeTerminal } from '../runtime/terminal-escapes.ts';
import { formatText } from './output.ts';

/** A report for people. What it quotes of a dump is shown as such. */
export function formatImport(report: TransferReport, isDryRun: boolean): string {
  const would = isDryRun ? 'would be ' : '';
  return [
    `${would}taken: ${formatTaken(report)}`,
    ...formatLines(`${would}left out`, report.leftOut),
    ...formatLines(`${would}altered`, report.altered),
  ].join('\n');
}

export function describeImport(report: TransferReport, isDryRun: boolean): object {
  return { dryRun: isDryRun, taken: describeTaken(report), leftOut: report.leftOut, altered: report.altered };
}

export function formatExport(report: TransferReport): string {
  return [`exported: ${formatTaken(report)}`, ...formatLines('altered', report.altered)].join('\n');
}

export function describeExport(report: TransferReport): object {
  return { exported: describeTaken(report), altered: report.altered };
}

function formatTaken({ taken: { service, instance, key } }: TransferReport): string {
  return `${formatCount(service, 'service')} with settings, ${formatCount(instance, 'instance')} and ${formatCount(key, 'key')}`;
}

function describeTaken({ taken: { service, instance, key } }: TransferReport): object {
  return { services: service, instances: instance, keys: key };
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
