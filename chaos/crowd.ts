import { setTimeout as delay } from 'node:timers/promises';

import type { GoawayParams } from '../src/protocol/types.ts';
import type { Random } from '../test/support/random.ts';
import type { SubscriberView } from '../test/support/subscriber-view.ts';
import { Actor, HandshakeRefusal } from './actor.ts';
import type { ActorState } from './actor.ts';
import { bulkyIds, bulkyService, ids, services } from './catalog.ts';
import type { Chronicle } from './chronicle.ts';
import { Fates } from './fates.ts';
import type { Leaving } from './fates.ts';
import type { Judge } from './judge.ts';
import type { RegistryProcess } from './registry-process.ts';
import { Requests } from './requests.ts';
import { Returns } from './returns.ts';
import { settings } from './settings.ts';
import type { SteadyClock } from './steady-clock.ts';
import type { Tally } from './tally.ts';

const actorsMin = 8;
const actorsMax = 28;
/** How long nobody new comes after one has been refused, in milliseconds. */
const refusedForMs = 500;

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
  readonly registry: RegistryProcess;
  readonly random: Random;
  readonly tally: Tally;
  readonly clock: SteadyClock;
  readonly chronicle: Chronicle;
  readonly judge: Judge;
  readonly onWrong: (message: string) => void;
}

/** Everybody who uses the registry: they come and go, do this and that, and come back. */
export class Crowd {
  readonly actors: Set<Actor> = new Set();
  readonly judge: Judge;
  readonly fates: Fates;
  readonly requests: Requests;
  readonly returns: Returns;
  readonly #options: CrowdOptions;
  readonly #random: Random;
  readonly #tally: Tally;
  readonly #chronicle: Chronicle;
  /** Views of those who have gone: somebody may come back with one. */
  readonly #abandoned: Map<string, SubscriberView> = new Map();
  /** Those that do not read any more and have not been cut off yet. */
  readonly #frozen: Set<Actor> = new Set();
  /** Those that come back when the registry does. */
  #returning: Set<Actor> = new Set();
  /** Not before then, since too many came. */
  #joinAgainAtMs = 0;

  constructor(options: CrowdOptions) {
    this.#options = options;
    this.#random = options.random;
    this.#tally = options.tally;
    this.#chronicle = options.chronicle;
    this.judge = options.judge;
    const { clock } = options;
    this.fates = new Fates({ readSteadyMs: () => clock.nowMs, readNowMs: () => performance.now() });
    this.requests = new Requests({
      ...options,
      onAcknowledged: (service) => {
        for (const actor of this.reading()) this.judge.judgeView(actor, service);
      },
      isDraining: () => !options.registry.isUp,
    });
    this.returns = new Returns({ ...options, crowd: this });
  }

  /** Those that read. */
  reading(): Actor[] {
    return [...this.actors].filter(isReading);
  }

  /** Connects, and no more; undefined: the registry is not there, or lets nobody in just now. */
  async connect(isWatcher: boolean): Promise<Actor | undefined> {
    const { registry, onWrong } = this.#options;
    const { url, life, isUp } = registry;
    const fate = this.fates.create();
    const askedAtMs = performance.now();
    try {
      const actor = await Actor.connect({
        url,
        fate,
        isWatcher,
        life,
        events: {
          onChange: (actor, change) => {
            this.judge.handleChange(actor, change);
          },
          onClose: (actor, code, state) => {
            this.#noteClosed(actor, code, state);
          },
          onGoaway: (actor, goaway) => {
            this.#reconnect(actor, goaway);
          },
          onWrong,
        },
      });
      this.actors.add(actor);
      if (life === registry.life) this.fates.enter(fate);
      return actor;
    } catch (error) {
      const isLost = !isUp || !registry.isUp || registry.life !== life;
      if (error instanceof HandshakeRefusal && error.code === 'busy') {
        this.#tally.countOperation('refused at the door');
        this.#chronicle.note('somebody is refused at the door', true);
        this.#joinAgainAtMs = performance.now() + refusedForMs;
        this.judge.watch.noteRefusal(askedAtMs);
        if (life === registry.life) this.fates.noteRefusal(askedAtMs);
      } else if (!isLost) {
        onWrong(`nobody can connect: ${String(error)}`);
      }
      return undefined;
    }
  }

  /** Somebody new. */
  async join(isWatcher: boolean = this.#random.below(3) === 0): Promise<Actor | undefined> {
    const actor = await this.connect(isWatcher);
    if (actor === undefined) return undefined;
    const answer = await actor.open();
    if (answer?.result === undefined) {
      this.drop(actor);
      return undefined;
    }
    actor.enter();
    this.#did('join', `${actor.fate.name} comes`);
    return actor;
  }

  /** One step of one of them, chosen at random; `isCalm`: nothing by which lists change. */
  async act(isCalm = false): Promise<void> {
    const random = this.#random;
    const open = this.reading();
    const roll = isCalm ? 600 + random.below(260) : random.below(1000);
    const population = this.actors.size + this.returns.pending;
    if (population < actorsMin || (roll < 15 && population < actorsMax)) {
      if (performance.now() >= this.#joinAgainAtMs) await this.join(isCalm ? true : undefined);
      return;
    }
    if (open.length === 0) return;
    const actor = random.pick(open);
    const service = random.pick(services);
    const id = random.pick(ids);
    if (roll < 500) this.requests.register(actor, service, id);
    else if (roll < 600) this.requests.deregister(actor, service, id);
    else if (roll < 720) {
      const held = random.below(2) === 0 ? this.#abandoned.get(service) : undefined;
      this.requests.subscribe(actor, service, random.pick(['delta', 'delta', 'snapshot'] as const), held);
    } else if (roll < 760) this.requests.unsubscribe(actor, service);
    else if (roll < 860) this.requests.query(actor, service);
    else if (roll < 868) this.leave(actor, 'clean close');
    else if (roll < 876) this.leave(actor, 'broken close');
    else if (roll < 890) this.#comeBack(actor);
    else if (roll < 905) {
      this.#fault('garbage', `${actor.fate.name} sends garbage`);
      actor.sendGarbage(random.pick(garbage));
    }
  }

  leave(actor: Actor, how: Leaving): void {
    const { fate } = actor;
    this.#fault(how, `${fate.name} goes: ${how}`);
    for (const [service, view] of actor.views) this.#abandoned.set(service, view.copy());
    for (const { service, id } of this.judge.ledger.possessionsOf(fate)) this.judge.watch.forget(service, id);
    this.fates.leave(fate, how);
    if (how === 'clean close') actor.close();
    else if (how === 'broken close') actor.terminate();
    else {
      actor.freeze();
      this.#frozen.add(actor);
    }
    this.actors.delete(actor);
    this.#returning.delete(actor);
  }

  /** A connection of no use. */
  drop(actor: Actor): void {
    this.actors.delete(actor);
    actor.terminate();
  }

  freezeOne(): void {
    const providers = this.reading().filter(({ isWatcher }) => !isWatcher);
    if (providers.length > 3) this.leave(this.#random.pick(providers), 'frozen client');
  }

  /** Somebody reads nothing for a while; meanwhile much is said. */
  async slowDown(ms: number): Promise<void> {
    const watcher = this.reading().find(({ isWatcher }) => isWatcher) ?? (await this.join(true));
    const provider = this.reading().find(({ isWatcher }) => !isWatcher) ?? (await this.join(false));
    if (!isReading(watcher) || !isReading(provider)) return;
    watcher.subscribe(bulkyService, 'snapshot', {}, () => undefined);
    for (const id of bulkyIds) this.requests.register(provider, bulkyService, id);
    this.#fault('slow reader', `${watcher.fate.name} does not read for ${ms} ms`);
    watcher.pause();
    const untilMs = performance.now() + ms;
    while (performance.now() < untilMs) {
      await delay(22);
      if (provider.state === 'open') this.requests.register(provider, bulkyService, this.#random.pick(bulkyIds));
    }
    if (watcher.state === 'paused') {
      watcher.resumedAtMs = this.#options.clock.nowMs;
      watcher.resume();
    }
  }

  /** The registry is about to end. Those who are there come back to its next life, except for some; what those hold must not be missing. */
  expectEnd(): void {
    const { watch, ledger } = this.judge;
    this.judge.expectEnd();
    this.#returning = new Set(
      [...this.actors].filter(({ state }) => (state === 'open' || state === 'paused') && this.#random.below(6) > 0),
    );
    for (const { fate } of this.#returning) {
      for (const { service, id, marks, isCertain } of ledger.possessionsOf(fate)) {
        if (isCertain) watch.expect(service, id, marks);
      }
    }
    for (const fate of this.fates.present()) {
      for (const { service, id, marks } of ledger.possessionsOf(fate)) watch.noteRival(service, id, marks);
    }
  }

  /** The registry has ended, and with it all connections; its next life may not know what was answered from `lostFromMs` on. */
  noteEnd(lostFromMs: number): void {
    this.fates.noteEnd();
    this.requests.noteEnd(lostFromMs);
    this.returns.superseded.clear();
    for (const actor of this.actors) {
      for (const [service, view] of actor.views) this.#abandoned.set(service, view.copy());
      if (actor.state !== 'opening') this.drop(actor);
    }
    for (const actor of this.#frozen) actor.terminate();
    this.#frozen.clear();
    for (const actor of this.#returning) {
      const isResuming = this.#random.below(2) === 0;
      this.returns.start(actor, { isResuming, afterMs: this.#random.below(800) });
    }
    this.#returning.clear();
  }

  /** The registry's next life began then, at the earliest. */
  noteStart(atMs: number): void {
    this.judge.watch.noteStart(atMs);
    this.fates.noteStart(atMs);
  }

  async end(): Promise<void> {
    this.returns.end();
    for (const actor of [...this.actors, ...this.#frozen, ...this.returns.superseded]) actor.terminate();
    this.actors.clear();
    await delay(10);
  }

  note(text: string): void {
    this.#chronicle.note(text);
  }

  /** Somebody is, or believes itself, cut off, and comes back over another connection: with the secret of its session, or without. */
  #comeBack(actor: Actor): void {
    const random = this.#random;
    const roll = random.below(4);
    const isResuming = random.below(4) > 0;
    // The registry may know of it, or not yet, or it may not be so.
    if (roll === 0) this.leave(actor, 'frozen client');
    else if (roll === 1 || !isResuming) this.leave(actor, 'broken close');
    else this.#leaveBehind(actor);
    this.returns.start(actor, { isResuming, afterMs: random.below(settings.disconnectGraceMs / 2) });
  }

  #leaveBehind(actor: Actor): void {
    this.actors.delete(actor);
    this.#returning.delete(actor);
    actor.leaveBehind();
    this.#did('leave behind', `${actor.fate.name} is to be taken over`);
  }

  #reconnect(actor: Actor, { reason, reconnectAfterMs }: GoawayParams): void {
    if (reason === 'stopping' || actor.state !== 'open') return;
    this.#leaveBehind(actor);
    this.returns.start(actor, { isResuming: this.#random.below(3) > 0, afterMs: reconnectAfterMs });
  }

  #noteClosed(actor: Actor, code: number, state: ActorState): void {
    const { registry, onWrong } = this.#options;
    this.actors.delete(actor);
    this.#frozen.delete(actor);
    this.returns.superseded.delete(actor);
    if (!registry.isUp || actor.life !== registry.life || state === 'frozen' || actor.isWatcher) return;
    if (state === 'left' && code === 4003) return;
    onWrong(`${actor.fate.name} was closed by the server, with ${code}`);
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

function isReading(actor: Actor | undefined): actor is Actor {
  return actor?.state === 'open';
}
