import type { Failure } from '../protocol/errors.ts';
import type { ReadTicket, Reply } from './answers.ts';

/** Waits for an answer in the form that WebSocket requests get it, too. `read`: how large its list may be, and the refusal of a larger one. */
export async function waitForReply(
  ask: (reply: Reply) => void,
  read?: { readonly room: number; readonly tooLarge: Failure },
): Promise<string | Failure> {
  return new Promise((resolve) => {
    if (read === undefined) {
      ask({ succeed: resolve, fail: resolve });
      return;
    }
    const ticket: ReadTicket = {
      room: read.room,
      refusal: undefined,
      enlarge: (_characters, _again, refuse) => {
        refuse(read.tooLarge);
      },
      end: () => undefined,
    };
    ask({ succeed: resolve, fail: resolve, openRead: () => ticket });
  });
}
