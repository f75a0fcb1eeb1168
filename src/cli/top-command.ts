import { setTimeout as delay } from 'node:timers/promises';

import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import { RegistryCalls } from './administration.ts';
import { describeError } from './exit-codes.ts';
import { observe } from './observation.ts';
import type { Observation } from './observation.ts';
import { cutText, formatJson } from './output.ts';
import { addHttpOptions, parseCount, waitForInterrupt } from './registry.ts';
import type { HttpOptions } from './registry.ts';
import { TerminalScreen } from './terminal-screen.ts';
import { formatTop, readFigures } from './top-view.ts';

interface TopOptions extends HttpOptions {
  readonly intervalMs: number;
  readonly once: boolean;
}

const intervalMsMin = 200;
const intervalMsMax = 3_600_000;
const hint = 'q: quit';
/** Of what is no terminal: all lines. */
const endless = { columns: Number.POSITIVE_INFINITY, rows: Number.POSITIVE_INFINITY };

/** `top`: a live view of the registry. */
export function addTopCommand(program: Command): void {
  addHttpOptions(
    program
      .command('top')
      .description('show rates, latencies, threads and partitions live in the terminal, until q or Ctrl-C')
      .option('--interval-ms <ms>', 'time between two looks', parseInterval, 1000)
      .option('--once', 'print one look, and end; also in what is no terminal', false),
  ).action(showTop);
}

function parseInterval(text: string): number {
  const intervalMs = parseCount(text);
  if (intervalMs < intervalMsMin || intervalMs > intervalMsMax) {
    throw new InvalidArgumentError(`It must be from ${intervalMsMin} to ${intervalMsMax}.`);
  }
  return intervalMs;
}

async function showTop(options: TopOptions): Promise<void> {
  const { once, json } = options;
  if (!once && !json && !process.stdout.isTTY) {
    throw new InvalidArgumentError('This is no terminal: use --once, or --json for a line of JSON for each look.');
  }
  const over = new AbortController();
  void waitForInterrupt().then(() => {
    over.abort();
  });
  const calls = new RegistryCalls(options, 1);
  try {
    const first = await observe(calls);
    await (once || json ? printLooks : showLive)(calls, first, options, over);
  } catch (error) {
    if (!over.signal.aborted) throw error;
  } finally {
    calls.close();
  }
}

async function printLooks(
  calls: RegistryCalls,
  first: Observation,
  { once, json, intervalMs }: TopOptions,
  { signal }: AbortController,
): Promise<void> {
  for (let last = first; ;) {
    await delay(intervalMs, undefined, { signal });
    const next = await observe(calls);
    const figures = readFigures(last, next);
    console.log(json ? formatJson(figures) : formatTop(figures, calls.base, endless).join('\n'));
    if (once) return;
    last = next;
  }
}

/** Until somebody leaves. A registry that is away for some time is said to be, and looked for again. */
async function showLive(
  calls: RegistryCalls,
  first: Observation,
  { intervalMs }: TopOptions,
  over: AbortController,
): Promise<void> {
  const screen = new TerminalScreen(process.stdin, process.stdout, () => {
    over.abort();
  });
  try {
    let [before, last]: [Observation | undefined, Observation] = [undefined, first];
    let note = hint;
    const draw = (): void => {
      const size = screen.size();
      const lines = formatTop(readFigures(before, last), calls.base, { ...size, rows: size.rows - 2 });
      screen.draw([...lines, '', cutText(note, size.columns)]);
    };
    screen.onResize(draw);
    for (;;) {
      draw();
      await delay(intervalMs, undefined, { signal: over.signal });
      try {
        const next = await observe(calls);
        [before, last, note] = [last, next, hint];
      } catch (error) {
        note = describeError(error);
      }
    }
  } finally {
    screen.close();
  }
}
