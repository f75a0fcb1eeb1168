import { splitCheck } from '../protocol/check-definition.ts';
import { isCritical, protectInstance, worsenHealth } from '../protocol/instance-encoding.ts';
import type { Health } from '../protocol/types.ts';
import { slotOf } from '../slots/slot.ts';
import { ChangeLog } from './change-log.ts';
import { isMarked, offMark, readMark, takeMarkOff } from './instance-mark.ts';
import { readId } from './instance-table.ts';
import type { InstanceTable } from './instance-table.ts';
import { ServiceInstances } from './service-instances.ts';
import { layOver } from './service-overlay.ts';
import type { ServiceOverlay } from './service-overlay.ts';

/** One service in its slot: its instances, its version, and, once somebody has subscribed, what changed when. */
export class ServiceRecord {
  readonly key: string;
  readonly slot: number;
  readonly instances: ServiceInstances;
  #version: number;
  #log: ChangeLog | undefined;
  #overlay: ServiceOverlay | undefined;
  #found: ReadonlyMap<string, Health> | undefined;
  /** The share of its instances that are to be well, above 0; undefined: it is declared with none. */
  healthThreshold: number | undefined;
  #isProtected = false;
  /** Ids of instances that show as critical; undefined: not counted. */
  #critical: Set<string> | undefined;
  /** The version in the life before at which the list was what it still is; undefined: there is none, or the log knows it. */
  #versionBefore: number | undefined;

  constructor(
    key: string,
    version: number,
    table: InstanceTable,
    overlay?: ServiceOverlay,
    found?: ReadonlyMap<string, Health>,
  ) {
    this.key = key;
    this.slot = slotOf(key);
    this.instances = new ServiceInstances(table);
    this.#version = version;
    this.#overlay = overlay;
    this.#found = found;
  }

  /** Whether an operator has closed it: none of its instances shows. */
  get isClosed(): boolean {
    return this.#overlay?.isClosed === true;
  }

  get overlay(): ServiceOverlay | undefined {
    return this.#overlay;
  }

  /** What is seen of it changes with this, without a change of version. */
  setOverlay(overlay: ServiceOverlay | undefined): void {
    this.#overlay = overlay;
    this.#critical = undefined;
  }

  /** Instances that show. */
  get instanceCount(): number {
    return this.isClosed ? 0 : this.instances.size - this.instances.offCount;
  }

  get log(): ChangeLog | undefined {
    return this.#log;
  }

  /** Takes up a log that another partition kept. */
  adoptLog(log: ChangeLog): void {
    this.#log = log;
  }

  /** Whether so few of its instances are well that the critical ones count as well. */
  get isProtected(): boolean {
    return this.#isProtected;
  }

  /** Whether it is to be, by what it holds. */
  mustBeProtected(): boolean {
    const { healthThreshold, instanceCount } = this;
    if (healthThreshold === undefined) return false;
    const critical = this.criticalIds().size;
    return critical > 0 && (instanceCount - critical) / instanceCount < healthThreshold;
  }

  /** What is seen of critical instances changes with this, without a change of version. */
  turnProtection(): void {
    this.#isProtected = !this.#isProtected;
  }

  /** Counts again, and is protected or not as that says; without a change of version. */
  judgeAnew(): void {
    this.#critical = undefined;
    this.#isProtected = this.mustBeProtected();
  }

  criticalIds(): ReadonlySet<string> {
    if (this.#critical !== undefined) return this.#critical;
    this.#critical = new Set();
    for (const fragment of this.instances.fragments()) this.noteHealth(readId(fragment));
    return this.#critical;
  }

  /** An instance has changed, or come, or gone. */
  noteHealth(id: string): void {
    if (this.#critical === undefined) return;
    const shown = this.#showJudged(id, this.instances.fragmentOf(id));
    if (shown !== undefined && isCritical(shown)) this.#critical.add(id);
    else this.#critical.delete(id);
  }

  /** What checks have found, by id, also of instances that are not there; undefined: all pass. */
  setFound(found: ReadonlyMap<string, Health> | undefined, id: string): void {
    this.#found = found;
    this.noteHealth(id);
  }

  /** The canonical JSON of each instance that shows, as it shows. */
  fragments(): Iterable<string> {
    if (this.isClosed) return [];
    const isPlain =
      this.instances.markedCount === 0 &&
      (this.#overlay?.overrides.size ?? 0) === 0 &&
      this.#found === undefined &&
      !this.#isProtected &&
      !this.instances.mayHaveChecks;
    return isPlain ? this.instances.fragments() : this.#shown();
  }

  /** An instance as it shows; undefined: it does not. */
  fragmentOf(id: string): string | undefined {
    return this.show(id, this.instances.fragmentOf(id));
  }

  /** What is, or was, registered of an instance, as it shows under the present overlay, with what its check has found. */
  show(id: string, fragment: string | undefined): string | undefined {
    const shown = this.#showJudged(id, fragment);
    return this.#isProtected && shown !== undefined && isCritical(shown) ? protectInstance(shown) : shown;
  }

  #showJudged(id: string, fragment: string | undefined): string | undefined {
    if (fragment === undefined) return undefined;
    if (!isMarked(fragment)) {
      const judged = this.#judge(id, fragment);
      return this.#overlay === undefined ? judged : layOver(this.#overlay, id, judged);
    }
    const mark = readMark(fragment);
    return mark === offMark ? undefined : layOver(this.#overlay, id, this.#judge(id, takeMarkOff(fragment)), mark);
  }

  #judge(id: string, fragment: string): string {
    const { shown } = splitCheck(fragment);
    const found = this.#found?.get(id);
    return found === undefined ? shown : worsenHealth(shown, found);
  }

  *#shown(): Generator<string, void, undefined> {
    for (const fragment of this.instances.fragments()) {
      const shown = this.show(readId(fragment), fragment);
      if (shown !== undefined) yield shown;
    }
  }

  get version(): number {
    return this.#version;
  }

  /** Starts the change log, if it is not kept yet: services that nobody watches do without. */
  keepLog(entriesMax: number): void {
    if (this.#log !== undefined) return;
    this.#log = new ChangeLog(this.#version, entriesMax, this.#versionBefore);
    this.#versionBefore = undefined;
  }

  /** Ids that changed after `version`; undefined when that is not known. */
  changedSince(version: number): Set<string> | undefined {
    if (version === this.#version || version === this.#versionBefore) return new Set();
    return this.#log?.changedSince(version);
  }

  /** Continues from a higher version although nothing has changed. Lists of clients at lower versions may not be states of this record: a new change log is started. */
  raise(version: number): void {
    if (version <= this.#version) return;
    this.#version = version;
    this.#versionBefore = undefined;
    this.#log?.restart(version);
  }

  /** Continues above all versions of the life before, the last of which may not be known. A client that holds the list at the version that is known still holds this list. */
  continueAbove(version: number): void {
    const before = this.#version;
    this.raise(version);
    if (this.#version !== before) this.#versionBefore = before;
  }

  /** A client that holds the list at a version of the life before may hold another list than this. */
  forgetVersionBefore(): void {
    this.#versionBefore = undefined;
  }

  /** Records that an instance changed, at the next version: max(previous + 1, wall clock in µs). */
  advance(id: string, nowMicros: number): void {
    this.#version = Math.max(this.#version + 1, nowMicros);
    this.#versionBefore = undefined;
    this.#log?.append(this.#version, id);
  }
}
