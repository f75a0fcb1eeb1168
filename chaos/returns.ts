import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';

import type { HeldRegistration } from '../src/protocol/types.ts';
import type { Possession } from '../test/support/ledger.ts';
import type { Random } from '../test/support/random.ts';
import type { Actor } from './actor.ts';
import { createInstance, hashInstance, ids, lateMark, services } from './catalog.ts';
import type { Fates } from './fates.ts';
import type { Judge } from './judge.ts';
import type { RegistryProcess } from './registry-process.ts';
import type { Requests } from './requests.ts';
import { settings } from './settings.ts';
import type { SteadyClock } from './steady-clock.ts';
import type { Tally } from './tally.ts';

/** Between two tries to connect, in milliseconds. */
const backoffMinMs = 50;
const backoffMaxMs = 800;

/** What those who come back need of those who are there. */
export interface Company {
  readonly judge: Judge;
  readonly requests: Requests;
  readonly fates: Fates;
  connect(isWatcher: boolean): Promise<Actor | undefined>;
  leave(actor: Actor, how: 'broken close'): void;
  drop(actor: Actor): void;
  note(text: string): void;
}

export interface ReturnsOptions {
  readonly crowd: Company;
  readonly registry: RegistryProcess;
  readonly random: Random;
  readonly tally: Tally;
  readonly clock: SteadyClock;
  readonly onWrong: (message: string) => void;
}

export interface Return {
  /** Whether it shows the secret of its session, to take that over (SE8). */
  readonly isResuming: boolean;
  readonly afterMs: number;
}

/** Clients that come back over another connection, for whatever reason the one before is or seems of no use. They try until they are in. */
export class Returns {
  readonly #options: ReturnsOptions;
  /** Whose sessions have been taken over, until the registry has closed their connections. */
  readonly superseded: Set<Actor> = new Set();
  /** Those on their way. */
  pending = 0;
  #isOver = false;

  constructor(options: ReturnsOptions) {
    this.#options = options;
  }

  start(previous: Actor, how: Return): void {
    this.pending += 1;
    this.#comeBack(previous, how)
      .catch((error: unknown) => {
        this.#options.onWrong(error instanceof Error ? (error.stack ?? error.message) : String(error));
      })
      .finally(() => {
        this.pending -= 1;
      });
  }

  end(): void {
    this.#isOver = true;
  }

  async #comeBack(previous: Actor, { isResuming, afterMs }: Return): Promise<void> {
    const { crowd, random } = this.#options;
    await delay(afterMs);
    for (let round = 0; !this.#isOver; round++) {
      const actor = await crowd.connect(previous.isWatcher);
      const outcome = actor === undefined ? 'refused' : await this.#open(actor, previous, isResuming);
      if (actor !== undefined && outcome !== 'refused') {
        await this.#restore(actor, previous, outcome === 'resumed');
        return;
      }
      const ceilingMs = Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(round, 10));
      await delay(ceilingMs / 2 + random.below(ceilingMs / 2));
    }
  }

  /** Opens the session, which may be the one of before. */
  async #open(actor: Actor, previous: Actor, isResuming: boolean): Promise<'resumed' | 'anew' | 'refused'> {
    const { crowd, registry, tally, onWrong } = this.#options;
    const { fate, opened } = previous;
    const secret = isResuming ? opened?.secret : undefined;
    const isSameLife = actor.life === previous.life;
    const isTakeover = secret !== undefined;
    // What a life before has noted for certain the next one knows (WS3).
    const mustResumeUntilMs =
      isTakeover && crowd.judge.ledger.possessionsOf(fate).some(({ isCertain }) => isCertain)
        ? fate.mayLeaveFromMs
        : Number.NEGATIVE_INFINITY;
    const threadBefore = isTakeover && isSameLife ? await this.#threadOf(opened!.session) : undefined;
    const isPresent = crowd.fates.isPresent(fate);
    if (isTakeover) crowd.fates.requestTakeover(fate);
    const answer = await actor.open(secret);
    if (isTakeover) crowd.fates.endTakeover(fate, answer?.result === undefined ? settings.slotWaitTimeoutMs : 0);
    if (answer?.result === undefined) {
      const code = answer?.error?.data.code;
      if (code !== undefined && code !== 'busy' && !(code === 'draining' && !registry.isUp))
        onWrong(`${actor.fate.name} could not open a session: ${code}`);
      crowd.drop(actor);
      return 'refused';
    }
    if (actor.opened?.resumed === undefined) {
      tally.countOperation('come back anew');
      crowd.note(`${actor.fate.name} is ${fate.name}, come back anew`);
      if (!isSameLife && performance.now() < mustResumeUntilMs)
        onWrong(`[WS3] ${fate.name} could not take over its session of the life before`);
      return 'anew';
    }
    if (!isPresent) onWrong(`[SE8] ${fate.name} took over a session that should have gone`);
    tally.countOperation('resume a session');
    crowd.note(`${actor.fate.name} is ${fate.name}, and goes on with its session`);
    actor.fate = fate;
    crowd.fates.resume(fate);
    this.#sendLate(previous);
    await this.#checkPossessions(actor);
    const thread = await this.#threadOf(opened!.session);
    if (thread !== undefined && threadBefore !== undefined && thread !== threadBefore) tally.hostChanges += 1;
    return 'resumed';
  }

  /** What comes on a connection whose session has been taken over does not count. */
  #sendLate(previous: Actor): void {
    const { random, tally } = this.#options;
    if (previous.state !== 'left') return;
    tally.countOperation('send too late');
    const service = random.pick(services);
    const id = random.pick(ids);
    if (random.below(2) === 0) previous.sendLate('instance.deregister', { service, id });
    else previous.sendLate('instance.register', { service, instance: createInstance(service, id, lateMark) });
  }

  /** The session has all that the client was told that it has, and nothing that it cannot have; both sides say so by a digest. */
  async #checkPossessions(actor: Actor): Promise<void> {
    const { crowd, tally, onWrong } = this.#options;
    const { resumed } = actor.opened!;
    const possessions = crowd.judge.ledger.possessionsOf(actor.fate);
    const answer = await actor.ask('session.registrations', { limit: 1000 });
    if (answer?.result === undefined) return;
    const listed = answer.result['registrations'] as readonly HeldRegistration[];
    tally.sessionsCompared += 1;
    const difference = findDifference(possessions, listed);
    if (difference !== undefined) onWrong(`[SE8] ${actor.fate.name} has taken over a session, and ${difference}`);
    const found = { registrations: listed.length, digest: sumHashes(listed.map(({ hash }) => hash)) };
    if (!isDeepStrictEqual(resumed, found))
      onWrong(
        `[SE8] ${actor.fate.name} was told ${JSON.stringify(resumed)} of its session, which is ${JSON.stringify(found)}`,
      );
  }

  /** What it had, and what it does not know whether it has, and the lists that it keeps. */
  async #restore(actor: Actor, previous: Actor, isResumed: boolean): Promise<void> {
    const { crowd, random } = this.#options;
    const { requests } = crowd;
    actor.enter();
    const views = [...previous.views].map(([service, view]) => [service, view.copy()] as const);
    const subscribe = (): void => {
      for (const [service, view] of views) {
        requests.subscribe(actor, service, random.pick(['delta', 'delta', 'snapshot'] as const), view);
      }
    };
    const isSubscribingFirst = random.below(2) === 0;
    if (isSubscribingFirst) subscribe();
    for (const { service, id, last, isDoubtful } of crowd.judge.ledger.possessionsOf(previous.fate)) {
      if (last.kind === 'register' && (isDoubtful || !isResumed)) requests.registerMark(actor, service, id, last.mark);
      else if (isResumed && isDoubtful) requests.deregister(actor, service, id);
    }
    if (!isSubscribingFirst) subscribe();
    if (previous.state !== 'left') return;
    if (isResumed) this.superseded.add(previous);
    // As somebody does who has been asked to reconnect: the old connection is left once the new one has everything.
    else crowd.leave(previous, 'broken close');
  }

  async #threadOf(session: string): Promise<number | undefined> {
    const { registry } = this.#options;
    try {
      return (await registry.readThreads()).get(session);
    } catch (error) {
      if (registry.isUp) throw error;
      return undefined;
    }
  }
}

function findDifference(possessions: readonly Possession[], listed: readonly HeldRegistration[]): string | undefined {
  for (const { service, id, hash } of listed) {
    const possession = possessions.find((held) => held.service === service && held.id === id);
    if (possession?.marks.some((mark) => hashInstance(service, id, mark) === hash) !== true)
      return `it has ${service} ${id} , which it cannot have`;
  }
  for (const { service, id, isCertain } of possessions) {
    if (isCertain && !listed.some((held) => held.service === service && held.id === id))
      return `it lacks ${service} ${id} `;
  }
  return undefined;
}

/** By what PROTOCOL.md says of digests: each half of the hashes is added up for itself. */
function sumHashes(hashes: readonly string[]): string {
  const sum = (from: number): string => {
    const total = hashes.reduce((total, hash) => (total + Number.parseInt(hash.slice(from, from + 8), 16)) >>> 0, 0);
    return total.toString(16).padStart(8, '0');
  };
  return `${sum(0)}${sum(8)}`;
}
