import { Ledger } from '../test/support/ledger.ts';
import { isShown } from '../test/support/marked-content.ts';
import type { SubscriberView } from '../test/support/subscriber-view.ts';
import type { Actor, ViewChange } from './actor.ts';
import type { Chronicle } from './chronicle.ts';
import { RestartWatch } from './restart-watch.ts';
import type { SteadyClock } from './steady-clock.ts';
import type { Tally } from './tally.ts';

/** How long a view that was not read for a while has to catch up before ghosts in it count. */
const catchUpMs = 1500;

export interface JudgeOptions {
  readonly tally: Tally;
  readonly clock: SteadyClock;
  readonly chronicle: Chronicle;
  /** What the registry was to keep to, though it may have been told otherwise, to see whether that is found. */
  readonly warmUpMs: number;
  readonly onWrong: (message: string) => void;
}

/** What must be true of what clients are shown and told, at any time. */
export class Judge {
  readonly ledger: Ledger = new Ledger();
  readonly watch: RestartWatch;
  readonly #options: JudgeOptions;
  /** The highest version that anybody was told of a service. */
  readonly #told: Map<string, number> = new Map();

  constructor(options: JudgeOptions) {
    this.#options = options;
    this.watch = new RestartWatch(options.warmUpMs);
  }

  /** Below this no answer to a question that is asked now may be. */
  versionTold(service: string): number {
    return this.#told.get(service) ?? 0;
  }

  /** An answer names a version, and by the time of asking `floor` had been told. */
  noteVersion(service: string, version: number, floor: number): void {
    if (version < floor) this.#options.onWrong(`${service} is at ${version}, and had been at ${floor}`);
    if (version > this.versionTold(service)) this.#told.set(service, version);
  }

  /** The registry is about to end. */
  expectEnd(): void {
    this.watch.begin(this.#told);
  }

  handleChange(actor: Actor, change: ViewChange): void {
    const { tally, chronicle, onWrong } = this.#options;
    const { service, isPush, isRenewal, isEmpty } = change;
    if (isPush) tally.pushes += 1;
    if (isEmpty) tally.pushesEmpty += 1;
    if (isPush && isRenewal) tally.renewals += 1;
    if (actor.isWaiting(service)) tally.waits += 1;
    const view = actor.views.get(service);
    if (view === undefined) return;
    const held = [...view.instances.keys()].join(' ');
    chronicle.note(`${actor.fate.name} ${isPush ? 'is told' : 'begins with'} ${service} ${view.version}: ${held}`);
    const wrong = this.watch.judge(view, change, performance.now());
    if (wrong !== undefined) onWrong(`in the view of ${actor.fate.name}: ${wrong}`);
    this.judgeView(actor, service);
    this.noteVersion(service, view.version, 0);
  }

  judgeView(actor: Actor, service: string): void {
    const view = actor.views.get(service);
    if (view !== undefined) this.judgeList(actor, service, view);
  }

  judgeList(actor: Actor, service: string, view: SubscriberView): void {
    const { tally, onWrong } = this.#options;
    tally.viewsJudged += 1;
    const { version, filter } = view;
    const isVisible = (mark: number): boolean => isShown(filter, mark);
    const wrong = this.ledger.judge(service, version, readMarks(view), performance.now(), isVisible);
    if (wrong !== undefined) onWrong(`in the view of ${actor.fate.name}: ${wrong}`);
  }

  /** Looks for instances that should have gone with their sessions. */
  sweep(actors: Iterable<Actor>): void {
    const { tally, clock, onWrong } = this.#options;
    tally.ghostSweeps += 1;
    for (const actor of actors) {
      if (clock.nowMs < actor.resumedAtMs + catchUpMs) continue;
      for (const [service, view] of actor.views) {
        const wrong = this.ledger.findGhost(service, readMarks(view), clock.nowMs);
        if (wrong !== undefined) onWrong(`in the view of ${actor.fate.name}: ${wrong}`);
      }
    }
  }
}

/** What a view holds, by id. */
export function readMarks(view: SubscriberView): Map<string, number> {
  return new Map([...view.instances].map(([id, { metadata }]) => [id, Number(metadata?.['mark'])]));
}
