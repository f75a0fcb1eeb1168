import type { Change } from '../test/support/ledger.ts';
import { filters } from '../test/support/marked-content.ts';
import type { Random } from '../test/support/random.ts';
import { SubscriberView } from '../test/support/subscriber-view.ts';
import type { Actor, Answer } from './actor.ts';
import { createInstance } from './catalog.ts';
import type { Chronicle } from './chronicle.ts';
import type { Judge } from './judge.ts';
import type { SteadyClock } from './steady-clock.ts';
import type { Tally } from './tally.ts';

export interface RequestsOptions {
  readonly random: Random;
  readonly tally: Tally;
  readonly clock: SteadyClock;
  readonly chronicle: Chronicle;
  readonly judge: Judge;
  /** A registration has been answered. */
  readonly onAcknowledged: (service: string) => void;
  readonly onWrong: (message: string) => void;
  /** Whether the registry is being stopped in order, and refuses what is new. */
  readonly isDraining: () => boolean;
}

/** What clients ask for. The judge hears of it when it is asked, and of the answer when that comes. */
export class Requests {
  readonly #options: RequestsOptions;
  #marks = 0;
  /** Changes that were answered in the registry's present life, and when, in the order of the answers. */
  #answered: { readonly change: Change; readonly atMs: number }[] = [];

  constructor(options: RequestsOptions) {
    this.#options = options;
  }

  /** The registry has ended; its next life may not know what was answered from then on. */
  noteEnd(lostFromMs: number): void {
    const { ledger } = this.#options.judge;
    for (const { change, atMs } of this.#answered) if (atMs >= lostFromMs) ledger.doubt(change);
    this.#answered = [];
  }

  /** Registers some content, now and then one that somebody has registered before. */
  register(actor: Actor, service: string, id: string): void {
    if (actor.isWatcher) return;
    const { random, judge } = this.#options;
    const last = random.below(5) === 0 ? judge.ledger.lastMark(service, id) : undefined;
    judge.watch.forget(service, id);
    this.registerMark(actor, service, id, last ?? (this.#marks += 1));
  }

  registerMark(actor: Actor, service: string, id: string, mark: number): void {
    const { judge, clock } = this.#options;
    this.#did('register', `${actor.fate.name} registers ${service} ${id} = ${mark}`);
    const change = judge.ledger.ask('register', actor.fate, { service, id, mark }, clock.nowMs);
    const floor = judge.versionTold(service);
    actor.request('instance.register', { service, instance: createInstance(service, id, mark) }, (answer) => {
      // A registration shows when it has been answered, until it is told otherwise.
      if (answer.result !== undefined) actor.hidden.delete(`${service} ${id}`);
      this.#settle(actor, change, answer, floor, []);
    });
  }

  deregister(actor: Actor, service: string, id: string): void {
    if (actor.isWatcher) return;
    const { judge, clock } = this.#options;
    this.#did('deregister', `${actor.fate.name} deregisters ${service} ${id} `);
    judge.watch.forget(service, id);
    const isHeld = judge.ledger
      .possessionsOf(actor.fate)
      .some((held) => held.service === service && held.id === id && held.isCertain && !held.isDoubtful);
    const change = judge.ledger.ask('deregister', actor.fate, { service, id }, clock.nowMs);
    const floor = judge.versionTold(service);
    actor.request('instance.deregister', { service, id }, (answer) => {
      if (answer.result !== undefined) actor.hidden.delete(`${service} ${id}`);
      this.#settle(actor, change, answer, floor, isHeld ? [] : ['not_found', 'not_owner']);
    });
  }

  /** Anew, or from a view that somebody held. */
  subscribe(actor: Actor, service: string, mode: 'delta' | 'snapshot', held: SubscriberView | undefined): void {
    const anew = this.#options.random.pick(filters);
    const filter = JSON.stringify(held?.filter ?? anew);
    this.#did(
      held === undefined ? 'subscribe' : 'resume a list',
      `${actor.fate.name} subscribes ${service} (${mode}, ${filter}, ${held?.version ?? 'anew'})`,
    );
    actor.subscribe(service, mode, held ?? anew, (answer) => {
      this.#checkRefusal(actor, 'a subscription', answer, []);
    });
  }

  unsubscribe(actor: Actor, service: string): void {
    this.#did('unsubscribe', `${actor.fate.name} unsubscribes ${service} `);
    actor.unsubscribe(service, () => undefined);
  }

  query(actor: Actor, service: string): void {
    const { random, judge } = this.#options;
    this.#did('query', `${actor.fate.name} queries ${service} `);
    const filter = random.pick(filters);
    const floor = judge.versionTold(service);
    actor.request('service.query', { service, ...filter }, (answer) => {
      this.#checkRefusal(actor, 'a query', answer, []);
      if (answer.result === undefined) return;
      judge.noteVersion(service, answer.result.version, floor);
      const view = new SubscriberView(filter);
      view.begin(answer.result as never);
      judge.judgeList(actor, service, view);
    });
  }

  #settle(actor: Actor, change: Change, answer: Answer, floor: number, allowed: readonly string[]): void {
    const { chronicle, judge, onAcknowledged } = this.#options;
    const { service, id, kind } = change;
    const { result, error } = answer;
    if (result === undefined) {
      chronicle.note(`${actor.fate.name} is refused ${kind} ${service} ${id} : ${error?.data.code}`);
      this.#checkRefusal(actor, kind, answer, allowed);
      // What was under way at two deaths is refused, and may or may not have been carried out.
      if (error?.data.code !== 'internal') judge.ledger.refuse(change);
      return;
    }
    chronicle.note(`${actor.fate.name} has the answer to ${kind} ${service} ${id} : ${result.version}`);
    judge.ledger.acknowledge(change, result.version);
    this.#answered.push({ change, atMs: performance.now() });
    judge.noteVersion(service, result.version, floor);
    onAcknowledged(service);
  }

  #checkRefusal(actor: Actor, what: string, { result, error }: Answer, allowed: readonly string[]): void {
    if (result !== undefined) return;
    const { tally, isDraining, onWrong } = this.#options;
    const code = error?.data.code ?? 'nothing';
    tally.countOperation(`refused: ${code}`);
    const usual = ['busy', 'internal', ...(isDraining() ? ['draining'] : [])];
    if (![...usual, ...allowed].includes(code)) onWrong(`${actor.fate.name}: ${what} was refused with ${code}`);
  }

  #did(operation: string, text: string): void {
    this.#options.tally.countOperation(operation);
    this.#options.chronicle.note(text);
  }
}
