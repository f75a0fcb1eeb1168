import type { Fault } from '../src/main/testing.ts';
import { Random } from '../test/support/random.ts';
import { Chronicle } from './chronicle.ts';
import { Crowd, delay } from './crowd.ts';
import { compareAll, waitForQuiet } from './quiet.ts';
import { ServerProcess } from './server.ts';
import type { Stats } from './server.ts';
import { settings } from './settings.ts';
import { SteadyClock } from './steady-clock.ts';
import { Tally } from './tally.ts';

export interface CampaignOptions {
  readonly seconds: number;
  readonly seed: number;
  /** Of the server; 0: sessions live on its main thread. */
  readonly ioThreads: number;
  readonly print: (line: string) => void;
}

export interface CampaignResult {
  readonly tally: Tally;
  readonly checks: number;
  readonly stats: Stats | undefined;
  /** What was wrong first, if anything. */
  readonly failure: string | undefined;
  /** What led to it. */
  readonly story: readonly string[];
}

const deaths: readonly Fault[] = ['throw', 'exit', 'hang', 'memory'];
const lookEveryMs = 50;
/** How long is waited for a moment without another fault, in milliseconds. */
const steadyWithinMs = 5000;
/** Quiet comes this often, in milliseconds. */
const quietEveryMs = 9000;

/** One run: a server, a crowd, faults, and now and then quiet, in which everything is compared. */
export class Campaign {
  readonly #options: CampaignOptions;
  readonly #random: Random;
  readonly #tally = new Tally();
  readonly #chronicle = new Chronicle();
  readonly #clock = new SteadyClock();
  readonly #tasks: Set<Promise<void>> = new Set();
  #server: ServerProcess | undefined;
  #crowd: Crowd | undefined;
  #stats: Stats | undefined;
  #failure: string | undefined;
  #story: readonly string[] = [];
  #isOver = false;
  #isSuspended = false;
  #isResizing = false;
  #deathsAsked = 0;
  /** Each kind of fault comes next at, in milliseconds. */
  readonly #due: Map<string, number> = new Map();

  constructor(options: CampaignOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
  }

  async run(): Promise<CampaignResult> {
    this.#server = await ServerProcess.start(this.#options.ioThreads, (reason) => {
      this.#fail(reason);
    });
    const url = `ws://127.0.0.1:${this.#server.port}/v1/session`;
    this.#crowd = new Crowd({
      url,
      random: this.#random,
      tally: this.#tally,
      clock: this.#clock,
      chronicle: this.#chronicle,
      onWrong: (message) => {
        this.#fail(message);
      },
    });
    const looking = this.#look(this.#server);
    try {
      await this.#play(this.#server, this.#crowd);
    } catch (error) {
      this.#fail(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    this.#isOver = true;
    await looking;
    await this.#crowd.end();
    await this.#server.stop();
    const { checks } = this.#crowd.ledger;
    return { tally: this.#tally, checks, stats: this.#stats, failure: this.#failure, story: this.#story };
  }

  #fail(message: string): void {
    if (this.#failure !== undefined || this.#isOver) return;
    this.#failure = message;
    this.#story = this.#chronicle.tellOf(message);
  }

  async #play(server: ServerProcess, crowd: Crowd): Promise<void> {
    const { seconds, print } = this.#options;
    const endMs = performance.now() + seconds * 1000;
    while (performance.now() < endMs && this.#failure === undefined) {
      const quietMs = Math.min(endMs, performance.now() + quietEveryMs);
      this.#due.clear();
      // Before the end there must be time for everybody who has gone to be forgotten.
      while (performance.now() < quietMs && this.#failure === undefined) {
        for (let acts = this.#random.below(16); acts > 0; acts--) await crowd.act();
        this.#disturb(server, crowd);
        await delay(10);
      }
      if (this.#failure !== undefined) return;
      await Promise.all(this.#tasks);
      const failure = await this.#quieten(server, crowd);
      if (failure !== undefined) this.#fail(failure);
      print(
        `${Math.round(seconds - (endMs - performance.now()) / 1000)} s: ${this.#tally.viewsCompared} views compared in quiet so far`,
      );
    }
  }

  async #quieten(server: ServerProcess, crowd: Crowd): Promise<string | undefined> {
    this.#chronicle.note('quiet', true);
    const restless = await waitForQuiet(server, crowd, this.#clock);
    if (restless !== undefined) return restless;
    crowd.sweep();
    return compareAll(server, crowd, this.#tally);
  }

  /** Keeps the steady clock, and looks for what should have gone. */
  async #look(server: ServerProcess): Promise<void> {
    for (let looks = 0; !this.#isOver; looks++) {
      try {
        this.#stats = await server.readStats();
      } catch (error) {
        this.#fail(`the server does not answer: ${String(error)}`);
        return;
      }
      this.#clock.look(this.#stats);
      this.#tally.slotShutMaxMs = Math.max(this.#tally.slotShutMaxMs, this.#stats.slotShutMaxMs);
      if (looks % 5 === 0) this.#crowd?.sweep();
      await delay(lookEveryMs);
    }
  }

  #disturb(server: ServerProcess, crowd: Crowd): void {
    this.#when('death', 1100, () => this.#kill(server));
    this.#when('resize', 1300, async () => {
      if (this.#isSuspended) return;
      const partitions = 2 + this.#random.below(4);
      this.#fault('resize', `resize to ${partitions}`);
      this.#isResizing = true;
      await server.resize(partitions).catch((error: unknown) => {
        this.#chronicle.note(`the resize ended early: ${String(error)}`, true);
      });
      this.#isResizing = false;
    });
    this.#when('slow reader', 4500, () => crowd.slowDown(800));
    this.#when('frozen client', 4000, () => {
      crowd.freezeOne();
      return Promise.resolve();
    });
    this.#when('suspended process', 8000, () => this.#suspend(server));
  }

  /** About every so many milliseconds, one at a time of its kind. */
  #when(kind: string, everyMs: number, disturb: () => Promise<void>): void {
    const nowMs = performance.now();
    const dueMs = this.#due.get(kind) ?? nowMs + this.#random.below(everyMs);
    if (nowMs < dueMs) {
      this.#due.set(kind, dueMs);
      return;
    }
    this.#due.set(kind, Number.POSITIVE_INFINITY);
    const task = disturb().then(() => {
      this.#due.set(kind, performance.now() + everyMs / 3 + this.#random.below(everyMs));
      this.#tasks.delete(task);
    });
    this.#tasks.add(task);
  }

  async #kill(server: ServerProcess): Promise<void> {
    if (this.#isSuspended) return;
    const partitions = this.#stats?.partitions.length ?? settings.partitions;
    // Kinds take turns; now and then two partitions die at once.
    for (let dying = this.#random.below(5) === 0 ? 2 : 1; dying > 0; dying--) {
      const fault = deaths[this.#deathsAsked % deaths.length]!;
      this.#deathsAsked += 1;
      const partition = this.#random.below(partitions);
      this.#fault(`partition ${fault}`, `partition ${partition} dies: ${fault}`);
      this.#clock.expectFault();
      await server.inflict(partition, fault);
    }
  }

  async #suspend(server: ServerProcess): Promise<void> {
    // Longer than the grace and the heartbeat timeout together: nobody may be taken for dead when it wakes.
    const ms = settings.disconnectGraceMs + settings.heartbeatTimeoutMs + 500;
    // Not while slots are shut: how long they do not answer is to be the registry's own doing.
    const untilMs = performance.now() + steadyWithinMs;
    while (this.#isResizing || !this.#clock.isSteady) {
      if (performance.now() > untilMs) return;
      await delay(1);
    }
    this.#fault('suspended process', `the server stands still for ${ms} ms`);
    this.#isSuspended = true;
    server.suspend();
    await delay(ms);
    server.wake();
    this.#isSuspended = false;
    this.#chronicle.note('the server goes on', true);
  }

  #fault(kind: string, text: string): void {
    this.#tally.countFault(kind);
    this.#chronicle.note(text, true);
  }
}
