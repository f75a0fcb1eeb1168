import type { CheckTarget, ToldCheck } from '../health/check-core.ts';
import type { CheckFigures, HealthReport, ToHealthThread } from '../health/health-messages.ts';
import { serverActor } from '../protocol/actor.ts';
import { splitCheck } from '../protocol/check-definition.ts';
import type { ChecksResult } from '../protocol/checks.ts';
import { parseServiceKey } from '../protocol/service-key.ts';
import type { CheckDefinition, Health, Instance } from '../protocol/types.ts';
import type { Counters } from '../runtime/counters.ts';
import { slotOf } from '../slots/slot.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { FromRecord } from '../workers/messages.ts';
import type { Hosts } from './hosts.ts';
import type { PersistentServices } from './persistent-services.ts';

export interface HealthChecksOptions {
  readonly checksMax: number;
  readonly counters: Pick<Counters, 'countLimit'>;
  readonly persistent: Pick<PersistentServices, 'deregisterPersistent'>;
  /** To the thread that makes checks, which begins with the first message. */
  readonly tell: (message: ToHealthThread) => void;
  readonly onEvent: (event: CheckEvent) => void;
  readonly readWallMs: () => number;
}

export type CheckEvent =
  | { readonly kind: 'deregistered'; readonly key: string; readonly id: string }
  | { readonly kind: 'holding' | 'released'; readonly held: number };

interface KnownCheck {
  /** What the thread tells of one that had its name before is not about it. */
  readonly number: number;
  readonly target: CheckTarget;
  readonly isPersistent: boolean;
  /** What it is recognized by. */
  readonly text: string;
  health: Health;
  output: string;
  /** Milliseconds since the epoch. */
  sinceMs: number;
}

const noFigures: CheckFigures = {
  probes: 0,
  failures: 0,
  underWay: 0,
  waiting: 0,
  isHolding: false,
  heldCount: 0,
};
/** No id has control characters. */
const separator = '\n';

/**
 * Checks of instances, on the main thread: partitions say which instances that show have one, the thread of checks makes them, and all partitions are told what it finds, so
 * that it is there wherever the instance goes.
 */
export class HealthChecks {
  readonly #options: HealthChecksOptions;
  readonly #checks: Map<string, KnownCheck> = new Map();
  /** Checks that have gone since the last tick: an instance may be back at once. */
  readonly #gone: Map<string, Health> = new Map();
  /** Checks that partitions have told of since they were asked for all. */
  readonly #sweeps: Set<Set<string>> = new Set();
  #hosts: Hosts | undefined;
  #isStarting = true;
  #number = 0;
  #figures = noFigures;
  /** Of lives before of the thread. */
  #before = { probes: 0, failures: 0 };

  constructor(options: HealthChecksOptions) {
    this.#options = options;
  }

  get figures(): CheckFigures {
    const { probes, failures } = this.#before;
    return { ...this.#figures, probes: this.#figures.probes + probes, failures: this.#figures.failures + failures };
  }

  /** How many checks stand how. */
  get counts(): Readonly<Record<Health, number>> {
    const counts = { passing: 0, warning: 0, critical: 0 };
    for (const { health } of this.#checks.values()) counts[health] += 1;
    return counts;
  }

  join(hosts: Hosts): void {
    this.#hosts = hosts;
  }

  /** All that was there before the start is there again: what partitions began with they did not tell. */
  async begin(): Promise<void> {
    const { partitions } = this.#requireHosts().table;
    await Promise.all(Array.from({ length: partitions }, (_, partition) => this.review(partition)));
    this.#isStarting = false;
  }

  /** A partition has begun a life: what it says of its slots is all that there is. */
  async review(partition: number): Promise<void> {
    const hosts = this.#requireHosts();
    const link = hosts.link(partition);
    if (link === undefined) return;
    const isOwned = (name: string): boolean => hosts.table.ownerOf(slotOf(readName(name).key)) === partition;
    const candidates = [...this.#checks.keys()].filter(isOwned);
    const told = new Set<string>();
    this.#sweeps.add(told);
    const isThrough = await hosts.ask(link, (request) => [toPartition.tellChecks, request]);
    this.#sweeps.delete(told);
    // If it has died, its next life is asked.
    if (!isThrough) return;
    for (const name of candidates) if (!told.has(name) && isOwned(name)) this.#drop(name);
  }

  handle(record: FromRecord<'check'> | FromRecord<'heard'>): void {
    const name = record[1] + separator + record[2];
    if (record[0] === fromPartition.heard) {
      if (this.#checks.has(name)) this.#options.tell({ kind: 'hear', name });
      return;
    }
    const [, key, id, instance] = record;
    if (instance === '') this.#drop(name);
    else this.#put(name, { key, id }, instance);
  }

  #put(name: string, { key, id }: Pick<CheckTarget, 'key' | 'id'>, instance: string): void {
    for (const told of this.#sweeps) told.add(name);
    const { host, port, persistent } = JSON.parse(instance) as Instance;
    const text = `${host}:${port} ${splitCheck(instance).check}`;
    const known = this.#checks.get(name);
    const isPersistent = persistent === true;
    if (known?.text === text && known.isPersistent === isPersistent) {
      // Whoever registers it again is there.
      this.#options.tell({ kind: 'hear', name });
      return;
    }
    const { checksMax } = this.#options;
    if (known === undefined && this.#checks.size >= checksMax) {
      this.#options.counters.countLimit('checksMax');
      return;
    }
    const check = JSON.parse(splitCheck(instance).check!) as CheckDefinition;
    const target = { key, id, host, port, check };
    // Nobody has asked it yet, but it was there before: until somebody does, it is as good as it was.
    const isOfBefore = known === undefined && (this.#isStarting || this.#sweeps.size > 0);
    const { initial = 'passing' } = check;
    const health = isOfBefore ? 'passing' : initial;
    const before = known?.health ?? this.#gone.get(name) ?? 'passing';
    this.#gone.delete(name);
    this.#number += 1;
    const number = this.#number;
    const sinceMs = this.#options.readWallMs();
    this.#checks.set(name, { number, target, isPersistent, text, health, output: '', sinceMs });
    this.#options.tell({ kind: 'put', name, number, target, health });
    if (before !== health || initial !== health) this.#requireHosts().judge(key, id, health);
  }

  #drop(name: string): void {
    const known = this.#checks.get(name);
    if (known === undefined) return;
    this.#checks.delete(name);
    this.#options.tell({ kind: 'drop', name });
    this.#gone.set(name, known.health);
  }

  tick(): void {
    for (const [name, health] of this.#gone) {
      const { key, id } = readName(name);
      if (health !== 'passing') this.#requireHosts().judge(key, id, 'passing');
    }
    this.#gone.clear();
  }

  /** The thread of checks tells what it has found. */
  take({ standings, overdue, figures }: HealthReport): void {
    const wasHolding = this.#figures.isHolding;
    this.#figures = figures;
    if (figures.isHolding !== wasHolding) {
      this.#options.onEvent({ kind: figures.isHolding ? 'holding' : 'released', held: figures.heldCount });
    }
    const nowMs = this.#options.readWallMs();
    for (const { health, output, ...told } of standings) {
      const check = this.#find(told);
      if (check === undefined) continue;
      check.output = output;
      if (check.health === health) continue;
      check.health = health;
      check.sinceMs = nowMs;
      this.#requireHosts().judge(check.target.key, check.target.id, health);
    }
    for (const told of overdue) this.#deregister(told);
  }

  /** The check that the thread means, unless that has gone or been replaced. */
  #find({ name, number }: ToldCheck): KnownCheck | undefined {
    const check = this.#checks.get(name);
    return check?.number === number ? check : undefined;
  }

  #deregister(told: ToldCheck): void {
    const check = this.#find(told);
    if (check === undefined) return;
    const { key, id } = check.target;
    this.#options.onEvent({ kind: 'deregistered', key, id });
    // If it cannot be stored that it is gone, the thread asks again.
    if (check.isPersistent)
      void this.#options.persistent.deregisterPersistent({ ...parseServiceKey(key), id }, serverActor);
    else this.#requireHosts().main.router.tell(key, [toPartition.evict, key, id]);
  }

  /** The thread of checks has begun anew, and knows of none. */
  renew(): void {
    const { probes, failures } = this.#figures;
    this.#before = { probes: this.#before.probes + probes, failures: this.#before.failures + failures };
    this.#figures = noFigures;
    for (const [name, { number, target, health }] of this.#checks)
      this.#options.tell({ kind: 'put', name, number, target, health });
  }

  /** An operator says that what the guard holds is to be told. */
  release(): void {
    if (this.#figures.isHolding) this.#options.tell({ kind: 'release' });
  }

  /** Checks in the order of their names, from after a name on; of one service if it is given. */
  list(service: string | undefined, after: string, limit: number): ChecksResult {
    const names = [...this.#checks.keys()]
      .filter((name) => name > after && (service === undefined || readName(name).key === service))
      .sort();
    const page = names.slice(0, limit);
    const checks = page.map((name) => {
      const { target, health, output, sinceMs } = this.#checks.get(name)!;
      return {
        ...parseServiceKey(target.key),
        id: target.id,
        kind: target.check.kind,
        health,
        output,
        since: new Date(sinceMs).toISOString(),
      };
    });
    const last = page.at(-1);
    return {
      holding: this.#figures.isHolding,
      checks,
      ...(last === undefined || names.length <= limit ? {} : { cursor: Buffer.from(last).toString('base64url') }),
    };
  }

  #requireHosts(): Hosts {
    if (this.#hosts === undefined) throw new Error('checks before there are partitions');
    return this.#hosts;
  }
}

function readName(name: string): { readonly key: string; readonly id: string } {
  const at = name.indexOf(separator);
  return { key: name.slice(0, at), id: name.slice(at + 1) };
}
