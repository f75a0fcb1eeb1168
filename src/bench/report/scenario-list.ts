import type { Scenario } from '../scenario.ts';
import { scales, sizeNames, sizeOptions } from '../sizes.ts';
import { formatOption } from './formatting.ts';

/** What `--list` prints. */
export function listScenarios(scenarios: readonly Scenario[]): string {
  return scenarios.map(explain).join('\n\n');
}

function explain({ name, summary, measures, sizes }: Scenario): string {
  const rows = sizeNames.flatMap((size) => {
    const choice = sizes[size];
    if (choice === undefined) return [];
    const { meaning = sizeOptions[size].meaning, at } = choice;
    return `    ${formatOption(size).padEnd(18)} ${at.map((value) => String(value).padStart(8)).join('')}  ${meaning}`;
  });
  const head = `    ${''.padEnd(18)} ${scales.map((scale) => scale.padStart(8)).join('')}`;
  return [name, `  ${summary}`, `  measures: ${measures}`, head, ...rows].join('\n');
}
