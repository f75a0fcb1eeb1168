import { InvalidArgumentError } from 'commander';

const dayMs = 86_400_000;
const unitMs: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: dayMs };

/** A time such as `30s` or `10d`, in milliseconds; undefined: it is none. */
export function readSpan(text: string): number | undefined {
  const [, count, unit = ''] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  return count === undefined ? undefined : Number(count) * unitMs[unit]!;
}

/** Makes a parser of such times. */
export function spanUpTo(maxMs: number): (text: string) => number {
  return (text) => {
    const ms = readSpan(text) ?? 0;
    if (ms < 1 || ms > maxMs) {
      throw new InvalidArgumentError(
        `It must be a time such as 30s, 10m, 2h or 1d, up to ${Math.floor(maxMs / dayMs)}d.`,
      );
    }
    return ms;
  };
}
