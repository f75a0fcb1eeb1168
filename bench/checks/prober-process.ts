/** Asks one HTTP server so many times a second: by the thread of checks, or by plain requests of Node. Prints the CPU that it took, and how many probes it made. */
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

import { resolveConfig } from '../../src/config/config-checking.ts';
import { CheckThread } from '../../src/health/check-thread.ts';

export interface ProberOrder {
  readonly mode: 'checks' | 'plain';
  readonly port: number;
  readonly checks: number;
  readonly intervalMs: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface ProberFigures {
  readonly probes: number;
  /** Cores' worth. */
  readonly cores: number;
}

const stepMs = 50;

function startChecks({ port, checks, intervalMs }: ProberOrder): () => number {
  let probes = 0;
  const thread = new CheckThread({
    settings: resolveConfig({ checkTargets: ['loopback'], checksMax: checks }),
    onReport: ({ figures }) => {
      ({ probes } = figures);
    },
    onRestart: () => undefined,
    onDeath: (error) => {
      throw error;
    },
  });
  for (let i = 0; i < checks; i++) {
    const target = { key: 'public/DEFAULT/s', id: `i${i}`, host: '127.0.0.1', port };
    const check = { kind: 'http', path: '/up', intervalMs } as const;
    thread.tell({ kind: 'put', name: `i${i}`, number: 0, target: { ...target, check } });
  }
  return () => probes;
}

function startRequests({ port, checks, intervalMs }: ProberOrder): () => number {
  let probes = 0;
  let owed = 0;
  setInterval(() => {
    owed += (checks * stepMs) / intervalMs;
    for (; owed >= 1; owed--) {
      http
        .get({ host: '127.0.0.1', port, path: '/up', agent: false }, (response) => {
          response.resume();
          response.on('end', () => {
            probes += 1;
          });
        })
        .on('error', (error) => {
          throw error;
        });
    }
  }, stepMs);
  return () => probes;
}

const order = JSON.parse(process.argv[2] ?? '') as ProberOrder;
const readProbes = order.mode === 'checks' ? startChecks(order) : startRequests(order);
await delay(order.warmUpMs);
const [cpu, before, startedMs] = [process.cpuUsage(), readProbes(), performance.now()];
await delay(order.measureMs);
const { user, system } = process.cpuUsage(cpu);
const figures: ProberFigures = {
  probes: readProbes() - before,
  cores: (user + system) / 1000 / (performance.now() - startedMs),
};
console.log(JSON.stringify(figures));
process.exit(0);
