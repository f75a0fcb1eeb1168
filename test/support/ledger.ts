/** What is known of how long a client's session may live, and must not. */
export interface Fate {
  readonly name: string;
  /** Before this its registrations may not go by themselves; infinite while it is connected. On the clock of {@link Ledger.judge}. */
  mayLeaveFromMs: number;
  /** By then they must have gone. On the clock of {@link Ledger.findGhost}. */
  goneByMs: number;
}

/** A change that a client asked for. */
export interface Change {
  readonly kind: 'register' | 'deregister';
  readonly by: Fate;
  readonly service: string;
  readonly id: string;
  /** Tells contents apart: instances with equal marks are equal. */
  readonly mark: number;
  /** When it was asked for, on the clock of {@link Ledger.findGhost}. */
  readonly askedAtMs: number;
  /** Set once acknowledged: the version that the answer named. */
  version: number | undefined;
}

/** Acknowledged changes of one instance that are remembered; views older than those are not judged. */
const acknowledgedMax = 40;

interface History {
  changes: Change[];
  /** Nothing is known of versions below this. */
  knownFrom: number;
}

/**
 * What must be true of a registry, from what its clients asked for and what they were answered, and from nothing else. A view at a version
 * holds the outcome of every change that was acknowledged at or below that version; what has not been acknowledged may or may not have
 * happened; and what a session registered goes with that session and not before.
 */
export class Ledger {
  readonly #services = new Map<string, Map<string, History>>();
  /** Who registered a content, by mark. */
  readonly #authors = new Map<number, Set<Fate>>();
  /** Comparisons of one instance in one view. */
  checks = 0;

  ask(kind: Change['kind'], by: Fate, target: { service: string; id: string; mark?: number }, nowMs: number): Change {
    const { service, id, mark = -1 } = target;
    const change: Change = { kind, by, service, id, mark, askedAtMs: nowMs, version: undefined };
    const histories = this.#services.get(service) ?? new Map<string, History>();
    this.#services.set(service, histories);
    const history = histories.get(id) ?? { changes: [], knownFrom: 0 };
    histories.set(id, history);
    history.changes.push(change);
    if (kind === 'register') this.#authors.set(mark, (this.#authors.get(mark) ?? new Set()).add(by));
    return change;
  }

  acknowledge(change: Change, version: number): void {
    change.version = version;
    const history = this.#services.get(change.service)!.get(change.id)!;
    // What sessions that had certainly gone before this was asked for left in doubt can no longer be.
    const before = history.changes.length;
    history.changes = history.changes.filter(
      ({ version, by }) => version !== undefined || by.goneByMs >= change.askedAtMs,
    );
    if (history.changes.length < before) history.knownFrom = Math.max(history.knownFrom, version);
    const acknowledged = history.changes.filter(({ version }) => version !== undefined);
    if (acknowledged.length <= acknowledgedMax) return;
    const [oldest, next] = acknowledged.sort((a, b) => a.version! - b.version!);
    history.changes = history.changes.filter((other) => other !== oldest);
    history.knownFrom = Math.max(history.knownFrom, next!.version!);
  }

  /** It was refused: it has not happened and will not. */
  refuse(change: Change): void {
    const history = this.#services.get(change.service)!.get(change.id)!;
    history.changes = history.changes.filter((other) => other !== change);
  }

  /** The content that was last acknowledged, to be registered once more. */
  lastMark(service: string, id: string): number | undefined {
    return this.#services
      .get(service)
      ?.get(id)
      ?.changes.findLast(({ kind }) => kind === 'register')?.mark;
  }

  /** What a client was told that it has, and has not been told that it has no more. */
  heldBy(fate: Fate): Change[] {
    return [...this.#services.values()].flatMap((histories) =>
      [...histories.values()].flatMap(({ changes }) => {
        const last = changes
          .filter(({ version }) => version !== undefined)
          .sort((a, b) => a.version! - b.version!)
          .at(-1);
        return last?.kind === 'register' && last.by === fate ? [last] : [];
      }),
    );
  }

  /** Says what is wrong with a view that holds these marks at this version, or undefined. */
  judge(service: string, version: number, held: ReadonlyMap<string, number>, nowMs: number): string | undefined {
    const histories = this.#services.get(service);
    for (const id of held.keys()) {
      if (histories?.has(id) !== true) return `${service} ${id} is held, and nobody ever registered it`;
    }
    for (const [id, history] of histories ?? []) {
      if (version < history.knownFrom) continue;
      this.checks += 1;
      const { settled, open } = this.#split(history, version);
      const mark = held.get(id);
      if (mark === undefined) {
        if (!mayBeMissing(settled, open, nowMs)) {
          return `${service} ${id} is missing at ${version}: ${describe(settled, open)}`;
        }
      } else if (![...settled, ...open].some((change) => change.kind === 'register' && change.mark === mark)) {
        return `${service} ${id} is ${mark} at ${version}: ${describe(settled, open)}`;
      }
    }
    return undefined;
  }

  /** Says which instance of a view should have gone with its session by now, or undefined. */
  findGhost(service: string, held: ReadonlyMap<string, number>, nowMs: number): string | undefined {
    for (const [id, mark] of held) {
      this.checks += 1;
      const authors = [...(this.#authors.get(mark) ?? [])];
      if (authors.some(({ goneByMs }) => goneByMs >= nowMs)) continue;
      return `${service} ${id} is ${mark}, whose sessions (${authors.map(({ name }) => name).join(', ')}) ended too long ago`;
    }
    return undefined;
  }

  /** `settled`: the latest that the version includes; `open`: what may or may not have come after. */
  #split({ changes }: History, version: number): { settled: Change[]; open: Change[] } {
    let latest = -1;
    for (const change of changes) {
      if (change.version !== undefined && change.version <= version) latest = Math.max(latest, change.version);
    }
    return {
      settled: changes.filter((change) => change.version === latest),
      open: changes.filter((change) => change.version === undefined || change.version > version),
    };
  }
}

function mayBeMissing(settled: readonly Change[], open: readonly Change[], nowMs: number): boolean {
  if (settled.every(({ kind }) => kind === 'deregister')) return true;
  if (open.some(({ kind }) => kind === 'deregister')) return true;
  return [...settled, ...open].some(({ by }) => by.mayLeaveFromMs <= nowMs);
}

function describe(settled: readonly Change[], open: readonly Change[]): string {
  const word = ({ kind, mark, by, version }: Change): string =>
    `${kind} ${kind === 'register' ? `${mark} ` : ''}by ${by.name} (${version ?? 'not acknowledged'})`;
  return `settled ${settled.map(word).join(', ') || 'nothing'}; open ${open.map(word).join(', ') || 'nothing'}`;
}
