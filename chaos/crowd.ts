import { Ledger } from '../test/support/ledger.ts';
import type { Change, Fate } from '../test/support/ledger.ts';
import { describeMark, filters, isShown } from '../test/support/marked-content.ts';
import type { Random } from '../test/support/random.ts';
import { SubscriberView } from '../test/support/subscriber-view.ts';
import { Actor } from './actor.ts';
import type { Answer } from './actor.ts';
import type { Chronicle } from './chronicle.ts';
import { goneWithinMs, settings } from './settings.ts';
import type { SteadyClock } from './steady-clock.ts';
import type { Tally } from './tally.ts';

/** Some of them not ASCII, some with a hash tag. */
export const services: readonly string[] = [
  'pay',
  'ship',
  'mail',
  '{eu}stock',
  '{eu}price',
  'größe/世界',
  'com.example.Orders:1.0@dubbo',
  'a',
  'b',
  'c',
];
/** Its instances are large, so that slow readers cannot keep up. */
export const bulkyService = 'bulky';
const ids = ['i1', 'i2', 'i3', 'i4', 'i5', 'i6'] as const;
const bulkyIds: readonly string[] = Array.from({ length: 24 }, (_, i) => `i${i + 100}`);
const bulk = 'x'.repeat(8000);
const actorsMin = 8;
const actorsMax = 28;
/** How long a view that was not read for a while has to catch up before ghosts in it count. */
const catchUpMs = 1500;

const garbage = [
  '{"jsonrpc":',
  '[]',
  'null',
  `${'['.repeat(2000)}${']'.repeat(2000)}`,
  '{"jsonrpc":"2.0","method":"no.such"}',
  '{"jsonrpc":"2.0","method":"instance.register","params":{"__proto__":{"service":"pay"}}}',
  '\u0000\uFFFD',
] as const;

export interface CrowdOptions {
  readonly url: string;
  readonly random: Random;
  readonly tally: Tally;
  readonly clock: SteadyClock;
  readonly chronicle: Chronicle;
  readonly onWrong: (message: string) => void;
}

/** Everybody who uses the registry, and what must be true of what they see. */
export class Crowd {
  readonly ledger: Ledger = new Ledger();
  readonly actors: Set<Actor> = new Set();
  readonly #options: CrowdOptions;
  readonly #random: Random;
  readonly #tally: Tally;
  readonly #chronicle: Chronicle;
  /** Views of those who have gone: somebody may come back with one. */
  readonly #abandoned: Map<string, SubscriberView> = new Map();
  #names = 0;
  #marks = 0;
  /** By when everybody who has gone must be forgotten, on the steady clock. */
  goneByMs = 0;

  constructor(options: CrowdOptions) {
    this.#options = options;
    this.#random = options.random;
    this.#tally = options.tally;
    this.#chronicle = options.chronicle;
  }

  /** Those that read. */
  reading(): Actor[] {
    return [...this.actors].filter(({ state }) => state === 'open');
  }

  async join(isWatcher: boolean = this.#random.below(3) === 0): Promise<Actor> {
    this.#names += 1;
    const fate: Fate = {
      name: `client ${this.#names}`,
      mayLeaveFromMs: Number.POSITIVE_INFINITY,
      goneByMs: Number.POSITIVE_INFINITY,
    };
    const actor = await Actor.open(this.#options.url, fate, isWatcher, {
      onChange: (actor, service, isPush, isEmpty) => {
        if (isPush) this.#tally.pushes += 1;
        if (isEmpty) this.#tally.pushesEmpty += 1;
        const view = actor.views.get(service);
        const what = isPush ? 'is told' : 'begins with';
        const held = [...(view?.instances.keys() ?? [])].join(' ');
        if (view !== undefined) this.#chronicle.note(`${actor.fate.name} ${what} ${service} ${view.version}: ${held}`);
        this.#judge(actor, service);
      },
      onClose: (actor, code, state) => {
        this.actors.delete(actor);
        if (state === 'frozen' || actor.isWatcher) return;
        this.#options.onWrong(`${fate.name} was closed by the server, with ${code}`);
      },
      onWrong: this.#options.onWrong,
    });
    this.actors.add(actor);
    this.#did('join', `${fate.name} comes`);
    return actor;
  }

  /** One step of one of them, chosen at random. */
  async act(): Promise<void> {
    const random = this.#random;
    const open = this.reading();
    const roll = random.below(1000);
    if (open.length < actorsMin || (roll < 15 && this.actors.size < actorsMax)) {
      await this.join();
      return;
    }
    const actor = random.pick(open);
    const service = random.pick(services);
    const id = random.pick(ids);
    if (roll < 500) this.#register(actor, service, id);
    else if (roll < 600) this.#deregister(actor, service, id);
    else if (roll < 720) this.#subscribe(actor, service);
    else if (roll < 760) {
      this.#did('unsubscribe', `${actor.fate.name} unsubscribes ${service} `);
      actor.unsubscribe(service, () => undefined);
    } else if (roll < 860) this.#query(actor, service);
    else if (roll < 870) this.leave(actor, 'clean close');
    else if (roll < 880) this.leave(actor, 'broken close');
    else if (roll < 885) await this.#comeBack(actor);
    else if (roll < 900) {
      this.#fault('garbage', `${actor.fate.name} sends garbage`);
      actor.sendGarbage(random.pick(garbage));
    }
  }

  leave(actor: Actor, how: 'clean close' | 'broken close' | 'frozen client'): void {
    const { fate } = actor;
    const nowMs = performance.now();
    const steadyMs = this.#options.clock.nowMs;
    const { disconnectGraceMs, heartbeatTimeoutMs } = settings;
    this.#fault(how, `${fate.name} goes: ${how}`);
    for (const [service, view] of actor.views) this.#abandon(service, view);
    if (how === 'clean close') {
      fate.mayLeaveFromMs = nowMs;
      fate.goneByMs = steadyMs + goneWithinMs;
      actor.close();
    } else if (how === 'broken close') {
      fate.mayLeaveFromMs = nowMs + disconnectGraceMs;
      fate.goneByMs = steadyMs + disconnectGraceMs + goneWithinMs;
      actor.terminate();
    } else {
      // Something may have been heard of it for the last time a while ago.
      fate.mayLeaveFromMs = nowMs + disconnectGraceMs;
      fate.goneByMs = steadyMs + heartbeatTimeoutMs + disconnectGraceMs + goneWithinMs;
      actor.freeze();
    }
    if (how !== 'frozen client') this.actors.delete(actor);
    this.goneByMs = Math.max(this.goneByMs, fate.goneByMs);
  }

  freezeOne(): void {
    const providers = this.reading().filter(({ isWatcher }) => !isWatcher);
    if (providers.length > 3) this.leave(this.#random.pick(providers), 'frozen client');
  }

  /** Somebody reads nothing for a while; meanwhile much is said. */
  async slowDown(ms: number): Promise<void> {
    const watcher = this.reading().find(({ isWatcher }) => isWatcher) ?? (await this.join(true));
    const provider = this.reading().find(({ isWatcher }) => !isWatcher) ?? (await this.join(false));
    watcher.subscribe(bulkyService, 'snapshot', {}, () => undefined);
    for (const id of bulkyIds) this.#register(provider, bulkyService, id, bulk);
    this.#fault('slow reader', `${watcher.fate.name} does not read for ${ms} ms`);
    watcher.pause();
    const untilMs = performance.now() + ms;
    while (performance.now() < untilMs) {
      await delay(22);
      if (provider.state === 'open') this.#register(provider, bulkyService, this.#random.pick(bulkyIds), bulk);
    }
    if (watcher.state === 'paused') {
      watcher.resumedAtMs = this.#options.clock.nowMs;
      watcher.resume();
    }
  }

  /** Looks for instances that should have gone with their sessions. */
  sweep(): void {
    const { nowMs } = this.#options.clock;
    this.#tally.ghostSweeps += 1;
    for (const actor of this.reading()) {
      if (nowMs < actor.resumedAtMs + catchUpMs) continue;
      for (const [service, view] of actor.views) {
        const wrong = this.ledger.findGhost(service, readMarks(view), nowMs);
        if (wrong !== undefined) this.#options.onWrong(`in the view of ${actor.fate.name}: ${wrong}`);
      }
    }
  }

  async end(): Promise<void> {
    for (const actor of this.actors) actor.terminate();
    this.actors.clear();
    await delay(10);
  }

  /** A client whose connection breaks, and which comes back within the grace and registers what it had. */
  async #comeBack(actor: Actor): Promise<void> {
    if (actor.isWatcher) return;
    const held = this.ledger.heldBy(actor.fate);
    this.leave(actor, 'broken close');
    const next = await this.join(false);
    this.#did('come back', `${next.fate.name} is ${actor.fate.name}, come back`);
    for (const { service, id, mark } of held) {
      if (service !== bulkyService) this.#request(next, service, id, mark, '');
    }
  }

  #register(actor: Actor, service: string, id: string, filling = ''): void {
    if (actor.isWatcher) return;
    const last = this.#random.below(5) === 0 ? this.ledger.lastMark(service, id) : undefined;
    this.#request(actor, service, id, last ?? (this.#marks += 1), filling);
  }

  #request(actor: Actor, service: string, id: string, mark: number, filling: string): void {
    this.#did('register', `${actor.fate.name} registers ${service} ${id} = ${mark}`);
    const change = this.ledger.ask('register', actor.fate, { service, id, mark }, this.#options.clock.nowMs);
    const { color, ...content } = describeMark(mark);
    const metadata = { color, mark: String(mark), ...(filling === '' ? {} : { filling }) };
    const instance = { id, host: 'h', port: 1, ...content, metadata };
    actor.request('instance.register', { service, instance }, (answer) => {
      this.#settle(actor, change, answer, ['busy']);
    });
  }

  #deregister(actor: Actor, service: string, id: string): void {
    if (actor.isWatcher) return;
    this.#did('deregister', `${actor.fate.name} deregisters ${service} ${id} `);
    const change = this.ledger.ask('deregister', actor.fate, { service, id }, this.#options.clock.nowMs);
    actor.request('instance.deregister', { service, id }, (answer) => {
      this.#settle(actor, change, answer, ['busy', 'not_found', 'not_owner']);
    });
  }

  #settle(actor: Actor, change: Change, { result, error }: Answer, allowed: readonly string[]): void {
    const { service, id, kind } = change;
    if (result === undefined) {
      const code = error?.data.code ?? 'nothing';
      this.#tally.countOperation(`refused: ${code}`);
      this.#chronicle.note(`${actor.fate.name} is refused ${kind} ${service} ${id} : ${code}`);
      // What was under way at two deaths is refused, and may or may not have been carried out.
      if (code === 'internal') return;
      this.ledger.refuse(change);
      if (!allowed.includes(code)) this.#options.onWrong(`${actor.fate.name}: ${kind} was refused with ${code}`);
      return;
    }
    this.#chronicle.note(`${actor.fate.name} has the answer to ${kind} ${service} ${id} : ${result.version}`);
    this.ledger.acknowledge(change, result.version);
    for (const other of this.reading()) if (other.views.has(service)) this.#judge(other, service);
  }

  #subscribe(actor: Actor, service: string): void {
    const mode = this.#random.pick(['delta', 'delta', 'snapshot'] as const);
    const abandoned = this.#random.below(2) === 0 ? this.#abandoned.get(service) : undefined;
    const held = abandoned ?? this.#random.pick(filters);
    const filter = JSON.stringify(abandoned?.filter ?? held);
    this.#did(
      abandoned === undefined ? 'subscribe' : 'resume',
      `${actor.fate.name} subscribes ${service} (${mode}, ${filter}, ${abandoned?.version ?? 'anew'})`,
    );
    actor.subscribe(service, mode, held, ({ error }) => {
      if (error !== undefined && !['busy', 'internal'].includes(error.data.code)) {
        this.#options.onWrong(`${actor.fate.name}: a subscription was refused with ${error.data.code}`);
      }
    });
  }

  #query(actor: Actor, service: string): void {
    this.#did('query', `${actor.fate.name} queries ${service} `);
    const filter = this.#random.pick(filters);
    actor.request('service.query', { service, ...filter }, ({ result, error }) => {
      if (result !== undefined) {
        const view = new SubscriberView(filter);
        view.begin(result as never);
        this.#judgeMarks(actor, service, view);
      } else if (error?.data.code !== 'busy' && error?.data.code !== 'internal') {
        this.#options.onWrong(`${actor.fate.name}: a query was refused with ${error?.data.code}`);
      }
    });
  }

  #judge(actor: Actor, service: string): void {
    const view = actor.views.get(service);
    if (view !== undefined) this.#judgeMarks(actor, service, view);
  }

  #judgeMarks(actor: Actor, service: string, view: SubscriberView): void {
    this.#tally.viewsJudged += 1;
    const { version, filter } = view;
    const isVisible = (mark: number): boolean => isShown(filter, mark);
    const wrong = this.ledger.judge(service, version, readMarks(view), performance.now(), isVisible);
    if (wrong !== undefined) this.#options.onWrong(`in the view of ${actor.fate.name}: ${wrong}`);
  }

  #abandon(service: string, view: SubscriberView): void {
    this.#abandoned.set(service, view.copy());
  }

  #did(operation: string, text: string): void {
    this.#tally.countOperation(operation);
    this.#chronicle.note(text);
  }

  #fault(kind: string, text: string): void {
    this.#tally.countFault(kind);
    this.#chronicle.note(text, kind === 'slow reader' || kind === 'frozen client');
  }
}

/** What a view holds, by id. */
export function readMarks(view: SubscriberView): Map<string, number> {
  return new Map([...view.instances].map(([id, { metadata }]) => [id, Number(metadata?.['mark'])]));
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
