import type { Population } from './population.ts';
import type { Endpoint } from './session-socket.ts';

/** What one load process carries: every `parts`-th session, beginning with `part`. */
export interface LoadPlan {
  readonly endpoint: Endpoint;
  readonly population: Population;
  readonly part: number;
  readonly parts: number;
}

/** Moments are those of `nowMs`, which counts alike in all processes. */
export interface LoadOrders {
  prepare: { params: LoadPlan; result: null };
  /** Connects all sessions. */
  open: {
    params: { readonly who: 'providers' | 'readers' };
    result: { readonly tookMs: number; readonly refusals: number };
  };
  /** Registers what the providers hold: as fast as the window lets, or on a schedule. */
  register: { params: RegisterOrder; result: RegisterOutcome };
  subscribe: { params: null; result: { readonly tookMs: number } };
  /** Changes instances on a schedule, whatever comes back. */
  churn: { params: ChurnOrder; result: PropagationOutcome };
  /** Lets some readers stop reading, or continue. */
  stall: { params: { readonly percent: number }; result: { readonly readers: number } };
  resume: { params: null; result: null };
  /** Restarts the providers, batch after batch. */
  deploy: { params: DeployOrder; result: PropagationOutcome };
  /** Has all providers open their sessions, so that they know the secrets to resume by. */
  introduce: { params: null; result: { readonly introduced: number } };
  /** Breaks all providers' connections, and lets them come back. */
  storm: { params: StormOrder; result: StormOutcome };
  /** What was counted since the last order that counts. */
  tally: { params: null; result: Tallies };
  /** Compares what every reader holds with what it should. */
  verify: { params: VerifyOrder; result: VerifyOutcome };
  /** Asks something on every session, and waits for the answers. */
  ask: { params: null; result: { readonly answered: number; readonly sessions: number } };
  close: { params: null; result: null };
}
export type OrderName = keyof LoadOrders;

export interface RegisterOrder {
  /** Requests of one session in flight. */
  readonly window: number;
  /** Of all processes together; 0: as fast as the window lets. */
  readonly rate: number;
  readonly startAtMs: number;
  /** Only those with an even number: the others are what a deploy brings. */
  readonly isHalf: boolean;
}
export interface RegisterOutcome extends Tallies {
  readonly acks: number;
  readonly endedAtMs: number;
  readonly ack: string;
  readonly lag: string;
}

export interface ChurnOrder {
  readonly firstChange: number;
  readonly changes: number;
  readonly rate: number;
  readonly startAtMs: number;
  /** How long after the last change everything must have reached the readers. */
  readonly settleMs: number;
}

/** When each event was sent, acknowledged and delivered; NaN where this process did not see it. */
export interface PropagationOutcome extends Tallies {
  readonly sentAtMs: Float64Array;
  readonly ackAtMs: Float64Array;
  readonly firstAtMs: Float64Array;
  readonly lastAtMs: Float64Array;
  readonly deliveries: Uint32Array;
  readonly each: string;
  /** How many deliveries there should have been, all events together, and how many there were. */
  readonly awaited: number;
  readonly received: number;
  readonly isSettled: boolean;
}

/** Counted while an order was carried out. */
export interface Tallies {
  readonly pushes: number;
  readonly pushBytes: number;
  readonly falseRemovals: number;
  readonly resyncs: number;
  readonly busyAnswers: number;
  readonly lostConnections: number;
  /** The smallest list that any reader held. */
  readonly countMin: number;
}

export interface DeployOrder {
  readonly batch: number;
  readonly batchEveryMs: number;
  /** How long an instance is away. */
  readonly restartMs: number;
  readonly startAtMs: number;
  readonly settleMs: number;
}

export interface StormOrder {
  readonly dropAtMs: number;
  /** Nobody comes back sooner than this after that. */
  readonly awayMs: number;
  readonly jitterMs: number;
  readonly window: number;
  /** They take over their sessions rather than register again. */
  readonly isResuming: boolean;
  /** Readers' connections break, too, and they come back with the versions that they hold. */
  readonly withReaders: boolean;
  readonly timeoutMs: number;
}
export interface StormOutcome extends Tallies {
  /** From the loss to the last answer, each session that came back. */
  readonly back: string;
  readonly returned: number;
  /** Of those, sessions that were taken over with all that they had registered. */
  readonly resumed: number;
  readonly refusals: number;
  readonly lastBackAtMs: number;
}

export interface VerifyOrder {
  /** So many changes have been made. */
  readonly changes: number;
  /** `even` before a deploy, `odd` after it. */
  readonly holds: 'all' | 'even' | 'odd';
  readonly settleMs: number;
}
export interface VerifyOutcome {
  readonly views: number;
  readonly wrongViews: number;
  readonly example: string;
  /** Readers whose connection the server has ended. */
  readonly closedReaders: number;
  readonly closeCodes: readonly number[];
}

/** What a load process did since it last said so. */
export interface Beat {
  readonly elapsedMs: number;
  readonly sent: number;
  readonly acks: number;
  readonly pushes: number;
  readonly pushBytes: number;
  readonly sessions: number;
  readonly cpuMs: number;
  /** 0 to 1. */
  readonly loopUtilization: number;
  /** The slowest push since then, from its intended start. */
  readonly pushMaxMs: number;
}

/** `id` comes back with the result. */
export type ToLoad = {
  [K in OrderName]: { readonly id: number; readonly order: K; readonly params: LoadOrders[K]['params'] };
}[OrderName];
export type FromLoad =
  | { readonly kind: 'done'; readonly id: number; readonly result: LoadOrders[OrderName]['result'] }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'beat'; readonly beat: Beat };
