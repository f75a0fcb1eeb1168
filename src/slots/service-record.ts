import { ChangeLog } from './change-log.ts';

/** An instance as its partition holds it: never parsed, only compared and joined. */
export interface StoredInstance {
  /** The canonical JSON of the instance: equal content has equal text. */
  readonly fragment: string;
  /** The session, or lease, that registered it last (SE1). */
  readonly owner: number;
  /** Which of its owner's registrations this is; rises with each. */
  readonly stamp: number;
}

/** One service in its slot: its instances, its version, and, once somebody has subscribed, what changed when. */
export class ServiceRecord {
  readonly key: string;
  readonly instances: Map<string, StoredInstance> = new Map();
  #version: number;
  #log: ChangeLog | undefined;

  constructor(key: string, version: number) {
    this.key = key;
    this.#version = version;
  }

  get instanceCount(): number {
    return this.instances.size;
  }

  /** The content of every instance. */
  *fragments(): IterableIterator<string> {
    for (const { fragment } of this.instances.values()) yield fragment;
  }

  /** The content of one instance; undefined if it is not there. */
  fragmentOf(id: string): string | undefined {
    return this.instances.get(id)?.fragment;
  }

  get log(): ChangeLog | undefined {
    return this.#log;
  }

  /** Takes up a log that another partition kept. */
  adoptLog(log: ChangeLog): void {
    this.#log = log;
  }

  get version(): number {
    return this.#version;
  }

  /** Starts the change log, if it is not kept yet: services that nobody watches do without. */
  keepLog(entriesMax: number): void {
    this.#log ??= new ChangeLog(this.#version, entriesMax);
  }

  /** Ids that changed after `version`; undefined when that is not known. */
  changedSince(version: number): Set<string> | undefined {
    if (version === this.#version) return new Set();
    return this.#log?.changedSince(version);
  }

  /** Records that an instance changed, at the next version: max(previous + 1, wall clock in µs). */
  advance(id: string, nowMicros: number): void {
    this.#version = Math.max(this.#version + 1, nowMicros);
    this.#log?.append(this.#version, id);
  }
}
