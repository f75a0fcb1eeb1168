import { protocolLimits as limits } from './limits.ts';
import type { CheckDefinition } from './types.ts';

/** The timing of a check, defaults filled in; times in milliseconds. */
export interface CheckTiming {
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly jitterPercent: number;
  readonly successes: number;
  readonly failures: number;
}

export function timingOf(check: CheckDefinition): CheckTiming {
  const { intervalMs = limits.checkIntervalMsDefault } = check;
  return {
    intervalMs,
    timeoutMs: Math.min(check.timeoutMs ?? limits.checkTimeoutMsDefault, intervalMs),
    jitterPercent: check.jitterPercent ?? limits.checkJitterPercentDefault,
    successes: check.successes ?? 1,
    failures: check.failures ?? limits.checkFailuresDefault,
  };
}

/**
 * A check as part of an instance's canonical JSON: fields in one order, `kind` first and the interval last. So a text with a check ends with a digit and two braces, and no other
 * does: metadata ends with a quote.
 */
export function orderCheck(check: CheckDefinition): CheckDefinition {
  const { kind, intervalMs = limits.checkIntervalMsDefault, ...rest } = check;
  const fields: [string, unknown][] = Object.entries(rest).filter(([, value]) => value !== undefined);
  fields.sort(([a], [b]) => (a < b ? -1 : 1));
  const ordered = fields.map(([name, value]) => [name, name === 'headers' ? sortEntries(value as object) : value]);
  return { kind, ...(Object.fromEntries(ordered) as object), intervalMs } as CheckDefinition;
}

function sortEntries(map: object): object {
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const zero = 0x30;
const nine = 0x39;
const brace = 0x7d;

/** Whether an instance's canonical JSON has a check, from the codes of its last three characters. */
export function endsWithCheck(digit: number, first: number, last: number): boolean {
  return last === brace && first === brace && digit >= zero && digit <= nine;
}

export function hasCheck(fragment: string): boolean {
  const end = fragment.length;
  return endsWithCheck(fragment.charCodeAt(end - 3), fragment.charCodeAt(end - 2), fragment.charCodeAt(end - 1));
}

const checkName = ',"check":{"kind":';

/** An instance's canonical JSON without its check, and the check's, or undefined. Within a text a quote is escaped, so the last of these is the field. */
export function splitCheck(fragment: string): { readonly shown: string; readonly check: string | undefined } {
  if (!hasCheck(fragment)) return { shown: fragment, check: undefined };
  const at = fragment.lastIndexOf(checkName);
  return { shown: `${fragment.slice(0, at)}}`, check: fragment.slice(at + ',"check":'.length, -1) };
}
