import type { AccessTables } from '../access/access-check.ts';
import type { StorePort } from '../durable/commits.ts';
import type { StoreConnection } from '../durable/thread-store.ts';
import { highestOf } from '../protocol/extremes.ts';
import type { Health } from '../protocol/types.ts';
import type { PartitionLink } from '../routing/partition-link.ts';
import { askApplied } from '../routing/router.ts';
import { noOrders } from '../sessions/standing-orders.ts';
import type { Orders } from '../sessions/standing-orders.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import type { NamespaceQuota } from '../store/namespace-quotas.ts';
import { toPartition } from '../workers/messages.ts';
import type { ToPartition } from '../workers/messages.ts';
import type { MailboxPort } from '../workers/runner.ts';
import type { LocalHost } from './local-host.ts';
import type { RegistryGuard } from './registry-guard.ts';
import type { DeclaredWeight, SessionHost, HostState } from './session-host.ts';
import type { SessionTransfers } from './session-transfers.ts';
import { StateReader } from './state-reader.ts';

export interface HostsOptions {
  /** On the main thread. */
  readonly main: LocalHost;
  readonly others: readonly SessionHost[];
  /** The loss guard, and the transfers of sessions between hosts. Hosts report to both from their first session on, so both must know all hosts before that. */
  readonly guard: RegistryGuard;
  readonly transfers: SessionTransfers;
  /** Connects a host to the store: `hand` is given a port, and another whenever the store's thread has been started again. */
  readonly connectStore: (hand: (port: StorePort) => void) => StoreConnection;
}

/**
 * All session hosts of the process, as those see them who start partitions and move slots. The one on the main thread also carries what concerns a partition
 * as a whole: new tables, slots that move, the end of a rebuild.
 */
export class Hosts {
  readonly main: LocalHost;
  readonly states: StateReader;
  readonly #transfers: SessionTransfers;
  readonly #others: readonly SessionHost[];
  /** For hosts whose thread is new. */
  readonly #weights: Map<string, number> = new Map();
  /** That services are declared with, as partitions know them. */
  readonly #healthThresholds: Map<string, number> = new Map();
  /** What is laid over services, as partitions know it; for those that are new. */
  readonly #overlays: Map<string, string> = new Map();
  #orders: Orders = noOrders;
  #access: AccessTables | undefined;
  #quotas = '[]';
  /** What checks have found, by service and id, unless it is that all is well. */
  readonly #found: Map<string, Map<string, Health>> = new Map();
  readonly #connectStore: HostsOptions['connectStore'];
  readonly #storeConnections: Map<SessionHost, StoreConnection> = new Map();

  constructor({ main, others, guard, transfers, connectStore }: HostsOptions) {
    this.main = main;
    this.#connectStore = connectStore;
    this.#others = others;
    this.#transfers = transfers;
    this.states = new StateReader(this.all());
    for (const host of this.all()) {
      guard.join(host);
      transfers.join(host);
    }
  }

  all(): readonly SessionHost[] {
    return [this.main, ...this.#others];
  }

  get table(): SlotTable {
    return this.main.router.table;
  }

  /** The main thread's mailbox to a partition. */
  link(partition: number): PartitionLink | undefined {
    return this.main.router.link(partition);
  }

  /** `epoch`: of the table that the partition was started with. */
  connect(partition: number, epoch: number, connect: (host: number) => MailboxPort): void {
    for (const host of this.all()) host.connect(partition, connect(host.number));
    const link = this.link(partition);
    if (epoch !== this.table.epoch) link?.adoptTable(this.table);
    if (this.#quotas !== '[]') link?.tell([toPartition.limitNamespaces, this.#quotas]);
    for (const [key, overlay] of this.#overlays) link?.tell([toPartition.restoreOverlay, key, overlay]);
    for (const [key, share] of this.#healthThresholds) link?.tell([toPartition.restoreProtection, key, share]);
    for (const [key, found] of this.#found)
      for (const [id, health] of found) link?.tell([toPartition.restoreFound, key, id, health]);
  }

  async disconnect(partition: number): Promise<void> {
    await Promise.all(this.all().map((host) => host.disconnect(partition)));
  }

  freeze(slots: readonly number[]): void {
    for (const host of this.all()) host.freeze(slots);
  }

  thaw(slots: readonly number[]): void {
    for (const host of this.all()) host.thaw(slots);
  }

  /** A new table takes effect, for all hosts and partitions. */
  setTable(table: SlotTable): void {
    for (const host of this.all()) host.adoptTable(table.memory);
  }

  /** Resolves when every host gives instances that are registered without a weight the one that their service is declared with. */
  async setDefaultWeights(weights: readonly DeclaredWeight[]): Promise<void> {
    for (const [key, weight] of weights) {
      if (weight === undefined) this.#weights.delete(key);
      else this.#weights.set(key, weight);
    }
    await Promise.all(this.all().map((host) => host.setDefaultWeights(weights)));
  }

  /** Resolves when all partitions let critical instances of a service count as well while fewer than this share of them are well; 0: never. */
  async setHealthThreshold(key: string, share: number): Promise<void> {
    if (share === 0) this.#healthThresholds.delete(key);
    else this.#healthThresholds.set(key, share);
    await this.#tellAll([toPartition.protect, key, share]);
  }

  /** Resolves when every host does what operators have ordered, and subscribers are about to be told. */
  async setOrders(orders: Orders): Promise<void> {
    this.#orders = orders;
    await Promise.all(this.all().map((host) => host.setOrders(orders)));
  }

  /** Resolves when every host that lets callers in knows them. */
  async setAccess(tables: AccessTables): Promise<void> {
    this.#access = tables;
    await Promise.all(this.all().map((host) => host.setAccess(tables)));
  }

  /** Resolves when all partitions let namespaces have so much. */
  async setQuotas(quotas: readonly NamespaceQuota[]): Promise<void> {
    const text = JSON.stringify(quotas);
    if (text === this.#quotas) return;
    this.#quotas = text;
    await this.#tellAll([toPartition.limitNamespaces, text]);
  }

  /** Resolves when all partitions that live have applied what has no answer of its own. */
  async #tellAll(record: ToPartition): Promise<void> {
    const told = this.main.router.links().map((link) => {
      link.tell(record);
      return this.ask(link, (request) => [toPartition.fence, request]);
    });
    await Promise.all(told);
  }

  /**
   * Lays something over a service, or nothing if it is empty: resolves when it has taken effect, wherever the service is. All partitions are told, once no slot is moving or being rebuilt, so
   * none misses it on its way. If the owner dies before it has told subscribers, the next one does.
   */
  layOver(key: string, overlay: string): Promise<void> {
    const { router } = this.main;
    return new Promise((resolve) => {
      router.whenThawed('all', () => {
        this.#noteOverlay(key, overlay);
        const told = router
          .links()
          .map((link) => this.ask(link, (request) => [toPartition.layOver, request, key, overlay]));
        void Promise.all(told).then(() => {
          resolve();
        });
      });
    });
  }

  /** The check of an instance has found something: all partitions are told, once no slot is moving or being rebuilt, so none misses it on its way. */
  judge(key: string, id: string, health: Health): void {
    const { router } = this.main;
    router.whenThawed('all', () => {
      const found = this.#found.get(key) ?? new Map<string, Health>();
      if (health === 'passing') found.delete(id);
      else found.set(id, health);
      if (found.size === 0) this.#found.delete(key);
      else this.#found.set(key, found);
      for (const link of router.links()) link.tell([toPartition.judge, key, id, health]);
    });
  }

  /** What was laid over a service in the life before of the process, or is no more; nobody has been served in this one. */
  restoreOverlay(key: string, overlay: string): void {
    this.#noteOverlay(key, overlay);
    for (const link of this.main.router.links()) link.tell([toPartition.restoreOverlay, key, overlay]);
  }

  #noteOverlay(key: string, overlay: string): void {
    if (overlay === '') this.#overlays.delete(key);
    else this.#overlays.set(key, overlay);
  }

  /** A host's thread is new: it is told what others know, before it is asked for anything else. */
  greet(host: SessionHost): void {
    host.adoptTable(this.table.memory);
    void host.setDefaultWeights([...this.#weights]);
    void host.setOrders(this.#orders);
    if (this.#access !== undefined) void host.setAccess(this.#access);
    this.#connectToStore(host);
  }

  /** The store runs, and so do all hosts. */
  connectToStore(): void {
    for (const host of this.all()) this.#connectToStore(host);
  }

  #connectToStore(host: SessionHost): void {
    this.#storeConnections.get(host)?.close();
    const connection = this.#connectStore((port) => {
      host.connectStore(port);
    });
    this.#storeConnections.set(host, connection);
  }

  /** Resolves to the highest version that any host has received. */
  async lose(partition: number): Promise<number> {
    return highestOf(await Promise.all(this.all().map((host) => host.lose(partition))));
  }

  async restore(partition: number): Promise<boolean> {
    await this.#transfers.pause();
    try {
      return await everyOf(this.all().map((host) => host.restore(partition)));
    } finally {
      this.#transfers.resume();
    }
  }

  resume(partition: number): Promise<boolean> {
    return everyOf(this.all().map((host) => host.resume(partition)));
  }

  resumeReads(partition: number): Promise<boolean> {
    return everyOf(this.all().map((host) => host.resumeReads(partition)));
  }

  /**
   * Resolves to whether the partition lived until everything that hosts had sent it was applied, and everything that it had sent was processed. The main
   * thread's host is not asked: what it sends to the partition next takes the same way.
   */
  fenceOthers(partition: number): Promise<boolean> {
    return everyOf(this.#others.map((host) => host.fence(partition)));
  }

  /** What every host holds and has counted, once it has done everything that was sent before; its last answer, if it does not respond. */
  readStates(): Promise<HostState[]> {
    return this.states.read();
  }

  /** Asks all sessions to leave; from now on no departure is pushed to subscribers. */
  drain(reason: string): void {
    for (const host of this.all()) host.drain(reason);
  }

  /** Asks a share of all sessions, 0 to 1, to reconnect within a time. Resolves to how many. */
  async requestReconnect(reason: string, share: number, spreadMs: number): Promise<number> {
    const counts = await Promise.all(this.all().map((host) => host.requestReconnect(reason, share, spreadMs)));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** Closes all sessions. */
  async closeAll(): Promise<void> {
    await Promise.all(this.all().map((host) => host.closeAll()));
  }

  /** Something that a partition held is gone, and nobody knows what. */
  refresh(partition: number): void {
    for (const host of this.all()) host.refresh(partition);
  }

  /** Tells a partition something through the main thread's mailbox; resolves to whether it lived to apply it. */
  ask(link: PartitionLink, build: (request: number) => ToPartition): Promise<boolean> {
    return askApplied({ router: this.main.router, link }, build);
  }
}

async function everyOf(outcomes: readonly Promise<boolean>[]): Promise<boolean> {
  return (await Promise.all(outcomes)).every(Boolean);
}
