import { slotOf } from '../slots/slot.ts';
import { toPartition } from '../workers/messages.ts';
import type { ToPartition } from '../workers/messages.ts';
import type { PartitionLink, PendingRequest, Touched } from './partition-link.ts';
import { PendingDeregister, PendingRegister } from './registrar.ts';
import { askApplied } from './router.ts';
import type { Router } from './router.ts';
import type { SessionHost } from './session-host.ts';
import type { HeldRegistration } from './session-log.ts';
import type { Session } from './session.ts';

/** What a dead partition leaves behind on a host's side. */
export interface Remains {
  /** Requests that were under way, by number. */
  pending: [request: number, pending: PendingRequest][];
  /** Instances whose last change may not have been pushed. */
  touched: Touched[];
  /** The highest version that it told of. */
  versionSeen: number;
}

export interface RebuildOptions {
  readonly host: SessionHost;
  readonly router: Router;
  readonly link: PartitionLink;
  readonly sliceRegistrations: number;
  /** Resolves in a later turn. */
  readonly nextTurn: () => Promise<void>;
}

/** How many slices may be under way before the partition is waited for: the mailbox must not hold all registrations at once. */
const slicesUnderWay = 8;

/**
 * The first part of a rebuild (RE1): the partition is told what sessions and leases of this host hold. The second part must not begin before all hosts are
 * through with this one: until then its content is partial. Resolves to whether the partition lived to the end of it.
 */
export async function restoreRegistrations(options: RebuildOptions, remains: Remains): Promise<boolean> {
  const { host } = options;
  const isLost = lostKeys(options);
  const restored = new Restorer(options);
  remains.pending.sort(([a], [b]) => a - b);
  const undone = restorePending(restored, remains);
  for (const session of host.sessions.all()) {
    // The log may change while slices are waited for: each is looked up when its turn comes.
    for (const { key, id } of session.registrations.names(isLost)) {
      if (undone.size > 0 && undone.has(nameChange({ session, key, id }))) continue;
      const registration = session.registrations.get(key, id);
      if (registration !== undefined) restored.add(session.number, registration);
      if (restored.isSliceFull() && !(await restored.endSlice())) return false;
    }
    if (restored.isSliceFull() && !(await restored.endSlice())) return false;
  }
  return askApplied(options, (request) => [toPartition.restored, request]);
}

/**
 * Logs hold what is under way as if it were done. Where that was asked for after a read of the same session and service, which has to be answered
 * first, what was there before is put back instead, and what a deregistration is to take away as well. Returns which registrations are not to be
 * taken from the logs.
 */
function restorePending(restored: Restorer, { pending }: Remains): Set<string> {
  const undone = new Set<string>();
  const read = new Set<string>();
  for (const [, request] of pending) {
    if (request.reader !== undefined) read.add(nameService(request.reader, request.key));
    if (!isChange(request) || !isAlive(request)) continue;
    const name = nameChange(request);
    if (undone.has(name)) continue;
    const comesAfterRead = read.has(nameService(request.session, request.key));
    if (comesAfterRead) undone.add(name);
    if ((comesAfterRead || request instanceof PendingDeregister) && request.before !== undefined) {
      restored.add(request.session.number, request.before);
    }
  }
  return undone;
}

/**
 * The second part: changes that were under way, and reads that came before some of the same session and service, in their order; what may not have been
 * told (RE2); who subscribes. Resolves to whether the partition lived to the end of it.
 */
export async function resumeChanges(options: RebuildOptions, remains: Remains): Promise<boolean> {
  const { host, link } = options;
  if (link.isClosed) return false;
  const pending = remains.pending.sort(([a], [b]) => a - b);
  const last = findLastChanges(pending);
  remains.pending = [];
  for (const [number, request] of pending) {
    if (isChange(request)) resumeChange(link, number, request);
    else if (number < (last.get(nameService(request.reader, request.key)) ?? 0)) link.request(number, request);
    else remains.pending.push([number, request]);
  }
  for (const record of describeTouched(remains.touched)) link.tell(record);
  for (const { key, variant, from } of host.watched(lostKeys(options))) {
    link.tell([toPartition.rewatch, key, variant, from]);
  }
  const isThrough = await askApplied(options, (request) => [toPartition.fence, request]);
  // From here on the link's own journal has them.
  if (isThrough) remains.touched = [];
  return isThrough;
}

/**
 * The third part: the other reads that were under way. They must not be answered before the changes of all hosts are back, which some may have seen
 * already. Pushes begin when all hosts are through with this one, too (PU5). Resolves to whether the partition lived to the end of it.
 */
export function resumeReads(options: RebuildOptions, remains: Remains): Promise<boolean> {
  const { link } = options;
  if (link.isClosed) return Promise.resolve(false);
  const { pending } = remains;
  remains.pending = [];
  for (const [number, request] of pending) {
    if (request.abandon === undefined) link.request(number, request);
    else request.abandon();
  }
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
    link.request(number, request);
    return;
  }
  // Its session may have ended while this went on, and what was put back for it may be in no log: nobody else would take it away.
  if (request.before !== undefined) link.tell([toPartition.withdraw, request.session.number, request.key, request.id]);
  request.abandon();
}

/** The number of the last change that each session asked for of each service. */
function findLastChanges(pending: Remains['pending']): Map<string, number> {
  const last = new Map<string, number>();
  for (const [number, request] of pending) {
    if (isChange(request)) last.set(nameService(request.session, request.key), number);
  }
  return last;
}

function nameService(session: Session | undefined, key: string): string {
  return `${session?.number ?? 0}\n${key}`;
}

function nameChange({ session, key, id }: { session: Session; key: string; id: string }): string {
  return `${nameService(session, key)}\n${id}`;
}

function isAlive({ session }: PendingRequest): boolean {
  return session === undefined || !session.identity.isOver;
}

function describeTouched(touched: readonly Touched[]): ToPartition[] {
  const idsByKey = new Map<string, Set<string>>();
  for (const { key, id } of touched) idsByKey.set(key, (idsByKey.get(key) ?? new Set()).add(id));
  return [...idsByKey].map(([key, ids]) => [toPartition.retell, key, [...ids]]);
}

/** Sends registrations in slices, and waits for the partition now and then. */
class Restorer {
  readonly #options: RebuildOptions;
  /** Registrations added, or merely looked at, since the last slice. */
  #inSlice = 0;
  #slices = 0;

  constructor(options: RebuildOptions) {
    this.#options = options;
  }

  add(session: number, { key, id, fragment, stamp, isHidden }: HeldRegistration): void {
    this.#inSlice += 1;
    this.#options.link.tell([toPartition.restore, session, key, id, fragment, stamp, isHidden ? 1 : 0]);
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
