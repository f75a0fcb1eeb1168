import type { Target } from './connection.ts';

/** What the parent asks of the load process. Times in milliseconds, sizes in numbers of things. */
export type Workload =
  | {
      readonly kind: 'register';
      readonly connections: number;
      /** Requests that each connection sends together, before it waits for all their answers. */
      readonly inFlight: number;
      readonly warmUpMs: number;
      readonly measureMs: number;
    }
  | { readonly kind: 'push'; readonly subscribers: number; readonly warmUpMs: number; readonly measureMs: number }
  | {
      readonly kind: 'latency';
      readonly services: number;
      readonly subscribersPerService: number;
      /** Between two changes, of whatever service. */
      readonly intervalMs: number;
      readonly warmUpMs: number;
      readonly measureMs: number;
    }
  | { readonly kind: 'idle'; readonly measureMs: number }
  | { readonly kind: 'sessionMemory'; readonly from: number; readonly to: number; readonly settleMs: number }
  | {
      readonly kind: 'instanceMemory';
      readonly connections: number;
      readonly services: number;
      readonly from: number;
      readonly to: number;
      readonly settleMs: number;
    };

/** What both processes used while something was measured. */
export interface Usage {
  readonly wallMs: number;
  readonly serverCpuMs: number;
  readonly serverMainCpuMs: number;
  readonly loadCpuMs: number;
  /** What was used by anybody else on the machine, kernel threads and interrupts included. */
  readonly foreignCpuMs: number;
  readonly stealMs: number;
}

export type Outcome =
  | { readonly kind: 'register'; readonly usage: Usage; readonly acks: number; readonly ackBytes: number }
  | {
      readonly kind: 'push';
      readonly usage: Usage;
      readonly changes: number;
      readonly pushes: number;
      readonly pushBytes: number;
    }
  | {
      readonly kind: 'latency';
      readonly usage: Usage;
      readonly changes: number;
      readonly pushBytes: number;
      /** From writing the change to reading the push, each subscriber. */
      readonly each: LatencyMs;
      /** To reading the last of the pushes of one change. */
      readonly last: LatencyMs;
      /** How late the generator's own timer wrote the change. */
      readonly lateness: LatencyMs;
    }
  | { readonly kind: 'idle'; readonly usage: Usage }
  | { readonly kind: 'sessionMemory' | 'instanceMemory'; readonly bytesEach: number; readonly rssBytes: number };

export interface LatencyMs {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly samples: number;
}

export interface LoadRequest {
  readonly target: Target;
  readonly workload: Workload;
}

export type LoadReply =
  | { readonly kind: 'outcome'; readonly outcome: Outcome }
  | { readonly kind: 'failure'; readonly message: string };
