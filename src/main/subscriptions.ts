import type { Failure } from '../protocol/errors.ts';
import type { SubscribeMode } from '../protocol/types.ts';
import { Audience, FanOut, wordSnapshotPush } from '../push/fan-out.ts';
import type { HostPush } from '../push/fan-out.ts';
import type { Variant } from '../push/variant.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { FromPartition } from '../workers/messages.ts';
import { unlimitedRoom, wordResults } from './answers.ts';
import type { ReadTicket, Reply } from './answers.ts';
import type { Counters } from './counters.ts';
import type { HostMeter } from './host-meter.ts';
import { readRefusal } from './partition-link.ts';
import type { Answer } from './partition-link.ts';
import type { Router } from './router.ts';
import { Subscription } from './session.ts';
import type { Session } from './session.ts';

type PushRecord = Extract<FromPartition, [typeof fromPartition.push, ...unknown[]]>;

/** An audience of this host, and the lowest version that one of its members holds. */
export interface WatchedAudience {
  readonly key: string;
  /** The variant's text. */
  readonly variant: string;
  readonly from: number;
}

export interface SubscriptionsOptions {
  readonly router: Router;
  readonly counters: Counters;
  readonly sliceMembers: number;
  readonly sliceBytes: number;
  readonly subscriptionsMax: number;
  readonly meter: HostMeter;
  /** Sends the answers of this turn: a push must not overtake the answer that began its subscription. */
  readonly flush: () => void;
  /** Versions below this are of an earlier life of the registry: wall clock in µs. */
  readonly bornMicros: number;
  /** Runs the next slice of a long fan-out in a later turn. */
  readonly schedule: (task: () => void) => void;
  /** A push was dropped: the backlog is full, or the session is behind with reading. */
  readonly onDropped: (session: Session) => void;
}

/** Subscriptions of one session whose latest state is asked for at a time. */
const resyncsUnderWay = 32;
/** How long to wait at least between tries to fetch what could not be fetched, in milliseconds. */
const resyncRetryMs = 200;

/** The subscriptions of all sessions of this host: who hears of what, who missed something, and the last hop of every push. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #router: Router;
  /** By the text of the variant, then by service. */
  readonly #audiences: Map<string, Map<string, Audience<Subscription>>> = new Map();
  readonly #fanOut: FanOut<Subscription>;
  /** Subscriptions that have begun. */
  readonly counts: Record<SubscribeMode, number> = { delta: 0, snapshot: 0 };
  #isSliceScheduled = false;
  #isWarm = false;
  /** Subscriptions that wait for their first answer; until then an older one to the same service goes on. */
  readonly #starting: Map<Session, Set<Subscription>> = new Map();
  /** Sessions that get what they missed, and how far that has come among their subscriptions. */
  readonly #catchingUp: Map<Session, MapIterator<Subscription>> = new Map();
  /** What could not be fetched for those who missed a push: tried again a little later. */
  #resyncLater: (() => void)[] = [];
  #resyncAtMs = 0;
  /** Subscribers who resume from an earlier life, until others have had the time to register again. */
  #waitingForWarmth: (() => void)[] = [];

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
    this.#router = options.router;
    this.#fanOut = new FanOut<Subscription>({
      sliceMembers: options.sliceMembers,
      sliceBytes: options.sliceBytes,
      encode: (text) => Buffer.from(text),
      onMissed: (member, _audience, cause) => {
        options.counters.count('push_dropped');
        options.meter.missed[cause] += 1;
        // After a drop the socket says when it has drained; after a gap there is nothing to wait for.
        if (cause === 'gap') this.#resync(member);
        else options.onDropped(member.session);
      },
      onDone: (push, audience) => {
        options.meter.notePush(audience.variant.mode, push.changedAtMs);
        this.#credit(push.partition, push.body.length);
      },
    });
  }

  get framesEncoded(): number {
    return this.#fanOut.framesEncoded;
  }

  get framesSent(): Readonly<Record<SubscribeMode, number>> {
    return this.#fanOut.framesSent;
  }

  /** Subscribes, or subscribes anew in another variant or from another version. Answered by the owner of the service. */
  subscribe(session: Session, key: string, variant: Variant, held: number, reply: Reply): void {
    const { subscriptions } = session;
    const starting = this.#starting.get(session) ?? new Set();
    const { subscriptionsMax } = this.#options;
    if (!subscriptions.has(key) && subscriptions.size + starting.size >= subscriptionsMax) {
      const message = `the session has ${subscriptionsMax} subscriptions`;
      reply.fail({ code: 'limit_exceeded', message, limit: 'subscriptionsMax', max: subscriptionsMax });
      return;
    }
    const since = this.#isOtherFilter(session, key, variant.filter) ? 0 : held;
    // One text for all subscriptions of a service.
    const sharedKey = this.#audiences.get(variant.text)?.get(key)?.key ?? key;
    const subscription = new Subscription(session, sharedKey, variant);
    this.#starting.set(session, starting.add(subscription));
    const ask = (): void => {
      this.#ask(subscription, since, reply);
    };
    // PU5: who was here before a restart goes on with what it knows rather than see a list that is only just filling.
    if (!this.#isWarm && since > 0 && since < this.#options.bornMicros) this.#waitingForWarmth.push(ask);
    else ask();
  }

  /** Whether the session has subscribed the service with another filter: then what it holds is another list. */
  #isOtherFilter(session: Session, key: string, filter: string): boolean {
    const before = session.subscriptions.get(key);
    if (before !== undefined && before.variant.filter !== filter) return true;
    for (const { key: other, variant } of this.#starting.get(session) ?? []) {
      if (other === key && variant.filter !== filter) return true;
    }
    return false;
  }

  /** Moves the clock on. */
  tick(nowMs: number): void {
    if (this.#resyncLater.length === 0 || nowMs < this.#resyncAtMs) return;
    this.#resyncAtMs = nowMs + resyncRetryMs;
    for (const retry of this.#resyncLater.splice(0)) retry();
  }

  /** Enough time has passed since the start. */
  warmUp(): void {
    this.#isWarm = true;
    for (const ask of this.#waitingForWarmth.splice(0)) ask();
  }

  /** `ticket`: of a read that has been sent before, and needs more room. */
  #ask(subscription: Subscription, since: number, reply: Reply, ticket?: ReadTicket): void {
    const { key, variant } = subscription;
    const refuse = (failure: Failure): void => {
      this.#noteStarted(subscription);
      reply.fail(failure);
      ticket?.end();
    };
    if (this.#router.isShut(key)) {
      this.#router.gate.wait(
        key,
        () => {
          this.#ask(subscription, since, reply, ticket);
        },
        refuse,
      );
      return;
    }
    const audience = this.#obtainAudience(key, variant);
    audience.pending += 1;
    const read = ticket ?? reply.openRead?.('subscription', key);
    const asked = this.#router.ask({
      key,
      build: (request) => [toPartition.subscribe, request, key, variant.text, since, read?.room ?? unlimitedRoom],
      settle: (answer) => {
        audience.pending -= 1;
        if (answer[0] === fromPartition.oversize && read !== undefined) {
          const again = (): void => {
            this.#ask(subscription, since, reply, read);
          };
          read.enlarge(answer[2], again, (failure) => {
            this.#noteStarted(subscription);
            reply.fail(failure);
            read.end();
          });
        } else {
          this.#begin(subscription, audience, answer, reply);
          read?.end();
        }
        this.#dropIfEmpty(audience);
      },
    });
    if (typeof asked === 'number') return;
    audience.pending -= 1;
    this.#dropIfEmpty(audience);
    this.#noteStarted(subscription);
    reply.fail(asked);
    read?.end();
  }

  unsubscribe(session: Session, key: string): void {
    for (const starting of this.#starting.get(session) ?? []) if (starting.key === key) starting.isWanted = false;
    const subscription = session.subscriptions.get(key);
    if (subscription === undefined) return;
    session.subscriptions.delete(key);
    this.#leave(subscription);
  }

  /** The session's connection has gone. */
  unsubscribeAll(session: Session): void {
    for (const starting of this.#starting.get(session) ?? []) starting.isWanted = false;
    this.#starting.delete(session);
    this.#catchingUp.delete(session);
    for (const subscription of session.subscriptions.values()) this.#leave(subscription);
    session.subscriptions.clear();
  }

  /** What subscribers of services that `isLost` accepts hold: what a rebuilt partition must know to go on telling them. */
  watched(isLost: (key: string) => boolean): WatchedAudience[] {
    const watched: WatchedAudience[] = [];
    for (const [variant, audiences] of this.#audiences) {
      for (const { key, members } of audiences.values()) {
        if (members.length === 0 || !isLost(key)) continue;
        const from = members.reduce((lowest, member) => Math.min(lowest, member.version), members[0]!.version);
        watched.push({ key, variant, from });
      }
    }
    return watched;
  }

  /** The client has read what waited for it: whatever it missed meanwhile, it gets the latest state (PU4). */
  catchUp(session: Session): void {
    this.#catchingUp.set(session, session.subscriptions.values());
    for (let asked = 0; asked < resyncsUnderWay; asked++) this.#resyncNext(session);
  }

  /** Not all at once: what would come back for thousands of subscriptions might again be more than the client reads. */
  #resyncNext(session: Session): void {
    const rest = this.#catchingUp.get(session);
    if (rest === undefined) return;
    for (let next = rest.next(); next.done !== true; next = rest.next()) {
      if (!next.value.isStale || next.value.isResyncing) continue;
      this.#resync(next.value);
      return;
    }
    this.#catchingUp.delete(session);
  }

  push(record: PushRecord, partition: number): void {
    const [, key, variant, from, to, count, changedAtMs, body] = record;
    const audience = this.#audiences.get(variant)?.get(key);
    if (audience === undefined) {
      this.#credit(partition, body.length);
      return;
    }
    this.#fanOut.enqueue(audience, { partition, from, to, count, body, changedAtMs } satisfies HostPush);
    if (!this.#isSliceScheduled) this.#runSlice();
  }

  #credit(partition: number, characters: number): void {
    this.#router.link(partition)?.credit(characters);
  }

  #runSlice(): void {
    this.#isSliceScheduled = false;
    this.#options.flush();
    this.#fanOut.runSlice();
    if (this.#fanOut.isIdle) return;
    this.#isSliceScheduled = true;
    this.#options.schedule(() => {
      this.#runSlice();
    });
  }

  #begin(subscription: Subscription, audience: Audience<Subscription>, answer: Answer, reply: Reply): void {
    const { session, key } = subscription;
    this.#noteStarted(subscription);
    switch (answer[0]) {
      case fromPartition.refused:
        // An older subscription to the service, if there is one, goes on.
        reply.fail(readRefusal(answer));
        return;
      case fromPartition.state:
        subscription.version = answer[2];
        reply.succeed(wordResults.state(answer[2], answer[4]));
        break;
      case fromPartition.resumed:
        subscription.version = answer[3];
        reply.succeed(wordResults.resumed(answer[2], answer[3], answer[4]));
        break;
      default:
        throw new Error(`not an answer to a subscription: ${answer[0]}`);
    }
    // Unsubscribed or gone meanwhile: the answer still goes out, the membership does not begin.
    if (!subscription.isWanted) return;
    const before = session.subscriptions.get(key);
    session.subscriptions.set(key, subscription);
    subscription.audience = audience;
    audience.add(subscription);
    this.counts[subscription.variant.mode] += 1;
    if (before !== undefined) this.#leave(before);
    // In a batch the answer goes out with the others; what is pushed meanwhile must not come first.
    subscription.isWaiting = reply.defer?.(() => this.#endWaiting(subscription)) ?? false;
  }

  #endWaiting(subscription: Subscription): void {
    subscription.isWaiting = false;
    if (subscription.hasMissed && subscription.audience !== undefined) this.#resync(subscription);
  }

  /** Fetches the latest state for one who missed a push, and sends it as a snapshot. */
  #resync(subscription: Subscription): void {
    const { session, key, variant } = subscription;
    if (subscription.isResyncing) return;
    subscription.isResyncing = true;
    const retry = (): void => {
      subscription.isResyncing = false;
      if (session.subscriptions.get(key) === subscription) this.#resync(subscription);
      else this.#resyncNext(session);
    };
    if (this.#router.isShut(key)) {
      this.#router.gate.defer(key, retry);
      return;
    }
    const asked = this.#router.ask({
      key,
      build: (request) => [toPartition.subscribe, request, key, variant.text, 0, unlimitedRoom],
      settle: (answer) => {
        if (answer[0] !== fromPartition.state) {
          // The client keeps what it has, and is behind until a later try succeeds (PU4).
          this.#resyncLater.push(retry);
          return;
        }
        if (session.subscriptions.get(key) !== subscription) {
          this.#resyncNext(session);
          return;
        }
        subscription.isResyncing = false;
        const [, , version, count, instances] = answer;
        this.#options.flush();
        const delivery = subscription.deliver(wordSnapshotPush(key, count, version, instances));
        if (delivery === 'sent') {
          subscription.version = version;
          subscription.isStale = false;
          this.#options.counters.count('push_resynced');
          this.#resyncNext(session);
          return;
        }
        // It is behind again; what is left is for the next time that it has read.
        this.#catchingUp.delete(session);
        if (delivery === 'dropped') this.#options.onDropped(session);
      },
    });
    // The partition is busy: the subscription stays stale, and the client keeps what it has.
    if (typeof asked === 'object') this.#resyncLater.push(retry);
  }

  /** It has its first answer, or was refused. */
  #noteStarted(subscription: Subscription): void {
    const starting = this.#starting.get(subscription.session);
    if (starting?.delete(subscription) === true && starting.size === 0) this.#starting.delete(subscription.session);
  }

  #leave(subscription: Subscription): void {
    const { audience } = subscription;
    if (audience === undefined) return;
    subscription.audience = undefined;
    audience.remove(subscription);
    this.counts[subscription.variant.mode] -= 1;
    this.#dropIfEmpty(audience);
  }

  #obtainAudience(key: string, variant: Variant): Audience<Subscription> {
    const audiences = this.#audiences.get(variant.text) ?? new Map<string, Audience<Subscription>>();
    this.#audiences.set(variant.text, audiences);
    let audience = audiences.get(key);
    if (audience === undefined) {
      audience = new Audience<Subscription>(key, variant);
      audiences.set(key, audience);
    }
    return audience;
  }

  #dropIfEmpty(audience: Audience<Subscription>): void {
    const { key, variant } = audience;
    const audiences = this.#audiences.get(variant.text);
    if (!audience.isEmpty || audiences?.get(key) !== audience) return;
    audiences.delete(key);
    if (audiences.size === 0) this.#audiences.delete(variant.text);
    this.#loseInterest(key, variant.text);
  }

  /** While the slot is shut somebody may subscribe who waits ahead of this; so it looks again when its turn comes. */
  #loseInterest(key: string, variant: string): void {
    if (!this.#router.isShut(key)) {
      this.#router.tell(key, [toPartition.loseInterest, key, variant]);
      return;
    }
    this.#router.gate.defer(key, () => {
      if (this.#audiences.get(variant)?.has(key) !== true) this.#loseInterest(key, variant);
    });
  }
}
