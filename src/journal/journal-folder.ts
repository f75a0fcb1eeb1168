import { mkdirSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { journalFormat } from './segment-head.ts';
import type { SegmentHead } from './segment-head.ts';
import { chooseSegments, formatSegmentName, readSegmentName } from './segment-name.ts';
import type { JournalKind, SegmentName } from './segment-name.ts';
import { readHeadOf, SegmentReader } from './segment-reader.ts';
import { readSessionNotes } from './session-records.ts';
import type { KeptSession } from './session-records.ts';

/** A file that is not read, or not to its end, and why. */
export interface JournalDamage {
  readonly file: string;
  /** From where on it is not read, in bytes. */
  readonly at: number;
  readonly reason: string;
}

/** What was known of sessions in the life before. */
export interface EarlierSessions {
  readonly kept: readonly KeptSession[];
  /** Up to these numbers sessions may have begun, by the hosts where they did. */
  readonly begun: readonly number[];
  readonly damages: readonly JournalDamage[];
}

/** Says which life ended in order, and how often the registry had started by then. */
const endMark = 'ended-in-order';

/** The folder in which the journals of a registry lie, as one life of the process finds it. */
export class JournalFolder {
  readonly path: string;
  /** Names the registry and its history; that of the life before, if there was one. */
  readonly registry: string;
  readonly life: number;
  /** How often the registry had started when the life before ended in order, and left all that anybody was told; undefined: it did not. */
  readonly wholeAfterStarts: number | undefined;
  /** Segments of the life before that cannot be read at all. */
  readonly damages: readonly JournalDamage[];
  /** By file. */
  readonly #heads: Map<string, SegmentHead> = new Map();

  /** Makes the folder if there is none. `createName`: a name for a registry that has no history. Throws if the folder cannot be used. */
  constructor(path: string, createName: () => string) {
    this.path = path;
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const segments = this.#list();
    this.life = 1 + segments.reduce((life, segment) => Math.max(life, segment.life), 0);
    const damages: JournalDamage[] = [];
    for (const segment of segments) {
      const file = formatSegmentName(segment);
      const read = readHeadOf(join(path, file));
      if ('head' in read) this.#heads.set(file, read.head);
      else damages.push({ file, at: 0, reason: read.failure });
    }
    const last = segments.findLast((segment) => this.#headOf(segment) !== undefined);
    this.registry = (last === undefined ? undefined : this.#headOf(last)?.registry) ?? createName();
    for (const segment of segments) {
      const registry = this.#headOf(segment)?.registry;
      if (registry === undefined || registry === this.registry) continue;
      const file = formatSegmentName(segment);
      this.#heads.delete(file);
      damages.push({ file, at: 0, reason: 'it is of another registry' });
    }
    this.damages = damages;
    const [life, starts] = this.#takeEndMark();
    this.wholeAfterStarts = life === this.life - 1 && damages.length === 0 ? starts : undefined;
  }

  head(writers: number): SegmentHead {
    return { format: journalFormat, registry: this.registry, writers };
  }

  /** Segments that a partition that begins has to read, in this order. */
  claimFiles(): { readonly path: string; readonly file: string }[] {
    return this.#choose('claims').map((file) => ({ path: join(this.path, file), file }));
  }

  /** Segments that a writer has made in this life, in order, and the number of its next. */
  ownFiles(kind: JournalKind, writer: number): { readonly paths: readonly string[]; readonly sequence: number } {
    const own = this.#list().filter(
      (segment) => segment.kind === kind && segment.life === this.life && segment.writer === writer,
    );
    return {
      paths: own.map((segment) => join(this.path, formatSegmentName(segment))),
      sequence: 1 + own.reduce((sequence, segment) => Math.max(sequence, segment.sequence), 0),
    };
  }

  /** What a writer has written in this life is not needed any more. */
  removeOwn(kind: JournalKind, writer: number): void {
    for (const path of this.ownFiles(kind, writer).paths) remove(path);
  }

  /** What is known of the sessions of the life before. */
  readSessions(): EarlierSessions {
    const kept = new Map<number, KeptSession>();
    const begun: number[] = [];
    const damages: JournalDamage[] = [];
    for (const file of this.#choose('sessions')) {
      const reader = new SegmentReader(join(this.path, file));
      for (let frame = reader.next(isAny); frame !== undefined; frame = reader.next(isAny)) {
        if (frame === 'skipped') continue;
        for (const note of readSessionNotes(frame)) {
          if (note.kind === 'kept') kept.set(note.session.number, note.session);
          else if (note.kind === 'gone') kept.delete(note.number);
          else for (const [host, number] of note.sessions.entries()) begun[host] = Math.max(begun[host] ?? 0, number);
        }
      }
      reader.close();
      if (reader.damage !== undefined) damages.push({ file, ...reader.damage });
    }
    return { kept: [...kept.values()], begun: Array.from(begun, (number) => number ?? 0), damages };
  }

  /** This life has ended in order, and everything is written. `starts`: of the registry, so far. Throws if that cannot be noted. */
  noteEnd(starts: number): void {
    writeFileSync(join(this.path, endMark), `${this.life} ${starts}`, { mode: 0o600, flush: true });
  }

  /** From now on nothing may be lost that was not written. */
  #takeEndMark(): (number | undefined)[] {
    const path = join(this.path, endMark);
    try {
      const numbers = readFileSync(path, 'latin1').split(' ').map(Number);
      unlinkSync(path);
      return numbers;
    } catch {
      return [];
    }
  }

  /** Everything that is needed of a kind has been written in this life. */
  removeEarlier(kind: JournalKind): void {
    for (const segment of this.#list()) {
      if (segment.kind === kind && segment.life < this.life) remove(join(this.path, formatSegmentName(segment)));
    }
  }

  #choose(kind: JournalKind): string[] {
    const readable = this.#list().filter(
      (segment) => segment.kind === kind && (segment.life === this.life || this.#headOf(segment) !== undefined),
    );
    const writersOf = (life: number): number => {
      const head = readable.find((segment) => segment.life === life && this.#headOf(segment) !== undefined);
      return head === undefined ? 0 : (this.#headOf(head)?.writers ?? 0);
    };
    return chooseSegments(readable, writersOf).map(formatSegmentName);
  }

  #headOf(segment: SegmentName): SegmentHead | undefined {
    return this.#heads.get(formatSegmentName(segment));
  }

  /** Of all lives, in the order of lives. */
  #list(): SegmentName[] {
    return readdirSync(this.path, { withFileTypes: true })
      .flatMap((entry) => (entry.isFile() ? (readSegmentName(entry.name) ?? []) : []))
      .sort((a, b) => a.life - b.life || a.writer - b.writer || a.sequence - b.sequence);
  }
}

const isAny = (): boolean => true;

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It says nothing that a later segment does not.
  }
}

/** Removes what a journal is of, as far as that can be done. */
export function discardJournal(path: string): void {
  let files: string[] = [];
  try {
    files = readdirSync(path);
  } catch {
    // There is none.
  }
  for (const file of files) if (file === endMark || readSegmentName(file) !== undefined) remove(join(path, file));
}
