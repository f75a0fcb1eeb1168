import type { Failure } from '../protocol/errors.ts';
import { protocolLimits } from '../protocol/limits.ts';
import type { SubscribeMode } from '../protocol/types.ts';
import { Audience, FanOut } from '../push/fan-out.ts';
import type { HostPush } from '../push/fan-out.ts';
import type { Variant } from '../push/variant.ts';
import { readRefusal } from '../routing/partition-link.ts';
import type { Answer, PartitionLink } from '../routing/partition-link.ts';
import type { Router } from '../routing/router.ts';
import type { Counters } from '../runtime/counters.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { FromPartition } from '../workers/messages.ts';
import { unlimitedRoom } from './answers.ts';
import type { ReadTicket, Reply, Result } from './answers.ts';
import type { Encoding } from './encoding.ts';
import type { HostMeter } from './host-meter.ts';
import { Refills } from './refills.ts';
import { refuseBound } from './registrar.ts';
import { Subscription } from './session.ts';
import type { Session } from './session.ts';
import type { WarmUp } from './warm-up.ts';

type PushRecord = Extract<FromPartition, [typeof fromPartition.push, ...unknown[]]>;

/** An audience of this host, and the lowest version that one of its members holds. */
export interface WatchedAudience {
  readonly key: string;
  /** The variant's text. */
  readonly variant: string;
  readonly from: number;
}

/** A subscription that has been asked for and awaits its answer. */
interface Beginning {
  readonly subscription: Subscription;
  readonly audience: Audience<Subscription>;
  readonly held: Held;
  readonly reply: Reply;
}

export interface SubscriptionsOptions {
  readonly router: Router;
  readonly encoding: Encoding;
  readonly counters: Counters;
  readonly sliceMembers: number;
  readonly sliceBytes: number;
  readonly subscriptionsMax: number;
  readonly threadSubscriptionsMax: number;
  readonly watchedServicesMax: number;
  readonly watchedNameBytesMax: number;
  readonly meter: HostMeter;
  /** Sends the answers of this turn: a push must not overtake the answer that began its subscription. */
  readonly flush: () => void;
  readonly warmUp: Pick<WarmUp, 'isOver'>;
  /** Wall clock in µs, as of the last tick. */
  readonly readWallMicros: () => number;
  /** Runs the next slice of a long fan-out in a later turn. */
  readonly schedule: (task: () => void) => void;
  /** A push was dropped: the backlog is full, or the session is behind with reading. */
  readonly onDropped: (session: Session) => void;
}

/** What a client holds that subscribes again. */
export interface Held {
  /** 0: nothing, or nothing that is worth to be gone on from. */
  readonly version: number;
  /** Instances of the list; undefined: it has not said. */
  readonly count: number | undefined;
}

/** So far ahead of the clock a service's version may be that changes fast, in µs. */
const leadMicrosMax = 1_000_000;

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
  /** Audiences, and the characters of their services' names. */
  #watched = 0;
  #watchedNameBytes = 0;
  readonly #fanOut: FanOut<Subscription>;
  /** Subscriptions that have begun. */
  readonly counts: Record<SubscribeMode, number> = { delta: 0, snapshot: 0 };
  #isSliceScheduled = false;
  /** Subscriptions that wait for their first answer; until then an older one to the same service goes on. */
  readonly #starting: Map<Session, Set<Subscription>> = new Map();
  #startingCount = 0;
  /** Sessions that get what they missed, and how far that has come among their subscriptions. */
  readonly #catchingUp: Map<Session, MapIterator<Subscription>> = new Map();
  readonly #refills: Refills;
  /** The highest version that somebody has shown who was there before the registry started, if its clock was ahead of ours. */
  #versionShown = 0;
  /** What could not be fetched for those who missed a push: tried again a little later. */
  #resyncLater: (() => void)[] = [];
  #resyncAtMs = 0;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
    this.#router = options.router;
    this.#refills = new Refills({
      router: options.router,
      serve: (audience, state) => {
        // Many come in one turn: they share the next slice.
        this.#fanOut.enqueue(audience, state);
        this.#scheduleSlice();
      },
      onAnswered: (audience) => {
        this.#dropIfEmpty(audience);
      },
    });
    this.#fanOut = new FanOut<Subscription>({
      sliceMembers: options.sliceMembers,
      sliceBytes: options.sliceBytes,
      encodePush: (push) => options.encoding.encodePush(push),
      toBytes: (text) => Buffer.from(text),
      onMissed: (member, _audience, cause) => {
        options.counters.count('push_dropped');
        options.meter.missed[cause] += 1;
        // After a drop the socket says when it has drained; after a gap there is nothing to wait for.
        if (cause === 'gap') this.#resync(member);
        else options.onDropped(member.session);
      },
      onRefilled: (member, audience) => {
        this.#refills.remove(audience, member);
      },
      onDone: (push, audience) => {
        if (push.isRefill === true) {
          this.#refills.noteServed(audience, push.count);
          return;
        }
        options.meter.notePush(audience.variant.mode, push.changedAtMs);
        this.#credit(push.partition, push.body.length);
      },
    });
  }

  /** Subscriptions that go on with what they knew before the registry started. */
  get warmingCount(): number {
    return this.#refills.count;
  }

  get framesEncoded(): number {
    return this.#fanOut.framesEncoded;
  }

  get framesSent(): Readonly<Record<SubscribeMode, number>> {
    return this.#fanOut.framesSent;
  }

  /** Subscribes, or subscribes anew in another variant or from another version. Answered by the owner of the service. */
  subscribe(session: Session, key: string, variant: Variant, held: Held, reply: Reply): void {
    const { subscriptions } = session;
    const starting = this.#starting.get(session) ?? new Set();
    const { subscriptionsMax } = this.#options;
    if (!subscriptions.has(key)) {
      const failure =
        subscriptions.size + starting.size >= subscriptionsMax
          ? refuseBound('subscriptionsMax', subscriptionsMax, `the session has ${subscriptionsMax} subscriptions`)
          : this.#refuseAny();
      if (failure !== undefined) {
        reply.fail(failure);
        return;
      }
    }
    const since = this.#isOtherFilter(session, key, variant.filter) ? 0 : this.#boundVersion(held.version);
    // One text for all subscriptions of a service.
    const sharedKey = this.#audiences.get(variant.text)?.get(key)?.key ?? key;
    const subscription = new Subscription(session, sharedKey, variant);
    this.#starting.set(session, starting.add(subscription));
    this.#startingCount += 1;
    this.#ask(subscription, { ...held, version: since }, reply);
  }

  /** Each costs memory, however few services they are about. */
  #refuseAny(): Failure | undefined {
    const { threadSubscriptionsMax: max } = this.#options;
    const { delta, snapshot } = this.counts;
    if (delta + snapshot + this.#startingCount < max) return undefined;
    return refuseBound('threadSubscriptionsMax', max, 'sessions have too many subscriptions');
  }

  #boundVersion(version: number): number {
    if (version <= protocolLimits.heldVersionMax) return version;
    this.#options.counters.count('held_version_ignored');
    return 0;
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
    this.#refills.tick();
    if (this.#resyncLater.length === 0 || nowMs < this.#resyncAtMs) return;
    this.#resyncAtMs = nowMs + resyncRetryMs;
    for (const retry of this.#resyncLater.splice(0)) retry();
  }

  /** Those who were here before the start are back, or have had their time. */
  warmUp(): void {
    this.#refills.release();
  }

  /** A partition that has just begun knows nothing of what clients have shown. */
  greet(link: PartitionLink): void {
    if (this.#versionShown > 0) link.tell([toPartition.raiseFloor, this.#versionShown]);
  }

  /** `ticket`: of a read that has been sent before, and needs more room. */
  #ask(subscription: Subscription, held: Held, reply: Reply, ticket?: ReadTicket): void {
    const { key, variant } = subscription;
    let read = ticket;
    let audience: Audience<Subscription> | undefined;
    const refuse = (failure: Failure): void => {
      this.#noteStarted(subscription);
      reply.fail(failure);
      read?.end();
    };
    this.#router.ask({
      key,
      reader: subscription.session,
      begin: () => {
        const failure = this.#refuseWatch(key, variant);
        if (failure !== undefined) {
          refuse(failure);
          return false;
        }
        audience = this.#obtainAudience(key, variant);
        audience.pending += 1;
        read ??= reply.openRead?.('subscription', key);
        return true;
      },
      refuse,
      build: (request) => [
        toPartition.subscribe,
        request,
        key,
        variant.text,
        held.version,
        read?.room ?? unlimitedRoom,
      ],
      settle: (answer) => {
        if (audience === undefined) throw new Error(`a subscription to ${key} was answered before it was sent`);
        audience.pending -= 1;
        if (answer[0] === fromPartition.oversize && read !== undefined) {
          const again = (): void => {
            this.#ask(subscription, held, reply, read);
          };
          read.enlarge(answer[2], again, refuse);
        } else {
          this.#begin({ subscription, audience, held, reply }, answer);
          read?.end();
        }
        this.#dropIfEmpty(audience);
      },
    });
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
    const starting = this.#starting.get(session) ?? new Set();
    for (const subscription of starting) subscription.isWanted = false;
    this.#startingCount -= starting.size;
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
        watched.push({ key, variant, from: lowestVersion(members) });
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
    this.#refills.hearCount(audience, count);
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
    if (!this.#fanOut.isIdle) this.#scheduleSlice();
  }

  #scheduleSlice(): void {
    if (this.#isSliceScheduled) return;
    this.#isSliceScheduled = true;
    this.#options.schedule(() => {
      this.#runSlice();
    });
  }

  #begin({ subscription, audience, held, reply }: Beginning, answer: Answer): void {
    const { session, key } = subscription;
    let isWarming = false;
    this.#noteStarted(subscription);
    switch (answer[0]) {
      case fromPartition.refused:
        // An older subscription to the service, if there is one, goes on.
        reply.fail(readRefusal(answer));
        return;
      case fromPartition.state: {
        const [, , version, count, instances] = answer;
        isWarming = this.#mustWait(audience, held, count);
        subscription.version = isWarming ? held.version : version;
        if (isWarming) reply.succeed(standBy(held.version, session));
        else {
          const isFilling = this.#isFilling(audience, count, held.count) && session.understands('warming');
          reply.succeed({ kind: 'state', version, count, instances, isWarming: isFilling });
        }
        break;
      }
      case fromPartition.resumed: {
        const [, , from, version, difference] = answer;
        subscription.version = version;
        reply.succeed({ kind: 'resumed', from, version, difference, isWarming: false });
        break;
      }
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
    if (isWarming) this.#refills.add(audience, subscription, held.count);
    // In a batch the answer goes out with the others; what is pushed meanwhile must not come first.
    subscription.awaitsAnswer = reply.defer?.(() => this.#endWaiting(subscription)) ?? false;
    if (!isWarming) this.#refills.hearCount(audience, answer[0] === fromPartition.state ? answer[3] : -1);
  }

  #endWaiting(subscription: Subscription): void {
    subscription.awaitsAnswer = false;
    // What is warming gets the state in any case, when its time has come.
    if (subscription.isWaiting || !subscription.hasMissed || subscription.audience === undefined) return;
    this.#resync(subscription);
  }

  /**
   * PU5: who holds a list that this registry never gave was here before it started, and goes on with that rather than see a list that is only just filling.
   */
  #mustWait(audience: Audience<Subscription>, held: Held, count: number): boolean {
    if (held.version === 0 || this.#options.warmUp.isOver) return false;
    this.#noteShown(held.version);
    return !this.#refills.isReached(audience, count, held.count);
  }

  /** Whether a list may lack some who were there before the start: nobody has said how many there were, or they are not all back. */
  #isFilling(audience: Audience<Subscription>, count: number, wanted: number | undefined): boolean {
    return !this.#options.warmUp.isOver && !this.#refills.isReached(audience, count, wanted);
  }

  /** A version ahead of the clock was given while the clock was ahead: then no service may go on from what the clock says now. */
  #noteShown(version: number): void {
    if (version <= this.#versionShown || version <= this.#options.readWallMicros() + leadMicrosMax) return;
    this.#versionShown = version;
    for (const link of this.#router.links()) link.tell([toPartition.raiseFloor, version]);
  }

  /** Fetches the latest state for one who missed a push, and sends it as a snapshot. */
  #resync(subscription: Subscription): void {
    const { session, key, variant, audience } = subscription;
    if (subscription.isResyncing || audience === undefined) return;
    subscription.isResyncing = true;
    // The partition is busy, or refuses: the client keeps what it has, and is behind until a later try succeeds (PU4).
    const tryLater = (): void => {
      this.#resyncLater.push(() => {
        subscription.isResyncing = false;
        if (session.subscriptions.get(key) === subscription) this.#resync(subscription);
        else this.#resyncNext(session);
      });
    };
    this.#router.ask({
      key,
      isPatient: true,
      begin: () => {
        if (session.subscriptions.get(key) !== subscription) {
          this.#resyncNext(session);
          return false;
        }
        audience.pending += 1;
        return true;
      },
      refuse: tryLater,
      build: (request) => [toPartition.subscribe, request, key, variant.text, 0, unlimitedRoom],
      settle: (answer) => {
        // Until now the owner was to be interested: a life of it that has only just been asked has not heard who left before.
        audience.pending -= 1;
        this.#dropIfEmpty(audience);
        if (answer[0] !== fromPartition.state) {
          tryLater();
          return;
        }
        if (session.subscriptions.get(key) !== subscription) {
          this.#resyncNext(session);
          return;
        }
        subscription.isResyncing = false;
        const [, , version, count, instances] = answer;
        this.#options.flush();
        const delivery = subscription.deliver(
          this.#options.encoding.encodePush({ kind: 'snapshot', key, count, to: version, instances }),
        );
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
  }

  /** It has its first answer, or was refused. */
  #noteStarted(subscription: Subscription): void {
    const starting = this.#starting.get(subscription.session);
    if (starting?.delete(subscription) !== true) return;
    this.#startingCount -= 1;
    if (starting.size === 0) this.#starting.delete(subscription.session);
  }

  #leave(subscription: Subscription): void {
    const { audience } = subscription;
    if (audience === undefined) return;
    subscription.audience = undefined;
    audience.remove(subscription);
    this.#refills.remove(audience, subscription);
    this.counts[subscription.variant.mode] -= 1;
    this.#dropIfEmpty(audience);
  }

  /** Why nobody may begin to watch a service that nobody watches yet: names cost memory here and at their owner, whether or not anybody registers them. */
  #refuseWatch(key: string, variant: Variant): Failure | undefined {
    const { watchedServicesMax, watchedNameBytesMax } = this.#options;
    const isFull = this.#watched >= watchedServicesMax;
    if (!isFull && this.#watchedNameBytes < watchedNameBytesMax) return undefined;
    if (this.#audiences.get(variant.text)?.has(key) === true) return undefined;
    const limit = isFull ? 'watchedServicesMax' : 'watchedNameBytesMax';
    return refuseBound(limit, this.#options[limit], 'sessions have subscribed too many services');
  }

  #obtainAudience(key: string, variant: Variant): Audience<Subscription> {
    const audiences = this.#audiences.get(variant.text) ?? new Map<string, Audience<Subscription>>();
    this.#audiences.set(variant.text, audiences);
    let audience = audiences.get(key);
    if (audience === undefined) {
      audience = new Audience<Subscription>(key, variant);
      audiences.set(key, audience);
      this.#watched += 1;
      this.#watchedNameBytes += key.length;
    }
    return audience;
  }

  #dropIfEmpty(audience: Audience<Subscription>): void {
    const { key, variant } = audience;
    const audiences = this.#audiences.get(variant.text);
    if (!audience.isEmpty || audiences?.get(key) !== audience) return;
    audiences.delete(key);
    this.#watched -= 1;
    this.#watchedNameBytes -= key.length;
    if (audiences.size === 0) this.#audiences.delete(variant.text);
    this.#loseInterest(key, variant.text);
  }

  /** While the slot is shut somebody may subscribe who waits ahead of this. */
  #loseInterest(key: string, variant: string): void {
    this.#router.tell(
      key,
      [toPartition.loseInterest, key, variant],
      () => this.#audiences.get(variant)?.has(key) !== true,
    );
  }
}

/** To one who was there before the registry started: what it holds stands for now, and the list comes when it is whole again. */
function standBy(version: number, session: Session): Result {
  const isWarming = session.understands('warming');
  return { kind: 'resumed', from: version, version, difference: '"put":[],"remove":[]', isWarming };
}

/** Of members that have been told something here: those that are warming get the whole list, whatever they hold. */
function lowestVersion(members: readonly Subscription[]): number {
  let lowest = Number.MAX_SAFE_INTEGER;
  for (const { version, isWarming } of members) if (!isWarming && version < lowest) lowest = version;
  return lowest;
}
