import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

import type { WhoAmI } from '../protocol/access.ts';
import { ApiError, callApi, explain } from './api.ts';
import { askForSignIn, declineSignIn, noteUnauthorized, noteWho, readToken, useSignIn } from './credentials.ts';

/** Whether anybody has to sign in, and who is. */
export async function checkWho(): Promise<void> {
  const shown = readToken();
  try {
    const who = await callApi<WhoAmI>('/v1/whoami', { token: shown });
    if (shown === readToken()) noteWho(who, shown);
  } catch (error) {
    // That the server cannot be reached is said by what is read.
    if (error instanceof ApiError && error.code === 'unauthorized') noteUnauthorized(shown);
  }
}

/** Nothing of what was read and of the token is left. */
function signOut(): void {
  location.reload();
}

function SignInForm(): VNode {
  const { reason, who } = useSignIn();
  const field = useRef<HTMLInputElement>(null);
  const [failure, setFailure] = useState('');
  const [isChecking, setChecking] = useState(false);
  useEffect(() => {
    field.current?.focus();
  }, []);
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const token = field.current?.value.trim() ?? '';
    if (token === '' || isChecking) return;
    setChecking(true);
    setFailure('');
    try {
      const found = await callApi<WhoAmI>('/v1/whoami', { token });
      if (field.current !== null) field.current.value = '';
      noteWho(found, token);
    } catch (error) {
      const isUnknown = error instanceof ApiError && error.code === 'unauthorized';
      const waitMs = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
      const wait = waitMs === 0 ? '' : ` Try again in ${Math.ceil(waitMs / 1000)} s.`;
      setFailure(isUnknown ? 'The server knows no such token.' : `${explain(error)}.${wait}`);
      // The server would not even look.
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
    setChecking(false);
    field.current?.select();
  };
  return (
    <form class="sign-in" onSubmit={(event) => void submit(event)} aria-labelledby="sign-in-title">
      <h1 id="sign-in-title">Sign in</h1>
      <p>{reason === '' ? 'This registry asks who you are.' : reason}</p>
      <label>
        Token
        <input
          ref={field}
          type="password"
          autoComplete="off"
          autoCapitalize="off"
          spellcheck={false}
          required
          maxLength={8192}
          aria-describedby="sign-in-note sign-in-failure"
        />
      </label>
      <p id="sign-in-note" class="dim">
        It is kept by this page alone, until you leave it.
      </p>
      <p id="sign-in-failure" class="failure" role="alert">
        {failure}
      </p>
      <div class="buttons">
        {who?.principal === 'anonymous' ? (
          <button type="button" class="plain" onClick={declineSignIn}>
            Go on without
          </button>
        ) : null}
        <button type="submit" class="primary" disabled={isChecking}>
          {isChecking ? 'Checking…' : 'Sign in'}
        </button>
      </div>
    </form>
  );
}

/** The only page there is. */
export function SignInPage(): VNode {
  return (
    <main class="signing-in">
      <SignInForm />
    </main>
  );
}

/** Over what was looked at, and over dialogs that are being filled in: all of it is still there afterwards. */
export function SignInDialog(): VNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const show = (): void => {
    if (dialog.current?.open === false) dialog.current.showModal();
  };
  useEffect(() => {
    const shown = dialog.current;
    const before = document.activeElement;
    show();
    return () => {
      shown?.close();
      // Where somebody was, they are again.
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class="signing-in"
      aria-labelledby="sign-in-title"
      onCancel={(event) => {
        event.preventDefault();
      }}
      onClose={show}
    >
      <SignInForm />
    </dialog>
  );
}

/** Who is signed in; nothing where nobody has to be. */
export function WhoIsIn(): VNode | null {
  const { who, isSignedIn, canSignIn } = useSignIn();
  if (!isSignedIn && !canSignIn) return null;
  const { principal = '', policies = [], expiresAt } = who ?? {};
  const until = expiresAt === undefined ? '' : `, until ${new Date(expiresAt).toLocaleString()}`;
  return (
    <span class="who">
      <span class="name" title={`policies: ${policies.length === 0 ? 'none' : policies.join(', ')}${until}`}>
        {principal}
      </span>
      {isSignedIn ? (
        <button type="button" onClick={signOut}>
          Sign out
        </button>
      ) : (
        <button type="button" onClick={askForSignIn}>
          Sign in
        </button>
      )}
    </span>
  );
}
