import type { SubscribeMode } from '../protocol/types.ts';
import type { ServicePush } from './service-push.ts';
import type { Variant } from './variant.ts';

/** What became of a frame handed to a subscriber's socket. */
export type Delivery = 'sent' | 'dropped' | 'closed';

/** One subscription, as the fan-out sees it. */
export interface Member {
  /** The version that the subscriber holds. */
  version: number;
  /** It is sent pushes as they come. Else the answer that begins it has not been sent, or it gets the latest state when its time has come. */
  readonly isLive: boolean;
  /** It continues with what it knew before the registry started, until it is refilled. */
  readonly isWarming: boolean;
  /** A push was not sent to it. */
  noteMissed(): void;
  /** Its place in the audience; kept by the audience. */
  place: number;
  /** What waits to be sent to it leaves ahead of what is delivered. */
  readonly unsentBytes: number;
  deliver(frame: string | Uint8Array): Delivery;
}

/** Lists up to this length have no room to spare. */
const exactMembersMax = 4;

/** The subscribers of one (service, variant) on this session host. */
export class Audience<M extends Member> {
  readonly key: string;
  readonly variant: Variant;
  /** Replaced while it is short: there may be very many audiences, and an array that grows takes room for sixteen more. */
  members: M[] = [];
  /** Subscribers whose first snapshot is still on its way: they count as interest. */
  pending = 0;

  constructor(key: string, variant: Variant) {
    this.key = key;
    this.variant = variant;
  }

  get isEmpty(): boolean {
    return this.members.length === 0 && this.pending === 0;
  }

  add(member: M): void {
    member.place = this.members.length;
    if (this.members.length < exactMembersMax) this.members = [...this.members, member];
    else this.members.push(member);
  }

  /** Removes a member by moving the last one into its place: a fan-out in progress runs from the end, so nobody is skipped. */
  remove(member: M): void {
    if (this.members[member.place] !== member) throw new Error(`not a member of ${this.key}`);
    const last = this.members.pop()!;
    if (last === member) return;
    this.members[member.place] = last;
    last.place = member.place;
  }
}

/** A push as it reached this host. */
export interface HostPush {
  /** The partition that it came from, which gets the credit. */
  readonly partition: number;
  readonly from: number;
  readonly to: number;
  readonly count: number;
  readonly body: string;
  /** When the oldest change in it was asked for, in milliseconds; 0: not known. */
  readonly changedAtMs: number;
}

/** Hears what becomes of a refill: no push of the partition, but the state as it is, for members that are warming and for no others. */
export interface RefillListener<M extends Member> {
  /** A member is warming no longer: it is about to be sent the state. */
  noteRefilled(member: M, audience: Audience<M>): void;
  /** All members that waited when the state came have been served. */
  noteServed(audience: Audience<M>, state: HostPush): void;
}

interface Job<M extends Member> {
  readonly audience: Audience<M>;
  /** Of a refill, `body` is the whole list. */
  readonly push: HostPush;
  readonly refill: RefillListener<M> | undefined;
  /** The member to be served next; runs down to 0. */
  next: number;
  /** The frame for those who hold `push.from`: nearly always all of them. */
  usual: string | Uint8Array | undefined;
  /** The last one encoded for others. Each began with a state from in between, and is brought to the same version as all by this push. */
  other: string | Uint8Array | undefined;
  otherFrom: number;
}

export interface FanOutOptions<M extends Member> {
  /** Sends in one slice, after which other work has its turn, and bytes: a slice ends with the send that reaches either. */
  readonly sliceMembers: number;
  readonly sliceBytes: number;
  /** What is sent of a push: called once for all who hold the same. */
  readonly encodePush: (push: ServicePush) => string;
  readonly toBytes: (text: string) => Uint8Array;
  /** Whether nothing of a service is to be sent: members miss it, and are not reported. */
  readonly isFrozen: (key: string) => boolean;
  /** A member missed a push and needs the latest state: at once after a gap, when it drains after a drop. */
  readonly onMissed: (member: M, audience: Audience<M>, cause: 'dropped' | 'gap') => void;
  /** All members have been served with a push of a partition. */
  readonly onDone: (push: HostPush, audience: Audience<M>) => void;
}

/** What is left of a slice. */
interface Budget {
  sends: number;
  bytes: number;
}

/** Above this many members a frame is turned into bytes once, rather than by each send. */
const encodeFromMembers = 4;

/**
 * The last hop: hands each push to every member of its audience, in slices, one audience after the other in turn, so that neither a
 * long fan-out nor a large list starves heartbeats or other services. Pushes of one audience stay in order.
 */
export class FanOut<M extends Member> {
  readonly #options: FanOutOptions<M>;
  readonly #queues: Map<Audience<M>, Job<M>[]> = new Map();
  /** Frames turned into bytes or text so far; PU3 is tested by it. */
  framesEncoded = 0;
  /** Pushes handed to a subscriber's socket so far. */
  readonly framesSent: Record<SubscribeMode, number> = { delta: 0, snapshot: 0 };

  constructor(options: FanOutOptions<M>) {
    this.#options = options;
  }

  get isIdle(): boolean {
    return this.#queues.size === 0;
  }

  enqueue(audience: Audience<M>, push: HostPush, refill?: RefillListener<M>): void {
    const next = audience.members.length - 1;
    const job = { audience, push, refill, next, usual: undefined, other: undefined, otherFrom: 0 };
    const queue = this.#queues.get(audience);
    if (queue === undefined) this.#queues.set(audience, [job]);
    else queue.push(job);
  }

  /** Sends one slice. Call again, in a later turn, until {@link isIdle}. */
  runSlice(): void {
    const { sliceMembers, sliceBytes } = this.#options;
    const budget: Budget = { sends: sliceMembers, bytes: sliceBytes };
    while (budget.sends > 0 && budget.bytes > 0) {
      const entry = this.#queues.entries().next();
      if (entry.done === true) return;
      const [audience, queue] = entry.value;
      const job = queue[0]!;
      // A job queued behind another begins with whoever is a member when its turn comes.
      job.next = Math.min(job.next, audience.members.length - 1);
      this.#serve(job, budget);
      if (job.next >= 0) {
        this.#queues.delete(audience);
        this.#queues.set(audience, queue);
        continue;
      }
      queue.shift();
      if (queue.length === 0) this.#queues.delete(audience);
      budget.sends -= 1;
      if (job.refill === undefined) this.#options.onDone(job.push, audience);
      else job.refill.noteServed(audience, job.push);
    }
  }

  #serve(job: Job<M>, budget: Budget): void {
    const { audience, push, refill } = job;
    const isFrozen = this.#options.isFrozen(audience.key);
    while (job.next >= 0 && budget.sends > 0 && budget.bytes > 0) {
      const member = audience.members[job.next];
      job.next -= 1;
      if (member === undefined || member.version >= push.to) continue;
      if (refill !== undefined) {
        if (!member.isWarming) continue;
        refill.noteRefilled(member, audience);
      }
      if (isFrozen || !member.isLive) {
        member.noteMissed();
        continue;
      }
      if (refill === undefined && audience.variant.mode === 'delta' && member.version < push.from) {
        this.#miss(member, audience, 'gap');
        continue;
      }
      const frame = this.#frameFor(job, member.version);
      budget.sends -= 1;
      budget.bytes -= frame.length + member.unsentBytes;
      const delivery = member.deliver(frame);
      if (delivery === 'sent') {
        member.version = push.to;
        this.framesSent[audience.variant.mode] += 1;
      } else if (delivery === 'dropped') this.#miss(member, audience, 'dropped');
    }
  }

  #miss(member: M, audience: Audience<M>, cause: 'dropped' | 'gap'): void {
    member.noteMissed();
    this.#options.onMissed(member, audience, cause);
  }

  /**
   * A delta's body holds the present state of what changed since `push.from`, so it is as true from any version in between: a
   * subscriber that came in the middle of a window gets the same body under its own `from`, and the chain holds (PU1).
   */
  #frameFor(job: Job<M>, version: number): string | Uint8Array {
    const { audience, push } = job;
    const isUsual = audience.variant.mode !== 'delta' || version === push.from || job.refill !== undefined;
    if (isUsual) return (job.usual ??= this.#encode(job, push.from));
    if (job.other === undefined || job.otherFrom !== version) job.other = this.#encode(job, version);
    job.otherFrom = version;
    return job.other;
  }

  #encode(job: Job<M>, from: number): string | Uint8Array {
    this.framesEncoded += 1;
    const text = this.#options.encodePush(toValue(job, from));
    const { audience } = job;
    return audience.members.length > encodeFromMembers ? this.#options.toBytes(text) : text;
  }
}

function toValue<M extends Member>({ audience, push, refill }: Job<M>, from: number): ServicePush {
  const { key, variant } = audience;
  const { count, to, body } = push;
  return variant.mode === 'delta' && refill === undefined
    ? { kind: 'delta', key, count, from, to, difference: body }
    : { kind: 'snapshot', key, count, to, list: body };
}
