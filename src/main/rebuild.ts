import { slotOf } from '../slots/slot.ts';
import { toPartition } from '../workers/messages.ts';
import type { ToPartition } from '../workers/messages.ts';
import { refuseRepeated } from './partition-link.ts';
import type { PartitionLink, PendingRequest, Touched } from './partition-link.ts';
import { PendingDeregister, PendingRegister } from './registrar.ts';
import type { Router } from './router.ts';
import type { SessionHost } from './session-host.ts';
import type { Registration } from './session-log.ts';

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
  for (const [, request] of remains.pending) {
    // It must be there to be taken away again.
    if (isRepeatable(request) && request instanceof PendingDeregister && request.registration !== undefined) {
      restored.add(request.session.number, request.registration);
    }
  }
  for (const session of host.sessions.all()) {
    // The log may change while slices are waited for: each is looked up when its turn comes.
    for (const { key, id } of session.registrations.names(isLost)) {
      const registration = session.registrations.get(key, id);
      if (registration !== undefined) restored.add(session.number, registration);
      if (restored.isSliceFull() && !(await restored.endSlice())) return false;
    }
    if (restored.isSliceFull() && !(await restored.endSlice())) return false;
  }
  return askApplied(options, (request) => [toPartition.restored, request]);
}

/**
 * The second part: changes that were under way; what may not have been told (RE2) and who subscribes; reads that were under way. Pushes begin
 * when all hosts are through with this one, too (PU5). Resolves to whether the partition lived to the end of it.
 */
export async function resumeRequests(options: RebuildOptions, remains: Remains): Promise<boolean> {
  const { host, router, link } = options;
  if (!(await retell(options, [...remains.touched, ...router.deferredWithdrawals()]))) return false;
  const pending = remains.pending.sort(([a], [b]) => a - b);
  remains.pending = [];
  const last = findLastChanges(pending);
  for (const [number, request] of pending) {
    if (request.session !== undefined) resumeChange(options, number, request, last);
  }
  for (const { key, variant, from } of host.watched(lostKeys(options))) {
    link.tell([toPartition.rewatch, key, variant, from]);
  }
  for (const [number, request] of pending) {
    if (request.session === undefined) {
      if (request.abandon !== undefined) request.abandon();
      else repeat(link, number, request);
    }
  }
  const isThrough = await askApplied(options, (request) => [toPartition.fence, request]);
  // From here on the link's own journal has them.
  if (isThrough) remains.touched = [];
  return isThrough;
}

/** Resolves when the partition has applied a record and all that was sent before it; false if it died first. */
export function askApplied(
  { router, link }: Pick<RebuildOptions, 'router' | 'link'>,
  build: (request: number) => ToPartition,
): Promise<boolean> {
  if (link.isClosed) return Promise.resolve(false);
  return new Promise((resolve) => {
    router.askLink(link, {
      key: '',
      build,
      settle: () => {
        resolve(true);
      },
      abandon: () => {
        resolve(false);
      },
    });
  });
}

function lostKeys({ router, link }: RebuildOptions): (key: string) => boolean {
  const { table } = router;
  return (key) => table.ownerOf(slotOf(key)) === link.partition;
}

function resumeChange(
  { router, link }: RebuildOptions,
  number: number,
  request: PendingRequest,
  last: ReadonlyMap<string, number>,
): void {
  if (isAlive(request) && request.isRepeated === true) {
    request.settle(refuseRepeated(number));
    return;
  }
  if (isAlive(request)) {
    request.isRepeated = true;
    // It comes after everything that was answered in the life that has ended, whatever number that had: so it gets a new one. What the session
    // itself asked for later must stay the later, by its number.
    if (request instanceof PendingRegister && last.get(nameChange(request)) === number) {
      request.hold(router.askLink(link, request));
    } else {
      link.request(number, request);
    }
    return;
  }
  // Its session may have ended while this went on, and what was put back for it is in no log: nobody else would take it away.
  if (request instanceof PendingDeregister && request.registration !== undefined) {
    link.tell([toPartition.withdraw, request.session.number, request.key, request.registration.id]);
  }
  request.abandon?.();
}

/** The last change that each session asked for of each instance. */
function findLastChanges(pending: Remains['pending']): Map<string, number> {
  const last = new Map<string, number>();
  for (const [number, request] of pending) {
    if (request instanceof PendingRegister || request instanceof PendingDeregister) {
      last.set(nameChange(request), number);
    }
  }
  return last;
}

function nameChange({ session, key, id }: PendingRegister | PendingDeregister): string {
  return `${session.number}\n${key}\n${id}`;
}

/** Sent again once: what was under way at two deaths in a row must not be at a third. */
function repeat(link: PartitionLink, number: number, request: PendingRequest): void {
  if (request.isRepeated === true) {
    request.settle(refuseRepeated(number));
    return;
  }
  request.isRepeated = true;
  link.request(number, request);
}

function isRepeatable(request: PendingRequest): boolean {
  return isAlive(request) && request.isRepeated !== true;
}

function isAlive({ session }: PendingRequest): boolean {
  return session === undefined || session.state.kind !== 'ended';
}

/** In slices, since there may be any number of them. It does not matter when they come, as long as it is before pushes begin. False if the partition died. */
async function retell(
  { link, sliceRegistrations, nextTurn }: RebuildOptions,
  touched: Iterable<Touched>,
): Promise<boolean> {
  let told = 0;
  for (const [key, ids] of describeTouched(touched, sliceRegistrations)) {
    link.tell([toPartition.retell, key, ids]);
    told += ids.length;
    if (told < sliceRegistrations) continue;
    told = 0;
    await nextTurn();
  }
  return !link.isClosed;
}

/** `idsMax`: of one service at a time. */
function* describeTouched(
  touched: Iterable<Touched>,
  idsMax: number,
): Generator<[key: string, ids: string[]], void, undefined> {
  const idsByKey = new Map<string, Set<string>>();
  for (const { key, id } of touched) {
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
  /** Registrations added, or merely looked at, since the last slice. */
  #inSlice = 0;
  #slices = 0;

  constructor(options: RebuildOptions) {
    this.#options = options;
  }

  add(session: number, { key, id, fragment, stamp }: Registration): void {
    this.#inSlice += 1;
    this.#options.link.tell([toPartition.restore, session, key, id, fragment, stamp]);
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
