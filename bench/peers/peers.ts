import type { Target } from '../load/connection.ts';
import { receive, startProcess, stopProcess } from '../processes.ts';
import type { Pinning } from '../processes.ts';
import { median } from '../statistics.ts';
import type { PeerDriver, PeerName, PeerServer } from './driver.ts';
import { drivers } from './drivers.ts';
import type { PeerOutcome, PeerReply, PeerRequest, PeerWorkload } from './peer-workloads.ts';
import { describePeers, printPeers } from './results.ts';
import type { PeerSample, PeersReport } from './results.ts';

export interface PeersOptions {
  readonly isSmoke: boolean;
  readonly rounds: number | undefined;
  /** Peers to run beside slotcast; undefined: all. */
  readonly names: readonly PeerName[] | undefined;
  readonly pinning: Pinning | undefined;
  readonly print: (line: string) => void;
}

interface Plan {
  readonly rounds: number;
  /** The first of the rounds measure memory, too: each needs a server that has held nothing before. */
  readonly memoryRounds: number;
  readonly register: Extract<PeerWorkload, { kind: 'register' }>;
  readonly pipelined: Extract<PeerWorkload, { kind: 'register' }>;
  readonly fanOut: Extract<PeerWorkload, { kind: 'fanOut' }>;
  readonly memory: Extract<PeerWorkload, { kind: 'memory' }>;
}

const fullPlan: Plan = {
  rounds: 4,
  memoryRounds: 2,
  register: { kind: 'register', clients: 64, inFlight: 1, warmUpMs: 1000, measureMs: 2500 },
  pipelined: { kind: 'register', clients: 64, inFlight: 16, warmUpMs: 1000, measureMs: 2500 },
  fanOut: { kind: 'fanOut', watchers: 1000, changes: 20, pauseMs: 50 },
  memory: { kind: 'memory', clients: 64, instances: 50_000, settleMs: 3000 },
};

const smokePlan: Plan = {
  rounds: 1,
  memoryRounds: 1,
  register: { kind: 'register', clients: 4, inFlight: 1, warmUpMs: 50, measureMs: 100 },
  pipelined: { kind: 'register', clients: 4, inFlight: 8, warmUpMs: 50, measureMs: 100 },
  fanOut: { kind: 'fanOut', watchers: 10, changes: 3, pauseMs: 5 },
  memory: { kind: 'memory', clients: 4, instances: 2000, settleMs: 100 },
};

/** Gives slotcast and its peers the same work by turns, and prints the comparison. Every process it started has ended when it settles. */
export async function runPeers(options: PeersOptions): Promise<PeersReport> {
  const { isSmoke, names, print } = options;
  const plan = isSmoke ? smokePlan : fullPlan;
  const rounds = options.rounds ?? plan.rounds;
  const wanted = Object.values(drivers).filter(({ name }) => name === 'slotcast' || (names?.includes(name) ?? true));
  const missing = new Map<PeerName, string>();
  for (const driver of wanted) {
    const reason = driver.findMissing();
    if (reason !== undefined) missing.set(driver.name, reason);
    print(reason === undefined ? `${driver.name}: ${driver.setting}` : `${driver.name}: not run: ${reason}`);
  }
  const present = wanted.filter(({ name }) => !missing.has(name));
  const samples = new Map<PeerName, PeerSample[]>(present.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    print(`peers, round ${round + 1} of ${rounds}`);
    for (const step of present.keys()) {
      // Who goes first changes from round to round.
      const driver = present[(step + round) % present.length]!;
      samples.get(driver.name)!.push(await measurePeer(driver, plan, round < plan.memoryRounds, options));
    }
  }
  const report = describePeers(samples, missing);
  printPeers(report, print);
  return report;
}

async function measurePeer(
  driver: PeerDriver,
  plan: Plan,
  measuresMemory: boolean,
  { pinning }: PeersOptions,
): Promise<PeerSample> {
  const load = await PeerLoad.start(pinning?.loadCore);
  try {
    const memory =
      measuresMemory && driver.storesInstances
        ? await withServer(driver, pinning, (server) => load.run(driver.name, server.target, plan.memory))
        : undefined;
    return await withServer(driver, pinning, async ({ target }) => {
      const register = await load.run(driver.name, target, plan.register);
      const pipelined = await load.run(driver.name, target, plan.pipelined);
      const fanOut = await load.run(driver.name, target, plan.fanOut);
      return {
        registerCpuMicros: (register.usage.serverCpuMs * 1000) / register.acks,
        registerPipelinedCpuMicros: (pipelined.usage.serverCpuMs * 1000) / pipelined.acks,
        registersPerSecond: (register.acks * 1000) / register.usage.wallMs,
        registersPipelinedPerSecond: (pipelined.acks * 1000) / pipelined.usage.wallMs,
        fanOutMs: median(fanOut.toLastMs),
        fanOutCpuMs: fanOut.usage.serverCpuMs / fanOut.changes,
        bytesPerInstance: memory?.bytesEach,
        loadShare: {
          register: register.usage.loadCpuMs / register.usage.wallMs,
          registerPipelined: pipelined.usage.loadCpuMs / pipelined.usage.wallMs,
          fanOut: fanOut.usage.loadCpuMs / fanOut.usage.wallMs,
        },
      };
    });
  } finally {
    await load.stop();
  }
}

async function withServer<T>(
  driver: PeerDriver,
  pinning: Pinning | undefined,
  use: (server: PeerServer) => Promise<T>,
): Promise<T> {
  const server = await driver.start(pinning?.serverCore);
  try {
    return await use(server);
  } finally {
    await server.stop();
  }
}

const startTimeoutMs = 20_000;
const workloadTimeoutMs = 180_000;

/** The parent's end of the process that holds the clients. */
class PeerLoad {
  readonly #child: ReturnType<typeof startProcess>;

  private constructor(child: ReturnType<typeof startProcess>) {
    this.#child = child;
  }

  static async start(core: number | undefined): Promise<PeerLoad> {
    const child = startProcess(new URL('peer-load-process.js', import.meta.url), [], core);
    await receive(child, 'the load generator', startTimeoutMs);
    return new PeerLoad(child);
  }

  async run<K extends PeerWorkload['kind']>(
    peer: PeerName,
    target: Target,
    workload: Extract<PeerWorkload, { kind: K }>,
  ): Promise<Extract<PeerOutcome, { kind: K }>> {
    this.#child.send({ peer, target, workload } satisfies PeerRequest);
    const what = `${workload.kind} with ${peer}`;
    const reply = await receive<PeerReply>(this.#child, what, workloadTimeoutMs);
    if (reply.kind === 'failure') throw new Error(`${what} failed: ${reply.message}`);
    // A workload is answered by the outcome of its own kind.
    return reply.outcome as Extract<PeerOutcome, { kind: K }>;
  }

  stop(): Promise<void> {
    return stopProcess(this.#child);
  }
}
