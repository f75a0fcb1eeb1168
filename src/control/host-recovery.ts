import type { LeaseRecord } from '../sessions/lease-record.ts';
import type { Hosts } from './hosts.ts';
import type { RegistryGuard } from './registry-guard.ts';
import type { SlotMigrator } from './slot-migrator.ts';
import type { Supervisor } from './supervisor.ts';

export interface HostRecoveryOptions {
  readonly hosts: Hosts;
  readonly supervisor: Supervisor;
  readonly migrator: SlotMigrator;
  readonly guard: RegistryGuard;
}

/**
 * Brings back a session host whose thread has died (RE4): compensation in the other direction. Sessions with sockets of their own have died with it; what leases
 * hold, partitions still have, and tell. No slot moves and none is being rebuilt when that begins, so each registration is sent once.
 */
export class HostRecovery {
  readonly #options: HostRecoveryOptions;
  /** By host: how often each partition had died when the host did. */
  readonly #deathsBefore: Map<number, readonly number[]> = new Map();

  constructor(options: HostRecoveryOptions) {
    this.#options = options;
  }

  /** The host's thread has died: partitions forget who subscribed there, and what they had still to answer it; what it registered stays. */
  forget(host: number): void {
    const { supervisor } = this.#options;
    supervisor.detachHost(host);
    if (!this.#deathsBefore.has(host)) this.#deathsBefore.set(host, supervisor.deaths());
  }

  /**
   * Connects a new thread to the partitions, and has them send it the registrations of its leases. `attach`: makes the thread the host's, and gives the leases; undefined if it has
   * died, too. Resolves to whether the host is whole.
   */
  async recover(host: number, attach: () => readonly LeaseRecord[] | undefined): Promise<boolean> {
    const { hosts, supervisor, migrator, guard } = this.#options;
    await migrator.pause();
    try {
      if (!(await supervisor.whenAllReady())) return false;
      const leases = attach();
      if (leases === undefined) return false;
      const sessionHost = hosts.all()[host]!;
      hosts.greet(sessionHost);
      supervisor.connectHost(host, (partition, port) => {
        sessionHost.connect(partition, port);
      });
      if (!(await sessionHost.recover(leases))) return false;
      guard.greet(host);
      this.#refreshLost(host);
      return true;
    } finally {
      migrator.resume();
    }
  }

  /** A partition that has died meanwhile was rebuilt without what the host held: subscribers may hold what is nobody's any more. */
  #refreshLost(host: number): void {
    const { supervisor, hosts } = this.#options;
    const before = this.#deathsBefore.get(host) ?? [];
    this.#deathsBefore.delete(host);
    for (const [partition, deaths] of supervisor.deaths().entries()) {
      if (deaths !== (before[partition] ?? deaths)) hosts.refresh(partition);
    }
  }
}
