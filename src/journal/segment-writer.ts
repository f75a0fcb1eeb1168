import { closeSync, fdatasync, openSync, renameSync, unlinkSync, write, writeSync } from 'node:fs';
import { join } from 'node:path';

import { encodeSegmentHead } from './segment-head.ts';
import type { SegmentHead } from './segment-head.ts';
import { formatSegmentName } from './segment-name.ts';
import type { SegmentName } from './segment-name.ts';

/** Undefined: it has been done. */
type Done = (error: Error | undefined) => void;

/** Where a journal's frames go. */
export interface SegmentSink {
  /** Begins a segment, to which what is written from now on goes. Throws if it cannot be made. */
  begin(name: SegmentName, head: SegmentHead): void;
  /** Appends; the bytes are the sink's until `done`. No other write may be in flight. */
  write(bytes: Buffer, done: Done): void;
  /** Makes the file say that it is complete, once all that was written to it is on the disk, and deletes those before it. */
  complete(done: Done): void;
  /** All segments of this writer and life are deleted, as far as that is possible. */
  discard(): void;
  /** Nothing is written any more. */
  close(): void;
}

/** `before`: see {@link SegmentFiles}. */
export type CreateSink = (folder: string, before: readonly string[]) => SegmentSink;

/** What takes its time on a disk. In simulations another takes its place. */
export interface Disk {
  /** Appends some of the bytes, and says how many. */
  write(file: number, bytes: Uint8Array, done: (error: Error | null, written: number) => void): void;
  /** What has been written to the file is on the disk from then on. */
  sync(file: number, done: (error: Error | null) => void): void;
}

const fileSystem: Disk = {
  write: (file, bytes, done) => {
    write(file, bytes, 0, bytes.length, null, done);
  },
  sync: fdatasync,
};

interface OpenSegment {
  name: SegmentName;
  path: string;
  readonly file: number;
  /** Operations in flight: a file must not be closed below them. */
  busy: number;
  isLeft: boolean;
}

/** Segments of one writer as files of a folder. */
export class SegmentFiles implements SegmentSink {
  readonly #folder: string;
  readonly #disk: Disk;
  #open: OpenSegment | undefined;
  /** Of this life, in order; the last is open. */
  #paths: string[];

  /** `before`: paths of segments that the writer has made earlier in this life. */
  constructor(folder: string, before: readonly string[] = [], disk: Disk = fileSystem) {
    this.#folder = folder;
    this.#disk = disk;
    this.#paths = [...before];
  }

  begin(name: SegmentName, head: SegmentHead): void {
    this.close();
    const path = join(this.#folder, formatSegmentName(name));
    // Secrets of sessions are in it.
    const file = openSync(path, 'wx', 0o600);
    this.#open = { name, path, file, busy: 0, isLeft: false };
    this.#paths.push(path);
    writeSync(file, encodeSegmentHead(head));
  }

  write(bytes: Buffer, done: Done): void {
    this.#writeTo(this.#require(), bytes, done);
  }

  complete(done: Done): void {
    const segment = this.#require();
    segment.busy += 1;
    this.#disk.sync(segment.file, (error) => {
      let failure = error ?? undefined;
      if (failure === undefined && segment.isLeft) failure = new Error('the segment was left');
      release(segment);
      try {
        if (failure === undefined) this.#rename(segment);
      } catch (thrown) {
        failure = thrown as NodeJS.ErrnoException;
      }
      done(failure);
    });
  }

  discard(): void {
    this.close();
    for (const path of this.#paths) remove(path);
    this.#paths = [];
  }

  close(): void {
    const segment = this.#open;
    if (segment === undefined) return;
    this.#open = undefined;
    segment.isLeft = true;
    if (segment.busy === 0) closeSync(segment.file);
  }

  #writeTo(segment: OpenSegment, bytes: Buffer, done: Done): void {
    segment.busy += 1;
    this.#disk.write(segment.file, bytes, (error, written) => {
      const isLeft = segment.isLeft && written < bytes.length;
      release(segment);
      if (error !== null) done(error);
      else if (isLeft) done(new Error('the segment was left'));
      // A disk that is nearly full takes a part, and then says why.
      else if (written < bytes.length) this.#writeTo(segment, bytes.subarray(written), done);
      else done(undefined);
    });
  }

  #rename(segment: OpenSegment): void {
    const name = { ...segment.name, isComplete: true };
    const path = join(this.#folder, formatSegmentName(name));
    renameSync(segment.path, path);
    const old = this.#paths.filter((other) => other !== segment.path);
    segment.name = name;
    segment.path = path;
    this.#paths = [path];
    for (const each of old) remove(each);
  }

  #require(): OpenSegment {
    if (this.#open === undefined) throw new Error('no segment has begun');
    return this.#open;
  }
}

function release(segment: OpenSegment): void {
  segment.busy -= 1;
  if (segment.isLeft && segment.busy === 0) closeSync(segment.file);
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Whoever reads it takes it for an earlier state, which it is.
  }
}
