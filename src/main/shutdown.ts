import type { AuditLog } from '../audit/audit-log.ts';
import type { ServerConfig } from '../config/config.ts';
import type { Administration } from '../control/administration.ts';
import type { EdgeSupervisor } from '../control/edge-supervisor.ts';
import type { Hosts } from '../control/hosts.ts';
import type { IoThreads } from '../control/io-threads.ts';
import type { Supervisor } from '../control/supervisor.ts';
import type { WarmStart } from '../control/warm-start.ts';
import type { ThreadStore } from '../durable/thread-store.ts';
import type { CheckThread } from '../health/check-thread.ts';
import type { Descriptors } from '../runtime/descriptors.ts';
import type { ServerLog } from '../runtime/log.ts';
import { delay } from '../runtime/timing.ts';
import { tickMs } from '../sessions/host-clock.ts';
import type { Transport } from '../transport/transport.ts';
import type { SessionListener } from './session-listener.ts';
import type { Ticker } from './ticker.ts';

export interface ShutdownOptions {
  readonly config: Pick<ServerConfig, 'drainTimeoutMs'>;
  readonly log: ServerLog;
  readonly listener: SessionListener;
  readonly transport: Transport;
  readonly edges: EdgeSupervisor;
  readonly threads: IoThreads;
  readonly hosts: Hosts;
  readonly supervisor: Supervisor;
  readonly store: Pick<ThreadStore, 'stop'>;
  readonly audit: Pick<AuditLog, 'stop'> | undefined;
  readonly administration: Administration;
  readonly descriptors: Descriptors;
  readonly ticker: Ticker;
  readonly checkThread: Pick<CheckThread, 'stop'>;
  readonly warmStart: WarmStart | undefined;
  /** The server cannot continue; connections are closed already. */
  readonly onFatal: (error: Error) => void;
}

/** How long the last frames of sessions that are closed have to leave, in milliseconds. */
const lastFramesMs = 50;
/** How long it may take until all sessions have been sent their close frames, in milliseconds. */
const closeTimeoutMs = 2000;

/** The end of a server: in order, or because it cannot continue. */
export class Shutdown {
  readonly #options: ShutdownOptions;
  #stopped: Promise<void> | undefined;
  #hasFailed = false;

  constructor(options: ShutdownOptions) {
    this.#options = options;
  }

  /** Says goodbye to sessions, gives them `drainTimeoutMs` to leave, then ends partitions and threads. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop(true);
    return this.#stopped;
  }

  /** The start has failed: ends what had begun. The error says all that there is to say. */
  abandon(): Promise<void> {
    this.#stopped ??= this.#stop(false);
    return this.#stopped;
  }

  /** Going on without the slots of a partition would show subscribers empty lists (PU5): the process ends instead. */
  fail(error: Error): void {
    if (this.#stopped !== undefined || this.#hasFailed) return;
    this.#hasFailed = true;
    const { log, hosts, listener } = this.#options;
    log.logger.fatal({ err: error }, error.message);
    hosts.drain('failed');
    listener.stop();
    void this.#giveUp(error);
  }

  /** Other threads must have closed their sockets before the process ends. */
  async #giveUp(error: Error): Promise<void> {
    await this.#closeSockets();
    await this.#options.audit?.stop();
    await this.#options.store.stop();
    await this.#options.log.close();
    this.#options.onFatal(error);
  }

  async #stop(isTold: boolean): Promise<void> {
    const { config, log, listener, edges, threads, hosts, administration, descriptors } = this.#options;
    const { supervisor, store } = this.#options;
    listener.stop();
    edges.stopListening();
    hosts.drain('stopping');
    if (isTold) log.logger.info({ sessions: await administration.countSessions() }, 'draining');
    await this.#waitUntilEmpty(config.drainTimeoutMs);
    await this.#closeSockets();
    await edges.end();
    await this.#options.checkThread.stop();
    await supervisor.stop();
    await threads.end();
    await this.#options.warmStart?.end(hosts.table.partitions);
    // While the folder is still this process's.
    await this.#options.audit?.stop();
    await store.stop();
    descriptors.close();
    if (isTold) log.logger.info('stopped');
    await log.close();
  }

  async #closeSockets(): Promise<void> {
    const { hosts, ticker, transport, threads } = this.#options;
    // A thread that hangs shall not keep the others from ending.
    await Promise.race([hosts.closeAll(), delay(closeTimeoutMs)]);
    await delay(lastFramesMs);
    ticker.stop();
    transport.close();
    await threads.close();
  }

  async #waitUntilEmpty(timeoutMs: number): Promise<void> {
    const { administration } = this.#options;
    const deadlineMs = performance.now() + timeoutMs;
    while ((await administration.countSessions()) > 0 && performance.now() < deadlineMs) await delay(tickMs / 2);
  }
}
