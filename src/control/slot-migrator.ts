import type { Logger } from 'pino';

import type { MoveProgress } from '../protocol/http-results.ts';
import type { PartitionLink } from '../routing/partition-link.ts';
import { planEvenLoad, planEvenSlots } from '../slots/slot-planner.ts';
import type { Moves } from '../slots/slot-planner.ts';
import { slotCount } from '../slots/slot.ts';
import { fromFields, fromPartition, toPartition } from '../workers/messages.ts';
import type { HolderParcel, ServiceParcel, ToPartition } from '../workers/messages.ts';
import type { Hosts } from './hosts.ts';
import type { Supervisor } from './supervisor.ts';

export interface SlotMigratorOptions {
  readonly hosts: Hosts;
  readonly supervisor: Supervisor;
  readonly log: Logger;
  /** Slots that move together. */
  readonly stepSlots: number;
  /** What they hold together, in bytes; one may hold more. */
  readonly stepBytes: number;
  /** Resolves in a later turn. */
  readonly nextTurn: () => Promise<void>;
}

interface Step {
  readonly from: number;
  readonly to: number;
  readonly slots: readonly number[];
}

interface Route {
  readonly owner: PartitionLink;
  readonly receiver: PartitionLink;
  readonly slots: readonly number[];
}

interface Part {
  readonly versionFloor: number;
  readonly parcels: readonly ServiceParcel[];
  readonly holders: HolderParcel;
  readonly isLast: boolean;
}

/**
 * Moves slots between partitions while they are in use (SL3). One step at a time: all hosts freeze the slots, and the owner has applied what they
 * had sent; what the slots hold goes to the new owner, part by part, so that no thread has more of it at a time than it has time for; all hosts have heard what
 * the old one said; the new table takes effect; the old one forgets the slots; they thaw. Until the table changes the old owner has all that it had: if either dies before,
 * the step is rolled back, and tried again. If either dies after that, it is rebuilt with the slots that the new table gives it.
 */
export class SlotMigrator {
  readonly #options: SlotMigratorOptions;
  readonly #hosts: Hosts;
  #progress: MoveProgress;
  /** Of all changes so far. */
  slotsMoved = 0;
  stepsRolledBack = 0;
  #pauses = 0;
  #isStepping = false;
  #waitingForStep: (() => void)[] = [];
  #waitingToResume: (() => void)[] = [];

  constructor(options: SlotMigratorOptions) {
    this.#options = options;
    this.#hosts = options.hosts;
    this.#progress = {
      kind: 'none',
      isRunning: false,
      partitions: this.#hosts.table.partitions,
      slotsToMove: 0,
      slotsMoved: 0,
      stepsRolledBack: 0,
    };
  }

  get progress(): MoveProgress {
    return this.#progress;
  }

  get isBusy(): boolean {
    return this.#progress.isRunning;
  }

  /** Starts or ends partitions and moves slots until each of `partitions` owns its share. Resolves when done; one change at a time. */
  async resize(partitions: number): Promise<void> {
    await this.#exclusively('resize', partitions, async () => {
      const { supervisor } = this.#options;
      const before = this.#hosts.table.partitions;
      if (partitions > before) {
        await supervisor.startUpTo(partitions);
        this.#hosts.setTable(this.#hosts.table.withOwners(new Map(), partitions));
      }
      await this.#carryOut(planEvenSlots(this.#hosts.table, partitions));
      if (partitions < before) {
        this.#hosts.setTable(this.#hosts.table.withOwners(new Map(), partitions));
        await supervisor.stopFrom(partitions);
      }
    });
  }

  /** Moves slots so that partitions hold about equally many instances. */
  async rebalance(): Promise<void> {
    await this.#exclusively('rebalance', this.#hosts.table.partitions, async () => {
      await this.#carryOut(planEvenLoad(this.#hosts.table, (await this.#measure()).instances));
    });
  }

  /** Resolves once no step is in progress, and lets none begin until {@link resume}. */
  async pause(): Promise<void> {
    this.#pauses += 1;
    if (this.#isStepping) await new Promise<void>((resolve) => this.#waitingForStep.push(resolve));
  }

  resume(): void {
    this.#pauses -= 1;
    if (this.#pauses === 0) for (const resolve of this.#waitingToResume.splice(0)) resolve();
  }

  async #exclusively(kind: MoveProgress['kind'], partitions: number, change: () => Promise<void>): Promise<void> {
    if (this.isBusy) throw new Error('a change of the slot table is under way');
    this.#progress = { kind, isRunning: true, partitions, slotsToMove: 0, slotsMoved: 0, stepsRolledBack: 0 };
    this.#options.log.info({ kind, partitions }, 'changing the slot table');
    try {
      await change();
      this.#progress = { ...this.#progress, isRunning: false };
      this.#options.log.info({ ...this.#progress, epoch: this.#hosts.table.epoch }, 'slot table changed');
    } catch (error) {
      const failure = error instanceof Error ? error.message : String(error);
      this.#progress = { ...this.#progress, isRunning: false, failure };
      this.#options.log.error({ ...this.#progress, err: error }, 'changing the slot table failed');
      throw error;
    }
  }

  async #carryOut(moves: Moves): Promise<void> {
    this.#progress = { ...this.#progress, slotsToMove: moves.size };
    const { supervisor, nextTurn } = this.#options;
    if (moves.size === 0) return;
    const { bytes } = await this.#measure();
    for (const step of this.#split(moves, bytes)) {
      for (;;) {
        while (this.#pauses > 0) await new Promise<void>((resolve) => this.#waitingToResume.push(resolve));
        if (!(await supervisor.whenReady([step.from, step.to]))) return;
        if (this.#pauses > 0) continue;
        if (await this.#moveStep(step)) break;
        this.stepsRolledBack += 1;
        this.#progress = { ...this.#progress, stepsRolledBack: this.#progress.stepsRolledBack + 1 };
        this.#options.log.warn(step, 'a step was rolled back, and will be tried again');
      }
      this.slotsMoved += step.slots.length;
      this.#progress = { ...this.#progress, slotsMoved: this.#progress.slotsMoved + step.slots.length };
      // Whatever waited for all slots to be open has its turn between steps.
      await nextTurn();
    }
  }

  /** A step is as long as its slots are frozen for: what they held when the change began says how long that is. */
  #split(moves: Moves, bytes: readonly number[]): Step[] {
    const { stepSlots, stepBytes } = this.#options;
    const steps = new Map<string, { from: number; to: number; slots: number[]; bytes: number }[]>();
    for (const [slot, to] of moves) {
      const from = this.#hosts.table.ownerOf(slot);
      const route = steps.get(`${from} ${to}`) ?? [];
      steps.set(`${from} ${to}`, route);
      let step = route.at(-1);
      if (step === undefined || step.slots.length === stepSlots || step.bytes + bytes[slot]! > stepBytes) {
        step = { from, to, slots: [], bytes: 0 };
        route.push(step);
      }
      step.slots.push(slot);
      step.bytes += bytes[slot]!;
    }
    return [...steps.values()].flat();
  }

  /** Moves one step's slots; false if it was rolled back. */
  async #moveStep(step: Step): Promise<boolean> {
    const { slots } = step;
    this.#isStepping = true;
    this.#hosts.freeze(slots);
    const isTaken = await this.#moveFrozen(step);
    this.#hosts.thaw(slots);
    this.#isStepping = false;
    for (const resolve of this.#waitingForStep.splice(0)) resolve();
    return isTaken;
  }

  async #moveFrozen({ from, to, slots }: Step): Promise<boolean> {
    const hosts = this.#hosts;
    const owner = hosts.link(from);
    // Each host has a mailbox of its own: what another one sent before must not come after the slots have been given away.
    if (owner === undefined || !(await hosts.fenceOthers(from))) return false;
    const receiver = hosts.link(to);
    if (receiver === undefined) return false;
    const forget = (request: number): ToPartition => [toPartition.forget, request, slots];
    // Nor must what the new owner says overtake what the old one said.
    const isThere = (await this.#carry({ owner, receiver, slots })) && (await hosts.fenceOthers(from));
    if (!isThere || owner.isClosed || receiver.isClosed || !this.#options.supervisor.isReady(to)) {
      await hosts.ask(receiver, forget);
      return false;
    }
    hosts.setTable(hosts.table.withOwners(new Map(slots.map((slot) => [slot, to]))));
    // Only the main thread's mailbox brings the table. By the others the new owner must not be asked before it knows that the slots are its own: it would send that back, and what
    // comes again may be overtaken by what came later, the end of its session for one.
    await Promise.all([hosts.ask(owner, forget), hosts.ask(receiver, (request) => [toPartition.fence, request])]);
    return true;
  }

  /** Brings what slots hold from one partition to another, which takes in a part while the next is packed. False if one of them died. */
  async #carry({ owner, receiver, slots }: Route): Promise<boolean> {
    let takenIn = Promise.resolve(true);
    let part = await this.#handOver(owner, slots);
    while (part !== undefined && (await takenIn)) {
      const { versionFloor, parcels, holders, isLast } = part;
      takenIn = this.#hosts.ask(receiver, (request) => [toPartition.takeOver, request, versionFloor, parcels, holders]);
      if (isLast) return takenIn;
      part = await this.#handOver(owner, []);
    }
    await takenIn;
    return false;
  }

  /** The first part of what slots hold, or, without any, the next. Undefined: the owner died first. */
  #handOver(link: PartitionLink, slots: readonly number[]): Promise<Part | undefined> {
    if (link.isClosed) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#hosts.main.router.askLink(link, {
        key: '',
        build: (request) => [toPartition.handOver, request, slots],
        settle: (answer) => {
          if (answer[0] !== fromPartition.handedOver) throw new Error(`not an answer to a handover: ${answer[0]}`);
          resolve({
            versionFloor: answer[fromFields.handedOver.versionFloor],
            parcels: answer[fromFields.handedOver.parcels],
            holders: answer[fromFields.handedOver.holders],
            isLast: answer[fromFields.handedOver.isLast] === 1,
          });
        },
        abandon: () => {
          resolve(undefined);
        },
      });
    });
  }

  /** What each slot holds. */
  async #measure(): Promise<{ readonly instances: number[]; readonly bytes: number[] }> {
    const instances = Array.from({ length: slotCount }, () => 0);
    const bytes = Array.from({ length: slotCount }, () => 0);
    await this.#options.supervisor.whenReady(Array.from({ length: this.#hosts.table.partitions }, (_, i) => i));
    await Promise.all(
      this.#hosts.main.router.links().map(
        (link) =>
          new Promise<void>((resolve) => {
            this.#hosts.main.router.askLink(link, {
              key: '',
              build: (request) => [toPartition.measure, request],
              settle: (answer) => {
                if (answer[0] !== fromPartition.measured)
                  throw new Error(`not an answer to a measurement: ${answer[0]}`);
                const loads = answer[fromFields.measured.loads];
                for (let i = 0; i < loads.length; i += 3) {
                  instances[loads[i]!] = loads[i + 1]!;
                  bytes[loads[i]!] = loads[i + 2]!;
                }
                resolve();
              },
              // It counts as empty: the plan only gets coarser.
              abandon: resolve,
            });
          }),
      ),
    );
    return { instances, bytes };
  }
}
