/** What is known of how long a client's session may live, and must not. */
export interface Fate {
  readonly name: string;
  /** Before this its registrations may not go by themselves; infinite while it is connected. On the clock of {@link Ledger.judge}. */
  mayLeaveFromMs: number;
  /**
   * Before this nothing of it may go, not even what another session has registered since: its client may take it over. On the same clock; left out: as long as
   * it is connected.
   */
  isWholeUntilMs?: number;
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
  /** When it was asked for and acknowledged, in the order in which such things were seen. */
  readonly askedAt: number;
  answeredAt: number | undefined;
}

/** One instance that a client has registered, or may have. */
export interface Possession {
  readonly service: string;
  readonly id: string;
  /** The contents that it may have. */
  readonly marks: readonly number[];
  /** Whether it is there beyond doubt, with one of them. */
  readonly isCertain: boolean;
  /** Whether something that the client asked for has not been answered. */
  readonly isDoubtful: boolean;
  /** What it last asked for. */
  readonly last: Change;
}

/** What one client asked for of one instance, as a view at some version includes it. */
interface Standing {
  readonly by: Fate;
  /** The latest change that the version certainly includes. */
  readonly settled: Change | undefined;
  /** What may or may not have come after. */
  readonly open: readonly Change[];
}

/** Acknowledged changes of one instance that are remembered; views older than those are not judged. */
const acknowledgedMax = 40;

/** When something of a service that should have gone must have: its slot may have been closed to that. On the clock of {@link Ledger.findGhost}. */
export type ReadGoneBy = (service: string, by: Fate) => number;

interface History {
  changes: Change[];
  /** Nothing is known of versions below this. */
  knownFrom: number;
}

/**
 * What must be true of a registry, from what its clients asked for and what they were answered, and from nothing else. A view at a version
 * holds the outcome of every change that was acknowledged at or below that version; what has not been acknowledged may or may not have
 * happened; and what a session registered goes with that session and not before. Of several sessions that registered an instance the newest shows, and as
 * long as one of them is there so is the instance (SE7).
 */
export class Ledger {
  readonly #services = new Map<string, Map<string, History>>();
  /** Who registered a content, by mark. */
  readonly #authors = new Map<number, Set<Fate>>();
  /** Comparisons of one instance in one view. */
  checks = 0;
  #moment = 0;
  readonly #goneByMs: ReadGoneBy;

  /** Left out: whatever becomes of its service's slot, what should have gone must have. */
  constructor(readGoneByMs: ReadGoneBy = (_service, { goneByMs }) => goneByMs) {
    this.#goneByMs = readGoneByMs;
  }

  ask(kind: Change['kind'], by: Fate, target: { service: string; id: string; mark?: number }, nowMs: number): Change {
    const { service, id, mark = -1 } = target;
    this.#moment += 1;
    const times = { askedAtMs: nowMs, askedAt: this.#moment, answeredAt: undefined };
    const change: Change = { kind, by, service, id, mark, version: undefined, ...times };
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
    this.#moment += 1;
    change.answeredAt = this.#moment;
    const history = this.#services.get(change.service)!.get(change.id)!;
    // What sessions that had certainly gone before this was asked for left in doubt can no longer be.
    const before = history.changes.length;
    const isOver = ({ by }: Change): boolean => this.#goneByMs(change.service, by) < change.askedAtMs;
    history.changes = history.changes.filter((other) => other.version !== undefined || !isOver(other));
    if (history.changes.length < before) history.knownFrom = Math.max(history.knownFrom, version);
    const acknowledged = history.changes.filter(({ version }) => version !== undefined);
    if (acknowledged.length > acknowledgedMax) prune(history, acknowledged, change, isOver);
  }

  /** It was refused: it has not happened and will not. */
  refuse(change: Change): void {
    const history = this.#services.get(change.service)!.get(change.id)!;
    history.changes = history.changes.filter((other) => other !== change);
  }

  /** It was acknowledged, and may be lost all the same, with what has not been acknowledged: the registry has ended before it had noted it. */
  doubt(change: Change): void {
    change.version = undefined;
  }

  /** The content that was last acknowledged, to be registered once more. */
  lastMark(service: string, id: string): number | undefined {
    return this.#services
      .get(service)
      ?.get(id)
      ?.changes.findLast(({ kind }) => kind === 'register')?.mark;
  }

  /** What a client has registered, or may have: what it was answered, and what it does not know the outcome of. */
  possessionsOf(fate: Fate): Possession[] {
    const possessions: Possession[] = [];
    for (const [service, histories] of this.#services) {
      for (const [id, history] of histories) {
        const standing = readStandings(history, Number.POSITIVE_INFINITY).find(({ by }) => by === fate);
        if (standing === undefined) continue;
        const marks = readRegisters(standing).map(({ mark }) => mark);
        if (marks.length === 0) continue;
        const { settled, open } = standing;
        const isCertain = settled?.kind === 'register' && open.every(({ kind }) => kind === 'register');
        possessions.push({ service, id, marks, isCertain, isDoubtful: open.length > 0, last: open.at(-1) ?? settled! });
      }
    }
    return possessions;
  }

  /**
   * A session goes on over another connection. What is said not to be registered any more may have gone after its grace; says what should not have, or
   * undefined.
   */
  resume(by: Fate, isRegistered: (service: string, id: string) => boolean, nowMs: number): string | undefined {
    for (const [service, histories] of this.#services) {
      for (const [id, history] of histories) {
        const standing = readStandings(history, Number.POSITIVE_INFINITY).find((standing) => standing.by === by);
        if (standing?.settled?.kind !== 'register' || isRegistered(service, id)) continue;
        if (isCertain(standing, history, nowMs))
          return `${service} ${id} of ${by.name} is lost: ${describe([standing])}`;
        this.ask('deregister', by, { service, id }, nowMs);
      }
    }
    return undefined;
  }

  /**
   * Says what is wrong with a view that holds these marks at this version, or undefined. `isShown`: which contents the filter of the view
   * lets through.
   */
  judge(
    service: string,
    version: number,
    held: ReadonlyMap<string, number>,
    nowMs: number,
    isShown: (mark: number) => boolean = () => true,
  ): string | undefined {
    const histories = this.#services.get(service);
    for (const id of held.keys()) {
      if (histories?.has(id) !== true) return `${service} ${id} is held, and nobody ever registered it`;
    }
    for (const [id, mark] of held) {
      if (!isShown(mark)) return `${service} ${id} is ${mark}, which the filter does not let through`;
    }
    for (const [id, history] of histories ?? []) {
      if (version < history.knownFrom) continue;
      this.checks += 1;
      const standings = readStandings(history, version);
      const mark = held.get(id);
      const registers = standings.flatMap(readRegisters);
      if (mark === undefined) {
        const isHidden = registers.some(({ mark }) => !isShown(mark));
        if (!isHidden && standings.some((standing) => isCertain(standing, history, nowMs))) {
          return `${service} ${id} is missing at ${version}: ${describe(standings)}`;
        }
      } else if (!registers.some((change) => change.mark === mark && mayShow(change, standings, history, nowMs))) {
        return `${service} ${id} is ${mark} at ${version}: ${describe(standings)}`;
      }
    }
    return undefined;
  }

  /** Says which instance of a view should have gone with its session by now, or undefined. */
  findGhost(service: string, held: ReadonlyMap<string, number>, nowMs: number): string | undefined {
    for (const [id, mark] of held) {
      this.checks += 1;
      const authors = [...(this.#authors.get(mark) ?? [])];
      if (authors.some((author) => this.#goneByMs(service, author) >= nowMs)) continue;
      const ended = authors.map(({ name, goneByMs }) => `${name}, ${Math.round(nowMs - goneByMs)} ms ago`).join('; ');
      return `${service} ${id} is ${mark}, whose sessions should have gone: ${ended === '' ? 'there were none' : ended}`;
    }
    return undefined;
  }
}

/** Forgets what has been superseded, or is of sessions that had gone before `latest` was asked for; views from before are not judged any more. */
function prune(
  history: History,
  acknowledged: readonly Change[],
  latest: Change,
  isOver: (change: Change) => boolean,
): void {
  if (acknowledged.some(isOver)) {
    history.changes = history.changes.filter((change) => !isOver(change));
    history.knownFrom = Math.max(history.knownFrom, latest.version ?? 0);
    return;
  }
  for (const change of acknowledged) {
    const next = acknowledged.find(({ by, askedAt }) => by === change.by && askedAt > change.askedAt);
    if (next === undefined) continue;
    history.changes = history.changes.filter((other) => other !== change);
    history.knownFrom = Math.max(history.knownFrom, next.version ?? 0);
    return;
  }
}

/** Each client's own, in the order in which it asked, which is that in which it is carried out. */
function readStandings({ changes }: History, version: number): Standing[] {
  const standings = new Map<Fate, { by: Fate; settled: Change | undefined; open: Change[] }>();
  for (const change of changes) {
    let standing = standings.get(change.by);
    if (standing === undefined) {
      standing = { by: change.by, settled: undefined, open: [] };
      standings.set(change.by, standing);
    }
    if (change.version === undefined || change.version > version) standing.open.push(change);
    else {
      standing.settled = change;
      standing.open.length = 0;
    }
  }
  return [...standings.values()];
}

function readRegisters({ settled, open }: Standing): Change[] {
  return (settled === undefined ? open : [settled, ...open]).filter(({ kind }) => kind === 'register');
}

/** Whether `a` was answered before `b` was asked for. */
function isOlder(a: Change, b: Change): boolean {
  return a.answeredAt !== undefined && a.answeredAt < b.askedAt;
}

/** Whether the client's registration is there beyond doubt. After the grace of its session what others registered later may have taken its place. */
function isCertain({ by, settled, open }: Standing, { changes }: History, nowMs: number): boolean {
  if (settled?.kind !== 'register' || open.some(({ kind }) => kind === 'deregister')) return false;
  const { mayLeaveFromMs, isWholeUntilMs } = by;
  if (mayLeaveFromMs <= nowMs) return false;
  const isWhole = isWholeUntilMs === undefined ? mayLeaveFromMs === Number.POSITIVE_INFINITY : isWholeUntilMs > nowMs;
  return isWhole || changes.every((other) => other.by === by || isOlder(other, settled));
}

/** Not if somebody registered something else later, which is still there (SE7). */
function mayShow(change: Change, standings: readonly Standing[], history: History, nowMs: number): boolean {
  return !standings.some((standing) => {
    const { by, settled } = standing;
    if (by === change.by || settled === undefined || settled.mark === change.mark || !isOlder(change, settled))
      return false;
    return standing.open.length === 0 && isCertain(standing, history, nowMs);
  });
}

function formatChange({ kind, mark, version }: Change): string {
  return `${kind} ${kind === 'register' ? `${mark} ` : ''}(${version ?? 'not acknowledged'})`;
}

function describe(standings: readonly Standing[]): string {
  return standings
    .map(({ by, settled, open }) => {
      const certain = settled === undefined ? 'nothing' : formatChange(settled);
      return `${by.name}: ${[certain, ...open.map((change) => `perhaps ${formatChange(change)}`)].join(', ')}`;
    })
    .join('; ');
}
