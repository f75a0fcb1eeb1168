import type { Failure } from '../protocol/errors.ts';
import type { ReadTicket, Reply, Result } from './answers.ts';

/** Waits for the answer to a call that nobody's connection has made. `read`: how large its list may be, and the refusal of a larger one. */
export function waitForReply(
  ask: (reply: Reply) => void,
  read?: { readonly room: number; readonly tooLarge: Failure },
): Promise<Result | Failure> {
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
