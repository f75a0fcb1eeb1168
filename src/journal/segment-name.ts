/** What a segment holds records of. */
export type JournalKind = 'claims' | 'sessions';

/** Which segment it is, as its file is named. */
export interface SegmentName {
  readonly kind: JournalKind;
  /** Starts of the process, counted on: the journal of a later one continues those before. */
  readonly life: number;
  /** Who wrote it: a partition, or 0 for sessions. */
  readonly writer: number;
  /** Of the segments of one writer in one life, rising. */
  readonly sequence: number;
  /** It begins with all that there was: what was written before it is not needed. */
  readonly isComplete: boolean;
}

const pattern = /^(claims|sessions)-(\d{1,10})-(\d{1,5})-(\d{1,10})\.(part|log)$/;

export function formatSegmentName({ kind, life, writer, sequence, isComplete }: SegmentName): string {
  return `${kind}-${life}-${writer}-${sequence}.${isComplete ? 'log' : 'part'}`;
}

/** Undefined: it is none of a journal's files. */
export function readSegmentName(file: string): SegmentName | undefined {
  const [, kind, life, writer, sequence, end] = pattern.exec(file) ?? [];
  if (kind !== 'claims' && kind !== 'sessions') return undefined;
  return {
    kind,
    life: Number(life),
    writer: Number(writer),
    sequence: Number(sequence),
    isComplete: end === 'log',
  };
}

/**
 * Which segments of one kind have to be read, and in which order: lives one after the other, from the last one on of which every writer has a complete segment; of each
 * writer its last complete segment and those after it.
 */
export function chooseSegments(segments: readonly SegmentName[], writersOf: (life: number) => number): SegmentName[] {
  const lives = [...new Set(segments.map(({ life }) => life))].sort((a, b) => a - b);
  const isEnough = (life: number): boolean => {
    const writers = writersOf(life);
    const complete = new Set(
      segments.filter((segment) => segment.life === life && segment.isComplete).map(({ writer }) => writer),
    );
    return (
      writers > 0 && Array.from({ length: writers }, (_, writer) => writer).every((writer) => complete.has(writer))
    );
  };
  const first = lives.findLast(isEnough) ?? Number.NEGATIVE_INFINITY;
  const chosen = segments.filter(({ life }) => life >= first).sort(compareSegments);
  return chosen.filter(
    (segment) =>
      !chosen.some((other) => isSameWriter(other, segment) && other.isComplete && other.sequence > segment.sequence),
  );
}

function isSameWriter(a: SegmentName, b: SegmentName): boolean {
  return a.life === b.life && a.writer === b.writer;
}

function compareSegments(a: SegmentName, b: SegmentName): number {
  return a.life - b.life || a.writer - b.writer || a.sequence - b.sequence;
}
