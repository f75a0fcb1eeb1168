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
/** So far beyond the clock the ceiling is put, in microseconds; it is raised when half of that is used up. */
const ceilingStepMicros = 20_000_000;
/** And so far beyond the version from which services continue, while that is ahead of the clock: they rise by one with each change then. */
const continuedStepMicros = 5_000_000;

/**
 * The registry's own row: how often it has started, and a ceiling that no version of a service has reached. It is raised ahead of time, in the background, so that
 * versions continue above those of lives before even if the clock has been set back.
 */
export class RegistryRecord {
  readonly #options: RegistryRecordOptions;
  /** Undefined: it could not be read yet, and is not written before it has been. */
  #stored: Stored | undefined;
  #isBusy = false;
  /** Services have continued from here. */
  #continuedFrom = 0;
  /** Starts so far, with this one; undefined: it could not be read or stored. */
  get starts(): number | undefined {
    return this.#stored?.starts;
  }

  /** There is no trace of an earlier start. */
  get isFirstStart(): boolean {
    return this.starts === 1;
  }

  /** No version of lives before has reached it; 0: nothing is known of any. */
  versionFloor = 0;

  constructor(options: RegistryRecordOptions) {
    this.#options = options;
  }

  /** Reads what lives before have left, and notes that there is one more; resolves also if neither can be done, and is tried again with {@link tick}. */
  async begin(): Promise<void> {
    await this.#work();
  }

  /** Services continue from a version, which may be ahead of the clock; resolves once the ceiling is above it, or that cannot be stored now. */
  async continueFrom(version: number): Promise<void> {
    this.#continuedFrom = version;
    if (this.#isLow) await this.#work();
  }

  /** Raises the ceiling if it is time to. */
  tick(): void {
    if (!this.#isBusy && this.#isLow) void this.#work();
  }

  get #isLow(): boolean {
    if (this.#stored === undefined) return true;
    const { versionCeiling } = this.#stored;
    return (
      versionCeiling - this.#options.readWallMicros() < ceilingStepMicros / 2 ||
      versionCeiling < this.#continuedFrom + continuedStepMicros
    );
  }

  async #work(): Promise<void> {
    this.#isBusy = true;
    const { store, readWallMicros } = this.#options;
    const before = this.#stored ?? (await this.#read());
    if (before !== undefined) {
      const starts = this.#stored === undefined ? before.starts + 1 : before.starts;
      const versionCeiling = Math.max(
        before.versionCeiling,
        readWallMicros() + ceilingStepMicros,
        this.#continuedFrom + continuedStepMicros,
      );
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
