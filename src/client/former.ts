import type { RegistrationEntry } from './entries.ts';
import type { Turn } from './turn.ts';

/**
 * Another connection serves now. One whose session was resumed holds nothing any more and goes at once; any other is kept until
 * the new session has what it held, so that others never see an instance without either.
 */
export function replaceConnection(turn: Turn, socket: number, missing: Set<RegistrationEntry>): void {
  const { books, inputs } = turn;
  dropFormer(turn);
  if (missing.size === 0) {
    turn.effects.push({ kind: 'closeSocket', socket, manner: 'abandon' });
    return;
  }
  books.former = { socket, missing, untilMs: turn.nowMs + inputs.settings.requestTimeoutMs, isClosing: false };
}

/** The present session has what it is to have of this instance, or cannot get it. */
export function noteCaughtUp(turn: Turn, entry: RegistrationEntry): void {
  const { books, inputs } = turn;
  const { former } = books;
  if (former === undefined || !former.missing.delete(entry) || former.missing.size > 0) return;
  // It takes away what is still its own: nothing.
  turn.effects.push({ kind: 'closeSocket', socket: former.socket, manner: 'orderly' });
  books.former = { ...former, untilMs: turn.nowMs + inputs.settings.closeTimeoutMs, isClosing: true };
}

export function expireFormer(turn: Turn): void {
  const { former } = turn.books;
  if (former !== undefined && former.untilMs <= turn.nowMs) dropFormer(turn);
}

export function dropFormer(turn: Turn): void {
  const { former } = turn.books;
  turn.books.former = undefined;
  if (former !== undefined) turn.effects.push({ kind: 'closeSocket', socket: former.socket, manner: 'abandon' });
}
