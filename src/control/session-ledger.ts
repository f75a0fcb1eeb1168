import type { JournalFolder } from '../journal/journal-folder.ts';
import { JournalWriter } from '../journal/journal-writer.ts';
import type { JournalEvent } from '../journal/journal-writer.ts';
import { SegmentFiles } from '../journal/segment-writer.ts';
import type { CreateSink } from '../journal/segment-writer.ts';
import { writeSessionNote } from '../journal/session-records.ts';
import type { KeptSession, SessionNote } from '../journal/session-records.ts';

export interface SessionLedgerOptions {
  readonly folder: JournalFolder;
  readonly bytesWaitingMax: number;
  /** Makes what its segments are written with; not given: files of the folder. */
  readonly createSink?: CreateSink | undefined;
  readonly onEvent: (event: JournalEvent) => void;
}

/**
 * The sessions and leases that hold something, of all hosts, noted in a journal of the main thread: so that the next life of the process knows whose the claims are that it
 * finds, and lets their clients take them over.
 */
export class SessionLedger {
  readonly #writer: JournalWriter;
  /** Each as its note says it, by number. */
  readonly #notes: Map<number, string> = new Map();
  #bytes = 0;
  #rest: MapIterator<string> = this.#notes.values();
  #begun: readonly number[] = [];

  constructor({ folder, bytesWaitingMax, onEvent, createSink = createFiles }: SessionLedgerOptions) {
    const { paths, sequence } = folder.ownFiles('sessions', 0);
    this.#writer = new JournalWriter({
      sink: createSink(folder.path, paths),
      name: { kind: 'sessions', life: folder.life, writer: 0, sequence },
      head: folder.head(1),
      bytesWaitingMax,
      onEvent: (event) => {
        if (event.kind === 'complete') folder.removeEarlier('sessions');
        onEvent(event);
      },
      subject: {
        liveBytes: () => this.#bytes,
        onBegin: () => {
          this.#rest = this.#notes.values();
          this.#write({ kind: 'begun', sessions: this.#begun });
        },
        putSlice: (limit) => this.#putSlice(limit),
        mayComplete: () => true,
      },
    });
  }

  /** Begins with the sessions of the life before. `begun`: see `SessionNote`. */
  begin(earlier: readonly KeptSession[], begun: readonly number[], nowMs: number): void {
    this.#begun = begun;
    for (const session of earlier) this.#keep(session);
    this.#writer.begin(false, nowMs);
  }

  note(note: SessionNote): void {
    if (note.kind === 'kept') {
      const known = this.#notes.get(note.session.number);
      const { mayHold = false, hasEnded = false } = note.session;
      // It had let go all that it held meanwhile; or it never held anything.
      if (known === undefined ? hasEnded : !mayHold && !hasEnded) return;
      this.#bytes -= known?.length ?? 0;
      this.#keep(note.session);
      this.#write(note);
    } else if (note.kind === 'gone') {
      const known = this.#notes.get(note.number);
      if (known === undefined) return;
      this.#bytes -= known.length;
      this.#notes.delete(note.number);
      this.#write(note);
    }
  }

  tick(nowMs: number): void {
    this.#writer.proceed(nowMs);
  }

  async end(): Promise<void> {
    await this.#writer.end();
  }

  #keep(session: KeptSession): void {
    const text = JSON.stringify({ kind: 'kept', session } satisfies SessionNote);
    this.#notes.set(session.number, text);
    this.#bytes += text.length;
  }

  #write(note: SessionNote): void {
    if (this.#writer.state === 'warm') writeSessionNote(this.#writer, JSON.stringify(note));
  }

  #putSlice(limit: number): boolean {
    while (this.#writer.frames.size < limit) {
      const { value, done } = this.#rest.next();
      if (done === true) return true;
      writeSessionNote(this.#writer, value);
    }
    return false;
  }
}

function createFiles(folder: string, before: readonly string[]): SegmentFiles {
  return new SegmentFiles(folder, before);
}
