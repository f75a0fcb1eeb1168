import { highestOf } from '../protocol/extremes.ts';
import { formatText } from './output.ts';
import { paint, printResult } from './printing.ts';
import type { OutputOptions } from './printing.ts';

/** What one look at something found. */
export interface Finding {
  /** What was looked at. */
  readonly check: string;
  readonly status: 'ok' | 'warning' | 'failure' | 'skipped';
  /** May have text of others in it, shown as such. */
  readonly found: string;
  /** What to do about it. */
  readonly advice?: string;
}

const styles = { ok: 'green', warning: 'yellow', failure: 'red', skipped: 'dim' } as const;
const statusWidth = 7;

/** Prints what was found, with what to do below each line. */
export async function printFindings(options: OutputOptions, findings: readonly Finding[]): Promise<void> {
  const width = highestOf(findings.map(({ check }) => check.length));
  const margin = ' '.repeat(statusWidth + width + 4);
  await printResult(options, {
    value: { worst: worstOf(findings), findings },
    rows: findings,
    formatTable: () =>
      findings
        .map(({ status, check, found, advice }) => {
          const line = `${paint(styles[status], status.padEnd(statusWidth))}  ${check.padEnd(width)}  ${found}`;
          return advice === undefined ? line : `${line}\n${margin}→ ${advice}`;
        })
        .join('\n'),
  });
}

export function worstOf(findings: readonly Finding[]): 'ok' | 'warning' | 'failure' {
  const statuses = new Set(findings.map(({ status }) => status));
  return statuses.has('failure') ? 'failure' : statuses.has('warning') ? 'warning' : 'ok';
}

/** `one, two, three and 4 more`. */
export function formatSome(names: readonly string[], max = 5): string {
  const shown = names.slice(0, max).map(formatText).join(', ');
  return names.length > max ? `${shown} and ${names.length - max} more` : shown;
}
