import { refuseRepeated } from '../routing/partition-link.ts';
import type { PartitionLink, PendingRequest, Requester, PossiblyUnpushed } from '../routing/partition-link.ts';
import { askApplied } from '../routing/router.ts';
import type { Router } from '../routing/router.ts';
import { PendingDeregister, PendingRegister } from '../sessions/registrar.ts';
import type { SessionCore } from '../sessions/session-core.ts';
import type { HeldRegistration } from '../sessions/session-log.ts';
import type { Session } from '../sessions/session.ts';
import { slotOf } from '../slots/slot.ts';
import { toPartition } from '../workers/messages.ts';

/** What a dead partition leaves behind on a host's side. */
export interface RecoveryState {
  /** Requests that were in flight, by number. */
  pending: [request: number, pending: PendingRequest][];
  /** Instances whose last change may not have been pushed. */
  possiblyUnpushed: PossiblyUnpushed[];
  /** The highest version that it had issued. */
  versionSeen: number;
}

export interface RebuildOptions {
  readonly core: SessionCore;
  readonly router: Router;
  readonly link: PartitionLink;
  readonly sliceRegistrations: number;
  /** Resolves in a later turn. */
  readonly nextTurn: () => Promise<void>;
}

/** How many slices may be in flight before the partition is waited for: the mailbox must not hold all registrations at once. */
const slicesUnderWay = 8;

/**
 * The first part of a rebuild (RE1): the partition is sent the registrations of this host's sessions and leases. The second part must not begin before all hosts are
 * through with this one: until then its content is partial. Resolves to whether the partition lived to the end of it.
 */
export async function restoreRegistrations(options: RebuildOptions, recoveryState: RecoveryState): Promise<boolean> {
  const { core } = options;
  const isLost = lostKeys(options);
  const restored = new Restorer(options, recoveryState.possiblyUnpushed);
  recoveryState.pending.sort(([a], [b]) => a - b);
  const undone = restorePending(restored, recoveryState);
  for (const holder of core.endingHolders()) options.link.tell([toPartition.vouch, holder]);
  for (const session of core.sessions.all()) {
    const { identity } = session;
    if (identity.mayHold && !identity.isOver) options.link.tell([toPartition.vouch, identity.holder]);
    // The log may change while slices are waited for: each is looked up when its turn comes.
    for (const { key, id } of session.registrations.names(isLost)) {
      if (undone.size > 0 && undone.has(nameChange({ session, key, id }))) continue;
      const registration = session.registrations.get(key, id);
      if (registration !== undefined) restored.add(session, registration);
      if (restored.isSliceFull() && !(await restored.endSlice())) return false;
    }
    if (restored.isSliceFull() && !(await restored.endSlice())) return false;
  }
  return askApplied(options, (request) => [toPartition.restored, request]);
}

/**
 * Logs hold what is in flight as if it were done. Where that was asked for after a read of the same session and service, which has to be answered
 * first, what was there before is put back instead, and what a deregistration is to take away as well. Returns which registrations are not to be
 * taken from the logs.
 */
function restorePending(restored: Restorer, { pending }: RecoveryState): Set<string> {
  const undone = new Set<string>();
  const read = new Set<string>();
  for (const [, request] of pending) {
    if (request.reader !== undefined) read.add(nameService(request.reader, request.key));
    // What was in flight at a death before is refused: the log stays as it is.
    if (!isChange(request) || !isAlive(request) || request.isRepeated === true) continue;
    const name = nameChange(request);
    if (undone.has(name)) continue;
    const comesAfterRead = read.has(nameService(request.session, request.key));
    if (comesAfterRead) undone.add(name);
    if ((comesAfterRead || request instanceof PendingDeregister) && request.before !== undefined) {
      restored.add(request.session, request.before);
    }
  }
  return undone;
}

/**
 * The second part: changes that were in flight, and reads that came before some of the same session and service, in their order; what may not have been
 * told (RE2); who subscribes. Resolves to whether the partition lived to the end of it.
 */
export async function resumeChanges(options: RebuildOptions, recoveryState: RecoveryState): Promise<boolean> {
  const { core, link } = options;
  if (!(await resend(options, recoveryState.possiblyUnpushed))) return false;
  const pending = recoveryState.pending.sort(([a], [b]) => a - b);
  const last = findLastChanges(pending);
  recoveryState.pending = [];
  for (const [number, request] of pending) {
    if (isChange(request)) resumeChange(link, number, request);
    else if (number < (last.get(nameService(request.reader, request.key)) ?? 0)) repeat(link, number, request);
    else recoveryState.pending.push([number, request]);
  }
  withdrawGone(link, pending);
  for (const { key, variant, from } of core.watched(lostKeys(options))) {
    link.tell([toPartition.restoreInterest, key, variant, from]);
  }
  const isThrough = await askApplied(options, (request) => [toPartition.fence, request]);
  // From here on the link's own journal has them.
  if (isThrough) recoveryState.possiblyUnpushed = [];
  return isThrough;
}

/**
 * The third part: the other reads that were in flight. They must not be answered before the changes of all hosts are back, which some may have seen
 * already. Pushes begin when all hosts are through with this one, too (PU5). Resolves to whether the partition lived to the end of it.
 */
export function resumeReads(options: RebuildOptions, recoveryState: RecoveryState): Promise<boolean> {
  const { core, link } = options;
  if (link.isClosed) return Promise.resolve(false);
  const { pending } = recoveryState;
  recoveryState.pending = [];
  for (const [number, request] of pending) {
    if (request.abandon === undefined) repeat(link, number, request);
    else request.abandon();
  }
  // All hosts have vouched for their sessions in the first part.
  if (core.areHoldersKnown) link.tell([toPartition.releaseOrphans]);
  return askApplied(options, (request) => [toPartition.fence, request]);
}

function lostKeys({ router, link }: RebuildOptions): (key: string) => boolean {
  const { table } = router;
  return (key) => table.ownerOf(slotOf(key)) === link.partition;
}

type PendingChange = PendingRegister | PendingDeregister;

function isChange(request: PendingRequest): request is PendingChange {
  return request instanceof PendingRegister || request instanceof PendingDeregister;
}

/** Under the number that it had: so it is no newer than what others asked for since, whatever was answered when. */
function resumeChange(link: PartitionLink, number: number, request: PendingChange): void {
  if (isAlive(request)) {
    repeat(link, number, request);
    return;
  }
  const { session, key, id, before } = request;
  // Its session has ended while this went on, and what was put back for it may be in no log: nobody else would take it away. What a log still has is withdrawn with its session: if it were withdrawn now, a
  // partition that dies again would get it back, though subscribers have been told that it is gone.
  if (before !== undefined && !session.registrations.has(key, id))
    link.tell([toPartition.withdraw, session.number, key, id]);
  request.abandon();
}

/**
 * What a session registered may have been withdrawn while that was in flight: the session is lost, and its client has not come back in time, or somebody else
 * has registered the instance. The life before may not have heard that either, and nobody would tell this one any more.
 */
function withdrawGone(link: PartitionLink, pending: RecoveryState['pending']): void {
  for (const [number, request] of pending) {
    // What was refused rather than sent again was restored as logs had it, and its session may continue at another host by now.
    if (!(request instanceof PendingRegister) || link.find(number) !== request) continue;
    const { session, key, id } = request;
    if (!session.registrations.has(key, id)) link.tell([toPartition.withdraw, session.number, key, id]);
  }
}

/** The number of the last change that each session asked for of each service. */
function findLastChanges(pending: RecoveryState['pending']): Map<string, number> {
  const last = new Map<string, number>();
  for (const [number, request] of pending) {
    if (isChange(request)) last.set(nameService(request.session, request.key), number);
  }
  return last;
}

function nameService(session: Requester | undefined, key: string): string {
  return `${session?.number ?? ''}\n${key}`;
}

function nameChange({ session, key, id }: { session: Requester; key: string; id: string }): string {
  return `${nameService(session, key)}\n${id}`;
}

/** Sent again once: what was in flight at two deaths in a row must not be at a third. */
function repeat(link: PartitionLink, number: number, request: PendingRequest): void {
  if (request.isRepeated === true) {
    request.settle(refuseRepeated(number));
    return;
  }
  request.isRepeated = true;
  link.request(number, request);
}

function isAlive({ session }: PendingChange): boolean {
  return !session.identity.isOver;
}

/** In slices, since there may be any number of them. It does not matter when they come, as long as it is before pushes begin. False if the partition died. */
async function resend(
  { link, sliceRegistrations, nextTurn }: RebuildOptions,
  possiblyUnpushed: Iterable<PossiblyUnpushed>,
): Promise<boolean> {
  let told = 0;
  for (const [key, ids] of describeUnpushed(possiblyUnpushed, sliceRegistrations)) {
    link.tell([toPartition.resend, key, ids]);
    told += ids.length;
    if (told < sliceRegistrations) continue;
    told = 0;
    await nextTurn();
  }
  return !link.isClosed;
}

/** `idsMax`: of one service at a time. */
function* describeUnpushed(
  possiblyUnpushed: Iterable<PossiblyUnpushed>,
  idsMax: number,
): Generator<[key: string, ids: string[]], void, undefined> {
  const idsByKey = new Map<string, Set<string>>();
  for (const { key, id } of possiblyUnpushed) {
    const ids = idsByKey.get(key);
    if (ids === undefined) idsByKey.set(key, new Set([id]));
    else ids.add(id);
  }
  for (const [key, ids] of idsByKey) {
    const rest = [...ids];
    for (let at = 0; at < rest.length; at += idsMax) yield [key, rest.slice(at, at + idsMax)];
  }
}

/** Sends registrations in slices, and waits for the partition now and then. */
class Restorer {
  readonly #options: RebuildOptions;
  readonly #unpushed: PossiblyUnpushed[];
  /** Registrations added, or merely looked at, since the last slice. */
  #inSlice = 0;
  #slices = 0;

  constructor(options: RebuildOptions, unpushed: PossiblyUnpushed[]) {
    this.#options = options;
    this.#unpushed = unpushed;
  }

  add(session: Session, { key, id, fragment, stamp, isHidden }: HeldRegistration): void {
    const { core, link } = this.#options;
    this.#inSlice += 1;
    const marked = core.markFor(session, fragment);
    if (core.isOrderUnderWay(session, fragment)) this.#unpushed.push({ key, id });
    link.tell([toPartition.restore, session.number, key, id, marked, stamp, isHidden ? 1 : 0]);
  }

  isSliceFull(): boolean {
    return this.#inSlice >= this.#options.sliceRegistrations;
  }

  /** Lets other work have its turn; false if the partition died meanwhile. */
  async endSlice(): Promise<boolean> {
    this.#inSlice = 0;
    this.#slices += 1;
    if (this.#slices % slicesUnderWay === 0) {
      return askApplied(this.#options, (request) => [toPartition.fence, request]);
    }
    await this.#options.nextTurn();
    return !this.#options.link.isClosed;
  }
}
