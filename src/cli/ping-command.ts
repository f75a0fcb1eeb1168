import { setTimeout as delay } from 'node:timers/promises';

import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import type { Client } from '../client/index.ts';
import { highestOf, lowestOf } from '../protocol/extremes.ts';
import { formatJson } from './output.ts';
import { formatMs } from './quantities.ts';
import { addRegistryOptions, parseCount, waitForInterrupt, withClient } from './registry.ts';
import type { RegistryOptions } from './registry.ts';
import { readServers } from './tls-options.ts';

interface PingOptions extends RegistryOptions {
  readonly count: number;
  readonly intervalMs: number;
}

const countMax = 1_000_000;

/** `ping`: whether the registry answers, and how soon. */
export function addPingCommand(program: Command): void {
  addRegistryOptions(
    program
      .command('ping')
      .description('open a session, and time requests through a partition; exit status 4 if nobody answers')
      .option('--count <n>', 'how many requests', parsePings, 3)
      .option('--interval-ms <ms>', 'time between them', parseCount, 200),
  ).action(ping);
}

function parsePings(text: string): number {
  const count = parseCount(text);
  if (count < 1 || count > countMax) throw new InvalidArgumentError(`It must be from 1 to ${countMax}.`);
  return count;
}

async function ping(options: PingOptions): Promise<void> {
  const interrupted = waitForInterrupt();
  await withClient(options, async (client) => {
    const server = readServers(options).join(', ');
    const startedAtMs = performance.now();
    await client.whenConnected();
    const openMs = performance.now() - startedAtMs;
    if (!options.json) console.log(`connected to ${server} in ${formatMs(openMs)}`);
    const times: number[] = [];
    while (times.length < options.count) {
      const tookMs = await timeRequest(client);
      times.push(tookMs);
      if (!options.json) console.log(`answer ${times.length} in ${formatMs(tookMs)}`);
      if (times.length === options.count) break;
      if ((await Promise.race([interrupted, delay(options.intervalMs)])) === 'interrupted') break;
    }
    const sumMs = times.reduce((sum, ms) => sum + ms, 0);
    const [minMs, meanMs, maxMs] = [lowestOf(times), sumMs / times.length, highestOf(times)];
    const summary = { openMs, answers: times.length, minMs, meanMs, maxMs };
    console.log(
      options.json
        ? formatJson({ server, ...summary })
        : `${times.length} answers: least ${formatMs(minMs)}, mean ${formatMs(meanMs)}, most ${formatMs(maxMs)}`,
    );
  });
}

/** How long a small request takes that every partition answers its part of, in milliseconds. */
export async function timeRequest(client: Client): Promise<number> {
  const startedAtMs = performance.now();
  await client.list({ limit: 1 });
  return performance.now() - startedAtMs;
}
