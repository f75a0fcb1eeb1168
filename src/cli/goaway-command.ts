import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import type { SendAwayBody, SendAwayResult } from '../protocol/http-operations.ts';
import { protocolLimits } from '../protocol/limits.ts';
import { askServer } from './administration.ts';
import { formatJson } from './output.ts';
import { addHttpOptions, parseCount } from './registry.ts';
import type { HttpOptions } from './registry.ts';

interface GoawayOptions extends HttpOptions {
  readonly percent: number;
  readonly spreadMs?: number;
}

/** `goaway`. */
export function addGoawayCommand(program: Command): void {
  addHttpOptions(
    program
      .command('goaway')
      .description('ask sessions to reconnect, spread over a time, without losing their registrations')
      .option('--percent <count>', 'how many of a hundred sessions, chosen at random', parsePercent, 100)
      .option('--spread-ms <ms>', 'over how long they come back (default: by their number)', parseSpread),
  ).action(async (options: GoawayOptions) => {
    const { percent, spreadMs } = options;
    const body: SendAwayBody = { percent, ...(spreadMs === undefined ? {} : { spreadMs }) };
    const result = await askServer<SendAwayResult>(options, 'sendAway', { body });
    console.log(
      options.json
        ? formatJson(result)
        : `asked ${result.sessions} ${result.sessions === 1 ? 'session' : 'sessions'} to reconnect`,
    );
  });
}

function parsePercent(text: string): number {
  const percent = parseCount(text);
  if (percent < 1 || percent > 100) throw new InvalidArgumentError('It must be from 1 to 100.');
  return percent;
}

function parseSpread(text: string): number {
  const spreadMs = parseCount(text);
  if (spreadMs > protocolLimits.goawayMsMax) {
    throw new InvalidArgumentError(`It must be ${protocolLimits.goawayMsMax} at most.`);
  }
  return spreadMs;
}
