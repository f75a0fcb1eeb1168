import type { ServiceName } from '../protocol/types.ts';
import { readCachedList } from './list-cache.ts';
import type { CachedList, ListCache } from './list-cache.ts';

/** What went wrong with the cache; the client continues without. */
export interface CacheFault {
  readonly service: ServiceName;
  readonly action: 'load' | 'save';
  readonly cause: string;
}

/** Reads and writes the lists of a cache, whose faults are reported and hurt nobody. */
export class ListKeeper {
  readonly #cache: ListCache | undefined;
  readonly #onFault: (fault: CacheFault) => void;
  readonly #saving: Set<Promise<unknown>> = new Set();

  constructor(cache: ListCache | undefined, onFault: (fault: CacheFault) => void) {
    this.#cache = cache;
    this.#onFault = onFault;
  }

  get isSaving(): boolean {
    return this.#saving.size > 0;
  }

  /** Undefined if there is no list that can be used. */
  async load(service: ServiceName): Promise<CachedList | undefined> {
    try {
      const value: unknown = await this.#cache?.load(service);
      return value === undefined ? undefined : readCachedList(value, service);
    } catch (error) {
      this.#onFault({ service, action: 'load', cause: formatCause(error) });
      return undefined;
    }
  }

  save(list: CachedList): void {
    const save = async (): Promise<void> => {
      try {
        await this.#cache?.save(list);
      } catch (error) {
        this.#onFault({ service: list.service, action: 'save', cause: formatCause(error) });
      }
    };
    const saving = save().finally(() => this.#saving.delete(saving));
    this.#saving.add(saving);
  }

  /** Resolves when all that is being saved has been, but nobody waits for a disk for longer than this. */
  async whenSaved(timeoutMs: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([Promise.all(this.#saving), late]);
    clearTimeout(timer);
  }
}

function formatCause(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
