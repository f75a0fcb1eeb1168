import { setTimeout as delay } from 'node:timers/promises';

import { Random } from '../test/support/random.ts';
import { Chronicle } from './chronicle.ts';
import { Crowd } from './crowd.ts';
import { Disturbances } from './disturbances.ts';
import { gatherEvidence } from './evidence.ts';
import { FullDisk } from './full-disk.ts';
import { Judge } from './judge.ts';
import { LeaseHolders } from './lease-holders.ts';
import { compareAll, waitForQuiet } from './quiet.ts';
import { RegistryProcess } from './registry-process.ts';
import type { Stats } from './registry-process.ts';
import { Restarts } from './restarts.ts';
import { settings } from './settings.ts';
import type { SettingValues } from './settings.ts';
import { SteadyClock } from './steady-clock.ts';
import { findLack, Tally } from './tally.ts';

export interface CampaignOptions {
  readonly seconds: number;
  readonly seed: number;
  /** Of the registry; 0: sessions live on its main thread. */
  readonly ioThreads: number;
  /** Of the registry, as its setting has it. */
  readonly transport: string;
  /** Now and then the disk of the registry has no room. */
  readonly fullDisk: boolean;
  /** Settings by which the registry breaks what it promises; the run must find it. */
  readonly broken: SettingValues;
  readonly print: (line: string) => void;
}

export interface CampaignResult {
  readonly tally: Tally;
  readonly checks: number;
  /** What was wrong first, if anything. */
  readonly failure: string | undefined;
  /** Why the run proves nothing although nothing was wrong. */
  readonly lack: string | undefined;
  /** What led to the failure. */
  readonly story: readonly string[];
}

const lookEveryMs = 50;
/** How long the registry is disturbed before and after each restart, and where there is none, in milliseconds. */
const stormMs = { long: 7000, short: 2500 } as const;
/** Runs below this have a restart at once. */
const shortRunSeconds = 20;
/** A machine that is short of time does less: so a run goes on until it has done enough, for so many seconds more at most. */
const stretchMaxSeconds = 90;
/** And each storm until clients have been so many times at it in a second of its length, for so many times its length at most. */
const turnsPerSecond = 40;
const stormStretchMax = 4;

/** One run: a registry, a crowd, faults, restarts, and now and then quiet, in which everything is compared. */
export class Campaign {
  readonly #options: CampaignOptions;
  readonly #random: Random;
  readonly #tally = new Tally();
  readonly #chronicle = new Chronicle();
  readonly #clock = new SteadyClock();
  #stats: Stats | undefined;
  /** The life of the registry that they are of. */
  #statsLife = 0;
  #failure: string | undefined;
  #story: readonly string[] = [];
  #evidence: Promise<readonly string[]> = Promise.resolve([]);
  #registry: RegistryProcess | undefined;
  #isOver = false;

  constructor(options: CampaignOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
  }

  async run(): Promise<CampaignResult> {
    const onWrong = (message: string): void => {
      this.#fail(message);
    };
    const { ioThreads, transport, broken } = this.#options;
    const registry = await RegistryProcess.start({
      settings: { ...settings, ioThreads, transport, ...broken },
      onEnd: onWrong,
    });
    this.#registry = registry;
    const tools = { random: this.#random, tally: this.#tally, clock: this.#clock, chronicle: this.#chronicle, onWrong };
    const judge = new Judge({ ...tools, warmUpMs: settings.warmUpMs });
    const crowd = new Crowd({ ...tools, registry, judge });
    const looking = this.#look(registry, crowd);
    try {
      await this.#play(registry, crowd, tools);
    } catch (error) {
      this.#fail(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    this.#isOver = true;
    await looking;
    const evidence = await this.#evidence;
    await crowd.end();
    await registry.end('SIGTERM');
    this.#tally.addLife(this.#stats);
    const { checks } = judge.ledger;
    const lack = this.#failure === undefined ? findLack(this.#tally, checks, this.#options) : undefined;
    return { tally: this.#tally, checks, failure: this.#failure, lack, story: [...this.#story, ...evidence] };
  }

  #fail(message: string): void {
    if (this.#failure !== undefined || this.#isOver) return;
    this.#failure = message;
    this.#chronicle.note('this is when it was found', true);
    this.#story = this.#chronicle.tellOf(message);
    if (this.#registry !== undefined) this.#evidence = gatherEvidence(this.#registry, message);
  }

  async #play(
    registry: RegistryProcess,
    crowd: Crowd,
    tools: Pick<ConstructorParameters<typeof Restarts>[0], 'random' | 'tally' | 'clock' | 'chronicle' | 'onWrong'>,
  ): Promise<void> {
    const { seconds, seed, print } = this.#options;
    const latestStats = (): Stats | undefined => (this.#statsLife === registry.life ? this.#stats : undefined);
    const disk = this.#options.fullDisk ? new FullDisk({ registry, onWrong: tools.onWrong }) : undefined;
    const disturbances = new Disturbances({ ...tools, registry, crowd, latestStats, disk });
    // No more than a quarter of the run, each.
    const downMaxMs = (seconds * 1000) / 4;
    const isShort = seconds < shortRunSeconds;
    const leases = new LeaseHolders({
      registry,
      onWrong: tools.onWrong,
      onDone: (operation) => {
        this.#tally.countOperation(operation);
      },
    });
    const restarts = new Restarts({ ...tools, registry, crowd, leases, latestStats, seed, downMaxMs });
    try {
      const startMs = performance.now();
      for (let round = 0; this.#isWanted(startMs, crowd); round++) {
        leases.begin();
        await this.#storm(isShort ? stormMs.short : stormMs.long, crowd, disturbances);
        // Without one what is left over can be seen in quiet; with two, what is left over of the first.
        for (let left = isShort ? 1 : (round % 2) * 2; left > 0 && this.#failure === undefined; left--) {
          await disk?.settle();
          await restarts.run((isCalm) => this.#act(crowd, isCalm));
          await this.#storm(stormMs.short, crowd, disturbances);
        }
        if (this.#failure !== undefined) return;
        await disturbances.settle();
        await leases.settle();
        const failure = (await this.#quieten(registry, crowd, leases.strays)) ?? (await disk?.judge());
        if (failure !== undefined) this.#fail(failure);
        const { viewsCompared } = this.#tally;
        print(`${Math.round((performance.now() - startMs) / 1000)} s: ${viewsCompared} views compared in quiet so far`);
      }
    } finally {
      await leases.end();
    }
  }

  /** Whether the run is to go on: it has its time, and more of it while too little was done. */
  #isWanted(startMs: number, { judge }: Crowd): boolean {
    if (this.#failure !== undefined) return false;
    const { seconds } = this.#options;
    const gone = (performance.now() - startMs) / 1000;
    if (gone < seconds) return true;
    return (
      gone < seconds + stretchMaxSeconds && findLack(this.#tally, judge.ledger.checks, this.#options) !== undefined
    );
  }

  async #storm(ms: number, crowd: Crowd, disturbances: Disturbances): Promise<void> {
    // A run that is very short does very little, and says so.
    const lengthMs = Math.min(ms, (this.#options.seconds * 1000) / 3);
    const startMs = performance.now();
    const isOver = (turns: number): boolean => {
      const goneMs = performance.now() - startMs;
      return goneMs >= (turns * 1000 >= lengthMs * turnsPerSecond ? lengthMs : lengthMs * stormStretchMax);
    };
    for (let turns = 0; !isOver(turns) && this.#failure === undefined; turns++) {
      await this.#act(crowd, false);
      disturbances.tick();
      await delay(10);
    }
  }

  async #act(crowd: Crowd, isCalm: boolean): Promise<void> {
    for (let acts = this.#random.below(16); acts > 0; acts--) await crowd.act(isCalm);
  }

  async #quieten(registry: RegistryProcess, crowd: Crowd, strays: ReadonlySet<string>): Promise<string | undefined> {
    this.#chronicle.note('quiet', true);
    const restless = await waitForQuiet(registry, crowd, this.#clock);
    if (restless !== undefined) return restless;
    const difference = await compareAll(registry, crowd, this.#tally, strays);
    // What all agree on may still be there too long.
    if (difference === undefined) crowd.judge.sweep(crowd.reading());
    return difference;
  }

  /** Keeps the steady clock, and looks for what should have gone. */
  async #look(registry: RegistryProcess, crowd: Crowd): Promise<void> {
    let { life } = registry;
    for (let looks = 0; !this.#isOver; looks++) {
      await delay(lookEveryMs);
      if (registry.life !== life) {
        this.#tally.addLife(this.#stats);
        this.#stats = undefined;
        life = registry.life;
      }
      if (!registry.isUp) continue;
      try {
        const stats = await registry.readStats();
        if (!registry.isUp || registry.life !== life) continue;
        this.#stats = stats;
        this.#statsLife = life;
      } catch (error) {
        if (registry.isUp && registry.life === life) {
          this.#fail(`the registry does not answer: ${String(error)}`);
          return;
        }
        continue;
      }
      this.#clock.look(this.#stats);
      this.#tally.slotShutMaxMs = Math.max(this.#tally.slotShutMaxMs, this.#stats.slotShutMaxMs);
      if (looks % 5 === 0) crowd.judge.sweep(crowd.reading());
    }
  }
}
