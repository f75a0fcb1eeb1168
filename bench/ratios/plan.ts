import type { Outcome, Workload } from '../load/workloads.ts';

type Of<K extends Workload['kind']> = Extract<Workload, { kind: K }>;
type OutcomeOf<K extends Workload['kind']> = Extract<Outcome, { kind: K }>;

/** What is run against both servers in every round, by name. */
export interface RoundWorkloads {
  readonly register: Of<'register'>;
  readonly pipelined: Of<'register'>;
  readonly push: Of<'push'>;
  readonly hop: Of<'latency'>;
  readonly fanOut: Of<'latency'>;
}

/** What one server gave in one round. */
export type RoundOutcomes = { readonly [W in keyof RoundWorkloads]: OutcomeOf<RoundWorkloads[W]['kind']> };

export interface Plan {
  readonly rounds: number;
  readonly memoryRounds: number;
  /** A first round that is thrown away, for servers and load to be compiled and warm. */
  readonly warmUp: RoundWorkloads;
  readonly workloads: RoundWorkloads;
  readonly idle: Of<'idle'>;
  readonly sessionMemory: Of<'sessionMemory'>;
  readonly instanceMemory: Of<'instanceMemory'>;
  /** How many partitions one with a single one is compared with: the requests of a turn are spread over more mailboxes. */
  readonly manyPartitions: number;
  readonly partitions: PairPlan;
  /** A server that keeps a journal beside one that keeps nothing. */
  readonly journal: PairPlan;
  readonly journalPipelined: PairPlan;
}

/** Registrations in two servers, so often by turns. */
export interface PairPlan {
  readonly pairs: number;
  readonly register: Of<'register'>;
}

/**
 * One hop is measured over eight services by turns: the registry gathers changes of one service that come within its window
 * (20 ms), and here each service has long been quiet when it changes again.
 */
const hopServices = 8;

/** Not a divisor of the window, so that a change does not always meet the end of the window of one before. */
const hopIntervalMs = 9;

const fullWorkloads: RoundWorkloads = {
  register: { kind: 'register', connections: 64, inFlight: 1, warmUpMs: 200, measureMs: 1000 },
  pipelined: { kind: 'register', connections: 64, inFlight: 64, warmUpMs: 200, measureMs: 1000 },
  push: { kind: 'push', subscribers: 5000, warmUpMs: 200, measureMs: 1200 },
  hop: {
    kind: 'latency',
    services: hopServices,
    subscribersPerService: 1,
    intervalMs: hopIntervalMs,
    warmUpMs: 100,
    measureMs: 2500,
  },
  fanOut: { kind: 'latency', services: 1, subscribersPerService: 1000, intervalMs: 80, warmUpMs: 160, measureMs: 1200 },
};

/** Chosen so that a whole run ends within five minutes on two cores. */
export const fullPlan: Plan = {
  rounds: 5,
  memoryRounds: 3,
  warmUp: {
    register: { ...fullWorkloads.register, measureMs: 400 },
    pipelined: { ...fullWorkloads.pipelined, measureMs: 400 },
    push: { ...fullWorkloads.push, measureMs: 400 },
    // At the low rate of the measurement the compiler would still be at work minutes later, and its pauses would be the p99.
    hop: { ...fullWorkloads.hop, services: 64, intervalMs: 1, measureMs: 5000 },
    fanOut: { ...fullWorkloads.fanOut, measureMs: 400 },
  },
  workloads: fullWorkloads,
  idle: { kind: 'idle', measureMs: 1000 },
  sessionMemory: { kind: 'sessionMemory', from: 1000, to: 5000, settleMs: 500 },
  instanceMemory: {
    kind: 'instanceMemory',
    connections: 100,
    services: 5000,
    from: 20_000,
    to: 100_000,
    settleMs: 1000,
  },
  manyPartitions: 8,
  partitions: { pairs: 5, register: fullWorkloads.pipelined },
  journal: { pairs: 9, register: fullWorkloads.register },
  journalPipelined: { pairs: 9, register: fullWorkloads.pipelined },
};

const smokeWorkloads: RoundWorkloads = {
  register: { kind: 'register', connections: 4, inFlight: 1, warmUpMs: 20, measureMs: 150 },
  pipelined: { kind: 'register', connections: 4, inFlight: 64, warmUpMs: 20, measureMs: 150 },
  push: { kind: 'push', subscribers: 20, warmUpMs: 20, measureMs: 150 },
  hop: { kind: 'latency', services: hopServices, subscribersPerService: 1, intervalMs: 5, warmUpMs: 40, measureMs: 80 },
  fanOut: { kind: 'latency', services: 1, subscribersPerService: 20, intervalMs: 25, warmUpMs: 25, measureMs: 75 },
};

/** Everything once, as small as it goes: shows that it runs, not how fast. */
export const smokePlan: Plan = {
  rounds: 1,
  memoryRounds: 1,
  warmUp: smokeWorkloads,
  workloads: smokeWorkloads,
  idle: { kind: 'idle', measureMs: 20 },
  sessionMemory: { kind: 'sessionMemory', from: 10, to: 30, settleMs: 20 },
  instanceMemory: { kind: 'instanceMemory', connections: 4, services: 10, from: 100, to: 300, settleMs: 20 },
  manyPartitions: 2,
  partitions: { pairs: 1, register: smokeWorkloads.pipelined },
  journal: { pairs: 1, register: smokeWorkloads.register },
  journalPipelined: { pairs: 1, register: smokeWorkloads.pipelined },
};
