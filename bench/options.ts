import { parseArgs } from 'node:util';

import type { PeerName } from './peers/driver.ts';

/** What can be selected. */
const suites = ['micro', 'ratios', 'healing', 'io-threads', 'checks', 'audit', 'tls', 'peers'] as const;
const peers: readonly PeerName[] = ['bare', 'etcd', 'zookeeper'];
type Suite = (typeof suites)[number];
/** Peers need programs of others, and minutes. */
const defaultSuites: readonly Suite[] = suites.filter((suite) => suite !== 'peers');

export interface BenchOptions {
  readonly suites: ReadonlySet<Suite>;
  readonly isSmoke: boolean;
  readonly jsonFile: string | undefined;
  readonly rounds: number | undefined;
  readonly partitions: number;
  readonly ioThreads: number;
  /** To run beside slotcast; undefined: all. */
  readonly peers: readonly PeerName[] | undefined;
}

export const help: string = `Usage: npm run bench -- [micro] [ratios] [healing] [io-threads] [checks] [audit] [tls] [peers] [options]

  micro   functions on their own, each in a fresh thread
  ratios  slotcast, and slotcast with Node's sockets, beside a bare uWebSockets.js server doing the same exchange; many partitions beside one; memory
  healing what it costs when a partition dies and when slots move
  io-threads  how pushes grow with I/O threads, and what one costs
  checks  what health checks cost, beside plain requests of Node
  audit   what the audit log costs where keys change fast
  tls     what connections and pushes cost with TLS, beside the same without
  peers   the same work for slotcast, etcd, ZooKeeper and a bare uWebSockets.js server; see bench/peers/README.md; only if named

Options:
  --json FILE      write the results as JSON
  --rounds N       rounds of the comparison (default 5)
  --partitions N   partitions of slotcast (default 1)
  --io-threads N   its I/O threads in ratios (default 0)
  --peers NAMES    which peers, with commas between (default ${peers.join(',')})
  --smoke          everything once at a tiny size: shows that it runs, not how fast
  --help           this text

Scenarios of \`slotcast bench\` may stand here too: npm run bench -- --list
`;

/** The command line was not understood. */
export class UsageError extends Error {
  override readonly name: string = 'UsageError';
}

/** Undefined: help was asked for. */
export function readOptions(args: readonly string[]): BenchOptions | undefined {
  const { values, positionals } = parse(args);
  if (values.help === true) return undefined;
  const selected = positionals.map((name) => {
    const suite = suites.find((known) => known === name);
    if (suite === undefined)
      throw new UsageError(`there is no suite ${JSON.stringify(name)}; known are ${suites.join(', ')}`);
    return suite;
  });
  return {
    suites: new Set(selected.length === 0 ? defaultSuites : selected),
    isSmoke: values.smoke ?? false,
    jsonFile: values.json,
    rounds: values.rounds === undefined ? undefined : readCount('rounds', values.rounds, 100),
    partitions: values.partitions === undefined ? 1 : readCount('partitions', values.partitions, 256),
    ioThreads: values['io-threads'] === undefined ? 0 : readCount('io-threads', values['io-threads'], 64),
    peers: values.peers?.split(',').map(readPeer),
  };
}

interface Parsed {
  readonly values: {
    json?: string;
    rounds?: string;
    partitions?: string;
    'io-threads'?: string;
    peers?: string;
    smoke?: boolean;
    help?: boolean;
  };
  readonly positionals: string[];
}

function parse(args: readonly string[]): Parsed {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        json: { type: 'string' },
        rounds: { type: 'string' },
        partitions: { type: 'string' },
        'io-threads': { type: 'string' },
        peers: { type: 'string' },
        smoke: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function readPeer(name: string): PeerName {
  const peer = peers.find((known) => known === name);
  if (peer === undefined)
    throw new UsageError(`there is no peer ${JSON.stringify(name)}; known are ${peers.join(', ')}`);
  return peer;
}

function readCount(name: string, text: string, max: number): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count < 1 || count > max)
    throw new UsageError(`--${name} must be a whole number from 1 to ${max}, not ${text}`);
  return count;
}
