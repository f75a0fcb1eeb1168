import { setTimeout as delay } from 'node:timers/promises';

import type { Random } from '../test/support/random.ts';
import type { Chronicle } from './chronicle.ts';
import type { Crowd } from './crowd.ts';
import type { LeaseHolders } from './lease-holders.ts';
import type { Ending, RegistryProcess, Stats } from './registry-process.ts';
import { narrowDoor } from './settings.ts';
import type { SteadyClock } from './steady-clock.ts';
import type { Tally } from './tally.ts';

export interface RestartsOptions {
  readonly registry: RegistryProcess;
  readonly crowd: Crowd;
  readonly leases: LeaseHolders;
  readonly random: Random;
  readonly tally: Tally;
  readonly clock: SteadyClock;
  readonly chronicle: Chronicle;
  readonly latestStats: () => Stats | undefined;
  readonly onWrong: (message: string) => void;
  /** No longer downtimes than this, in milliseconds. */
  readonly downMaxMs: number;
  /** Which ending and which downtime come first. */
  readonly seed: number;
}

const endings: readonly Ending[] = ['SIGKILL', 'SIGTERM'];
/** In milliseconds; longer ones come first where there is time for them, since short ones fit anywhere. */
const downtimesMs = [30_000, 500, 10_000, 0, 3000, 1000] as const;
/** How long all may take to be back once the registry listens, in milliseconds, and it to be warm. */
const homeWithinMs = 60_000;

/** Ends the registry and starts it anew, while clients try to come back. */
export class Restarts {
  readonly #options: RestartsOptions;
  #count = 0;

  constructor(options: RestartsOptions) {
    this.#options = options;
  }

  /** One restart; ends when everybody is back and the registry is warm. `act`: what clients do meanwhile; `isCalm`: nothing by which lists change. */
  async run(act: (isCalm: boolean) => Promise<void>): Promise<void> {
    const { registry, crowd, leases, random, seed, downMaxMs, chronicle, tally } = this.#options;
    const turn = this.#count + seed;
    const ending = endings[turn % endings.length]!;
    const possible = downtimesMs.filter((ms) => ms <= downMaxMs);
    const downMs = possible[this.#count % possible.length]!;
    this.#count += 1;
    // Now and then while everything is under way, and now and then when all lists are what they are to be.
    if (random.below(2) === 0) await delay(200);
    chronicle.note(`the registry ends by ${ending}, for ${downMs} ms`, true);
    tally.countFault(`restart by ${ending}`);
    tally.downMaxMs = Math.max(tally.downMaxMs, downMs);
    const lostFromMs = await this.#end(ending, act);
    crowd.noteEnd(lostFromMs);
    leases.noteEnd(lostFromMs);
    await delay(downMs);
    const isNarrow = random.below(3) === 0;
    await registry.begin(isNarrow ? narrowDoor : {});
    crowd.noteStart(registry.startedAtMs);
    chronicle.note(`the registry is there again${isNarrow ? ', with a narrow door' : ''}`, true);
    await this.#awaitHome(act, random.below(4) > 0);
  }

  /** Resolves to from when on what was answered may not have been noted for the next life. */
  async #end(ending: Ending, act: (isCalm: boolean) => Promise<void>): Promise<number> {
    const { registry, crowd, clock, onWrong } = this.#options;
    crowd.expectEnd();
    const lostFromMs = clock.lostFromMs(ending === 'SIGTERM');
    clock.noteEnd();
    const ended = registry.end(ending);
    // Whoever is not refused goes on as if nothing were.
    let status: number | NodeJS.Signals | undefined;
    while (status === undefined) {
      await act(true);
      status = await Promise.race([ended, delay(10, undefined)]);
    }
    const expected = ending === 'SIGTERM' ? 0 : ending;
    if (status !== expected)
      onWrong(`the registry was told to end by ${ending}, and ended with ${status}: ${registry.lastWords}`);
    return lostFromMs;
  }

  async #awaitHome(act: (isCalm: boolean) => Promise<void>, isCalm: boolean): Promise<void> {
    const { crowd, chronicle, latestStats, onWrong, registry } = this.#options;
    const deadlineMs = performance.now() + homeWithinMs;
    const { life } = registry;
    while (registry.isUp && registry.life === life) {
      const stats = latestStats();
      if (stats?.warming === false && crowd.returns.pending === 0) break;
      if (performance.now() > deadlineMs) {
        onWrong(
          `${crowd.returns.pending} are not back, or the registry is not warm: ${JSON.stringify(stats?.warming)}`,
        );
        return;
      }
      await act(isCalm);
      await delay(10);
    }
    chronicle.note('all are back, and the registry is warm', true);
  }
}
