import { accept, refuse, removeInFlight } from './answers.ts';
import { readMessages } from './frames.ts';
import type { Message } from './frames.ts';
import { openingSocketOf } from './link.ts';
import { noticeLocks } from './lock-survival.ts';
import { noteProof } from './proof.ts';
import { handleClaim } from './registrations.ts';
import { dispatchToLink } from './session.ts';
import type { Step } from './step.ts';
import { handleChange } from './subscriptions.ts';
import { handleKeysChanged } from './watches.ts';

/** A frame came. Whatever it holds, the client continues. */
export function handleFrame(step: Step, socket: number, text: string): void {
  const { link } = step.state;
  if (socket !== step.serving?.socket && socket !== openingSocketOf(link)) return;
  const messages = readMessages(text);
  if (messages === undefined) {
    dispatchToLink(step, { kind: 'garbled', socket });
    return;
  }
  dispatchToLink(step, { kind: 'activity', socket });
  for (const message of messages) handleMessage(step, socket, message);
}

function handleMessage(step: Step, socket: number, message: Message): void {
  switch (message.kind) {
    case 'result': {
      const request = removeInFlight(step, socket, message.id);
      if (request === undefined) return;
      accept(step, request, message.result);
      noteProof(step, request);
      return;
    }
    case 'error': {
      const request = removeInFlight(step, socket, message.id);
      if (request === undefined) return;
      refuse(step, request, message.failure);
      noteProof(step, request);
      return;
    }
    case 'changed':
      if (socket === step.serving?.socket) handleChange(step, message.change);
      return;
    case 'keysChanged':
      if (socket === step.serving?.socket) noticeLocks(step, handleKeysChanged(step, message.change));
      return;
    case 'claim':
      if (socket === step.serving?.socket) handleClaim(step, message.claim);
      return;
    case 'goaway': {
      const { reason, reconnectAfterMs } = message.params;
      step.effects.push({ kind: 'notify', notice: { kind: 'goaway', reason, reconnectAfterMs } });
      dispatchToLink(step, { kind: 'goaway', socket, reconnectAfterMs });
      return;
    }
    case 'unknown':
      return;
    default:
      message satisfies never;
  }
}
