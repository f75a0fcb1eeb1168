import { slotOf } from '../slots/slot.ts';
import { toPartition } from '../workers/messages.ts';
import type { ToPartition } from '../workers/messages.ts';
import type { PartitionLink, PendingRequest, Touched } from './partition-link.ts';
import { PendingDeregister, PendingRegister } from './registrar.ts';
import type { Router } from './router.ts';
import type { SessionHost } from './session-host.ts';
import type { Registration } from './session.ts';

/** What a dead partition leaves behind on the host's side. */
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
 * Rebuilds a partition's slots from what sessions and leases hold (RE1). In this order: what was registered; changes that were under way;
 * who subscribes, with what may not have been told (RE2); reads that were under way. Pushes begin only when all content is there (PU5).
 * Resolves to whether the partition lived to the end of it.
 */
export async function rebuildPartition(options: RebuildOptions, remains: Remains): Promise<boolean> {
  const { host, router, link } = options;
  const { table } = router;
  const isLost = (key: string): boolean => table.ownerOf(slotOf(key)) === link.partition;
  const pending = remains.pending.sort(([a], [b]) => a - b);
  const restored = new Restorer(options);
  for (const [, request] of pending) {
    // It must be there to be taken away again.
    if (request instanceof PendingDeregister && request.registration !== undefined && isAlive(request)) {
      restored.add(request.session.number, request.registration);
    }
  }
  for (const session of host.sessions.all()) {
    for (const registration of session.registrations.values()) {
      if (isLost(registration.key)) restored.add(session.number, registration);
      if (restored.isSliceFull() && !(await restored.endSlice())) return false;
    }
    if (restored.isSliceFull() && !(await restored.endSlice())) return false;
  }
  remains.pending = [];
  for (const [number, request] of pending) {
    if (isAlive(request)) {
      if (request.session === undefined) continue;
      if (request instanceof PendingRegister && !request.isHeld && !isUndone(number, request, pending)) {
        request.hold(number);
      }
      link.request(number, request);
      continue;
    }
    // Its session may have ended while this went on, and what was put back for it is in no log: nobody else would take it away.
    if (request instanceof PendingDeregister && request.registration !== undefined) {
      link.tell([toPartition.withdraw, request.session.number, request.key, request.registration.id]);
    }
    request.abandon?.();
  }
  const touched = [...remains.touched, ...router.deferredWithdrawals()];
  for (const record of describeWatched(host, isLost, touched)) link.tell(record);
  for (const [number, request] of pending) {
    if (isAlive(request) && request.session === undefined) {
      if (request.abandon === undefined) link.request(number, request);
      else request.abandon();
    }
  }
  return restored.finish();
}

/** Whether the session asked to take it away again. */
function isUndone(number: number, { session, key, id }: PendingRegister, pending: Remains['pending']): boolean {
  return pending.some(
    ([later, request]) =>
      later > number &&
      request instanceof PendingDeregister &&
      request.session === session &&
      request.key === key &&
      request.id === id,
  );
}

function isAlive({ session }: PendingRequest): boolean {
  return session === undefined || session.state.kind !== 'ended';
}

function describeWatched(
  host: SessionHost,
  isLost: (key: string) => boolean,
  touched: readonly Touched[],
): ToPartition[] {
  const idsByKey = new Map<string, Set<string>>();
  for (const { key, id } of touched) idsByKey.set(key, (idsByKey.get(key) ?? new Set()).add(id));
  return host
    .watched(isLost)
    .map(({ key, variant, from }) => [toPartition.rewatch, key, variant, from, [...(idsByKey.get(key) ?? [])]]);
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
    if (this.#slices % slicesUnderWay === 0) return this.finish();
    await this.#options.nextTurn();
    return !this.#options.link.isClosed;
  }

  /** Resolves when the partition has applied everything sent so far; false if it died. */
  finish(): Promise<boolean> {
    const { router, link } = this.#options;
    if (link.isClosed) return Promise.resolve(false);
    return new Promise((resolve) => {
      router.askLink(link, {
        key: '',
        build: (request) => [toPartition.restored, request],
        settle: () => {
          resolve(true);
        },
        abandon: () => {
          resolve(false);
        },
      });
    });
  }
}
