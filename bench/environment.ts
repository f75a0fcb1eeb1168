import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';

import type { Pinning } from './processes.ts';

/** On what the figures were measured; without it they mean little. */
export interface Environment {
  readonly date: string;
  readonly node: string;
  readonly platform: string;
  readonly kernel: string;
  readonly cpus: number;
  readonly cpuModel: string;
  readonly memoryBytes: number;
  readonly partitions: number;
  /** Cores that servers and load were bound to; null: they were not. */
  readonly pinning: Pinning | null;
  /** Kernel settings that weigh on sockets. */
  readonly somaxconn: string;
  readonly tcpWmem: string;
}

export function readEnvironment(pinning: Pinning | undefined, partitions: number): Environment {
  const cores = cpus();
  return {
    date: new Date().toISOString(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    kernel: release(),
    cpus: cores.length,
    cpuModel: cores[0]?.model ?? 'unknown',
    memoryBytes: totalmem(),
    partitions,
    pinning: pinning ?? null,
    somaxconn: readSetting('/proc/sys/net/core/somaxconn'),
    tcpWmem: readSetting('/proc/sys/net/ipv4/tcp_wmem'),
  };
}

export function formatEnvironment(environment: Environment): string {
  const { date, node, platform, kernel, cpuModel, partitions, pinning } = environment;
  const bound =
    pinning === null
      ? 'servers and load are not bound to cores: figures vary more'
      : `servers on core ${pinning.serverCore}, load on core ${pinning.loadCore}`;
  return `${date}, Node.js ${node}, ${platform}, kernel ${kernel}, ${environment.cpus} × ${cpuModel}; partitions: ${partitions}; ${bound}`;
}

function readSetting(path: string): string {
  return readFileSync(path, 'utf8').trim().replaceAll(/\s+/g, ' ');
}
