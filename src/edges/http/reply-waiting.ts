import type { Failure } from '../../protocol/errors.ts';
import type { ReadTicket, Reply, Result } from '../../sessions/answers.ts';
import { encodeResult } from '../../sessions/json-rpc.ts';

/** Waits for an answer, as JSON. `read`: how large its list may be, and the refusal of a larger one. */
export async function waitForReply(
  ask: (reply: Reply) => void,
  read?: { readonly room: number; readonly tooLarge: Failure },
): Promise<string | Failure> {
  return new Promise((resolve) => {
    const succeed = (result: Result): void => {
      resolve(encodeResult(result));
    };
    if (read === undefined) {
      ask({ succeed, fail: resolve });
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
    ask({ succeed, fail: resolve, openRead: () => ticket });
  });
}
