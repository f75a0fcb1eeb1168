import type { Logger } from 'pino';

import type { ServerConfig } from '../config/config.ts';
import type { EarlierSessions, JournalDamage, JournalFolder } from '../journal/journal-folder.ts';
import type { CreateSink } from '../journal/segment-writer.ts';
import type { SessionNote } from '../journal/session-records.ts';
import type { WarmUp } from '../sessions/warm-up.ts';
import { giveAwayAfterMs } from '../workers/claim-journal.ts';
import type { PersistentFinding } from '../workers/journal-loader.ts';
import type { JournalFindings } from '../workers/journal-loading.ts';
import type { JournalReport, JournalStart } from '../workers/journal-start.ts';
import { hostsMax, recallingHost, sessionsPerHostMax } from '../workers/session-numbers.ts';
import type { SessionOrigins } from '../workers/session-numbers.ts';
import type { Hosts } from './hosts.ts';
import { recallFrom } from './lease-recovery.ts';
import { SessionLedger } from './session-ledger.ts';
import type { SlotMigrator } from './slot-migrator.ts';
import type { Supervisor } from './supervisor.ts';

export interface WarmStartOptions {
  readonly folder: JournalFolder;
  readonly config: Pick<ServerConfig, 'partitions' | 'journalBytesWaitingMax'>;
  readonly origins: SessionOrigins;
  readonly warmUp: Pick<WarmUp, 'endRecall'>;
  /** How often the registry has started, with this time; undefined: nobody knows. */
  readonly readStarts: () => number | undefined;
  /** All requests from now on have numbers above this one. */
  readonly continueRequests: (request: number) => void;
  readonly log: Logger;
  /** See `SessionLedgerOptions`. */
  readonly createSink?: CreateSink | undefined;
  /** A journal was given up. */
  readonly onCold: () => void;
}

export interface WarmStartParts {
  readonly hosts: Hosts;
  readonly supervisor: Pick<Supervisor, 'whenReady'>;
  readonly migrator: Pick<SlotMigrator, 'pause' | 'resume'>;
}

/**
 * How far the start is. `reading`: partitions read what they held; `recalling`: they answer, and the main thread's host is told what sessions of the life before hold;
 * `over`: it knows.
 */
export type WarmStartPhase = 'reading' | 'recalling' | 'over';

/** How many sessions may have begun after the last that is known of, since journals are written behind. */
const unknownSessions: number = 2 ** 20;

/**
 * Begins with what the life before of the process held, as journals know it: partitions read their claims, the main thread's host holds the sessions of before, which their clients
 * take over, and recalls from partitions what those hold. From then on all of it is noted for the next life.
 */
export class WarmStart {
  readonly #options: WarmStartOptions;
  readonly #ledger: SessionLedger;
  readonly #earlier: EarlierSessions;
  readonly #findings: JournalFindings[] = [];
  /** Partitions of which all that they hold is noted in this life. */
  readonly #complete: Set<number> = new Set();
  #phase: WarmStartPhase = 'reading';
  #claims = 0;
  #version = 0;
  readonly #cold: Set<number> = new Set();
  /** Partitions that have stopped, and whether their journals have all that they held. */
  readonly #ended: Map<number, boolean> = new Map();
  /** Partitions that have stopped, and when, in milliseconds: what they had noted is needed until those that hold it now have noted it. */
  readonly #givenAway: Map<number, number> = new Map();
  #hosts: Pick<Hosts, 'table'> | undefined;
  #nowMs = 0;

  constructor(options: WarmStartOptions) {
    const { folder, config, createSink, log } = options;
    this.#options = options;
    this.#earlier = folder.readSessions();
    this.#ledger = new SessionLedger({
      folder,
      bytesWaitingMax: config.journalBytesWaitingMax,
      createSink,
      onEvent: (event) => {
        if (event.kind !== 'cold') return;
        options.onCold();
        log.error({ reason: event.reason }, 'the journal of sessions is given up, and begun anew later');
      },
    });
    for (const damage of [...folder.damages, ...this.#earlier.damages]) logDamage(log, damage);
  }

  get phase(): WarmStartPhase {
    return this.#phase;
  }

  /** Claims that were read. */
  get claims(): number {
    return this.#claims;
  }

  /** No life before has left anything. */
  get isFirstLife(): boolean {
    return this.#options.folder.life === 1;
  }

  /** The highest version from which any service continues. */
  get version(): number {
    return this.#version;
  }

  /** Partitions without a journal. */
  get coldCount(): number {
    return this.#cold.size;
  }

  /** Persistent instances of the life before, as journals know them. */
  get persistent(): PersistentFinding[] {
    return this.#findings.flatMap(({ persistent }) => persistent);
  }

  /** With what a partition begins a life. */
  journalOf(partition: number, isFirstLife: boolean): JournalStart {
    const { folder, config } = this.#options;
    const { paths, sequence } = folder.ownFiles('claims', partition);
    this.#ended.delete(partition);
    // This life's journal is its own.
    this.#cold.delete(partition);
    this.#givenAway.delete(partition);
    return {
      folder: folder.path,
      registry: folder.registry,
      life: folder.life,
      writers: config.partitions,
      sequence,
      before: paths,
      files: this.#phase === 'over' ? [] : folder.claimFiles(),
      isRebuild: !isFirstLife && this.#phase !== 'reading',
      isWhole: folder.wholeAfterStarts !== undefined && folder.wholeAfterStarts + 1 === this.#options.readStarts(),
    };
  }

  /** A partition reports something of its journal. */
  handle(partition: number, report: JournalReport): void {
    const { log, onCold } = this.#options;
    switch (report.kind) {
      case 'loading':
        return;
      case 'loaded':
        this.#findings.push(report.findings);
        if (this.#phase === 'reading') this.#claims += report.claims;
        this.#version = Math.max(this.#version, report.version);
        for (const damage of report.findings.damages) logDamage(log, damage);
        return;
      case 'ended':
        this.#ended.set(partition, report.isWhole);
        this.#cold.delete(partition);
        // There are fewer now, and others have what it held.
        if (partition >= (this.#hosts?.table.partitions ?? Infinity)) this.#givenAway.set(partition, this.#nowMs);
        return;
      case 'journal':
        break;
      default:
        report satisfies never;
        return;
    }
    const { event } = report;
    switch (event.kind) {
      case 'complete':
        this.#noteComplete(partition);
        return;
      case 'cold':
        this.#complete.delete(partition);
        this.#cold.add(partition);
        onCold();
        log.error({ partition, reason: event.reason }, 'the journal of a partition is given up, and begun anew later');
        return;
      case 'warm':
        this.#cold.delete(partition);
        log.warn({ partition }, 'the journal of a partition is begun anew');
        return;
      default:
        event satisfies never;
    }
  }

  /** A session holds something, or has ended. */
  note(note: SessionNote): void {
    this.#ledger.note(note);
  }

  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#ledger.tick(nowMs);
    for (const [partition, atMs] of this.#givenAway) {
      if (nowMs - atMs >= giveAwayAfterMs) this.#removeGivenAway(partition);
    }
  }

  /**
   * All partitions have read what they held: numbers continue, and the sessions of before are held again. Resolves once what they hold has been recalled; nobody has to wait for
   * that but those who take one over.
   */
  async begin({ hosts, supervisor, migrator }: WarmStartParts, nowMs: number): Promise<void> {
    const { origins, continueRequests, warmUp, log } = this.#options;
    const { kept } = this.#earlier;
    this.#hosts = hosts;
    const begun = this.#countBegun();
    for (const [host, number] of begun.entries()) origins.setBefore(host, number);
    continueRequests(this.#findings.reduce((request, { stampMax }) => Math.max(request, stampMax), 0));
    this.#ledger.begin(kept, begun, nowMs);
    if (kept.length === 0 && this.#claims === 0) {
      this.#phase = 'over';
      warmUp.endRecall();
      return;
    }
    this.#phase = 'recalling';
    const { core } = hosts.main;
    core.beginRecall(kept);
    log.info({ registrations: this.#claims, sessions: kept.length }, 'began with what was registered before the start');
    await migrator.pause();
    try {
      const partitions = hosts.table.partitions;
      await Promise.all(
        Array.from({ length: partitions }, (_, partition) => this.#recall(partition, { hosts, supervisor })),
      );
    } finally {
      migrator.resume();
    }
    this.#phase = 'over';
    await core.endRecall();
    warmUp.endRecall();
    log.info({ tookMs: Math.round(performance.now() - nowMs) }, 'recalled what sessions of before the start hold');
  }

  /** Partitions have ended: writes what has been noted, and that nothing is missing if so. `partitions`: that there were. */
  async end(partitions: number): Promise<void> {
    await this.#ledger.end();
    for (const partition of this.#givenAway.keys()) this.#removeGivenAway(partition);
    for (let partition = 0; partition < partitions; partition++) if (this.#ended.get(partition) !== true) return;
    const { folder, readStarts, log } = this.#options;
    const starts = readStarts();
    if (starts === undefined) return;
    try {
      folder.noteEnd(starts);
    } catch (error) {
      log.warn({ err: error }, 'the journal cannot say that it ended in order: versions will leap ahead');
    }
  }

  #removeGivenAway(partition: number): void {
    this.#givenAway.delete(partition);
    this.#options.folder.removeOwn('claims', partition);
    this.#noteComplete(partition);
  }

  #noteComplete(partition: number): void {
    const { folder, config } = this.#options;
    this.#complete.add(partition);
    // Those that were added since have nothing of the life before that these do not have, or had.
    for (let other = 0; other < config.partitions; other++) if (!this.#complete.has(other)) return;
    folder.removeEarlier('claims');
  }

  async #recall(partition: number, { hosts, supervisor }: Omit<WarmStartParts, 'migrator'>): Promise<void> {
    const { core, router } = hosts.main;
    for (;;) {
      const link = hosts.link(partition);
      if (link !== undefined && (await recallFrom(link, { core, router, number: recallingHost }))) return;
      // It has died: its next life begins with the journal, too.
      if (!(await supervisor.whenReady([partition]))) return;
    }
  }

  #countBegun(): number[] {
    const { begun, kept } = this.#earlier;
    const maxima: number[] = Array.from({ length: hostsMax }, (_, host) => begun[host] ?? 0);
    const note = (host: number, number: number): void => {
      maxima[host] = Math.max(maxima[host] ?? 0, number);
    };
    for (const { number } of kept) note(Math.floor(number / sessionsPerHostMax), number % sessionsPerHostMax);
    for (const { sessionsMax } of this.#findings)
      for (const [host, number] of sessionsMax.entries()) note(host, number);
    return maxima.map((number) => (number === 0 ? 0 : number + unknownSessions));
  }
}

function logDamage(log: Logger, { file, at, reason }: JournalDamage): void {
  log.error({ file, at, reason }, 'a journal cannot be read to its end: what was registered after that is not known');
}
