import { spawnSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';

import type { RegistryProcess } from './registry-process.ts';

export interface FullDiskOptions {
  readonly registry: RegistryProcess;
  readonly onWrong: (message: string) => void;
}

/** How long the disk has no room, in milliseconds. */
const fullMs = 1500;
/** How soon something can be stored again when it has, in milliseconds, on a busy machine. */
const backWithinMs = 30_000;
const askEveryMs = 50;

/** Whether the limits of a process can be changed from outside. */
export const canFillDisk: boolean = spawnSync('prlimit', ['--version']).status === 0;

/**
 * The disk has no room for a while: no file of the registry may grow. Keys show what becomes of what must outlive the process: it is refused, or it is there, whatever dies in between and however often the
 * process is killed. That sessions are served as ever is judged by everything else.
 */
export class FullDisk {
  readonly #options: FullDiskOptions;
  /** Keys of which the registry has said that they are stored, each with its own name as its value. */
  readonly #stored: string[] = [];
  #names = 0;
  #isFull = false;

  constructor(options: FullDiskOptions) {
    this.#options = options;
  }

  async fill(): Promise<void> {
    const { registry, onWrong } = this.#options;
    const { life } = registry;
    const isThere = (): boolean => registry.isUp && registry.life === life;
    this.#isFull = true;
    registry.limitFiles('4096');
    const untilMs = performance.now() + fullMs;
    while (performance.now() < untilMs && isThere()) {
      await this.#put();
      await delay(askEveryMs);
    }
    this.#isFull = false;
    if (!isThere()) return;
    registry.limitFiles('unlimited');
    const backAtMs = performance.now() + backWithinMs;
    while (isThere() && !(await this.#put())) {
      if (performance.now() > backAtMs)
        onWrong(`nothing can be stored ${backWithinMs} ms after the disk has room again`);
      await delay(askEveryMs);
    }
  }

  /** In quiet: what is wrong with what was stored. */
  async judge(): Promise<string | undefined> {
    for (const name of this.#stored) {
      const value = await this.#options.registry.readKey(name);
      if (value !== name) return `the key ${name} was stored, and is ${value ?? 'not there'}`;
    }
    return undefined;
  }

  /** Before the registry is ended: what partitions hold is noted again, for what a journal that was given up lacks the next life cannot have. */
  async settle(): Promise<void> {
    const { registry, onWrong } = this.#options;
    const untilMs = performance.now() + backWithinMs;
    while (this.#isFull || (await registry.readMetric('slotcast_journals_cold')) !== 0) {
      if (performance.now() > untilMs) {
        onWrong(`journals are not begun anew ${backWithinMs} ms after the disk has room again`);
        return;
      }
      await delay(askEveryMs);
    }
  }

  /** Whether it was stored. What is answered otherwise may be there or not. */
  async #put(): Promise<boolean> {
    this.#names += 1;
    const name = `chaos-${this.#names}`;
    const isStored = await this.#options.registry.putKey(name, name).catch(() => false);
    if (isStored) this.#stored.push(name);
    return isStored;
  }
}
