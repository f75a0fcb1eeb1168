import { styleText } from 'node:util';

import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';

import type * as DataFormats from './data-formats.ts';
import { formatJson } from './output.ts';
import type { TableLook } from './output.ts';

const outputFormats = ['table', 'wide', 'json', 'yaml', 'csv'] as const;
type OutputFormat = (typeof outputFormats)[number];

/** How a result is to be printed. */
export interface OutputOptions {
  readonly json: boolean;
  readonly output?: OutputFormat;
}

/** `--output`, of commands whose result is a list or an object. */
export function addOutputOption(command: Command): Command {
  return command.addOption(
    new Option('--output <format>', 'how to print the result: `wide` cuts nothing, `json` is --json').choices(
      outputFormats,
    ),
  );
}

/** A result in all the ways in which it can be printed. */
export interface Printable {
  /** What JSON and YAML have. */
  readonly value: object;
  /** A line each in CSV: what the table shows, as it is. */
  readonly rows: readonly object[];
  /** For people. `isWide`: with all there is. */
  readonly formatTable: (look: TableLook, isWide: boolean) => string;
}

/** Whether people read the result. Throws if two formats were asked for. */
export function isForPeople(options: OutputOptions): boolean {
  return ['table', 'wide'].includes(readFormat(options));
}

/** Prints a result to stdout, as the options say. */
export async function printResult(options: OutputOptions, { value, rows, formatTable }: Printable): Promise<void> {
  const format = readFormat(options);
  switch (format) {
    case 'json':
      console.log(formatJson(value));
      break;
    case 'yaml':
      process.stdout.write((await loadDataFormats()).formatYaml(value));
      break;
    case 'csv':
      process.stdout.write((await loadDataFormats()).formatCsv(rows, process.stdout.isTTY));
      break;
    case 'table':
    case 'wide': {
      const text = formatTable(readLook(format), format === 'wide');
      if (text !== '') console.log(text);
      break;
    }
  }
}

/** Commands that print none of them start in two thirds of the time without. */
function loadDataFormats(): Promise<typeof DataFormats> {
  return import('./data-formats.ts');
}

function readFormat({ json, output }: OutputOptions): OutputFormat {
  if (json && output !== undefined && output !== 'json') {
    throw new InvalidArgumentError(`Either --json or --output ${output}.`);
  }
  return json ? 'json' : (output ?? 'table');
}

function readLook(format: 'table' | 'wide'): TableLook {
  const { isTTY, columns } = process.stdout;
  return {
    ...(isTTY && format === 'table' ? { widthMax: columns } : {}),
    styleHeadings: (line) => paint('bold', line),
  };
}

type Style = 'bold' | 'dim' | 'green' | 'yellow' | 'red';

/** Coloured where that is seen: in a terminal that has colours, unless `NO_COLOR` is set. */
export function paint(style: Style, text: string): string {
  return process.stdout.isTTY && process.stdout.hasColors() ? styleText(style, text) : text;
}
