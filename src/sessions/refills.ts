import type { Audience, HostPush, RefillListener } from '../push/fan-out.ts';
import { saysClosed } from '../push/push-encoding.ts';
import type { Answer } from '../routing/partition-link.ts';
import type { Router } from '../routing/router.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import { unlimitedRoom } from './answers.ts';
import type { Audiences } from './audiences.ts';
import type { PushDelivery } from './push-delivery.ts';
import type { Subscription } from './session.ts';
import type { ShownVersions } from './shown-versions.ts';
import type { WarmUp } from './warm-up.ts';

export interface RefillsOptions {
  readonly router: Pick<Router, 'ask'>;
  readonly audiences: Pick<Audiences, 'dropIfEmpty'>;
  readonly delivery: Pick<PushDelivery, 'sendRefill'>;
  readonly warmUp: Pick<WarmUp, 'isOver' | 'noteEarlier'>;
  readonly shown: Pick<ShownVersions, 'note'>;
}

/** What a client holds that subscribes again. */
export interface Held {
  /** 0: nothing, or nothing worth resuming from. */
  readonly version: number;
  /** Instances of the list; undefined: it has not said. */
  readonly count: number | undefined;
}

/** A list, or a change of it, and how many instances it has by then. */
export type Shown = Pick<HostPush, 'count' | 'body'>;

/** Audiences whose latest state is asked for, or is on its way to their members, at a time. */
const underWayMax = 32;

/** Of one audience. */
interface Warming {
  /** Members that continue with what they knew before the registry started. */
  members: number;
  /** The most instances that one of them said it holds; -1: none has said. What one that left has said still counts. */
  wanted: number;
}

/**
 * Subscriptions that resumed from before the registry started: each continues with what it knows until its service is warm, and then gets the list (PU5).
 * One question for an audience, however many wait in it, and few audiences at a time, however many there are.
 */
export class Refills implements RefillListener<Subscription> {
  readonly #options: RefillsOptions;
  readonly #warming: Map<Audience<Subscription>, Warming> = new Map();
  /** Audiences of services that are warm and have not been asked for. */
  readonly #due: Set<Audience<Subscription>> = new Set();
  #underWay = 0;
  /** An owner has too much to do: nothing is asked for until the next tick. */
  #isBusy = false;
  /** Once all are: those that have not had their turn. */
  #rest: MapIterator<Audience<Subscription>> | undefined;
  /** Subscriptions that wait. */
  count = 0;

  constructor(options: RefillsOptions) {
    this.#options = options;
  }

  /** Whether a resuming subscriber keeps its list: one from an earlier run of the registry, rather than one that is still incomplete. */
  mustWait(audience: Audience<Subscription>, held: Held, shown: Shown): boolean {
    const { warmUp, shown: versions } = this.#options;
    if (held.version === 0) return false;
    warmUp.noteEarlier();
    if (warmUp.isOver) return false;
    // Left over from when the warm-up was presumed to be over.
    this.#rest = undefined;
    versions.note(held.version);
    return !this.#isReached(audience, shown, held.count);
  }

  /** Whether a list may lack some who were there before the start: nobody has said how many there were, or they are not all back. */
  isFilling(audience: Audience<Subscription>, shown: Shown, wanted: number | undefined): boolean {
    return !this.#options.warmUp.isOver && !this.#isReached(audience, shown, wanted);
  }

  /**
   * Whether the list has as many instances as those who wait in the audience have said that they hold, and as `wanted`; -1: not said. Of a service that an operator has
   * closed nobody who comes back adds anything.
   */
  #isReached(audience: Audience<Subscription>, { count, body }: Shown, wanted = -1): boolean {
    if (saysClosed(body)) return true;
    const most = Math.max(wanted, this.#warming.get(audience)?.wanted ?? -1);
    return most >= 0 && count >= most;
  }

  /** A subscription has begun that is to wait. */
  add(audience: Audience<Subscription>, wanted: number | undefined): void {
    const warming = this.#warming.get(audience) ?? { members: 0, wanted: -1 };
    this.#warming.set(audience, warming);
    warming.members += 1;
    warming.wanted = Math.max(warming.wanted, wanted ?? -1);
    this.count += 1;
  }

  noteRefilled(subscription: Subscription, audience: Audience<Subscription>): void {
    this.remove(subscription, audience);
  }

  /** It waits no longer: it gets the list, or is about to be over. */
  remove(subscription: Subscription, audience: Audience<Subscription>): void {
    if (!subscription.isWarming) return;
    subscription.advance('warmed');
    this.count -= 1;
    const warming = this.#warming.get(audience);
    if (warming === undefined) return;
    warming.members -= 1;
    if (warming.members > 0) return;
    this.#warming.delete(audience);
    this.#due.delete(audience);
  }

  /** The list of the audience is this now. */
  hear(audience: Audience<Subscription>, shown: Shown): void {
    if (this.#warming.size === 0 || !this.#warming.has(audience) || !this.#isReached(audience, shown)) return;
    this.#due.add(audience);
    this.#askNext();
  }

  /** Nobody has to wait any more. */
  release(): void {
    this.#rest = this.#warming.keys();
    this.#askNext();
  }

  /** What could not be asked for is tried again. */
  tick(): void {
    this.#isBusy = false;
    this.#askNext();
  }

  noteServed(audience: Audience<Subscription>, shown: Shown): void {
    this.#underWay -= 1;
    // One may have come since, who holds a later version than that state had.
    if (this.#warming.has(audience) && this.#isWarm(audience, shown)) this.#due.add(audience);
    else this.#askNext();
  }

  #isWarm(audience: Audience<Subscription>, shown: Shown): boolean {
    return this.#rest !== undefined || this.#isReached(audience, shown);
  }

  #askNext(): void {
    while (this.#underWay < underWayMax && !this.#isBusy) {
      const audience = this.#takeNext();
      if (audience === undefined) return;
      this.#ask(audience);
    }
  }

  #takeNext(): Audience<Subscription> | undefined {
    const { value } = this.#due.values().next();
    if (value === undefined) return this.#rest?.next().value;
    this.#due.delete(value);
    return value;
  }

  #ask(audience: Audience<Subscription>): void {
    const { router, audiences } = this.#options;
    const { key, variant } = audience;
    this.#underWay += 1;
    router.ask({
      key,
      isPatient: true,
      begin: () => {
        // Nobody may wait in it any more by the time that its slot opens.
        if (!this.#warming.has(audience)) {
          this.#underWay -= 1;
          return false;
        }
        audience.pending += 1;
        return true;
      },
      refuse: () => {
        this.#underWay -= 1;
        this.#due.add(audience);
        this.#isBusy = true;
      },
      build: (request) => [toPartition.subscribe, request, key, variant.text, 0, unlimitedRoom],
      settle: (answer) => {
        audience.pending -= 1;
        this.#take(audience, answer);
        audiences.dropIfEmpty(audience);
      },
    });
  }

  #take(audience: Audience<Subscription>, answer: Answer): void {
    if (answer[0] !== fromPartition.state) {
      // Refused: there is no other way to learn it than to ask again, in a later turn.
      this.#underWay -= 1;
      if (this.#warming.has(audience)) this.#due.add(audience);
      return;
    }
    const [, , version, count, body] = answer;
    if (this.#isWarm(audience, { count, body })) {
      const state = { partition: -1, from: 0, to: version, count, body, changedAtMs: 0 };
      this.#options.delivery.sendRefill(audience, state, this);
    } else {
      // Some have gone again since.
      this.#underWay -= 1;
    }
  }
}
