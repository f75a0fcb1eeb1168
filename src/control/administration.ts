import type { Logger } from 'pino';

import type { ServerConfig } from '../config/config.ts';
import type { Failure } from '../protocol/errors.ts';
import type { RemoveInstanceBody, SessionsQuery } from '../protocol/http-operations.ts';
import type {
  AuditSummary,
  GuardResult,
  PartitionsResult,
  RemovalResult,
  SessionsResult,
  Stats,
  StoreSummary,
} from '../protocol/http-results.ts';
import { protocolLimits } from '../protocol/limits.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type { CounterSnapshot } from '../runtime/counters.ts';
import { productVersion } from '../runtime/product-version.ts';
import { sum } from '../sessions/host-figures.ts';
import type { WarmUp, WarmUpJudge } from '../sessions/warm-up.ts';
import type { Hosts } from './hosts.ts';
import type { PersistentServices } from './persistent-services.ts';
import type { RegistryGuard } from './registry-guard.ts';
import { sumStates } from './registry-state.ts';
import type { SessionDirectory } from './session-directory.ts';
import type { HostState } from './session-host.ts';
import type { SlotMigrator } from './slot-migrator.ts';
import type { Supervisor } from './supervisor.ts';

export interface AdministrationOptions {
  readonly config: Pick<ServerConfig, 'reconnectSpreadMs' | 'sessionsPerSecondMax'>;
  readonly hosts: Hosts;
  readonly supervisor: Supervisor;
  readonly migrator: SlotMigrator;
  readonly guard: RegistryGuard;
  readonly persistent: Pick<PersistentServices, 'counts' | 'deregisterPersistent'>;
  readonly store: { readonly summary: StoreSummary };
  /** Undefined: nothing is noted. */
  readonly audit: { readonly summary: AuditSummary } | undefined;
  readonly directory: SessionDirectory;
  readonly warmUp: WarmUp;
  readonly warmUpJudge: WarmUpJudge;
  readonly log: Logger;
}

/** What an operator may see and do, wherever it is asked for. */
export class Administration {
  readonly #options: AdministrationOptions;

  constructor(options: AdministrationOptions) {
    this.#options = options;
  }

  /** Partitions that are not ready yet. */
  get waitingFor(): number[] {
    return this.#options.supervisor.states().flatMap((state, partition) => (state === 'ready' ? [] : [partition]));
  }

  /** The slot table, partitions, and how far a change has come. */
  async describePartitions(): Promise<PartitionsResult> {
    return (await this.#describe()).partitions;
  }

  /** Starts to raise or lower the number of partitions; a failure says why not. How it ends is in the log and in its progress. */
  resize(partitions: number): Failure | undefined {
    return this.#startChange((migrator) => migrator.resize(partitions));
  }

  /** Starts to even out what partitions hold; a failure says why not. */
  rebalance(): Failure | undefined {
    return this.#startChange((migrator) => migrator.rebalance());
  }

  /** Removes an instance, whoever has registered it; resolves when subscribers are about to be told. */
  async removeInstance({ id, ...service }: RemoveInstanceBody): Promise<RemovalResult | Failure> {
    const { hosts, persistent, log } = this.#options;
    const key = serviceKey(service);
    const stored = await persistent.deregisterPersistent({ ...service, id });
    if ('code' in stored && stored.code !== 'not_found') return stored;
    const claims = (await Promise.all(hosts.all().map((host) => host.removeInstance(key, id)))).flat();
    const isPersistent = !('code' in stored);
    if (claims.length === 0 && !isPersistent)
      return { code: 'not_found', message: `no instance ${JSON.stringify(id)} in ${key}` };
    log.warn({ service: key, id, claims, isPersistent }, 'an operator removed an instance');
    return { claims, persistent: isPersistent };
  }

  /** One page of the sessions that there are. */
  listSessions(query: SessionsQuery): Promise<SessionsResult> {
    return this.#options.directory.read(query);
  }

  /**
   * Asks a percentage of the sessions to reconnect, over `askedMs` or, if that is not given, over as long as admission needs to let them in. Resolves to
   * how many that were.
   */
  async requestReconnect(percent: number, askedMs: number | undefined): Promise<number> {
    const { config, hosts, log } = this.#options;
    const leavers = ((await this.countSessions()) * percent) / 100;
    // Half of what admission lets in: others come, too.
    const spreadMs = askedMs ?? Math.max(config.reconnectSpreadMs, (2000 * leavers) / config.sessionsPerSecondMax);
    const sessions = await hosts.requestReconnect(
      'asked',
      percent / 100,
      Math.min(spreadMs, protocolLimits.goawayMsMax),
    );
    log.info({ sessions, spreadMs: Math.round(spreadMs) }, 'asked sessions to reconnect');
    return sessions;
  }

  async countSessions(): Promise<number> {
    return sumStates(await this.#options.hosts.readStates()).sessions;
  }

  async describeGuard(): Promise<GuardResult> {
    const { hosts: allHosts, guard } = this.#options;
    const [hosts] = await Promise.all([allHosts.readStates(), guard.hearAll()]);
    return {
      ...guard.describe(),
      heldSessions: sum(hosts.map(({ figures }) => figures.held)),
      heldInstances: sum(hosts.map(({ figures }) => figures.heldInstances)),
    };
  }

  /** Resolves when nothing of a service, or of the whole registry, counts as lost any more; what was held goes soon after. */
  releaseGuard(key: string | undefined): Promise<void> {
    return this.#options.guard.release(key);
  }

  async readStats(): Promise<Stats<CounterSnapshot>> {
    const { warmUp, warmUpJudge, persistent, store, audit } = this.#options;
    const { partitions, hosts } = await this.#describe();
    const { sessions, leases, registrations, counters } = sumStates(hosts);
    return {
      version: productVersion,
      sessions,
      leases,
      registrations,
      persistentInstances: persistent.counts.instances,
      declaredServices: persistent.counts.services,
      store: store.summary,
      audit: audit?.summary ?? { state: 'off', seq: 0, hash: '' },
      held: sum(hosts.map(({ figures }) => figures.held)),
      warming: !warmUp.isOver,
      warmUpTookMs: Math.round(warmUpJudge.tookMs),
      subscriptionsWarming: sum(hosts.map(({ figures }) => figures.subscriptionsWarming)),
      ...partitions,
      // The main thread's host first, then those of I/O threads.
      hosts: hosts.map((state, host) => ({ host, sessions: state.sessions, registrations: state.registrations })),
      counters,
    };
  }

  async #describe(): Promise<{ partitions: PartitionsResult; hosts: readonly HostState[] }> {
    const { hosts: allHosts, supervisor, migrator } = this.#options;
    // The progress of a change is that at the time of the request, not of the last answer.
    const { table } = allHosts;
    const { progress } = migrator;
    const states = supervisor.states();
    const slots = table.slotsPerPartition();
    const hosts = await allHosts.readStates();
    const { requestsWaiting, slotShutMaxMs, requestsInFlight } = sumStates(hosts);
    const partitions = {
      epoch: table.epoch,
      requestsWaiting,
      slotShutMaxMs: Math.round(slotShutMaxMs),
      partitions: states.map((state, partition) => ({
        partition,
        state,
        slots: slots[partition] ?? 0,
        requestsInFlight: requestsInFlight[partition] ?? 0,
      })),
      move: progress,
    };
    return { partitions, hosts };
  }

  /** Starts a change of the slot table, unless one is in progress. */
  #startChange(change: (migrator: SlotMigrator) => Promise<void>): Failure | undefined {
    const { migrator, log } = this.#options;
    if (migrator.isBusy) {
      return { code: 'busy', message: 'a change of the slot table is under way', retryAfterMs: 1000 };
    }
    change(migrator).catch((error: unknown) => {
      log.debug({ err: error }, 'a change of the slot table ended early');
    });
    return undefined;
  }
}
