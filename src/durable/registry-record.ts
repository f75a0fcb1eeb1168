import type { DurableStore } from './commits.ts';

/** What the registry knows of itself over restarts, as it is stored. */
interface Stored {
  readonly starts: number;
  readonly versionCeiling: number;
}

export interface RegistryRecordOptions {
  readonly store: DurableStore;
  /** Microseconds since the epoch, from which versions of services begin. */
  readonly readWallMicros: () => number;
}

const key = 'self';
/** So far beyond the clock no version can be while this is ahead of it, in microseconds; the ceiling is raised when half of it is used up. */
const ceilingStepMicros = 20_000_000;

/**
 * The registry's own row: how often it has started, and a ceiling that no version of a service has reached. It is raised ahead of time, in the background, so that
 * versions continue above those of lives before even if the clock has been set back.
 */
export class RegistryRecord {
  readonly #options: RegistryRecordOptions;
  /** Undefined: it could not be read yet, and is not written before it has been. */
  #stored: Stored | undefined;
  #isBusy = false;
  /** No version of lives before has reached it; 0: nothing is known of any. */
  versionFloor = 0;

  constructor(options: RegistryRecordOptions) {
    this.#options = options;
  }

  /** Reads what lives before have left, and notes that there is one more; resolves also if neither can be done, and is tried again with {@link tick}. */
  async begin(): Promise<void> {
    await this.#work();
  }

  /** Raises the ceiling if it is time to. */
  tick(): void {
    if (this.#isBusy) return;
    const isLow =
      this.#stored === undefined ||
      this.#stored.versionCeiling - this.#options.readWallMicros() < ceilingStepMicros / 2;
    if (isLow) void this.#work();
  }

  async #work(): Promise<void> {
    this.#isBusy = true;
    const { store, readWallMicros } = this.#options;
    const before = this.#stored ?? (await this.#read());
    if (before !== undefined) {
      const starts = this.#stored === undefined ? before.starts + 1 : before.starts;
      const versionCeiling = Math.max(before.versionCeiling, readWallMicros() + ceilingStepMicros);
      const wanted = { starts, versionCeiling };
      const outcome = await store.commit([{ table: 'registry', key, payload: encode(wanted), createVersion: 0 }]);
      if ('version' in outcome) this.#stored = wanted;
    }
    this.#isBusy = false;
  }

  async #read(): Promise<Stored | undefined> {
    try {
      let stored: Stored = { starts: 0, versionCeiling: 0 };
      for await (const rows of this.#options.store.load('registry', key)) {
        for (const { payload } of rows) stored = decode(payload);
      }
      this.versionFloor = stored.versionCeiling;
      return stored;
    } catch {
      // The store has said so by itself.
      return undefined;
    }
  }
}

function encode(stored: Stored): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(stored));
}

function decode(payload: Uint8Array): Stored {
  return JSON.parse(new TextDecoder().decode(payload)) as Stored;
}
