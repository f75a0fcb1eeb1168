import type { RegistrationEntry } from './entries.ts';
import type { Step } from './step.ts';

/**
 * Another connection serves now. One whose session was resumed holds nothing any more and goes at once; any other is kept until
 * the new session has its registrations, so that no instance is ever without one.
 */
export function replaceConnection(step: Step, socket: number, missing: Set<RegistrationEntry>): void {
  const { tables, inputs } = step;
  dropPreviousConnection(step);
  if (missing.size === 0) {
    step.effects.push({ kind: 'closeSocket', socket, manner: 'abandon' });
    return;
  }
  tables.previousConnection = {
    socket,
    missing,
    untilMs: step.nowMs + inputs.settings.requestTimeoutMs,
    isClosing: false,
  };
}

/** The present session has what it is to have of this instance, or cannot get it. */
export function noteCaughtUp(step: Step, entry: RegistrationEntry): void {
  const { tables, inputs } = step;
  const { previousConnection } = tables;
  if (
    previousConnection === undefined ||
    !previousConnection.missing.delete(entry) ||
    previousConnection.missing.size > 0
  )
    return;
  // It takes away what is still its own: nothing.
  step.effects.push({ kind: 'closeSocket', socket: previousConnection.socket, manner: 'orderly' });
  tables.previousConnection = {
    ...previousConnection,
    untilMs: step.nowMs + inputs.settings.closeTimeoutMs,
    isClosing: true,
  };
}

export function expirePreviousConnection(step: Step): void {
  const { previousConnection } = step.tables;
  if (previousConnection !== undefined && previousConnection.untilMs <= step.nowMs) dropPreviousConnection(step);
}

export function dropPreviousConnection(step: Step): void {
  const { previousConnection } = step.tables;
  step.tables.previousConnection = undefined;
  if (previousConnection !== undefined)
    step.effects.push({ kind: 'closeSocket', socket: previousConnection.socket, manner: 'abandon' });
}
