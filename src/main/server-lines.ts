import type { Logger } from 'pino';

import type { JwtKeysReport } from '../access/jwt-key-source.ts';
import type { AuditEvent } from '../audit/audit-log.ts';
import type { ServerConfig } from '../config/config.ts';
import type { AccessEvent } from '../control/access-control.ts';
import type { CheckEvent } from '../control/health-checks.ts';
import type { SwitchEvent } from '../control/switches.ts';
import type { GuardEvent } from '../sessions/loss-guard.ts';

/** A guard has begun to hold back, or holds nothing back any more. */
export function logGuard(log: Logger, event: GuardEvent): void {
  const what = event.key ?? 'the whole registry';
  const text =
    event.kind === 'tripped'
      ? `many connections of ${what} broke at once: what they registered is held back from removal`
      : `nothing of ${what} is held back any more`;
  log.warn(event, text);
}

/** Operators' orders are what later nobody remembers having given. */
export function logSwitch(log: Logger, event: SwitchEvent): void {
  switch (event.kind) {
    case 'set':
      log.warn(event.order, 'a switch was set');
      return;
    case 'lifted':
      log.warn(event.order, 'a switch was lifted');
      return;
    case 'ended':
      log.warn(event.order, 'a switch was lifted, since its time was over');
      return;
    case 'unreadable':
      log.error({ err: event.error }, 'switches could not be read from the store: none is in effect');
      return;
    default:
      event satisfies never;
  }
}

/** Nothing of a token is logged but its name and its id. */
export function logAccess(log: Logger, event: AccessEvent): void {
  switch (event.kind) {
    case 'bootstrapped':
      log.warn({ file: event.file }, 'access control is on: the first token, which may do everything, is in this file');
      return;
    case 'unreadable':
      log.error({ err: event.error }, 'policies and tokens could not be read or stored: nobody is let in');
      return;
    case 'policy put':
    case 'policy deleted':
      log.warn(event.policy, event.kind === 'policy put' ? 'a policy was stored' : 'a policy was deleted');
      return;
    case 'token created':
    case 'token rotated':
    case 'token revoked':
      log.warn(event.token, `a ${event.kind.replace(' ', ' was ')}`);
      return;
    default:
      event satisfies never;
  }
}

/** The keys that JSON Web Tokens are verified with. */
export function logJwtKeys(log: Logger, report: JwtKeysReport): void {
  if (report.kind === 'failed')
    log.error(report, 'keys of JSON Web Tokens could not be read: those from before are used');
  else log.info(report, 'keys of JSON Web Tokens were read');
}

export function logCheck(log: Logger, event: CheckEvent): void {
  switch (event.kind) {
    case 'deregistered':
      log.warn(event, 'an instance was critical for as long as its check lets it be: it is deregistered');
      return;
    case 'holding':
      log.error(event, 'most checks fail at once, so the fault is likely at this server: nothing becomes critical');
      return;
    case 'released':
      log.warn(event, 'checks are believed again');
      return;
    default:
      event satisfies never;
  }
}

/** The head of the chain is what somebody may keep elsewhere: without it nobody can tell that lines at the end are missing. */
export function logAudit(log: Logger, event: AuditEvent): void {
  switch (event.kind) {
    case 'begun':
      log.info(event, 'the audit log continues');
      return;
    case 'rotated':
      log.info(event, 'the audit log continues in another file');
      return;
    case 'ended':
      log.info(event, 'the audit log ends');
      return;
    case 'torn':
      log.warn(event, 'the last line of the audit log was not written whole: it is cut off');
      return;
    case 'damaged':
      log.error(event, 'the audit log ends with what is no line of it: it continues in another file');
      return;
    case 'removed':
      log.info(event, 'the oldest files of the audit log were removed, as auditFilesMax says');
      return;
    case 'failed':
      log.error(
        event,
        event.isRequired
          ? 'the audit log cannot be written: what must be in it is refused'
          : 'the audit log cannot be written: what is done meanwhile may be missing in it',
      );
      return;
    case 'recovered':
      log.warn(event, 'the audit log can be written again');
      return;
    default:
      event satisfies never;
  }
}

/** The warm-up is over. */
export function logWarm(
  log: Logger,
  { warmUpMs, warmUpMaxMs }: Pick<ServerConfig, 'warmUpMs' | 'warmUpMaxMs'>,
  { tookMs, instances }: { readonly tookMs: number; readonly instances: number },
): void {
  const isCut = tookMs >= warmUpMaxMs && warmUpMaxMs > warmUpMs;
  if (isCut) log.warn({ tookMs, instances }, 'warm, though clients were still coming back: warmUpMaxMs is over');
  else log.info({ tookMs, instances }, 'warm: earlier clients are back, or have had enough time');
}

/** An I/O thread has shown no sign of life for so long, or shows one again. */
export function logSilence(log: Logger, thread: number, silentMs: number): void {
  if (silentMs > 0) log.error({ thread, silentMs }, 'an I/O thread shows no sign of life');
  else log.warn({ thread }, 'an I/O thread shows signs of life again');
}
