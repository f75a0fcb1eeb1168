import type { DumpReader, DumpTarget } from './dump-reader.ts';
import { JsonElements } from './json-elements.ts';
import type { JsonElement } from './json-elements.ts';
import { RecordIntake } from './record-intake.ts';
import type { ArchiveRecord } from './records.ts';

/** Reads a dump that is JSON, element by element. */
export abstract class JsonDumpReader implements DumpReader {
  protected readonly intake: RecordIntake;
  readonly #elements: JsonElements;

  /** `paths`: of the elements that are wanted, as {@link JsonElements} has them. */
  constructor(target: DumpTarget, paths: string[]) {
    this.intake = new RecordIntake(target);
    this.#elements = new JsonElements(paths);
  }

  read(part: Uint8Array): readonly ArchiveRecord[] {
    for (const element of this.#elements.read(part)) this.readElement(element);
    return this.intake.drain();
  }

  end(): readonly ArchiveRecord[] {
    for (const element of this.#elements.end()) this.readElement(element);
    return this.intake.drain();
  }

  /** Puts into the intake what the element says. */
  protected abstract readElement(element: JsonElement): void;
}
