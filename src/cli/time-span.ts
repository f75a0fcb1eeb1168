import { InvalidArgumentError } from 'commander';

const dayMs = 86_400_000;
const unitMs: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: dayMs };

/** Makes a parser of times such as `30s` or `10d`, in milliseconds. */
export function spanUpTo(maxMs: number): (text: string) => number {
  return (text) => {
    const [, count, unit = ''] = /^(\d{1,7})([smhd])$/.exec(text) ?? [];
    const ms = Number(count) * (unitMs[unit] ?? Number.NaN);
    if (!(ms >= 1 && ms <= maxMs)) {
      throw new InvalidArgumentError(
        `It must be a time such as 30s, 10m, 2h or 1d, up to ${Math.floor(maxMs / dayMs)}d.`,
      );
    }
    return ms;
  };
}
