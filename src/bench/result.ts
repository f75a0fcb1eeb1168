import type { Latency } from './histogram.ts';

/** What `--json` writes and `--compare` reads. */
export interface BenchResult {
  readonly format: 'slotcast-bench';
  readonly formatVersion: 1;
  readonly slotcast: string;
  readonly environment: BenchEnvironment;
  readonly server: ServerDescription;
  readonly runs: readonly RunResult[];
}

/** On what the figures were measured; without it they mean little. */
export interface BenchEnvironment {
  readonly startedAt: string;
  readonly node: string;
  readonly platform: string;
  readonly kernel: string;
  readonly cpuModel: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  /** Cores that server and load were bound to; null: they were not. */
  readonly serverCores: string | null;
  readonly loadCores: string | null;
  /** Kernel settings that weigh on sockets. */
  readonly somaxconn: string;
  readonly tcpWmem: string;
  readonly tcpMem: string;
}

export interface ServerDescription {
  /** Null: each scenario had a server of its own. */
  readonly url: string | null;
  readonly partitions: number | null;
  /** Given to it beyond its defaults. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Whether CPU and memory of its process could be read. */
  readonly isObserved: boolean;
}

export type RunStatus = 'passed' | 'failed' | 'interrupted';

export interface RunResult {
  readonly scenario: string;
  readonly summary: string;
  readonly status: RunStatus;
  readonly startedAt: string;
  readonly tookS: number;
  readonly seed: number;
  readonly loadProcesses: number;
  readonly settings: Readonly<Record<string, number>>;
  readonly figures: readonly Figure[];
  readonly latencies: readonly NamedLatency[];
  /** Of the latency that the scenario is about, by the second in which changes were due. */
  readonly latencyOverTime: readonly LatencyPoint[];
  readonly timeline: readonly Sample[];
  readonly checks: readonly Check[];
  /** What the result is bound by, other than the server. */
  readonly limits: readonly string[];
  readonly notes: readonly string[];
}

export type Better = 'higher' | 'lower' | 'neither';

export interface Figure {
  readonly key: string;
  readonly label: string;
  readonly value: number;
  readonly unit: string;
  readonly better: Better;
}

export interface NamedLatency {
  readonly key: string;
  readonly label: string;
  readonly latency: Latency;
}

export interface LatencyPoint {
  readonly atS: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** What happened in about a second. */
export interface Sample {
  readonly atS: number;
  readonly phase: string;
  readonly isMeasured: boolean;
  readonly sentPerS: number;
  readonly acksPerS: number;
  readonly pushesPerS: number;
  readonly pushBytesPerS: number;
  readonly sessions: number;
  /** Of one core; null: not observed. */
  readonly serverCpuPercent: number | null;
  readonly serverRssBytes: number | null;
  /** Of the busiest load process, of one core. */
  readonly loadCpuPercent: number;
  /** Of all TCP sockets of this machine. */
  readonly tcpMemoryBytes: number | null;
}

export interface Check {
  readonly name: string;
  readonly isHeld: boolean;
  readonly detail: string;
}
